package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	"oras.land/oras-go/v2/registry/remote"
	"sigs.k8s.io/controller-runtime/pkg/client"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
	"github.com/crossplane-contrib/provider-kitops/test/platform"
)

// A pusher pushes to one repository, as an account does that may push.
type pusher struct{ *remote.Repository }

// PushBlob implements registry.Pusher.
func (p pusher) PushBlob(ctx context.Context, _ string, d ocispec.Descriptor, r io.Reader) error {
	if there, err := p.Blobs().Exists(ctx, d); err != nil || there {
		return err
	}
	return p.Blobs().Push(ctx, d, r)
}

// PushManifest implements registry.Pusher.
func (p pusher) PushManifest(ctx context.Context, _ string, d ocispec.Descriptor, manifest []byte, tag string) error {
	return p.Manifests().PushReference(ctx, d, bytes.NewReader(manifest), tag)
}

// A forgery is an attestation that somebody writes who may push.
type forgery struct {
	reason string

	// forge returns a bundle about a foreign artifact.
	forge func(f *forger, foreign digest.Digest) []byte

	// says is what Ready names; empty if the artifact is taken for the Artifact's own.
	says string
}

// A forger has what it takes to forge what the provider signs about an Artifact.
type forger struct {
	t *testing.T

	// own is what the provider signs about the Artifact, genuine is such a bundle, and
	// key the provider's own.
	own     attest.Provenance
	genuine []byte
	key     *attest.Key

	// another key, which the provider does not know.
	another *attest.Key
}

