package artifact

import (
	"context"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	// StartPatience is how long a run may take to start before it is asked
	// why it does not.
	StartPatience = 10 * time.Second

	// CopyPatience is how long a run that has a copy of credentials in its
	// namespace may take to start before it is stopped, so that the copy does
	// not stay there.
	CopyPatience = 15 * time.Minute

	// maxEvents bounds how many events of one object are read.
	maxEvents = 50
)

// A RunState is what the cluster has of an Artifact's run.
type RunState struct {
	// Job of the run; nil where there is none.
	Job *batchv1.Job

	// Pods of the Job.
	Pods []corev1.Pod

	// Workspace of the run; nil where it is not known.
	Workspace *corev1.PersistentVolumeClaim

	// Events of what the run waits for.
	Events []corev1.Event

	// Asked says that workspace and events were read.
	Asked bool

	// Overdue means that the run must be stopped, since it does not start.
	Overdue bool
}

// IsOverdue reports whether a Job has a copy of credentials and has not started
// although it is older than this. If pods is nil, it
// goes by the Job's count of ready Pods.
func IsOverdue(job *batchv1.Job, pods []corev1.Pod, now time.Time, patience time.Duration) bool {
	return job.GetAnnotations()[AnnotationCredentials] != "" && job.CreationTimestamp.Add(patience).Before(now) &&
		ObserveJobStatus(job, pods, "", "").Phase == modelv1alpha1.PhasePending
}

// Outdated says whether the run does not start, and would be given another Job
// or workspace now, since the Artifact or its ProviderConfig has changed: then
// the change may be the cure, and the run is to be made anew.
func (s RunState) Outdated(a *modelv1alpha1.Artifact, kitImage string) bool {
	if !s.Asked {
		return false
	}
	why := ObserveWaiting(s.Job, s.Pods, s.Workspace, s.Events)
	if why == nil {
		return false
	}
	if NeedsWorkspace(a) && (s.Workspace == nil || !FitsWorkspace(a, s.Workspace)) {
		return true
	}
	// An upgrade of the provider changes the images of all, and cures only what
	// waits for an image.
	images := why.Reason == outcome.ImagePull || why.Reason == outcome.ImageUnusable
	wanted := BuildJob(a, kitImage, nil)
	return !sameBuild(s.Job, wanted, AnnotationBuildHash) || (images && !sameBuild(s.Job, wanted, AnnotationImagesHash))
}

// ObserveRun says how far a run is, as ObserveJobStatus does, and where it does
// not start or where its Pod is gone also why.
func ObserveRun(s RunState, fallbackPhase modelv1alpha1.ArtifactPhase, fallbackDigest string) ObservationResult {
	o := ObserveJobStatus(s.Job, s.Pods, fallbackPhase, fallbackDigest)
	switch {
	case s.Job == nil:
	case o.Phase == modelv1alpha1.PhasePending:
		f := ObserveWaiting(s.Job, s.Pods, s.Workspace, s.Events)
		if s.Overdue {
			return failed(*failure(notStarted(f)))
		}
		if f != nil {
			return waiting(*f)
		}
	case hasUnseenEnd(s.Job, podsOf(s.Job, s.Pods)):
		// The cache of Pods is behind that of Jobs. What is recorded of an
		// end is recorded once.
		return ObservationResult{
			Phase:   modelv1alpha1.PhaseRunning,
			Ready:   metav1.ConditionUnknown,
			Reason:  string(xpv2.ReasonCreating),
			Message: "The run has ended, and its result is being read",
		}
	case o.Reason == string(outcome.JobFailed) && len(podsOf(s.Job, s.Pods)) == 0:
		return failed(*failure(lost()))
	}
	return o
}

// notStarted says that a run is stopped, and what it waited for.
func notStarted(why *outcome.Failure) error {
	cause := "The run's Pod did not start"
	if why != nil {
		cause = why.Message
	}
	return outcome.Errorf(outcome.NotStarted, "%s; the run was stopped, so that the copy of its credentials does not stay in the namespace", cause)
}

// hasUnseenEnd says whether a Job has ended of which a Pod seems to be at work.
// A Job that ran out of time has an end of its own.
func hasUnseenEnd(job *batchv1.Job, pods []corev1.Pod) bool {
	c := jobFailure(job)
	if !jobSucceeded(job) && (c == nil || c.Reason != batchv1.JobReasonBackoffLimitExceeded) {
		return false
	}
	for i := range pods {
		if p := pods[i].Status.Phase; p == corev1.PodSucceeded || p == corev1.PodFailed {
			return false
		}
	}
	return len(pods) > 0
}

// ReadRunState returns what is needed to say why a run does not start: its
// workspace and the events of what it waits for. They are read only where the
// run has not started and has had its time to. The reader is the API server: a
// cache of events would have all of the cluster's.
func ReadRunState(ctx context.Context, c client.Reader, a *modelv1alpha1.Artifact, job *batchv1.Job, pods []corev1.Pod, now time.Time) (RunState, error) {
	s := RunState{Job: job, Pods: pods}
	if job == nil || job.CreationTimestamp.Add(StartPatience).After(now) || ObserveJobStatus(job, pods, "", "").Phase != modelv1alpha1.PhasePending {
		return s, nil
	}
	s.Asked = true
	if NeedsWorkspace(a) {
		pvc := &corev1.PersistentVolumeClaim{}
		err := c.Get(ctx, types.NamespacedName{Namespace: a.GetNamespace(), Name: PVCName(a.GetName())}, pvc)
		if client.IgnoreNotFound(err) != nil {
			return s, errors.Wrap(err, "cannot get the workspace")
		}
		if err == nil {
			s.Workspace = pvc
		}
	}
	for _, uid := range s.waitsFor() {
		events := &corev1.EventList{}
		if err := c.List(ctx, events, client.InNamespace(a.GetNamespace()), client.MatchingFields{"involvedObject.uid": string(uid)}, client.Limit(maxEvents)); err != nil {
			return s, errors.Wrap(err, "cannot list events")
		}
		s.Events = append(s.Events, events.Items...)
	}
	return s, nil
}

// waitsFor returns the objects whose events say what a run waits for: the Job
// where it has no Pod, the workspace where the Pod has no node, else the Pod.
func (s RunState) waitsFor() []types.UID {
	if len(s.Pods) == 0 {
		return []types.UID{s.Job.GetUID()}
	}
	var out []types.UID
	for i := range s.Pods {
		switch {
		case unscheduled(&s.Pods[i]) == nil:
			out = append(out, s.Pods[i].GetUID())
		case s.Workspace != nil:
			out = append(out, s.Workspace.GetUID())
		}
	}
	return out
}
