package artifact

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	runqueue "github.com/crossplane-contrib/provider-kitops/internal/queue"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// expiryInterval is how often room is looked for that was kept for long enough.
const expiryInterval = 5 * time.Second

// askForRoom has a run that is to start wait if a limit on runs is reached. It returns why;
// empty if it may start, and must before this reconcile ends. Its Job then has no more Pods
// at a time than there is room for.
func (e *external) askForRoom(a *modelv1alpha1.Artifact) string {
	entry := runqueue.EntryOf(a, e.now())
	entry.Pods = podsOf(a)
	if pods, may := e.queue.Ask(entry); may {
		if pods > 0 {
			e.settings.Effective.MaxPods = int32(pods) //nolint:gosec // At most v1alpha1.MaxParallelism.
			a.Effective.MaxPods = e.settings.Effective.MaxPods
		}
		return ""
	}
	ofConfig, ofAll := e.queue.Limits(entry.Config)
	limit := "--max-runs of the provider"
	switch name := a.GetProviderConfigReference().Name; {
	case ofConfig > 0 && ofAll > 0:
		// Which of the two it is may change from one moment to the next.
		limit = fmt.Sprintf("job.maxRuns of ClusterProviderConfig %q, or %s,", name, limit)
	case ofConfig > 0:
		limit = fmt.Sprintf("job.maxRuns of ClusterProviderConfig %q", name)
	}
	return fmt.Sprintf("%s is reached: the run starts by itself when others have ended", limit)
}

// podsOf returns how many Pods the run has that an Artifact asks for: none until Kueue
// starts it, if an administrator has it wait in a queue. A tenant's own queue is no reason
// to be exempt from a limit.
func podsOf(a *modelv1alpha1.Artifact) int {
	if runqueue.ConfigOf(a) != "" && artifact.UsesQueueOf(a.Effective.Job, a) {
		return 0
	}
	return min(artifact.NextShares(a).Pods(), cmp.Or(int(a.Effective.MaxPods), v1alpha1.MaxParallelism))
}

// mostPods returns how many Pods a run of the Artifact may have at a time by the limits on
// runs; 0 for any number. There may be room for fewer when it starts.
func (m *memory) mostPods(a *modelv1alpha1.Artifact) int32 {
	if podsOf(a) == 0 {
		return 0
	}
	ofConfig, ofAll := m.queue.Limits(runqueue.ConfigOf(a))
	most := cmp.Or(ofConfig, ofAll)
	if ofAll > 0 {
		most = min(most, ofAll)
	}
	return int32(min(most, v1alpha1.MaxParallelism)) //nolint:gosec // See there.
}

// takesRoomInVain reports whether a run takes room and has not started for so long that
// others go first: that waits in a queue of the tenant's, too.
func (e *external) takesRoomInVain(a *modelv1alpha1.Artifact, job *batchv1.Job, pods []corev1.Pod) bool {
	exempt := runqueue.ConfigOf(a) != "" && artifact.WaitsInQueueOf(a.Effective.Job, job)
	return artifact.HasNotStarted(job, pods, e.now(), e.startPatience) ||
		!exempt && artifact.IsQueuedFor(job, e.now(), e.startPatience)
}

// stillWaits reports whether the run that an Artifact asks for waits for room, and nothing
// has changed that makes it another one: then neither the registry nor the API server is
// asked anything before there is room.
func (e *external) stillWaits(a *modelv1alpha1.Artifact, o observation) bool {
	changed := a.GetCondition(xpv2.TypeReady).ObservedGeneration != a.GetGeneration() || isRequested(a)
	return runqueue.IsQueued(a) && !changed && o.forbidden == nil && o.unsigned == nil && e.queue.StillWaits(client.ObjectKeyFromObject(a))
}

// waitForRoom waits for room for a run that would start. An artifact that is ready stays
// so. The message neither has numbers nor a place in the queue: each change is a write.
func waitForRoom(a *modelv1alpha1.Artifact, p plan, why string) plan {
	ready := p.ready
	switch f := a.Status.AtProvider.Failure; {
	case ready.Status == corev1.ConditionTrue:
		ready.Message = "The artifact is there as it was, and is to be rebuilt; " + why
	case matchesSpec(a):
		ready = queued(why + "; " + ready.Message)
	case f != nil:
		ready = queued(why + "; the last run failed: " + f.Message)
	default:
		ready = queued(why)
	}
	return plan{action: actionWait, ready: ready, run: p.run}
}

// recordQueued records that a run waits for room. The status of an Artifact whose
// artifact was pushed keeps the phase of the run that did it.
func recordQueued(a *modelv1alpha1.Artifact, run artifact.Run) {
	if matchesSpec(a) {
		return
	}
	s := &a.Status.AtProvider
	s.Phase, s.Run = modelv1alpha1.PhasePending, run.Number
	s.StartTime, s.CompletionTime = nil, nil
}

