package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	"oras.land/oras-go/v2/registry/remote"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/test/models"
	"github.com/crossplane-contrib/provider-kitops/test/platform"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
	"github.com/crossplane-contrib/provider-kitops/test/pull"
)

// TestProvenance has whoever deploys a model verify what the provider signed: the
// provenance by the published key, the files by their signature, and both in a Pod.
func TestProvenance(t *testing.T) {
	forPipelines(t, func(n *tenant, p modelv1alpha1.PipelineType) {
		a := n.ownArtifact("signed", p)
		files := n.makeOwn(a)
		repository, s := n.repository(a), a.Status.AtProvider
		n.checkStatement(a, repository, 1)
		n.checkFilesSigned(a, repository, models.Packed(files))
		image := s.PinnedReference
		n.cosign("verify", "--key", n.keyFile(), "--insecure-ignore-tlog=true", "--allow-http-registry", image)
		n.cosign("verify-attestation", "--type", "slsaprovenance1", "--key", n.keyFile(), "--insecure-ignore-tlog=true", "--allow-http-registry", image)

		before := n.referrers(repository, s.Digest)
		n.ask(a)
		n.ask(a)
		if diff := cmp.Diff(before, n.referrers(repository, s.Digest)); diff != "" {
			n.t.Errorf("an Artifact that is reconciled again adds nothing to what refers to it: -before, +after:\n%s", diff)
		}
		if p == modelv1alpha1.PipelineStream {
			n.checkPulled(a, repository, models.Packed(files))
		}
		n.deleteAndCheck(a)
	})
}

// publicKey is the provider's public key, as it publishes it.
func (n *tenant) publicKey() []byte {
	n.t.Helper()
	key, err := local.SigningKey(n.t.Context(), platform.ProviderNamespace)
	if err != nil {
		n.t.Fatal(err)
	}
	return key
}

// keyFile is a file with that key.
func (n *tenant) keyFile() string { return n.file("cosign.pub", n.publicKey()) }

// file writes a file of the test's own.
func (n *tenant) file(name string, content []byte) string {
	n.t.Helper()
	path := filepath.Join(n.t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		n.t.Fatal(err)
	}
	return path
}

// document is the one layer of a manifest that refers to an artifact.
func (n *tenant) document(repository *remote.Repository, manifest string) []byte {
	n.t.Helper()
	b, err := pull.Document(n.t.Context(), repository, manifest)
	if err != nil {
		n.t.Fatal(err)
	}
	return b
}

// cluster is the ID of the cluster in what the provider signs.
func (n *tenant) cluster() string {
	n.t.Helper()
	ns := &corev1.Namespace{}
	if err := local.Client.Get(n.t.Context(), client.ObjectKey{Name: "kube-system"}, ns); err != nil {
		n.t.Fatal(err)
	}
	return string(ns.GetUID())
}

// checkStatement verifies the provenance by the published key, and compares it with
// what is known.
func (n *tenant) checkStatement(a *modelv1alpha1.Artifact, repository *remote.Repository, run int64) {
	n.t.Helper()
	s := a.Status.AtProvider
	if s.Attestation == nil || len(n.records(repository, s.Digest)) != 1 || n.records(repository, s.Digest)[0].Digest.String() != s.Attestation.Digest {
		n.t.Fatalf("status names attestation %+v, the registry has %+v", s.Attestation, n.records(repository, s.Digest))
	}
	key := n.publicKey()
	v, err := attest.NewVerifier(key)
	if err != nil {
		n.t.Fatal(err)
	}
	statement, id, err := v.Open(n.document(repository, s.Attestation.Digest), digest.Digest(s.Digest))
	if err != nil {
		n.t.Fatal(err)
	}
	if sum := sha256.Sum256(key); id != s.Attestation.KeyID || id != hex.EncodeToString(sum[:]) {
		n.t.Errorf("key: the bundle is by %s, status names %s", id, s.Attestation.KeyID)
	}
	got, err := attest.ReadProvenance(statement)
	if err != nil {
		n.t.Fatal(err)
	}
	source, commit := "https://huggingface.co/"+n.ownModel(), s.Source.Revision
	want := attest.Provenance{
		Repository: local.RegistryHost + "/" + a.Spec.ForProvider.Target.Repository, Digest: digest.Digest(s.Digest),
		Owner:  attest.Owner{Cluster: n.cluster(), ID: string(a.GetUID()), Namespace: n.namespace, Name: a.GetName()},
		Run:    run,
		Source: source, Revision: commit, License: "MIT", Files: s.Files,
		Dependencies: []attest.Dependency{{URI: "git+" + source + "@" + commit, Digest: map[string]string{"gitCommit": commit}}},
		BuilderID:    attest.BuilderID(n.cluster()),
	}
	others := cmpopts.IgnoreFields(attest.Provenance{}, "RunHash", "RunID", "Started", "Finished", "Parameters", "Images", "Version", "FileList", "Scan")
	if diff := cmp.Diff(want, got, others); diff != "" {
		n.t.Errorf("provenance: -want, +got:\n%s", diff)
	}
	if got.RunHash != s.RunHash || got.Finished.IsZero() || got.FileList == "" {
		n.t.Errorf("the provenance does not name its run: %+v", got)
	}
}

