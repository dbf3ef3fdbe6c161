package outcome

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FromPods returns the last termination message in these Pods that is a Result.
// The text is returned too, in one line and bounded; where no message is a
// Result it is the last one, and it is empty where no container left any. The
// order of the Pods decides nothing.
func FromPods(pods []corev1.Pod) (r Result, text string, ok bool) {
	var last metav1.Time
	for _, p := range slices.SortedFunc(slices.Values(pods), byName) {
		for _, s := range ContainerStatuses(&p) {
			t := s.State.Terminated
			if t == nil || t.Message == "" {
				continue
			}
			got, readable := Parse(t.Message)
			// Of two at once the later container holds.
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

// ContainerStatuses returns the statuses of a Pod's containers, those of the
// init containers first.
func ContainerStatuses(p *corev1.Pod) []corev1.ContainerStatus {
	out := make([]corev1.ContainerStatus, 0, len(p.Status.InitContainerStatuses)+len(p.Status.ContainerStatuses))
	return append(append(out, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...)
}
