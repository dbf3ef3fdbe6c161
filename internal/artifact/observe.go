package artifact

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// An ObservationResult is the state of an Artifact's run, as its Job and Pods show it.
type ObservationResult struct {
	// Phase of the run.
	Phase modelv1alpha1.ArtifactPhase

	// Ready is True if the run succeeded, Unknown while it is in progress, and False
	// otherwise.
	Ready metav1.ConditionStatus

	// Reason of the Ready condition.
	Reason string

	// Message of the Ready condition; may be empty.
	Message string

	// Digest that the run reported; empty if it reported none.
	Digest string
}

// ObserveJobStatus returns the state of a run from its Job and the Job's Pods. If the
// Job is nil, a fallback phase Succeeded or Failed is kept. It is a pure function.
func ObserveJobStatus(job *batchv1.Job, pods []corev1.Pod, fallbackPhase modelv1alpha1.ArtifactPhase, fallbackDigest string) ObservationResult {
	if job == nil {
		return withoutJob(fallbackPhase, fallbackDigest)
	}
	pods = podsOf(job, pods)
	switch {
	case jobSucceeded(job):
		r, _, _ := outcome.FromPods(pods)
		return succeeded(r.Digest)
	case jobFailure(job) != nil || job.Status.Failed > 0 && !isIndexed(job):
		return failed(FailureOf(job, pods))
	case IsQueued(job):
		return queued(job, Workload{})
	case job.Status.Active > 0 && started(job, pods) && !isStuck(job, pods), hasUncountedPods(job):
		return running(runningMessage(job))
	}
	return pending(job, pods)
}

// running returns the state of a run that is in progress.
func running(message string) ObservationResult {
	return ObservationResult{
		Phase:   modelv1alpha1.PhaseRunning,
		Ready:   metav1.ConditionUnknown,
		Reason:  string(xpv2.ReasonCreating),
		Message: message,
	}
}

// runningMessage says how far the Job of a run is.
func runningMessage(job *batchv1.Job) string {
	switch s := SharesOf(job); {
	case len(s.Indexes) > 0:
		return sharesMessage(job)
	case s.Of > 0:
		return fmt.Sprintf("Job %q is running: it completes what %d Pods have transferred", job.GetName(), s.Of)
	}
	return fmt.Sprintf("Job %q is running", job.GetName())
}

// pending returns the state of a run that has not started.
func pending(job *batchv1.Job, pods []corev1.Pod) ObservationResult {
	if f := ObserveWaiting(job, pods, nil, nil); f != nil {
		return waiting(*f)
	}
	return ObservationResult{
		Phase:   modelv1alpha1.PhasePending,
		Ready:   metav1.ConditionUnknown,
		Reason:  string(xpv2.ReasonCreating),
		Message: fmt.Sprintf("Job %q is waiting for its Pod to start", job.GetName()),
	}
}

// waiting returns the state of a run that cannot start for this reason.
func waiting(f outcome.Failure) ObservationResult {
	o := failed(f)
	o.Phase = modelv1alpha1.PhasePending
	return o
}

// withoutJob returns the state of a run that has no Job.
func withoutJob(phase modelv1alpha1.ArtifactPhase, digest string) ObservationResult {
	switch phase {
	case modelv1alpha1.PhaseSucceeded:
		return succeeded(digest)
	case modelv1alpha1.PhaseFailed:
		r := failed(outcome.Failure{Reason: outcome.JobFailed, Message: "The run failed and its Job is gone"})
		r.Digest = digest
		return r
	case modelv1alpha1.PhasePending, modelv1alpha1.PhaseRunning:
	}
	return ObservationResult{
		Phase:   modelv1alpha1.PhasePending,
		Ready:   metav1.ConditionFalse,
		Reason:  string(outcome.JobNotCreated),
		Message: "No Job has been created yet",
	}
}

// succeeded returns the state of a run that succeeded.
func succeeded(digest string) ObservationResult {
	return ObservationResult{
		Phase:  modelv1alpha1.PhaseSucceeded,
		Ready:  metav1.ConditionTrue,
		Reason: string(xpv2.ReasonAvailable),
		Digest: digest,
	}
}

// failed returns the state of a run that failed.
func failed(f outcome.Failure) ObservationResult {
	return ObservationResult{
		Phase:   modelv1alpha1.PhaseFailed,
		Ready:   metav1.ConditionFalse,
		Reason:  string(f.Reason),
		Message: f.Message,
	}
}

// FailureOf returns why a Job failed: as its worker reports it, else as its Pods or the
// Job show it.
func FailureOf(job *batchv1.Job, pods []corev1.Pod) outcome.Failure {
	pods = podsOf(job, pods)
	if IsDivided(job) {
		return sharesFailure(job, pods)
	}
	return podsFailure(job, pods)
}