// forgetQueued records that no run waits: there is no Job of it. If it waits still, that is
// recorded again.
func forgetQueued(a *modelv1alpha1.Artifact) {
	s := &a.Status.AtProvider
	if s.Phase != modelv1alpha1.PhasePending {
		return
	}
	s.Phase = ""
	if matchesSpec(a) {
		s.Phase = modelv1alpha1.PhaseSucceeded
	}
}

// tellStarted has the queue count the Job of a run that was created, or that may have been:
// the API server may have created it and not have answered.
func (e *external) tellStarted(a *modelv1alpha1.Artifact, job *batchv1.Job, err error) {
	switch name := client.ObjectKeyFromObject(a); {
	case job != nil:
		e.queue.Started(name, job.GetUID())
	case err != nil && (kerrors.ReasonForError(err) == "" || kerrors.IsTimeout(err) || kerrors.IsServerTimeout(err) || kerrors.IsInternalError(err)):
		e.queue.Started(name, "")
	}
}

// A queueing reconciler has the queue know when each Artifact is reconciled: one that does
// not ask for room any more waits no longer.
type queueing struct {
	reconcile.Reconciler

	queue *runqueue.Queue
}

// Reconcile reconciles, as the other one does.
func (q queueing) Reconcile(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	q.queue.Enter(r.NamespacedName)
	defer q.queue.Leave(r.NamespacedName)
	return q.Reconciler.Reconcile(ctx, r)
}

// A limiter has a queue know which limits and Jobs there are, and has the Artifacts
// reconciled for whose runs there is room.
type limiter struct {
	cached client.Reader
	queue  *runqueue.Queue
	runs   *requeuer

	mu sync.Mutex

	// requests is the controller's queue of reconciles; nil before it has started, when
	// early has those that come later.
	requests queue
	early    []reconcile.Request
}

// begin has the queue know the limits and the Jobs that there are, and which runs waited
// before the provider was restarted. It returns when runs may start.
func (l *limiter) begin(ctx context.Context, mgr ctrl.Manager) error {
	for _, watched := range []struct {
		object  client.Object
		changed func(o any, there bool)
	}{
		{&v1alpha1.ClusterProviderConfig{}, l.configChanged},
		{&batchv1.Job{}, func(o any, there bool) { l.jobChanged(ctx, o, there) }},
	} {
		informer, err := mgr.GetCache().GetInformer(ctx, watched.object)
		if err != nil {
			return errors.Wrapf(err, "cannot wait for the cache of %T", watched.object)
		}
		handled, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { watched.changed(o, true) },
			UpdateFunc: func(_, o any) { watched.changed(o, true) },
			DeleteFunc: func(o any) { watched.changed(o, false) },
		})
		if err != nil {
			return errors.Wrapf(err, "cannot watch %T", watched.object)
		}
		if !cache.WaitForCacheSync(ctx.Done(), handled.HasSynced) {
			return errors.Wrapf(ctx.Err(), "cannot wait for %T", watched.object)
		}
	}
	presumed, err := l.presumed(ctx)
	if err != nil {
		return err
	}
	l.queue.Begin(l.tell, presumed)
	return nil
}

// Start gives room to others that was kept for long enough, until the context ends.
func (l *limiter) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(context.Context) { l.queue.Expire() }, expiryInterval)
	return nil
}

// configChanged has the queue know the limit of a ClusterProviderConfig; none once it is
// gone: nothing starts without it.
func (l *limiter) configChanged(o any, there bool) {
	if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	config, ok := o.(*v1alpha1.ClusterProviderConfig)
	if !ok {
		return
	}
	limit := int32(0)
	if job := config.Spec.Job; job != nil && there {
		limit = ptr.Deref(job.MaxRuns, 0)
	}
	l.queue.SetLimit(runqueue.ClusterConfig(config.GetName()), int(limit))
}

// jobChanged has the queue know how the Job of a run is.
func (l *limiter) jobChanged(ctx context.Context, o any, there bool) {
	if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	job, ok := o.(*batchv1.Job)
	if !ok {
		return
	}
	run, ok := l.runOf(ctx, job)
	// The run is completed by another Job, which is created once this one is gone.
	run.GoesOn = there && artifact.AwaitsLast(job)
	// One without parallelism never ends, and has no Pods.
	active := there && ok && job.GetDeletionTimestamp() == nil && artifact.IsActive(job) && ptr.Deref(job.Spec.Parallelism, 1) > 0
	l.queue.Seen(job.GetUID(), run, active)
}

