package artifact

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestBuildJobProgress(t *testing.T) {
	for name, tc := range podCases() {
		t.Run(name, func(t *testing.T) {
			pod := BuildJob(tc.args, testKitImage, nil).Spec.Template.Spec
			want := []corev1.ContainerPort{{Name: "progress", ContainerPort: 9797, Protocol: corev1.ProtocolTCP}}
			if diff := cmp.Diff(want, pod.Containers[0].Ports); diff != "" {
				t.Errorf("\n%s\nBy its port a Pod is known that can be asked how far it is.\nports: -want, +got:\n%s", tc.reason, diff)
			}
			if len(pod.InitContainers) > 0 && len(pod.InitContainers[0].Ports) > 0 {
				t.Errorf("\n%s\nWhat initializes a Pod cannot be asked.\nports: got %v", tc.reason, pod.InitContainers[0].Ports)
			}
			if pod.HostNetwork || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
				t.Errorf("\n%s\nThe port is on the Pod's own network, and the Pod has no token.\ngot %+v", tc.reason, pod)
			}
		})
	}
}
