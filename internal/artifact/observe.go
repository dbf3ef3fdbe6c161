package artifact

import (
	"fmt"
	"regexp"
	"strings"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// An ObservationResult is what a Job and its Pods say of an Artifact.
type ObservationResult struct {
	// Phase of the run.
	Phase modelv1alpha1.ArtifactPhase

	// Ready is True when the artifact was pushed, Unknown while it is not known
	// yet whether it will be, and False otherwise.
	Ready metav1.ConditionStatus

	// Reason of the Ready condition.
	Reason string

	// Message of the Ready condition; empty when there is nothing to say.
	Message string

	// Digest that was pushed; empty where nobody said.
	Digest string
}

// ObserveJobStatus says how far a run is, from its Job and the Job's Pods. The
// fallbacks are what was known before and hold only where there is no Job any
// more: a run that ended stays as it ended. The same input gives the same
// result at any time.
func ObserveJobStatus(job *batchv1.Job, pods []corev1.Pod, fallbackPhase modelv1alpha1.ArtifactPhase, fallbackDigest string) ObservationResult {
	if job == nil {
		return observeNoJob(fallbackPhase, fallbackDigest)
	}
	pods = podsOf(job, pods)
	switch {
	case jobSucceeded(job):
		r, _, _ := outcome.FromPods(pods)
		return succeeded(r.Digest)
	case jobFailure(job) != nil || job.Status.Failed > 0:
		return failed(observeFailure(job, pods))
	case job.Status.Active > 0 && started(job, pods), isEnding(job):
		return ObservationResult{
			Phase:   modelv1alpha1.PhaseRunning,
			Ready:   metav1.ConditionUnknown,
			Reason:  string(xpv2.ReasonCreating),
			Message: fmt.Sprintf("Job %q is running", job.GetName()),
		}
	}
	return observePending(job, pods)
}

// observePending says what a run waits for that has not started.
func observePending(job *batchv1.Job, pods []corev1.Pod) ObservationResult {
	if f := ObserveWaiting(job, pods, nil, nil); f != nil {
		return waiting(*f)
	}
	return ObservationResult{
		Phase:   modelv1alpha1.PhasePending,
		Ready:   metav1.ConditionUnknown,
		Reason:  string(xpv2.ReasonCreating),
		Message: fmt.Sprintf("Job %q waits for its Pod to start", job.GetName()),
	}
}

// waiting returns what a run says that cannot start as things are.
func waiting(f outcome.Failure) ObservationResult {
	o := failed(f)
	o.Phase = modelv1alpha1.PhasePending
	return o
}

// observeNoJob says what is known of a run whose Job is not there.
func observeNoJob(phase modelv1alpha1.ArtifactPhase, digest string) ObservationResult {
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
		Message: "No Job has been made yet",
	}
}

// succeeded is the result of a run that pushed its artifact.
func succeeded(digest string) ObservationResult {
	return ObservationResult{
		Phase:  modelv1alpha1.PhaseSucceeded,
		Ready:  metav1.ConditionTrue,
		Reason: string(xpv2.ReasonAvailable),
		Digest: digest,
	}
}

// failed is the result of a run that did not.
func failed(f outcome.Failure) ObservationResult {
	return ObservationResult{
		Phase:   modelv1alpha1.PhaseFailed,
		Ready:   metav1.ConditionFalse,
		Reason:  string(f.Reason),
		Message: f.Message,
	}
}

// observeFailure returns why a Job failed: as its worker says, else as the Job
// does.
func observeFailure(job *batchv1.Job, pods []corev1.Pod) outcome.Failure {
	r, text, ok := outcome.FromPods(pods)
	c := jobFailure(job)
	if c == nil {
		// The Job says why before the last of its Pods has ended.
		c = jobCondition(job, batchv1.JobFailureTarget)
	}
	switch {
	// First, since what an interrupted worker leaves is not the cause.
	case c != nil && c.Reason == batchv1.JobReasonDeadlineExceeded:
		return outcome.Failure{
			Reason:  outcome.DeadlineExceeded,
			Message: "The run took longer than job.activeDeadlineSeconds: raise it, or look at the Pod's logs for what is slow",
		}
	case ok && r.Failure != nil:
		return withImages(job, *r.Failure)
	case podFailure(pods) != nil:
		return *podFailure(pods)
	case unknownFlag.MatchString(text) && !ok:
		return *failure(outcome.Errorf(outcome.TooOld,
			"The worker in image %q is older than the provider and does not know its flag %s: %s", workerImageOf(job), unknownFlag.FindStringSubmatch(text)[1], workerImageCure))
	case saysNothing(pods):
		return *failure(outcome.Errorf(outcome.JobFailed,
			"The worker in image %q failed without a result, as one of another version than the provider does: %s; if it is of the same version, look at the Pod's logs", workerImageOf(job), workerImageCure))
	case text != "" && !ok:
		return outcome.Failure{Reason: outcome.JobFailed, Message: text}
	case c != nil && c.Message != "":
		return outcome.Failure{Reason: outcome.JobFailed, Message: c.Message}
	}
	return outcome.Failure{
		Reason:  outcome.JobFailed,
		Message: fmt.Sprintf("Job %q failed and says nothing: look at its Pod with kubectl describe", job.GetName()),
	}
}

// jobSucceeded says whether a Job ended well.
func jobSucceeded(job *batchv1.Job) bool {
	return job.Status.Succeeded > 0 || jobCondition(job, batchv1.JobComplete) != nil
}

// jobFailure returns the condition of a Job that failed, else nil.
func jobFailure(job *batchv1.Job) *batchv1.JobCondition {
	return jobCondition(job, batchv1.JobFailed)
}

