package crossplane

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/test/models"
	"github.com/crossplane-contrib/provider-kitops/test/pull"
)

// artifactYAML is an Artifact as a user writes it.
const artifactYAML = `
apiVersion: model.kitops.m.crossplane.io/v1alpha1
kind: Artifact
metadata: {namespace: NAMESPACE, name: speech}
spec:
  forProvider:
    source:
      huggingFace: {model: test/silero-vad}
    target: {repository: NAMESPACE/speech, tag: v1}
  providerConfigRef: {kind: ClusterProviderConfig, name: NAMESPACE}
`

// testArtifact makes an Artifact by kubectl, with the provider under the rights
// that Crossplane and examples/install give it, looks at it as people do, and
// deletes it.
func testArtifact(t *testing.T) {
	installed(t, v1)
	n := newTenant(t)
	kubectl(t, strings.ReplaceAll(artifactYAML, "NAMESPACE", n.namespace), "apply", "--filename=-")
	kubectl(t, "", "wait", "--namespace="+n.namespace, "artifact/speech", "--for=condition=Ready", "--timeout="+patience.String())

	a := n.get("speech")
	repository, err := local.Repository(local.RegistryHost, n.namespace+"/speech", auth.EmptyCredential)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pull.Pull(t.Context(), repository, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if got.Descriptor.Digest.String() != a.Status.AtProvider.Digest {
		t.Errorf("digest: the registry has %s, status %s", got.Descriptor.Digest, a.Status.AtProvider.Digest)
	}
	if diff := cmp.Diff(models.Packed(n.files), got.Files); diff != "" {
		t.Errorf("files: -Hub, +registry:\n%s", diff)
	}
	if want := packages[v1]; a.Status.AtProvider.JobRef == nil || jobImage(t, n, a.Status.AtProvider.JobRef.Name) != want {
		t.Errorf("the run's worker is not of the package's own image %s", want)
	}
	testSigned(t, a, repository)
	t.Run("Examples", testExamples)
	t.Run("Seen", func(t *testing.T) { testSeen(t, n) })

	kubectl(t, "", "delete", "--namespace="+n.namespace, "artifact/speech", "--timeout="+patience.String())
	// The count of its use is the garbage collector's.
	eventually(t, "nothing left in the namespace", func(context.Context) string { return strings.Join(n.left(), ", ") })
	if _, err := repository.Resolve(t.Context(), "v1"); err == nil {
		t.Error("the tag is still in the registry")
	}
}

// testExamples has Crossplane's API take what examples/install has beside what these tests
// install.
func testExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "examples", "install", "runtimeconfig-*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no other runtime configurations: %v", err)
	}
	for _, f := range append(files, "imageconfig.yaml") {
		kubectl(t, example(t, filepath.Base(f)), "apply", "--dry-run=server", "--filename=-")
	}
}

// testSigned verifies an artifact's attestation by the public key that the provider has
// published in its own namespace, which it made there with the rights that it has.
func testSigned(t *testing.T, a *modelv1alpha1.Artifact, repository *remote.Repository) {
	t.Helper()
	s := a.Status.AtProvider
	if s.Attestation == nil {
		t.Fatal("the artifact is not signed")
	}
	key, err := local.SigningKey(t.Context(), local.Cluster.CrossplaneNamespace())
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := pull.Document(t.Context(), repository, s.Attestation.Digest)
	if err != nil {
		t.Fatal(err)
	}
	v, err := attest.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, id, err := v.Open(bundle, digest.Digest(s.Digest)); err != nil || id != s.Attestation.KeyID {
		t.Errorf("the attestation is by key %s, status names %s: %v", id, s.Attestation.KeyID, err)
	}
}

// jobImage is the image of the init container that brings the worker.
func jobImage(t *testing.T, n *tenant, job string) string {
	t.Helper()
	return kubectl(t, "", "get", "--namespace="+n.namespace, "job/"+job, "--output=jsonpath={.spec.template.spec.initContainers[0].image}")
}