// checkFilesSigned checks that the bill of materials and the signature of the model,
// which status names, have these files.
func (n *tenant) checkFilesSigned(a *modelv1alpha1.Artifact, repository *remote.Repository, files map[string]string) {
	n.t.Helper()
	d := a.Status.AtProvider.Description
	if d == nil || d.FileList == "" || d.BOM == "" || d.ModelSignature == "" {
		n.t.Fatalf("status does not name what describes the artifact: %+v", d)
	}
	var bom struct {
		Components []struct {
			Name   string
			Hashes []struct{ Content string }
		}
	}
	if err := json.Unmarshal(n.document(repository, d.BOM), &bom); err != nil {
		n.t.Fatal(err)
	}
	listed := map[string]string{}
	for _, c := range bom.Components {
		if len(c.Hashes) == 1 {
			listed[c.Name] = c.Hashes[0].Content
		}
	}
	if diff := cmp.Diff(files, listed); diff != "" {
		n.t.Errorf("bill of materials: -Hub, +listed:\n%s", diff)
	}
	if diff := cmp.Diff(files, n.signedFiles(n.document(repository, d.ModelSignature))); diff != "" {
		n.t.Errorf("signature of the model: -Hub, +signed:\n%s", diff)
	}
}

// signedFiles verifies an OpenSSF Model Signing bundle by the published key, and
// returns the files that it covers.
func (n *tenant) signedFiles(bundle []byte) map[string]string {
	n.t.Helper()
	var envelope struct {
		DSSEEnvelope struct{ Payload []byte }
	}
	var statement struct {
		Predicate struct {
			Resources []struct{ Name, Digest string }
		}
	}
	err := json.Unmarshal(bundle, &envelope)
	if err == nil {
		err = json.Unmarshal(envelope.DSSEEnvelope.Payload, &statement)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	out := map[string]string{}
	for _, r := range statement.Predicate.Resources {
		out[r.Name] = r.Digest
	}
	// The root is the digest of the files' digests, in the order of their paths (OpenSSF
	// Model Signing v1.0, section 6.4).
	root := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(out)) {
		sum, err := hex.DecodeString(out[name])
		if err != nil {
			n.t.Fatal(err)
		}
		root.Write(sum)
	}
	v, err := attest.NewVerifier(n.publicKey())
	if err != nil {
		n.t.Fatal(err)
	}
	if _, _, err := v.Open(bundle, digest.NewDigest(digest.SHA256, root)); err != nil {
		n.t.Error(err)
	}
	return out
}

// cosignTimeout bounds a cold build of cosign, which other suites have built before.
const cosignTimeout = 25 * time.Minute

// cosign runs cosign in the cluster's network. No command reaches a public Sigstore: the
// home folder, where it would keep what it trusts, is empty.
func (n *tenant) cosign(args ...string) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), cosignTimeout)
	defer cancel()
	dir, err := programs.Build(ctx, os.Stderr, programs.Cosign)
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := local.Cluster.Command(ctx, append([]string{filepath.Join(dir, "cosign")}, args...)...)
	cmd.Env = append(cmd.Env, "HOME="+n.t.TempDir(), "COSIGN_PASSWORD=")
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Errorf("cosign %s: %v:\n%s", strings.Join(args, " "), err, out)
	}
}

// checkPulled has Pods pull the artifact: one that trusts the provider's key, and one
// that trusts another.
func (n *tenant) checkPulled(a *modelv1alpha1.Artifact, repository *remote.Repository, files map[string]string) {
	n.t.Helper()
	reference := a.Status.AtProvider.PinnedReference
	trusting, doubting := n.puller("trusting", reference, n.publicKey()), n.puller("doubting", reference, n.newKey().PublicPEM())
	n.create(trusting)
	n.create(doubting)

	got := map[string]string{}
	if err := json.Unmarshal([]byte(n.ended(trusting, corev1.PodSucceeded)), &got); err != nil {
		n.t.Fatal(err)
	}
	maps.DeleteFunc(got, func(name, _ string) bool { return strings.HasPrefix(name, ".provider-kitops/") })
	want := maps.Clone(files)
	want[attest.SignatureFile] = digest.FromBytes(n.document(repository, a.Status.AtProvider.Description.ModelSignature)).Encoded()
	if diff := cmp.Diff(want, got); diff != "" {
		n.t.Errorf("files in the Pod: -want, +pulled:\n%s", diff)
	}
	if message := n.ended(doubting, corev1.PodFailed); !strings.Contains(message, "Unverified") || !strings.Contains(message, "--verify-key") {
		n.t.Errorf("a Pod that trusts another key does not say why it pulls nothing: %s", message)
	}
	for _, pod := range []*corev1.Pod{trusting, doubting} {
		if err := local.Client.Delete(n.t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
			n.t.Fatal(err)
		}
	}
}

// newKey returns a key that the provider does not know.
func (n *tenant) newKey() *attest.Key {
	n.t.Helper()
	private, err := attest.GenerateKey()
	if err != nil {
		n.t.Fatal(err)
	}
	return n.parseKey(private)
}

func (n *tenant) parseKey(private []byte) *attest.Key {
	n.t.Helper()
	key, err := attest.ParsePrivateKey(private, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return key
}
