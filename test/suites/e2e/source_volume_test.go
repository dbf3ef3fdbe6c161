package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"oras.land/oras-go/v2/registry/remote/auth"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
)

// TestVolumes packages files of a claim, by Stream and by kit. The claim stays as it is.
func TestVolumes(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	files := map[string]string{}
	for name, content := range n.files {
		if name != ".gitattributes" {
			files[name] = content
		}
	}
	volume := n.claim("tuned", "runs/7", files)
	streamed := n.artifact("streamed", modelv1alpha1.PipelineStream, modelv1alpha1.PackFormatModelPack)
	packed := n.artifact("packed", modelv1alpha1.PipelineKit, modelv1alpha1.PackFormatModelKit)
	for _, a := range []*modelv1alpha1.Artifact{streamed, packed} {
		a.Spec.ForProvider.Source = ofClaim()
		n.create(a)
	}
	for _, a := range []*modelv1alpha1.Artifact{streamed, packed} {
		n.waitReady(a, corev1.ConditionTrue, "Available")
		n.say("of a volume", a)
		if s := a.Status.AtProvider.Source; s == nil || !strings.HasPrefix(s.Revision, "sha256:") || s.License != "MIT" {
			t.Errorf("%s: want a revision of the listing and the model card's licence, got %+v", a.GetName(), s)
		}
		n.checkFiles(a, auth.EmptyCredential, files)
		n.deleteArtifact(a)
	}
	if _, err := os.Stat(filepath.Join(volume, "runs/7/README.md")); err != nil {
		t.Errorf("the volume should be left as it was: %v", err)
	}
	pvc := &corev1.PersistentVolumeClaim{}
	if err := local.Client.Get(t.Context(), client.ObjectKey{Namespace: n.namespace, Name: "tuned"}, pvc); err != nil || pvc.GetDeletionTimestamp() != nil || len(pvc.GetOwnerReferences()) > 0 {
		t.Errorf("the claim should be left as it was, got %v, %v", pvc.GetOwnerReferences(), err)
	}
}

// volumeFailures are what can be wrong with a volume.
func volumeFailures() map[string]failureCase {
	return map[string]failureCase{
		"absent-claim": {
			reason: "A claim that does not exist should be named while the run waits for it.",
			change: func(_ *tenant, a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source = ofClaim() },
			want:   outcome.ConfigMissing, says: []string{`PersistentVolumeClaim "tuned"`, "does not exist", "create it"},
		},
		"closed-volume": {
			reason: "A file that the run's user may not read should be named with its mode and owner.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Source = ofClaim()
				volume := n.claim("tuned", "runs/7", map[string]string{"config.json": "{}", "model.safetensors": "x"})
				if err := os.Chmod(filepath.Join(volume, "runs/7/model.safetensors"), 0o600); err != nil {
					n.t.Fatal(err)
				}
			},
			want: outcome.Unauthorized, says: []string{`"model.safetensors"`, "mode -rw-------, owner 0:0", "make it readable"},
		},
		"volume-link": {
			reason: "A link to a file of the run's Pod should be refused.",
			change: func(n *tenant, a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Source = ofClaim()
				volume := n.claim("tuned", "runs/7", map[string]string{"config.json": "{}"})
				if err := os.Symlink("/etc/passwd", filepath.Join(volume, "runs/7/model.safetensors")); err != nil {
					n.t.Fatal(err)
				}
			},
			want: outcome.Unsupported, says: []string{`"model.safetensors"`, "leads out of the folder"},
		},
	}
}

// ofClaim returns the claim tuned as a source.
func ofClaim() *modelv1alpha1.Source {
	return &modelv1alpha1.Source{PersistentVolumeClaim: &modelv1alpha1.PersistentVolumeClaimSource{ClaimName: "tuned", Path: "runs/7"}}
}

// claim makes a claim with files in a folder of its volume, as another Pod has left them
// there, and returns where the volume is on this machine.
func (n *tenant) claim(name, path string, files map[string]string) string {
	n.t.Helper()
	folder := filepath.Join(layout.Volumes, n.namespace+"-"+name)
	volume := filepath.Join(local.Cluster.Dir(), folder)
	for file, content := range files {
		at := filepath.Join(volume, path, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			n.t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
			n.t.Fatal(err)
		}
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: n.namespace + "-" + name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:            []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: filepath.Join(layout.State, folder)}},
			ClaimRef:               &corev1.ObjectReference{Namespace: n.namespace, Name: name},
		},
	}
	n.create(pv)
	n.t.Cleanup(func() {
		if err := local.Client.Delete(n.t.Context(), pv); err != nil && !apierrors.IsNotFound(err) {
			n.t.Log(err)
		}
	})
	n.create(&corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: ptr.To(""), VolumeName: pv.GetName(),
			Resources: corev1.VolumeResourceRequirements{Requests: pv.Spec.Capacity},
		},
	})
	return volume
}