// runOf returns the run of a Job, and reports whether it is one of an Artifact. In the
// namespace of the administrator's that is also one of an Artifact that is gone.
func (l *limiter) runOf(ctx context.Context, job *batchv1.Job) (runqueue.Run, bool) {
	name, ok := l.runs.artifactOf(ctx, job)
	if !ok {
		return runqueue.Run{}, false
	}
	pods := artifact.PodsOf(job)
	run := runqueue.Run{
		Artifact: artifact.ArtifactUIDOf(job), Namespace: name.Namespace, Name: name.Name, Pods: pods,
		// Whoever may change or make Jobs must not use up a limit with one.
		MaxPods: l.mostParallelism(ctx, name),
	}
	if ptr.Deref(job.Spec.Suspend, false) {
		run.Pods = 0
	}
	if name.Namespace == job.GetNamespace() {
		// A tenant may be able to make such Jobs.
		run.IsRecorded = func() bool { return l.isRecorded(ctx, name, job) }
	}
	a := &modelv1alpha1.Artifact{}
	if err := l.cached.Get(ctx, name, a); err != nil || a.GetUID() != run.Artifact {
		return run, name.Namespace != job.GetNamespace()
	}
	run.Config = runqueue.ConfigOf(a)
	if run.Pods == 0 && !l.isQueuedByConfig(ctx, a, job) {
		run.Pods = pods
	}
	return run, true
}

// mostParallelism returns how many Pods a run of an Artifact may have by its config.
func (l *limiter) mostParallelism(ctx context.Context, name types.NamespacedName) int {
	a, config := &modelv1alpha1.Artifact{}, &v1alpha1.ClusterProviderConfig{}
	most := v1alpha1.DefaultMaxParallelism
	if l.cached.Get(ctx, name, a) == nil && runqueue.ConfigOf(a) != "" && l.cached.Get(ctx, types.NamespacedName{Name: a.GetProviderConfigReference().Name}, config) == nil && config.Spec.Job != nil {
		most = cmp.Or(config.Spec.Job.MaxParallelism, most)
	}
	return int(most)
}

// isQueuedByConfig reports whether a Job waits in the queue that the Artifact's
// ClusterProviderConfig names. Any other that is suspended keeps its room: a tenant could
// have very many suspended, and started at once.
func (l *limiter) isQueuedByConfig(ctx context.Context, a *modelv1alpha1.Artifact, job *batchv1.Job) bool {
	config := &v1alpha1.ClusterProviderConfig{}
	if runqueue.ConfigOf(a) == "" || l.cached.Get(ctx, types.NamespacedName{Name: a.GetProviderConfigReference().Name}, config) != nil {
		return false
	}
	return config.Spec.Job != nil && artifact.WaitsInQueueOf(&config.Spec.Job.JobSettings, job)
}

// isRecorded reports whether an Artifact's status says that its run is this Job, and is in
// progress. That of a paused Artifact may be of long ago: another Job may have the name by
// now.
func (l *limiter) isRecorded(ctx context.Context, name types.NamespacedName, job *batchv1.Job) bool {
	a := &modelv1alpha1.Artifact{}
	if err := l.cached.Get(ctx, name, a); err != nil || a.GetUID() != artifact.ArtifactUIDOf(job) || meta.IsPaused(a) {
		return false
	}
	s := a.Status.AtProvider
	is := modelv1alpha1.JobReference{Namespace: job.GetNamespace(), Name: job.GetName()}
	return s.JobRef != nil && *s.JobRef == is && s.Run == artifact.RunOf(job).Number && !hasEnded(s.Phase)
}

// presumed returns the entries of Artifacts that most likely wait: those that did when the
// provider ended, and those that it has never reconciled.
func (l *limiter) presumed(ctx context.Context) ([]runqueue.Entry, error) {
	list := &modelv1alpha1.ArtifactList{}
	// The list is not modified.
	if err := l.cached.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, errors.Wrap(err, "cannot list Artifacts")
	}
	var out []runqueue.Entry
	for i := range list.Items {
		a := &list.Items[i]
		isNew := a.GetCondition(xpv2.TypeSynced).Status == corev1.ConditionUnknown
		if (isNew || runqueue.IsQueued(a)) && !meta.WasDeleted(a) && !meta.IsPaused(a) && !settings.OnlyObserves(a) {
			out = append(out, runqueue.EntryOf(a, time.Now()))
		}
	}
	return out, nil
}

// use has those reconciled that are told of room from now on, and were before.
func (l *limiter) use(_ context.Context, q queue) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Room is kept for them meanwhile, so they are not behind what can wait.
	l.requests = q
	for _, r := range l.early {
		l.requests.Add(r)
	}
	l.early = nil
	return nil
}

// tell has an Artifact reconciled for whose run there is room.
func (l *limiter) tell(name types.NamespacedName) {
	r := reconcile.Request{NamespacedName: name}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.requests == nil {
		l.early = append(l.early, r)
		return
	}
	l.requests.Add(r)
}
