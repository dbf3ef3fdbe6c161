package artifact

import (
	"fmt"
	"regexp"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

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
