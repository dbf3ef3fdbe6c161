package artifact

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	// StartGracePeriod is the time after which the events of a run that has not
	// started are read.
	StartGracePeriod = 10 * time.Second

	// CopyTimeout is the time after which a run with copied credentials that has
	// not started is stopped, so that the copy does not stay in the namespace.
	CopyTimeout = 15 * time.Minute

	// maxEvents is the number of events that are read of one object.
	maxEvents = 50
)

// A RunState has the objects of an Artifact's run in the cluster.
type RunState struct {
	// Job of the run; nil if there is none.
	Job *batchv1.Job

	// Pods of the Job.
	Pods []corev1.Pod

	// Workspace of the run; nil if there is none or it was not read.
	Workspace *corev1.PersistentVolumeClaim

	// Events of the objects that the run waits for.
	Events []corev1.Event

	// Workload of a queued Job.
	Workload Workload

	// Asked reports whether workspace and events, or the Workload, were read.
	Asked bool

	// Overdue reports whether the run must be stopped because it does not start, and
	// Contended whether it must, since others wait for its room.
	Overdue, Contended bool
}

// IsOverdue reports whether a Job has copied credentials and has not started within
// this time, as HasNotStarted does. Time in a queue counts only where the copy is in the
// Artifact's own namespace: a tenant could have its run wait in a queue that does not
// exist, to keep the copy.
func IsOverdue(job *batchv1.Job, pods []corev1.Pod, now time.Time, timeout time.Duration) bool {
	switch {
	case job.GetAnnotations()[AnnotationCredentials] == "":
		return false
	case !IsQueued(job):
		return HasNotStarted(job, pods, now, timeout)
	case job.GetAnnotations()[AnnotationArtifactNamespace] != "":
		return false
	}
	return isPast(job, suspendedSince(job), now, timeout)
}

// HasNotStarted reports whether a Job has not started within this time, in which time in a
// queue does not count. If pods is nil, it goes by the Job's count of ready Pods.
func HasNotStarted(job *batchv1.Job, pods []corev1.Pod, now time.Time, timeout time.Duration) bool {
	// The Job controller sets its start time when a Job is made or resumed.
	return !IsQueued(job) && isPast(job, lastStart(job, pods), now, timeout) &&
		ObserveJobStatus(job, pods, "", "").Phase == modelv1alpha1.PhasePending
}

// lastStart returns the time at which a Job was made or resumed or, if that is later, at which
// the newest Pod of a divided run that has not started was made: some may have ended long ago.
func lastStart(job *batchv1.Job, pods []corev1.Pod) *metav1.Time {
	at := job.Status.StartTime
	if !isIndexed(job) {
		return at
	}
	for _, p := range podsOf(job, pods) {
		if made := p.CreationTimestamp; p.Status.Phase == corev1.PodPending && (at == nil || at.Before(&made)) {
			at = &made
		}
	}
	return at
}

// isPast reports whether more than this time has passed since a Job was made, or since
// something that happened to it later.
func isPast(job *batchv1.Job, later *metav1.Time, now time.Time, timeout time.Duration) bool {
	since := job.CreationTimestamp.Time
	if later != nil && later.After(since) {
		since = later.Time
	}
	return since.Add(timeout).Before(now)
}

// Outdated reports whether the run does not start and its Job or workspace would be
// different now, because the Artifact or its ProviderConfig has changed. The change
// may be the cure, so the run must be restarted.
func (s RunState) Outdated(a *modelv1alpha1.Artifact, kitImage string) bool {
	if !s.Asked {
		return false
	}
	why := ObserveWaiting(s.Job, s.Pods, s.Workspace, s.Events)
	if why == nil {
		if !IsQueued(s.Job) {
			return false
		}
		why = &outcome.Failure{Reason: outcome.Queued}
	}
	if s.Job.GetNamespace() != RunNamespace(a) {
		return true
	}
	if NeedsWorkspace(a) && (s.Workspace == nil || !FitsWorkspace(a, s.Workspace)) {
		return true
	}
	// An upgrade of the provider changes all images, and cures only runs that wait for
	// an image.
	images := why.Reason == outcome.ImagePull || why.Reason == outcome.ImageUnusable
	wanted := BuildJob(a, kitImage, nil)
	return !sameBuild(s.Job, wanted, AnnotationBuildHash) || (images && !sameBuild(s.Job, wanted, AnnotationImagesHash))
}

