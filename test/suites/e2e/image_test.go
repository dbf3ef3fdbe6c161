package e2e

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/cluster/images"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// TestImageIsMounted has the kubelet mount an artifact of format Image as an
// image volume, and a Pod read the model's files there.
func TestImageIsMounted(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	a := n.ownArtifact("image", modelv1alpha1.PipelineStream)
	a.Spec.ForProvider.Format = modelv1alpha1.PackFormatImage
	files := n.makeOwn(a)
	s := a.Status.AtProvider
	if s.Format != "Image" || s.Files != int64(len(models.Packed(files))) {
		t.Errorf("status: got format %q, %d files", s.Format, s.Files)
	}

	pod := n.reader(s.PinnedReference)
	n.create(pod)
	var message string
	n.eventually("the Pod has read the model", func() string {
		if err := local.Client.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
			return err.Error()
		}
		if pod.Status.Phase != corev1.PodSucceeded {
			return string(pod.Status.Phase) + " " + pod.Status.Message + encoded(pod.Status.ContainerStatuses)
		}
		message = pod.Status.ContainerStatuses[0].State.Terminated.Message
		return ""
	})
	var got map[string]string
	if err := json.Unmarshal([]byte(message), &got); err != nil {
		t.Fatalf("cannot read what the Pod left: %v: %s", err, message)
	}
	if diff := cmp.Diff(models.Packed(files), got); diff != "" {
		t.Errorf("files in the Pod: -Hub, +mounted:\n%s", diff)
	}
	if err := local.Client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	n.deleteArtifact(a)
}

func encoded(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// reader returns a Pod that mounts an image and reads the model in it.
func (n *tenant) reader(reference string) *corev1.Pod {
	n.t.Helper()
	const image = "registry.local/sums:1"
	file := filepath.Join(n.t.TempDir(), "sums.tar")
	o := images.Options{Name: image, Programs: map[string]string{"/sums": "./testdata/sums"}, Entrypoint: []string{"/sums"}, User: "1001"}
	if err := images.Build(n.t.Context(), file, o); err != nil {
		n.t.Fatal(err)
	}
	if err := local.Cluster.LoadImage(n.t.Context(), file); err != nil {
		n.t.Fatal(err)
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "reader"},
		Spec: corev1.PodSpec{
			RestartPolicy:   corev1.RestartPolicyNever,
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "reader", Image: image, ImagePullPolicy: corev1.PullNever, Args: []string{"/model/models"},
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
				VolumeMounts:    []corev1.VolumeMount{{Name: "model", MountPath: "/model", ReadOnly: true}},
			}},
			Volumes: []corev1.Volume{{Name: "model", VolumeSource: corev1.VolumeSource{
				Image: &corev1.ImageVolumeSource{Reference: reference, PullPolicy: corev1.PullIfNotPresent},
			}}},
		},
	}
}
