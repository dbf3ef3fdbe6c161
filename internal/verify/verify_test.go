package verify

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/attest/keyless"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/sigstore"
)

const repository = "models/m"

// A world is a registry with an artifact, which has nothing beside it yet.
type world struct {
	*registry.Client

	t        *testing.T
	artifact ocispec.Descriptor
	signer   *testregistry.Signer // Is trusted.
	stranger *testregistry.Signer
}

func newWorld(t *testing.T, referrersAPI bool) *world {
	t.Helper()
	s := httptest.NewServer(gcr.New(gcr.Logger(log.New(io.Discard, "", 0)), gcr.WithReferrersSupport(referrersAPI)))
	t.Cleanup(s.Close)
	c, err := registry.New(registry.Options{Host: strings.TrimPrefix(s.URL, "http://"), PlainHTTP: true, SingleTry: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := &world{Client: c, t: t, signer: testregistry.NewSigner(t), stranger: testregistry.NewSigner(t)}
	w.artifact = testregistry.PushForeign(t, c, repository, "v1")
	return w
}

// bundle pushes a bundle about a digest as a referrer of the artifact.
func (w *world) bundle(s *testregistry.Signer, predicateType string, subject digest.Digest) {
	w.t.Helper()
	testregistry.PushReferrer(w.t, w, repository, w.artifact, testregistry.BundleType, s.Bundle(predicateType, subject))
}

// signature pushes an image signature about a digest under the artifact's legacy tag.
func (w *world) signature(s *testregistry.Signer, subject digest.Digest) {
	w.t.Helper()
	payload, annotations := s.Signature(subject)
	testregistry.PushLegacy(w.t, w, repository, w.artifact.Digest, ".sig", testregistry.SimpleSigningType, payload, annotations)
}

// attestation pushes an attestation about a digest under the artifact's legacy tag.
func (w *world) attestation(s *testregistry.Signer, predicateType string, subject digest.Digest) {
	w.t.Helper()
	envelope := s.Envelope("https://in-toto.io/Statement/v0.1", predicateType, subject)
	testregistry.PushLegacy(w.t, w, repository, w.artifact.Digest, ".att", testregistry.EnvelopeType, envelope, nil)
}

// hideInFallback pushes a bundle that only the fallback tag lists, as a client does
// that does not know the registry's API.
func (w *world) hideInFallback(s *testregistry.Signer) {
	w.t.Helper()
	// With another subject it is not listed by the API.
	other := testregistry.PushForeign(w.t, w, repository, "v2")
	other.Digest = digest.FromString("other")
	d := testregistry.PushReferrer(w.t, w, repository, other, testregistry.BundleType, s.Bundle(testregistry.SignType, w.artifact.Digest))
	b, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d}})
	if err != nil {
		w.t.Fatal(err)
	}
	index := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := w.PushManifest(w.t.Context(), repository, index, b, registry.FallbackTag(w.artifact.Digest)); err != nil {
		w.t.Fatal(err)
	}
}

