package artifact

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// imagePullReasons are why the kubelet says that a container waits for its
// image (k8s.io/kubernetes/pkg/kubelet/images/types.go). It goes back and forth
// between the first two.
var imagePullReasons = map[string]bool{
	"ErrImagePull":      true,
	"ImagePullBackOff":  true,
	"ErrImageNeverPull": true,
	"InvalidImageName":  true,
}

// waitingForImage returns why a Pod does not start although it has a node, nil
// where no image is the cause.
func waitingForImage(pods []corev1.Pod) *outcome.Failure {
	for i := range pods {
		for _, s := range outcome.ContainerStatuses(&pods[i]) {
			if w := s.State.Waiting; w != nil && imagePullReasons[w.Reason] {
				return &outcome.Failure{
					Reason:  outcome.ImagePull,
					Message: fmt.Sprintf("Image %q of container %q cannot be pulled: check its name, and whether the node may pull it", s.Image, s.Name),
				}
			}
		}
	}
	return nil
}

// podFailure returns why a Pod ended without its worker being able to say, nil
// where nothing is known.
func podFailure(pods []corev1.Pod) *outcome.Failure {
	for i := range pods {
		if pods[i].Status.Reason == "Evicted" || disrupted(&pods[i]) {
			return &outcome.Failure{Reason: outcome.Evicted, Message: "The node took the run's Pod away: see its events for why"}
		}
		for _, s := range outcome.ContainerStatuses(&pods[i]) {
			if t := s.State.Terminated; t != nil && t.Reason == "OOMKilled" {
				return &outcome.Failure{
					Reason:  outcome.OutOfMemory,
					Message: fmt.Sprintf("Container %q used more memory than its limit: raise spec.forProvider.job.resources.limits.memory", s.Name),
				}
			}
		}
	}
	return nil
}

// disrupted says whether the cluster, rather than the work, ended the Pod
// (https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions).
func disrupted(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}
