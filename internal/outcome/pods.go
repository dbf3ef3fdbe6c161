package outcome

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FromPods returns the termination message of the container that ended last
// in these Pods, read as a Result. The text is returned too, in one line and
// bounded, for a message that is not a Result; it is empty where no container
// left any.
func FromPods(pods []corev1.Pod) (r Result, text string, ok bool) {
	var last metav1.Time
	for i := range pods {
		for _, s := range statuses(&pods[i]) {
			t := s.State.Terminated
			if t == nil || t.Message == "" || (text != "" && !last.Before(&t.FinishedAt)) {
				continue
			}
			last = t.FinishedAt
			r, ok = Parse(t.Message)
			text = truncate(singleLine(t.Message), maxTextBytes)
		}
	}
	return r, text, ok
}

// statuses of a Pod's containers, those of the init containers first.
func statuses(p *corev1.Pod) []corev1.ContainerStatus {
	out := make([]corev1.ContainerStatus, 0, len(p.Status.InitContainerStatuses)+len(p.Status.ContainerStatuses))
	return append(append(out, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...)
}
