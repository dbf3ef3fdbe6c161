package artifact

import (
	"slices"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
)

// TestArtifactOfARegistry makes an image from an artifact of another registry,
// and finds it again where its status is lost.
func TestArtifactOfARegistry(t *testing.T) {
	const source = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
	w := startControllers(t)
	mirrored := func() *modelv1alpha1.Artifact {
		a := w.artifact("mirrored")
		a.Spec.ForProvider.Pipeline, a.Spec.ForProvider.Format = modelv1alpha1.PipelineStream, modelv1alpha1.PackFormatImage
		a.Spec.ForProvider.Source = &modelv1alpha1.Source{OCI: &modelv1alpha1.OCISource{
			Reference: "source.example.com/models/qwen3:v1", CredentialsSecretRef: &xpv2.LocalSecretReference{Name: "later"},
		}}
		return a
	}
	readsPinned := func(a *modelv1alpha1.Artifact) {
		t.Helper()
		if s := a.Status.AtProvider.Source; s == nil || s.Revision != source {
			t.Errorf("want the status to say what it was made from, got %+v", s)
		}
		args := artifact.BuildJob(a, "", nil).Spec.Template.Spec.Containers[0].Args
		if want := "--source-artifact=source.example.com/models/qwen3@" + source; !slices.Contains(args, want) {
			t.Errorf("want it to be made again from the same, got %q", args)
		}
	}

	w.adopts("true")
	a := mirrored()
	w.create(a)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.ConfigMissing))
	w.create(w.dockerConfig("later", "x"))
	d := w.succeedAt(a, 1, "one", source)
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if got := a.Status.AtProvider.Format; got != "Image" {
		t.Errorf("format: want Image, got %s", got)
	}
	readsPinned(a)
	w.record(a.Spec.ForProvider.Target.Repository, d, provenance.Record{
		Owner: ownerOf(a), RunHash: artifact.RunHash(a), Run: 2, Source: "source.example.com/models/qwen3", Revision: source,
	})

	again := mirrored()
	again.SetAnnotations(a.GetAnnotations())
	job := w.job(a, 1)
	w.orphan(a)
	w.remove(job)
	w.deletePods()
	w.create(again)
	w.waitReady(again, corev1.ConditionTrue, "Available")
	if again.Status.AtProvider.Digest != d {
		t.Errorf("want %s to be found again, got %+v", d, again.Status.AtProvider)
	}
	readsPinned(again)
}