// sign returns the bundle of a statement like the provider's own about an artifact.
func (f *forger) sign(key *attest.Key, about digest.Digest, change func(*attest.Provenance)) []byte {
	f.t.Helper()
	p := f.own
	p.Digest = about
	change(&p)
	statement, err := p.Statement()
	if err != nil {
		f.t.Fatal(err)
	}
	b, err := key.Sign(f.t.Context(), attest.PayloadType, statement)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// altered returns the genuine bundle with another digest in its statement.
func (f *forger) altered(to digest.Digest) []byte {
	f.t.Helper()
	var bundle map[string]any
	var envelope struct {
		Envelope struct {
			Payload     []byte          `json:"payload"`
			PayloadType string          `json:"payloadType"`
			Signatures  json.RawMessage `json:"signatures"`
		} `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(f.genuine, &bundle); err != nil {
		f.t.Fatal(err)
	}
	if err := json.Unmarshal(f.genuine, &envelope); err != nil {
		f.t.Fatal(err)
	}
	e := &envelope.Envelope
	e.Payload = bytes.ReplaceAll(e.Payload, []byte(f.own.Digest.Encoded()), []byte(to.Encoded()))
	bundle["dsseEnvelope"] = e
	b, err := json.Marshal(bundle)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func same(*attest.Provenance) {}

// forgeries come in this order: after the last one the tag is the Artifact's again.
var forgeries = []forgery{
	{
		reason: "An altered statement is refused, though it names the provider's key.",
		forge:  func(f *forger, foreign digest.Digest) []byte { return f.altered(foreign) },
		says:   "the statement was altered",
	},
	{
		reason: "An attestation by another key is refused.",
		forge:  func(f *forger, foreign digest.Digest) []byte { return f.sign(f.another, foreign, same) },
		says:   "the bundle is signed by none of the trusted keys",
	},
	{
		reason: "A genuine attestation that is replayed about another digest is refused.",
		forge:  func(f *forger, _ digest.Digest) []byte { return f.genuine },
		says:   "the statement is about sha256:",
	},
	{
		reason: "One that is replayed from another repository is refused.",
		forge: func(f *forger, foreign digest.Digest) []byte {
			return f.sign(f.key, foreign, func(p *attest.Provenance) { p.Repository += "-elsewhere" })
		},
		says: "-elsewhere, and not about ",
	},
	{
		reason: "A tag that is moved to what the Artifact pushed, as its attestation proves, is put back.",
		forge:  func(f *forger, foreign digest.Digest) []byte { return f.sign(f.key, foreign, same) },
	},
}

// TestForgery has an account that may push move an Artifact's tag to content of its own,
// with attestations that it forges, replays and strips.
func TestForgery(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	a := n.ownArtifact("forged", modelv1alpha1.PipelineStream)
	n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) {
		c.Policy = &v1alpha1.ClusterPolicy{Tenants: &v1alpha1.TenantPolicy{Allow: append(v1alpha1.DefaultTenantFields(), v1alpha1.TenantFieldConflictPolicy)}}
	})
	n.makeOwn(a)
	repository, was := n.repository(a), a.DeepCopy().Status.AtProvider
	f := n.forger(a, repository)
	n.clearRuns()
	for _, forged := range forgeries {
		n.checkForged(a, repository, f, forged)
	}
	n.waitEvent(a, "TagPutBack", was.Digest)
	n.checkNoRun()
	n.checkStripped(a, repository, was)
	n.deleteAndCheck(a)
}

// forger returns what it takes to forge what is signed about an Artifact: as the
// cluster's administrator, who alone can read the provider's key.
func (n *tenant) forger(a *modelv1alpha1.Artifact, repository *remote.Repository) *forger {
	n.t.Helper()
	secret := &corev1.Secret{}
	if err := local.Client.Get(n.t.Context(), client.ObjectKey{Namespace: platform.ProviderNamespace, Name: "provider-kitops-signing-key"}, secret); err != nil {
		n.t.Fatal(err)
	}
	f := &forger{t: n.t, key: n.parseKey(secret.Data["cosign.key"]), another: n.newKey()}
	f.genuine = n.document(repository, a.Status.AtProvider.Attestation.Digest)
	v, err := attest.NewVerifier(f.key.PublicPEM())
	if err != nil {
		n.t.Fatal(err)
	}
	statement, _, err := v.Open(f.genuine, digest.Digest(a.Status.AtProvider.Digest))
	if err != nil {
		n.t.Fatal(err)
	}
	if f.own, err = attest.ReadProvenance(statement); err != nil {
		n.t.Fatal(err)
	}
	return f
}

// checkForged moves the tag to foreign content with a forged attestation, and checks what
// becomes of it.
func (n *tenant) checkForged(a *modelv1alpha1.Artifact, repository *remote.Repository, f *forger, forged forgery) {
	n.t.Helper()
	foreign := n.pushForeign(repository, "elsewhere")
	d, err := repository.Resolve(n.t.Context(), foreign)
	if err != nil {
		n.t.Fatal(err)
	}
	registry.PushReferrer(n.t, pusher{repository}, "", d, attest.BundleType, forged.forge(f, d.Digest))
	if err := repository.Tag(n.t.Context(), d, "v1"); err != nil {
		n.t.Fatal(err)
	}
	n.ask(a)
	if forged.says == "" {
		n.waitReady(a, corev1.ConditionTrue, "Available")
		if tagged := n.tagged(repository, "v1"); tagged != a.Status.AtProvider.Digest {
			n.t.Errorf("%s\nThe tag points to %s.", forged.reason, tagged)
		}
		return
	}
	c := a.GetCondition(xpv2.TypeReady)
	if string(c.Reason) != string(outcome.TagConflict) || !strings.Contains(c.Message, foreign) || !strings.Contains(c.Message, forged.says) {
		n.t.Errorf("%s\nReady=%s %s %q, want %s that names %s and %q", forged.reason, c.Status, c.Reason, c.Message, outcome.TagConflict, foreign, forged.says)
	}
	if tagged := n.tagged(repository, "v1"); tagged != foreign {
		n.t.Errorf("%s\nThe tag points to %s, want %s.", forged.reason, tagged, foreign)
	}
}

// checkStripped takes the attestation away: what status knows stays the Artifact's, and
// without status nothing is, until the Artifact may overwrite the tag.
func (n *tenant) checkStripped(a *modelv1alpha1.Artifact, repository *remote.Repository, was modelv1alpha1.ArtifactObservation) {
	n.t.Helper()
	for _, d := range n.records(repository, was.Digest) {
		if err := repository.Manifests().Delete(n.t.Context(), d); err != nil {
			n.t.Fatal(err)
		}
	}
	n.ask(a)
	n.waitReady(a, corev1.ConditionTrue, "Available")
	n.checkNoRun()

	n.believeRecords(a)
	n.get(a)
	a.Status = modelv1alpha1.ArtifactStatus{}
	if err := local.Client.Status().Update(n.t.Context(), a); err != nil {
		n.t.Fatal(err)
	}
	n.waitConflict(a, was.Digest)
	n.checkNoRun()
	n.change(a, func() { a.Spec.ForProvider.Target.ConflictPolicy = modelv1alpha1.ConflictOverwrite })
	n.waitReady(a, corev1.ConditionTrue, "Available")
	s := a.Status.AtProvider
	if s.Digest != was.Digest || s.Attestation == nil || len(n.records(repository, s.Digest)) != 1 {
		n.say("where it may overwrite", a)
		n.t.Errorf("after it may overwrite: got digest %s with attestation %+v of %+v, want %s with one", s.Digest, s.Attestation, n.records(repository, s.Digest), was.Digest)
	}
}