// ObserveRun returns the state of a run as ObserveJobStatus does, and also why it does
// not start or what became of its Pod.
func ObserveRun(s RunState, fallbackPhase modelv1alpha1.ArtifactPhase, fallbackDigest string) ObservationResult {
	o := ObserveJobStatus(s.Job, s.Pods, fallbackPhase, fallbackDigest)
	switch {
	case s.Job == nil:
	case IsQueued(s.Job):
		if f := s.Workload.neverStarts(s.Job); f != nil {
			return failed(*f)
		}
		o = queued(s.Job, s.Workload)
		if s.Overdue {
			return failed(*failure(notStarted(&outcome.Failure{Message: o.Message + " (where the ClusterProviderConfig has job.namespace, it may wait longer)"}, true)))
		}
		if s.Contended {
			return failed(*failure(notStarted(&outcome.Failure{Message: o.Message}, false)))
		}
	case o.Phase == modelv1alpha1.PhasePending:
		f := ObserveWaiting(s.Job, s.Pods, s.Workspace, s.Events)
		if s.Overdue || s.Contended {
			return failed(*failure(notStarted(f, s.Overdue)))
		}
		if f != nil {
			return waiting(*f)
		}
	case hasUnseenEnd(s.Job, podsOf(s.Job, s.Pods)):
		// The cache of Pods is behind that of Jobs, and a result is recorded only
		// once.
		return running("The run has ended, and its result is being read")
	case o.Phase == modelv1alpha1.PhaseSucceeded && IsDivided(s.Job):
		return awaitsLast(SharesOf(s.Job).Of)
	case o.Reason == string(outcome.JobFailed) && len(podsOf(s.Job, s.Pods)) == 0:
		return failed(*failure(podLost()))
	}
	return o
}

// awaitsLast returns the state of a run whose shares are all done.
func awaitsLast(shares int) ObservationResult {
	return running(fmt.Sprintf("All %d Pods have finished, and the run is completed next", shares))
}

// ObserveAwaitsLast returns the state of a run whose shares are all done, as the Artifact's
// status says, and whose Job is gone.
func ObserveAwaitsLast(a *modelv1alpha1.Artifact) ObservationResult {
	return awaitsLast(NextShares(a).Of)
}

// notStarted returns the failure of a run that is stopped, and what it waited for: since
// it has a copy of credentials, or else since other runs wait for its room.
func notStarted(why *outcome.Failure, copied bool) error {
	cause := "The run's Pod did not start"
	if why != nil {
		cause = why.Message
	}
	if !copied {
		return outcome.Errorf(outcome.NotStarted, "%s; the run was stopped, since other runs wait for its room", cause)
	}
	return outcome.Errorf(outcome.NotStarted, "%s; the run was stopped, so that the copy of its credentials does not stay in the namespace", cause)
}

// hasUnseenEnd reports whether a Job has ended although its Pods seem to be running. A
// Job that exceeded its deadline does not count: its result is known.
func hasUnseenEnd(job *batchv1.Job, pods []corev1.Pod) bool {
	c := jobFailure(job)
	if IsDivided(job) {
		// Why it failed is in several Pods, all of which have ended.
		return c != nil && c.Reason != batchv1.JobReasonDeadlineExceeded && slices.ContainsFunc(pods, isGoingOn)
	}
	if !jobSucceeded(job) && (c == nil || c.Reason != batchv1.JobReasonBackoffLimitExceeded) {
		return false
	}
	return len(pods) > 0 && !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return !isGoingOn(p) })
}

// isGoingOn reports whether a Pod has not ended.
func isGoingOn(p corev1.Pod) bool {
	return p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

// ReadRunState returns the state of a run with its workspace and the events of the
// objects that it waits for, or the Workload of a queued Job. These are read only if the
// run has not started within StartGracePeriod. The client must read from the API server,
// since a cache would hold all events and Workloads of the cluster.
func ReadRunState(ctx context.Context, c client.Client, a *modelv1alpha1.Artifact, job *batchv1.Job, pods []corev1.Pod, now time.Time) (RunState, error) {
	s := RunState{Job: job, Pods: pods}
	if job == nil || job.CreationTimestamp.Add(StartGracePeriod).After(now) || ObserveJobStatus(job, pods, "", "").Phase != modelv1alpha1.PhasePending {
		return s, nil
	}
	s.Asked = true
	if NeedsWorkspace(a) {
		pvc := &corev1.PersistentVolumeClaim{}
		err := c.Get(ctx, types.NamespacedName{Namespace: job.GetNamespace(), Name: WorkspaceName(In(a, job.GetNamespace()))}, pvc)
		if client.IgnoreNotFound(err) != nil {
			return s, errors.Wrap(err, "cannot get the workspace")
		}
		if err == nil {
			s.Workspace = pvc
		}
	}
	if IsQueued(job) {
		s.Workload = readWorkload(ctx, c, job)
		if s.Workload.State == WorkloadMissing && job.CreationTimestamp.Add(queueGracePeriod).After(now) {
			s.Workload = Workload{}
		}
		return s, nil
	}
	for _, uid := range s.waitsFor() {
		events := &corev1.EventList{}
		if err := c.List(ctx, events, client.InNamespace(job.GetNamespace()), client.MatchingFields{"involvedObject.uid": string(uid)}, client.Limit(maxEvents)); err != nil {
			return s, errors.Wrap(err, "cannot list events")
		}
		s.Events = append(s.Events, events.Items...)
	}
	return s, nil
}

// waitsFor returns the objects whose events show what a run waits for: the Job if it
// has no Pod, the workspace if the Pod has no node, else the Pod.
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