// CompletionTime returns when a Job ended, however it did; nil where it has not.
func CompletionTime(job *batchv1.Job) *metav1.Time {
	if job.Status.CompletionTime != nil {
		return job.Status.CompletionTime
	}
	if c := jobFailure(job); c != nil {
		return &c.LastTransitionTime
	}
	return nil
}

// jobCondition returns the condition of this type if it is true, else nil.
func jobCondition(job *batchv1.Job, t batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		c := &job.Status.Conditions[i]
		if c.Type == t && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// podsOf returns the Pods without those that another Job controls: what they
// left behind is no answer to this run.
func podsOf(job *batchv1.Job, pods []corev1.Pod) []corev1.Pod {
	out := make([]corev1.Pod, 0, len(pods))
	for i := range pods {
		if c := metav1.GetControllerOf(&pods[i]); c == nil || c.UID == job.GetUID() {
			out = append(out, pods[i])
		}
	}
	return out
}

// isEnding says whether a Pod of the Job has ended that the Job does not count
// yet, neither as active nor among those that have ended.
func isEnding(job *batchv1.Job) bool {
	u := ptr.Deref(job.Status.UncountedTerminatedPods, batchv1.UncountedTerminatedPods{})
	return len(u.Succeeded)+len(u.Failed) > 0
}

// started says whether one of an active Job's Pods has started. Where none is
// known, a cache is behind, and the Job's count of those that are ready tells.
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

// nodeReasons are why the kubelet ends a Pod, or does not take it, without the
// Pod having done anything wrong (k8s.io/kubernetes/pkg/kubelet/eviction,
// pkg/kubelet/nodeshutdown and pkg/kubelet/lifecycle).
var nodeReasons = map[string]bool{
	"Evicted":                  true,
	"Preempting":               true,
	"NodeShutdown":             true,
	"Terminated":               true,
	"NodeAffinity":             true,
	"UnexpectedAdmissionError": true,
}

// lostBy are why a Pod is deleted whose node does not answer any more
// (https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions).
var lostBy = map[string]bool{
	"DeletionByTaintManager": true,
	"DeletionByPodGC":        true,
}

// lowOn is what the kubelet says a node lacked when it evicts a Pod. The amounts
// that follow are of no use to anybody.
var lowOn = regexp.MustCompile(`low on resource: ([a-z./-]+)`)

// podFailure returns why a Pod ended without its worker being able to say, nil
// where nothing is known.
func podFailure(pods []corev1.Pod) *outcome.Failure {
	for i := range pods {
		if f := takenAway(&pods[i]); f != nil {
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

// takenAway returns why the cluster, rather than the work, ended the Pod.
func takenAway(pod *corev1.Pod) *outcome.Failure {
	disruption := disruptionOf(pod)
	switch {
	case pod.Status.Reason == "NodeLost", lostBy[disruption]:
		return failure(lost())
	case nodeReasons[pod.Status.Reason], strings.HasPrefix(pod.Status.Reason, "OutOf"):
		why := ""
		if m := lowOn.FindStringSubmatch(pod.Status.Message); m != nil {
			why = ", which was low on " + m[1]
		}
		return failure(outcome.Errorf(outcome.Evicted, "The node%s took the run's Pod away: if this comes again, write requests in spec.forProvider.job.resources, or choose other nodes", why))
	case disruption != "":
		return failure(outcome.Errorf(outcome.Evicted, "The cluster took the run's Pod away (%s): if this comes again, write spec.forProvider.job.priorityClassName, or choose other nodes", disruption))
	}
	return nil
}

// lost says that nobody knows what became of a run.
func lost() error {
	return outcome.Errorf(outcome.PodLost, "The run's Pod was deleted, or its node was lost, before the run ended")
}

// ResultLost returns what is observed of a run that succeeded and whose result
// nobody can read: it is repeated like one that was lost.
func ResultLost() ObservationResult {
	return failed(outcome.Failure{
		Reason:  outcome.PodLost,
		Message: "The run succeeded, and its Pod was deleted before its result was read: what it pushed is not known",
	})
}

// workerImageCure ends messages about a worker of another version than the
// provider's.
const workerImageCure = "remove job.workerImage from the ClusterProviderConfig and the provider's flag --worker-image, or set them to the image of the provider's version"

// unknownFlag matches how a worker refuses a flag that it does not know
// (github.com/alecthomas/kingpin/v2, flags.go and MustParse). Workers from
// outcome.Contract 2 on compare the contract first and leave a Result.
var unknownFlag = regexp.MustCompile(`error: unknown long flag '(--[a-z0-9-]+)', try --help`)

// saysNothing reports whether a run's main container ended with the worker's
// exit code for a failure and without a termination message. A worker of the
// provider's version leaves a Result then.
func saysNothing(pods []corev1.Pod) bool {
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

// workerImageOf returns the image that a Job has its worker from: the first that
// is started, by both pipelines.
func workerImageOf(job *batchv1.Job) string {
	if images := imagesOf(job); len(images) > 0 {
		return images[0]
	}
	return ""
}

// withImages names the Job's images in a failure for which one of them is too
// old: the worker does not know them.
func withImages(job *batchv1.Job, f outcome.Failure) outcome.Failure {
	if images := imagesOf(job); f.Reason == outcome.TooOld && len(images) > 0 {
		f.Message += fmt.Sprintf(" (images: %s)", strings.Join(images, ", "))
	}
	return f
}

// containerFailure returns why a container ended that could not say so itself.
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
		return failure(lost())
	}
	return nil
}

// disruptionOf returns why the cluster ended the Pod, empty where it did not
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