func TestVerify(t *testing.T) {
	const other = digest.Digest("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	sign, provenance := testregistry.SignType, testregistry.ProvenanceType
	cases := map[string]struct {
		reason        string
		push          func(w *world)
		predicateType string
		want          string // What the error says; empty for none.
	}{
		"Bundle": {
			reason: "A bundle by a trusted key should be accepted.",
			push:   func(w *world) { w.bundle(w.signer, sign, w.artifact.Digest) },
		},
		"AnyStatement": {
			reason: "Without a predicate type any statement in a bundle should count, as with cosign and Flux.",
			push:   func(w *world) { w.bundle(w.signer, provenance, w.artifact.Digest) },
		},
		"BundleOfType": {
			reason:        "An attestation of the required type should be accepted.",
			push:          func(w *world) { w.bundle(w.signer, provenance, w.artifact.Digest) },
			predicateType: provenance,
		},
		"SecondBundle": {
			reason: "Bundles that do not count should not hide one that does.",
			push: func(w *world) {
				w.bundle(w.stranger, sign, w.artifact.Digest)
				w.bundle(w.signer, sign, other)
				testregistry.PushReferrer(w.t, w, repository, w.artifact, testregistry.BundleType, []byte("no bundle"))
				w.bundle(w.signer, sign, w.artifact.Digest)
			},
		},
		"OnlyInFallbackTag": {
			reason: "What only the fallback tag lists should be found, whether or not the registry has an API.",
			push:   func(w *world) { w.hideInFallback(w.signer) },
		},
		"LegacySignature": {
			reason: "A signature under the legacy tag should be accepted.",
			push:   func(w *world) { w.signature(w.signer, w.artifact.Digest) },
		},
		"LegacySignatureOfType": {
			reason:        "A signature under the legacy tag should count as one of cosign's predicate type.",
			push:          func(w *world) { w.signature(w.signer, w.artifact.Digest) },
			predicateType: sign,
		},
		"LegacySignatureBesideBundle": {
			reason: "A foreign bundle should not hide a signature under the legacy tag.",
			push: func(w *world) {
				w.bundle(w.stranger, sign, w.artifact.Digest)
				w.signature(w.signer, w.artifact.Digest)
			},
		},
		"LegacyAttestation": {
			reason:        "An attestation of the required type under the legacy tag should be accepted.",
			push:          func(w *world) { w.attestation(w.signer, provenance, w.artifact.Digest) },
			predicateType: provenance,
		},
		"Nothing": {
			reason: "An artifact without signatures should be refused.",
			push:   func(*world) {},
			want:   "found no signature: have it signed, or correct spec.verify",
		},
		"Stranger": {
			reason: "Signatures by another key should be refused.",
			push: func(w *world) {
				w.bundle(w.stranger, sign, w.artifact.Digest)
				w.signature(w.stranger, w.artifact.Digest)
			},
			want: "found 1 Sigstore bundles and 1 signatures under the tag .sig (signed by none of the trusted keys)",
		},
		"BundleOfOtherDigest": {
			reason: "A bundle that was copied from another artifact should be refused.",
			push:   func(w *world) { w.bundle(w.signer, sign, other) },
			want:   "found 1 Sigstore bundles (signed for another digest)",
		},
		"LegacySignatureOfOtherDigest": {
			reason: "A legacy signature that was copied from another artifact's tag should be refused.",
			push:   func(w *world) { w.signature(w.signer, other) },
			want:   "found 1 signatures under the tag .sig (signed for another digest)",
		},
		"LegacyAttestationOfOtherDigest": {
			reason:        "A legacy attestation that was copied from another artifact's tag should be refused.",
			push:          func(w *world) { w.attestation(w.signer, provenance, other) },
			predicateType: provenance,
			want:          "found 1 attestations under the tag .att (signed for another digest)",
		},
		"OtherType": {
			reason: "A signature should not be taken for the required attestation.",
			push: func(w *world) {
				w.bundle(w.signer, sign, w.artifact.Digest)
				w.signature(w.signer, w.artifact.Digest)
			},
			predicateType: provenance,
			want:          `found 1 Sigstore bundles (an attestation of type "` + sign + `")`,
		},
		"LegacyAttestationAlone": {
			reason: "An attestation under the legacy tag is no signature, as with cosign.",
			push:   func(w *world) { w.attestation(w.signer, provenance, w.artifact.Digest) },
			want:   "found no signature",
		},
		"TooLarge": {
			reason: "A bundle that is larger than any should not be read.",
			push: func(w *world) {
				testregistry.PushReferrer(w.t, w, repository, w.artifact, testregistry.BundleType, bytes.Repeat([]byte(" "), attest.MaxBundleBytes+1))
			},
			want: "found 1 Sigstore bundles (too large to be read)",
		},
		"OtherReferrer": {
			reason: "A bundle that is no layer of type bundle should not be read.",
			push: func(w *world) {
				testregistry.PushReferrer(w.t, w, repository, w.artifact, "application/vnd.cyclonedx+json", w.signer.Bundle(sign, w.artifact.Digest))
			},
			want: "found no signature",
		},
	}
	for name, tc := range cases {
		for api, has := range map[string]bool{"API": true, "FallbackTag": false} {
			t.Run(name+"/"+api, func(t *testing.T) {
				w := newWorld(t, has)
				tc.push(w)
				v, err := New(Options{Keys: w.signer.PublicKey(), PredicateType: tc.predicateType, Field: "spec.verify"})
				if err != nil {
					t.Fatal(err)
				}
				err = v.Verify(t.Context(), w, registry.Reference{Registry: "r.example.com", Repository: repository, Digest: w.artifact.Digest})
				if tc.want == "" && err != nil {
					t.Errorf("\n%s\nVerify(...): %v", tc.reason, err)
				}
				if tc.want != "" && (outcome.ReasonOf(err) != outcome.Unverified || !strings.Contains(err.Error(), tc.want)) {
					t.Errorf("\n%s\nVerify(...): want %q, got %v", tc.reason, tc.want, err)
				}
			})
		}
	}
}

func TestVerifyIdentity(t *testing.T) {
	const email = "release@example.com"
	s := sigstore.New(t)
	file := filepath.Join(t.TempDir(), "trusted_root.json")
	if err := os.WriteFile(file, s.TrustedRoot(), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		push   func(w *world)
		want   string // What the error says; empty for none.
	}{
		"Bundle": {
			reason: "A bundle by a trusted identity should be accepted.",
			push: func(w *world) {
				testregistry.PushReferrer(t, w, repository, w.artifact, testregistry.BundleType, s.Bundle(email, testregistry.SignType, w.artifact.Digest))
			},
		},
		"LegacySignature": {
			reason: "A legacy signature by a trusted identity should be accepted.",
			push: func(w *world) {
				payload, annotations := s.LegacySignature(email, w.artifact.Digest)
				testregistry.PushLegacy(t, w, repository, w.artifact.Digest, ".sig", testregistry.SimpleSigningType, payload, annotations)
			},
		},
		"Stranger": {
			reason: "A bundle by another identity should be refused, and the identity named.",
			push: func(w *world) {
				testregistry.PushReferrer(t, w, repository, w.artifact, testregistry.BundleType, s.Bundle("x@example.com", testregistry.SignType, w.artifact.Digest))
			},
			want: `found 1 Sigstore bundles (signed by "x@example.com" of "` + sigstore.Issuer + `", who is not trusted)`,
		},
		"Key": {
			reason: "A bundle by a key should be refused.",
			push:   func(w *world) { w.bundle(w.signer, testregistry.SignType, w.artifact.Digest) },
			want:   "signed with a key, and not by an identity",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, true)
			tc.push(w)
			v, err := New(Options{Identities: []keyless.Identity{{Issuer: sigstore.Issuer, Subject: email}}, TrustedRootFile: file, Field: "spec.verify"})
			if err != nil {
				t.Fatal(err)
			}
			err = v.Verify(t.Context(), w, registry.Reference{Registry: "r.example.com", Repository: repository, Digest: w.artifact.Digest})
			if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("\n%s\nVerify(...): want %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

func TestVerifyUnavailable(t *testing.T) {
	w := newWorld(t, true)
	v, err := New(Options{Keys: w.signer.PublicKey(), Field: "spec.verify"})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(nil)
	s.Close()
	c, err := registry.New(registry.Options{Host: strings.TrimPrefix(s.URL, "http://"), PlainHTTP: true, SingleTry: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	err = v.Verify(t.Context(), c, registry.Reference{Registry: "r.example.com", Repository: repository, Digest: w.artifact.Digest})
	if got := outcome.ReasonOf(err); got != outcome.Unavailable {
		t.Errorf("A registry that does not answer should not be taken for one without signatures.\nVerify(...): got %q: %v", got, err)
	}
}

func TestNew(t *testing.T) {
	key := testregistry.NewSigner(t).PublicKey()
	file := filepath.Join(t.TempDir(), "cosign.pub")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(filepath.Dir(file), "trusted_root.json")
	if err := os.WriteFile(root, sigstore.New(t).TrustedRoot(), 0o600); err != nil {
		t.Fatal(err)
	}
	identity := []keyless.Identity{{Issuer: "https://example.com", Subject: "a@example.com"}}
	cases := map[string]struct {
		reason  string
		options Options
		want    outcome.Reason // Empty for no error.
	}{
		"Inline":   {reason: "Keys should be accepted inline.", options: Options{Keys: key + key}},
		"File":     {reason: "Keys should be accepted in files.", options: Options{KeyFiles: []string{file}}},
		"Both":     {reason: "Keys and identities together should be refused.", options: Options{Keys: key, Identities: identity, TrustedRootFile: root}, want: outcome.ConfigInvalid},
		"NoRoot":   {reason: "An identity without a trusted root should be refused.", options: Options{Identities: identity}, want: outcome.ConfigInvalid},
		"RootGone": {reason: "A missing trusted root should be refused.", options: Options{Identities: identity, TrustedRootFile: root + "x"}, want: outcome.ConfigMissing},
		"BadRoot":  {reason: "A trusted root that is none should be refused.", options: Options{Identities: identity, TrustedRootFile: file}, want: outcome.ConfigInvalid},
		"Identity": {reason: "An identity should be accepted.", options: Options{Identities: identity, TrustedRootFile: root}},
		"None":     {reason: "Without keys nothing could be verified.", options: Options{}, want: outcome.ConfigInvalid},
		"NoKey":    {reason: "A text that is no key should be refused.", options: Options{Keys: "x"}, want: outcome.ConfigInvalid},
		"Private":  {reason: "A private key should be refused.", options: Options{Keys: strings.ReplaceAll(key, "PUBLIC", "PRIVATE")}, want: outcome.ConfigInvalid},
		"NoFile":   {reason: "A missing file should be refused.", options: Options{KeyFiles: []string{file + "x"}}, want: outcome.ConfigMissing},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := New(tc.options)
			if (err != nil) != (tc.want != "") || err != nil && outcome.ReasonOf(err) != tc.want {
				t.Errorf("\n%s\nNew(...): want reason %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}
