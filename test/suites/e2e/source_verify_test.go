package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestVerifiedSource copies an artifact that its author has signed, with what was signed,
// and refuses it where the author's key is another.
func TestVerifiedSource(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	upstream := n.ownArtifact("upstream", modelv1alpha1.PipelineStream)
	files := n.makeOwn(upstream)
	author, stranger := registry.NewSigner(t), registry.NewSigner(t)
	repository, was := n.repository(upstream), upstream.Status.AtProvider
	subject, err := repository.Resolve(t.Context(), was.Digest)
	if err != nil {
		t.Fatal(err)
	}
	bundle := registry.PushReferrer(t, pusher{repository}, "", subject, attest.BundleType, author.Bundle(registry.SignType, subject.Digest))
	payload, annotations := author.Signature(subject.Digest)
	registry.PushLegacy(t, pusher{repository}, "", subject.Digest, attest.LegacySignatureSuffix, registry.SimpleSigningType, payload, annotations)

	mirror, refused := n.artifactOf("mirror", was.Reference, modelv1alpha1.PackFormatModelPack), n.artifactOf("refused", was.Reference, modelv1alpha1.PackFormatModelPack)
	source := mirror.Spec.ForProvider.Source.OCI
	source.Verify, source.Referrers = &modelv1alpha1.Verification{Key: author.PublicKey()}, modelv1alpha1.ReferrersCopy
	refused.Spec.ForProvider.Source.OCI.Verify = &modelv1alpha1.Verification{Key: stranger.PublicKey()}
	n.create(mirror)
	n.create(refused)

	n.waitReady(refused, corev1.ConditionFalse, string(outcome.Unverified))
	n.say("by another key", refused)
	if tags := n.tags(n.repository(refused)); len(tags) > 0 || n.uploads(refused) > 0 {
		t.Errorf("of what is not verified tags %v were pushed, in %d uploads", tags, n.uploads(refused))
	}
	n.change(refused, func() { refused.Spec.ForProvider.Source.OCI.Verify.Key = author.PublicKey() })

	n.waitReady(mirror, corev1.ConditionTrue, "Available")
	copied, key := n.repository(mirror), n.file("author.pub", []byte(author.PublicKey()))
	if s := mirror.Status.AtProvider; s.Digest != was.Digest {
		t.Errorf("want the copy to have the digest %s, got %s", was.Digest, s.Digest)
	}
	n.checkFiles(mirror, auth.EmptyCredential, files)
	types := map[string]bool{}
	for _, d := range n.referrers(copied, was.Digest) {
		types[d.ArtifactType] = true
	}
	if n.tagged(copied, bundle.Digest.String()) == "" || n.tagged(copied, attest.LegacyTag(subject.Digest, attest.LegacySignatureSuffix)) == "" || !types[attest.OwnershipType] {
		t.Errorf("the copy lacks what its author signed, or who owns it: it has tags %v and referrers %v", n.tags(copied), types)
	}
	n.cosign("verify", "--key", key, "--insecure-ignore-tlog=true", "--allow-http-registry", mirror.Status.AtProvider.PinnedReference)

	n.waitReady(refused, corev1.ConditionTrue, "Available")
	for _, a := range []*modelv1alpha1.Artifact{mirror, refused, upstream} {
		n.deleteArtifact(a)
	}
}

// uploads returns how many uploads were begun to the Artifact's repository.
func (n *tenant) uploads(a *modelv1alpha1.Artifact) int {
	n.t.Helper()
	log, err := os.ReadFile(filepath.Join(local.Cluster.LogDir(), "registry.log"))
	if err != nil {
		n.t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.Split(string(log), "\n"), func(line string) bool {
		return !strings.Contains(line, `"POST /v2/`+a.Spec.ForProvider.Target.Repository+"/blobs/uploads/")
	})
	return len(lines)
}