// podsFailure returns why a Job failed whose failure these Pods show.
func podsFailure(job *batchv1.Job, pods []corev1.Pod) outcome.Failure {
	r, text, ok := outcome.FromPods(pods)
	c := jobFailure(job)
	if c == nil {
		// The Job has a reason before the last of its Pods has ended.
		c = jobCondition(job, batchv1.JobFailureTarget)
	}
	switch {
	// First, since the result of an interrupted worker is not the cause.
	case c != nil && c.Reason == batchv1.JobReasonDeadlineExceeded:
		return outcome.Failure{
			Reason:  outcome.DeadlineExceeded,
			Message: "The run took longer than job.activeDeadlineSeconds: raise it, or see the Pod's logs for what is slow",
		}
	case ok && r.Failure != nil:
		return withImages(job, *r.Failure)
	case podFailure(pods) != nil:
		return *podFailure(pods)
	case unknownFlag.MatchString(text) && !ok:
		return *failure(outcome.Errorf(outcome.TooOld,
			"The worker in image %q is older than the provider and does not know its flag %s: %s", workerImageOf(job), unknownFlag.FindStringSubmatch(text)[1], workerImageCure))
	case hasNoMessage(pods):
		return *failure(outcome.Errorf(outcome.JobFailed,
			"The worker in image %q failed without a result, as one of another version than the provider does: %s; if it is of the same version, see the Pod's logs", workerImageOf(job), workerImageCure))
	case text != "" && !ok:
		return outcome.Failure{Reason: outcome.JobFailed, Message: text}
	case c != nil && c.Message != "":
		return outcome.Failure{Reason: outcome.JobFailed, Message: c.Message}
	}
	return outcome.Failure{
		Reason:  outcome.JobFailed,
		Message: fmt.Sprintf("Job %q failed without a message: see its Pod with kubectl describe", job.GetName()),
	}
}

// IsActive reports whether a Job has not ended: Pods of it may run, now or later.
func IsActive(job *batchv1.Job) bool {
	return jobCondition(job, batchv1.JobComplete) == nil && jobFailure(job) == nil
}

// jobSucceeded reports whether a Job succeeded. An Indexed Job counts Pods that succeeded
// while others run.
func jobSucceeded(job *batchv1.Job) bool {
	return job.Status.Succeeded > 0 && !isIndexed(job) || jobCondition(job, batchv1.JobComplete) != nil
}

// jobFailure returns the condition of a failed Job, or nil.
func jobFailure(job *batchv1.Job) *batchv1.JobCondition {
	return jobCondition(job, batchv1.JobFailed)
}

// StartTime returns the time at which a Job was made or resumed; nil for one in a queue,
// whose status keeps the time of its last start for a moment, and before Kubernetes 1.36
// until it is resumed.
func StartTime(job *batchv1.Job) *metav1.Time {
	if IsQueued(job) {
		return nil
	}
	return job.Status.StartTime
}

// CompletionTime returns the time at which a Job succeeded or failed; nil before.
func CompletionTime(job *batchv1.Job) *metav1.Time {
	if job.Status.CompletionTime != nil {
		return job.Status.CompletionTime
	}
	if c := jobFailure(job); c != nil {
		return &c.LastTransitionTime
	}
	return nil
}

// jobCondition returns the condition of this type if it is true, or nil.
func jobCondition(job *batchv1.Job, t batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		c := &job.Status.Conditions[i]
		if c.Type == t && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// podsOf returns the Pods without those that another Job controls, which say nothing
// about this run.
func podsOf(job *batchv1.Job, pods []corev1.Pod) []corev1.Pod {
	out := make([]corev1.Pod, 0, len(pods))
	for i := range pods {
		if c := metav1.GetControllerOf(&pods[i]); c == nil || c.UID == job.GetUID() {
			out = append(out, pods[i])
		}
	}
	return out
}

// hasUncountedPods reports whether a Pod has ended that the Job counts neither as
// active nor as ended yet.
func hasUncountedPods(job *batchv1.Job) bool {
	u := ptr.Deref(job.Status.UncountedTerminatedPods, batchv1.UncountedTerminatedPods{})
	return len(u.Succeeded)+len(u.Failed) > 0
}

// started reports whether one of an active Job's Pods has started. Without Pods, since
// the cache is behind, it goes by the Job's count of ready ones.
func started(job *batchv1.Job, pods []corev1.Pod) bool {
	if len(pods) == 0 {
		return ptr.Deref(job.Status.Ready, 1) > 0
	}
	for i := range pods {
		if pods[i].Status.Phase != corev1.PodPending {
			return true
		}
	}
	return false
}

// isStuck reports whether none of a divided run's Pods is running, although some have ended,
// and one cannot start.
func isStuck(job *batchv1.Job, pods []corev1.Pod) bool {
	if !isIndexed(job) || slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning }) {
		return false
	}
	return slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodPending }) &&
		ObserveWaiting(job, pods, nil, nil) != nil
}

// nodeReasons are the kubelet's reasons to end or reject a Pod that are not the
// Pod's fault (k8s.io/kubernetes/pkg/kubelet/eviction,
// pkg/kubelet/nodeshutdown and pkg/kubelet/lifecycle).
var nodeReasons = map[string]bool{
	"Evicted":                  true,
	"Preempting":               true,
	"NodeShutdown":             true,
	"Terminated":               true,
	"NodeAffinity":             true,
	"UnexpectedAdmissionError": true,
}

