package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// finishers is how many Jobs end at the same time.
const finishers = 4

// result is the termination message of every run.
var result = fmt.Sprintf(`{"digest":%q,"size":42,"files":3,"revision":"0123456789012345678901234567890123456789","license":"mit"}`, manifestDigest)

// A cluster is a fake of the Job controller, the scheduler and the kubelet: every Job
// ends well after a while.
type cluster struct {
	client  client.Client
	runTime time.Duration
	started chan startedJob

	// push has the registry have what a run stages.
	push func(args []string) error

	// held is locked while no Job ends.
	held sync.RWMutex

	mu   sync.Mutex
	seen map[string]chan time.Time
	jobs int
	errs []error

	// jobsOf has when each Job of an Artifact was there.
	jobsOf map[string][]time.Time
}

// A startedJob is a Job and when it was first seen.
type startedJob struct {
	*batchv1.Job

	at time.Time
}

// newCluster runs the fake cluster until the context ends.
func newCluster(ctx context.Context, c client.Client, kube kubernetes.Interface, runTime time.Duration, push func(args []string) error) (*cluster, error) {
	cl := &cluster{client: c, runTime: runTime, push: push, started: make(chan startedJob, 1<<16), seen: map[string]chan time.Time{}, jobsOf: map[string][]time.Time{}}
	factory := informers.NewSharedInformerFactory(kube, 0)
	informer := factory.Batch().V1().Jobs().Informer()
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: cl.add}); err != nil {
		return nil, errors.Wrap(err, "cannot watch Jobs")
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	for range finishers {
		go cl.finishJobs(ctx)
	}
	return cl, nil
}

// add notes when an Artifact's Job is there.
func (cl *cluster) add(o any) {
	job, ok := o.(*batchv1.Job)
	if !ok {
		return
	}
	at := time.Now()
	owner := metav1.GetControllerOf(job)
	if owner == nil {
		return
	}
	if err := cl.push(job.Spec.Template.Spec.Containers[0].Args); err != nil {
		cl.mu.Lock()
		cl.errs = append(cl.errs, err)
		cl.mu.Unlock()
	}
	select {
	case cl.jobOf(owner.Name) <- at:
	default:
	}
	if job.GetNamespace() == bareNamespace {
		return // Its Artifact is of no provider.
	}
	cl.mu.Lock()
	cl.jobs++
	cl.jobsOf[owner.Name] = append(cl.jobsOf[owner.Name], at)
	cl.mu.Unlock()
	cl.started <- startedJob{Job: job, at: at}
}

// jobOf returns where the time is told at which an Artifact's first Job was
// there.
func (cl *cluster) jobOf(artifact string) chan time.Time {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	c, ok := cl.seen[artifact]
	if !ok {
		c = make(chan time.Time, 1)
		cl.seen[artifact] = c
	}
	return c
}

// waitJob waits for an Artifact's Job and returns when it was there.
func (cl *cluster) waitJob(ctx context.Context, artifact string) (time.Time, error) {
	select {
	case at := <-cl.jobOf(artifact):
		return at, nil
	case <-ctx.Done():
		return time.Time{}, errors.Wrapf(errors.Join(append(cl.failures(), ctx.Err())...), "Artifact %q has no Job", artifact)
	}
}

// count returns how many Jobs Artifacts have had.
func (cl *cluster) count(artifacts []string) int { return len(cl.times(artifacts)) }

// times returns when the Jobs of Artifacts were there, the earliest first.
func (cl *cluster) times(artifacts []string) []time.Time {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	var out []time.Time
	for _, a := range artifacts {
		out = append(out, cl.jobsOf[a]...)
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// waitMade waits until Artifacts have so many Jobs.
func (cl *cluster) waitMade(ctx context.Context, artifacts []string, n int) error {
	err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(context.Context) (bool, error) { return cl.count(artifacts) >= n, nil })
	return errors.Wrapf(err, "%d of %d Jobs were made", cl.count(artifacts), n)
}

// made returns how many Jobs were made in all.
func (cl *cluster) made() int {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.jobs
}

// hold keeps all Jobs from ending, until release: an end costs the API server more requests
// than the Job did.
func (cl *cluster) hold() { cl.held.Lock() }

// release lets Jobs end.
func (cl *cluster) release() { cl.held.Unlock() }

// failures returns what went wrong with ending Jobs.
func (cl *cluster) failures() []error {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return append([]error(nil), cl.errs...)
}

// finishJobs ends Jobs, each after its time.
func (cl *cluster) finishJobs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-cl.started:
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(j.at.Add(cl.runTime))):
			}
			cl.held.RLock()
			cl.held.RUnlock()
			if err := cl.finish(ctx, j.DeepCopy()); err != nil && ctx.Err() == nil {
				cl.mu.Lock()
				cl.errs = append(cl.errs, err)
				cl.mu.Unlock()
			}
		}
	}
}

// finish makes the Job's Pod, ends it with a result, and ends the Job.
func (cl *cluster) finish(ctx context.Context, job *batchv1.Job) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName:    job.GetName() + "-",
			Namespace:       job.GetNamespace(),
			Labels:          job.Spec.Template.Labels,
			Annotations:     job.Spec.Template.Annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: job.Spec.Template.Spec,
	}
	if err := cl.client.Create(ctx, pod); err != nil {
		return errors.Wrap(err, "cannot make a Job's Pod")
	}
	now := metav1.Now()
	pod.Status.Phase = corev1.PodSucceeded
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name:  pod.Spec.Containers[0].Name,
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: result, FinishedAt: now}},
	}}
	if err := cl.client.Status().Update(ctx, pod); err != nil {
		return errors.Wrap(err, "cannot end a Job's Pod")
	}
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := cl.client.Get(ctx, client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		job.Status.StartTime, job.Status.CompletionTime = &now, &now
		job.Status.Succeeded = 1
		job.Status.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
		job.Status.Conditions = []batchv1.JobCondition{
			{Type: batchv1.JobSuccessCriteriaMet, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: batchv1.JobComplete, Status: corev1.ConditionTrue, LastTransitionTime: now},
		}
		return cl.client.Status().Update(ctx, job)
	})
	return errors.Wrap(err, "cannot end a Job")
}
