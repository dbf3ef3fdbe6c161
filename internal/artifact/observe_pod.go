package artifact

import (
	"regexp"
	"strings"

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
