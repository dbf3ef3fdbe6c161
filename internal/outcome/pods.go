package outcome

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FromPods returns the latest termination message of these Pods that is a Result,
// and that message's text as one bounded line. If no message is a Result, it
// returns the text of the latest message, or an empty one if there is none. The
// order of the Pods does not matter.
func FromPods(pods []corev1.Pod) (r Result, text string, ok bool) {
	var last metav1.Time
	for _, p := range slices.SortedFunc(slices.Values(pods), byName) {
		for _, s := range ContainerStatuses(&p) {
			t := s.State.Terminated
			if t == nil || t.Message == "" {
				continue
			}
			got, readable := Parse(t.Message)
			// If two containers terminated at the same time, the later one counts.
			if readable == ok && text != "" && t.FinishedAt.Before(&last) || ok && !readable {
				continue
			}
			last, r, ok = t.FinishedAt, got, readable
			text = truncate(singleLine(t.Message), maxTextBytes)
		}
	}
	return r, text, ok
}

func byName(a, b corev1.Pod) int { return strings.Compare(a.GetName(), b.GetName()) }

// ContainerStatuses returns the statuses of a Pod's init containers and then of its
// containers.
func ContainerStatuses(p *corev1.Pod) []corev1.ContainerStatus {
	out := make([]corev1.ContainerStatus, 0, len(p.Status.InitContainerStatuses)+len(p.Status.ContainerStatuses))
	return append(append(out, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...)
}