// lostReasons are the reasons to delete a Pod of an unreachable node
// (https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions).
var lostReasons = map[string]bool{
	"DeletionByTaintManager": true,
	"DeletionByPodGC":        true,
}

// lowOn matches the resource that a node was low on, in the kubelet's message of an
// eviction.
var lowOn = regexp.MustCompile(`low on resource: ([a-z./-]+)`)

// podFailure returns why a Pod ended if its worker could not report it; nil if that is
// unknown.
func podFailure(pods []corev1.Pod) *outcome.Failure {
	for i := range pods {
		if f := evicted(&pods[i]); f != nil {
			return f
		}
		for _, s := range outcome.ContainerStatuses(&pods[i]) {
			if f := containerFailure(s); f != nil {
				return f
			}
		}
	}
	return nil
}

// evicted returns the failure of a Pod that the cluster ended, or nil.
func evicted(pod *corev1.Pod) *outcome.Failure {
	disruption := disruptionOf(pod)
	switch {
	case pod.Status.Reason == "NodeLost", lostReasons[disruption]:
		return failure(podLost())
	case nodeReasons[pod.Status.Reason], strings.HasPrefix(pod.Status.Reason, "OutOf"):
		why := ""
		if m := lowOn.FindStringSubmatch(pod.Status.Message); m != nil {
			why = ", which was low on " + m[1]
		}
		return failure(outcome.Errorf(outcome.Evicted, "The node%s evicted the run's Pod: if this happens again, set requests in spec.forProvider.job.resources, or select other nodes", why))
	case disruption != "":
		return failure(outcome.Errorf(outcome.Evicted, "The cluster evicted the run's Pod (%s): if this happens again, set spec.forProvider.job.priorityClassName, or select other nodes", disruption))
	}
	return nil
}

// podLost returns the failure of a run whose end is unknown.
func podLost() error {
	return outcome.Errorf(outcome.PodLost, "The run's Pod was deleted, or its node was lost, before the run ended")
}

// ResultLost returns the state of a run that succeeded and whose result cannot be
// read. It is retried like one whose Pod was lost.
func ResultLost() ObservationResult {
	return failed(outcome.Failure{
		Reason:  outcome.PodLost,
		Message: "The run succeeded, and its Pod was deleted before its result was read",
	})
}

// workerImageCure ends messages about a worker of another version than the
// provider's.
const workerImageCure = "remove job.workerImage from the ClusterProviderConfig and the provider's flag --worker-image, or set them to the image of the provider's version"

// unknownFlag matches how a worker refuses a flag that it does not know
// (github.com/alecthomas/kingpin/v2, flags.go and MustParse). Workers from
// outcome.Contract 2 on compare the contract first and leave a Result.
var unknownFlag = regexp.MustCompile(`error: unknown long flag '(--[a-z0-9-]+)', try --help`)

// hasNoMessage reports whether a run's main container ended with the worker's exit
// code for a failure and without a termination message. A worker of the provider's
// version always writes one.
func hasNoMessage(pods []corev1.Pod) bool {
	for i := range pods {
		for _, s := range pods[i].Status.ContainerStatuses {
			t := s.State.Terminated
			if (s.Name == workerContainer || s.Name == kitContainer) && t != nil && t.ExitCode == 1 && t.Message == "" {
				return true
			}
		}
	}
	return false
}

// workerImageOf returns the image of a Job's worker, which is that of the first
// container in both pipelines.
func workerImageOf(job *batchv1.Job) string {
	if images := imagesOf(job); len(images) > 0 {
		return images[0]
	}
	return ""
}

// withImages adds the Job's images, which the worker does not know, to the message of a
// failure with reason TooOld.
func withImages(job *batchv1.Job, f outcome.Failure) outcome.Failure {
	if images := imagesOf(job); f.Reason == outcome.TooOld && len(images) > 0 {
		f.Message += fmt.Sprintf(" (images: %s)", strings.Join(images, ", "))
	}
	return f
}

// containerFailure returns why a container ended that could not report it itself.
func containerFailure(s corev1.ContainerStatus) *outcome.Failure {
	t := s.State.Terminated
	if t == nil {
		return nil
	}
	switch t.Reason {
	case "OOMKilled":
		return failure(outcome.Errorf(outcome.OutOfMemory, "Container %q used more memory than its limit: raise spec.forProvider.job.resources.limits.memory", s.Name))
	case "StartError", "ContainerCannotRun":
		return failure(unusable(s))
	case "ContainerStatusUnknown":
		return failure(podLost())
	}
	return nil
}

// disruptionOf returns why the cluster ended the Pod; empty if it did not
// (https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions).
func disruptionOf(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			if c.Reason == "" {
				return "disruption"
			}
			return c.Reason
		}
	}
	return ""
}
