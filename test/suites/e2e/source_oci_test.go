package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// TestOfARegistry promotes an artifact to another repository, as it is, and
// repacks it as a ModelKit. Neither asks the Hub.
func TestOfARegistry(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	first := n.ownArtifact("first", modelv1alpha1.PipelineStream)
	files := n.makeOwn(first)
	was := first.Status.AtProvider

	copied := n.artifactOf("promoted", was.PinnedReference, modelv1alpha1.PackFormatModelPack)
	packed := n.artifactOf("packed", was.Reference, modelv1alpha1.PackFormatModelKit)
	n.create(copied)
	n.create(packed)
	n.waitReady(copied, corev1.ConditionTrue, "Available")
	n.waitReady(packed, corev1.ConditionTrue, "Available")
	if s := copied.Status.AtProvider; s.Digest != was.Digest {
		t.Errorf("want the copy to have the digest %s, got %s", was.Digest, s.Digest)
	}
	for _, a := range []*modelv1alpha1.Artifact{copied, packed} {
		s := a.Status.AtProvider
		if s.Source == nil || s.Source.Revision != was.Digest || s.Source.License != "MIT" || s.Files != int64(len(models.Packed(files))) {
			t.Errorf("%s: status: got source %+v, %d files", a.GetName(), s.Source, s.Files)
		}
		n.checkFiles(a, auth.EmptyCredential, files)
		n.say("at its end", a)
		n.deleteArtifact(a)
	}
	n.checkFiles(first, auth.EmptyCredential, files)
	n.deleteAndCheck(first)
}

// TestOfARegistryThatIsNot names an artifact that is not there.
func TestOfARegistryThatIsNot(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	a := n.artifactOf("missing", local.RegistryHost+"/"+n.namespace+"/nothing:v1", modelv1alpha1.PackFormatModelPack)
	n.create(a)
	n.waitReady(a, corev1.ConditionFalse, "NotFound")
	n.say("without a source", a)
	if message := a.Status.AtProvider.Failure.Message; !strings.Contains(message, "source.oci.reference") {
		t.Errorf("want the message to name the cure, got %q", message)
	}
	n.deleteArtifact(a)
}

// artifactOf returns an Artifact of an artifact in a registry that is not
// created yet.
func (n *tenant) artifactOf(name, reference string, format modelv1alpha1.PackFormat) *modelv1alpha1.Artifact {
	a := n.artifact(name, modelv1alpha1.PipelineStream, format)
	a.Spec.ForProvider.Source = &modelv1alpha1.Source{OCI: &modelv1alpha1.OCISource{Reference: reference}}
	return a
}
