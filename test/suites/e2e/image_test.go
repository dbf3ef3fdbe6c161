package e2e

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/cluster/images"
	"github.com/crossplane-contrib/provider-kitops/internal/attest"
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
	message := n.ended(pod, corev1.PodSucceeded)
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

// ended waits until a Pod is in its last phase, which must be this one, and returns the
// message of the container that ended it.
func (n *tenant) ended(pod *corev1.Pod, phase corev1.PodPhase) string {
	n.t.Helper()
	message := ""
	n.eventually("Pod "+pod.GetName()+" has ended", func() string {
		if err := local.Client.Get(n.t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
			return err.Error()
		}
		all := append(slices.Clone(pod.Status.InitContainerStatuses), pod.Status.ContainerStatuses...)
		if pod.Status.Phase != phase {
			return string(pod.Status.Phase) + " " + pod.Status.Message + encoded(all)
		}
		for _, c := range all {
			if end := c.State.Terminated; end != nil {
				message = end.Message
			}
		}
		return ""
	})
	return message
}

// sumsImage is of the program that leaves the SHA-256 of each file in a folder.
const sumsImage = "registry.local/sums:1"

var (
	sumsOnce sync.Once
	errSums  error
)

// loadSums gives the node that image.
func (n *tenant) loadSums() {
	n.t.Helper()
	sumsOnce.Do(func() {
		file := filepath.Join(n.t.TempDir(), "sums.tar")
		o := images.Options{Name: sumsImage, Programs: map[string]string{"/sums": "./testdata/sums"}, Entrypoint: []string{"/sums"}, User: "1001"}
		if errSums = images.Build(n.t.Context(), file, o); errSums == nil {
			errSums = local.Cluster.LoadImage(n.t.Context(), file)
		}
	})
	if errSums != nil {
		n.t.Fatal(errSums)
	}
}

// reader returns a Pod that mounts an image and reads the model in it.
func (n *tenant) reader(reference string) *corev1.Pod {
	n.t.Helper()
	n.loadSums()
	return n.pod("reader", corev1.PodSpec{
		Containers: []corev1.Container{{
			Name: "reader", Image: sumsImage, Args: []string{"/model/models"},
			VolumeMounts: []corev1.VolumeMount{{Name: "model", MountPath: "/model", ReadOnly: true}},
		}},
		Volumes: []corev1.Volume{{Name: "model", VolumeSource: corev1.VolumeSource{
			Image: &corev1.ImageVolumeSource{Reference: reference, PullPolicy: corev1.PullIfNotPresent},
		}}},
	})
}

// puller returns a Pod that pulls a model, which one of these keys must have signed, and
// reads it.
func (n *tenant) puller(name, reference string, keys []byte) *corev1.Pod {
	n.t.Helper()
	n.loadSums()
	n.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: n.namespace}, Data: map[string]string{"cosign.pub": string(keys)}})
	model := corev1.VolumeMount{Name: "model", MountPath: "/model"}
	return n.pod(name, corev1.PodSpec{
		InitContainers: []corev1.Container{{
			Name: "pull", Image: "provider-kitops:dev",
			Command: []string{
				"/usr/local/bin/worker", "pull", "--plain-http", "--with-signature",
				"--verify-key=/keys/cosign.pub", "--verify-predicate-type=" + attest.ProvenanceType, reference, "/model",
			},
			VolumeMounts: []corev1.VolumeMount{model, {Name: "keys", MountPath: "/keys", ReadOnly: true}},
		}},
		Containers: []corev1.Container{{Name: "reader", Image: sumsImage, Args: []string{"/model"}, VolumeMounts: []corev1.VolumeMount{model}}},
		Volumes: []corev1.Volume{
			{Name: "model", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "keys", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: name},
			}}},
		},
	})
}

// pod returns a Pod that runs once, within the restricted Pod security standard, from
// images that the node has.
func (n *tenant) pod(name string, spec corev1.PodSpec) *corev1.Pod {
	spec.RestartPolicy = corev1.RestartPolicyNever
	spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](1001),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	for _, all := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range all {
			all[i].ImagePullPolicy, all[i].TerminationMessagePolicy = corev1.PullNever, corev1.TerminationMessageFallbackToLogsOnError
			all[i].SecurityContext = &corev1.SecurityContext{
				AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}
		}
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name}, Spec: spec}
}
