package registry

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Types of what a Signer pushes.
const (
	// BundleType is that of Sigstore bundles.
	BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

	// SimpleSigningType and EnvelopeType are those of layers under cosign's legacy
	// tags.
	SimpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json"
	EnvelopeType      = "application/vnd.dsse.envelope.v1+json"

	// SignType and ProvenanceType are predicate types.
	SignType       = "https://sigstore.dev/cosign/sign/v1"
	ProvenanceType = "https://slsa.dev/provenance/v1"
)

// A Signer signs artifacts as cosign does, in code of its own.
type Signer struct {
	t   testing.TB
	key *ecdsa.PrivateKey
}

// NewSigner returns a Signer with a key of its own.
func NewSigner(t testing.TB) *Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &Signer{t: t, key: key}
}

// PublicKey returns the public key in PEM.
func (s *Signer) PublicKey() string {
	s.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// Sign returns the signature of a message.
func (s *Signer) Sign(message []byte) []byte {
	s.t.Helper()
	sum := sha256.Sum256(message)
	sig, err := ecdsa.SignASN1(rand.Reader, s.key, sum[:])
	if err != nil {
		s.t.Fatal(err)
	}
	return sig
}

// Envelope returns a DSSE envelope with a statement about a manifest.
func (s *Signer) Envelope(statementType, predicateType string, subject digest.Digest) []byte {
	const payloadType = "application/vnd.in-toto+json"
	payload := fmt.Appendf(nil, `{"_type":%q,"subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`, statementType, subject.Encoded(), predicateType)
	sig := s.Sign(fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload))
	return fmt.Appendf(nil, `{"payload":%q,"payloadType":%q,"signatures":[{"sig":%q}]}`,
		base64.StdEncoding.EncodeToString(payload), payloadType, base64.StdEncoding.EncodeToString(sig))
}

// Bundle returns a Sigstore bundle with a statement about a manifest.
func (s *Signer) Bundle(predicateType string, subject digest.Digest) []byte {
	return fmt.Appendf(nil, `{"mediaType":%q,"verificationMaterial":{"publicKey":{"hint":"x"},"tlogEntries":[]},"dsseEnvelope":%s}`,
		BundleType, s.Envelope("https://in-toto.io/Statement/v1", predicateType, subject))
}

// Signature returns the payload of an image signature under a legacy tag, and the
// annotations of its layer.
func (s *Signer) Signature(subject digest.Digest) ([]byte, map[string]string) {
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":""},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, subject)
	return payload, map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(s.Sign(payload))}
}

// PushReferrer pushes a referrer of one layer, which both have the type.
func PushReferrer(t testing.TB, p Pusher, repository string, subject ocispec.Descriptor, artifactType string, content []byte) ocispec.Descriptor {
	t.Helper()
	layer := ocispec.Descriptor{MediaType: artifactType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	return pushLayer(t, p, repository, "", ocispec.Manifest{ArtifactType: artifactType, Subject: &subject}, layer, content)
}

// PushLegacy pushes a manifest of one layer under the digest of a manifest with a
// suffix, as cosign did.
func PushLegacy(t testing.TB, p Pusher, repository string, subject digest.Digest, suffix, mediaType string, content []byte, annotations map[string]string) ocispec.Descriptor {
	t.Helper()
	layer := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content)), Annotations: annotations}
	return pushLayer(t, p, repository, "sha256-"+subject.Encoded()+suffix, ocispec.Manifest{}, layer, content)
}

func pushLayer(t testing.TB, p Pusher, repository, tag string, m ocispec.Manifest, layer ocispec.Descriptor, content []byte) ocispec.Descriptor {
	t.Helper()
	empty := ocispec.DescriptorEmptyJSON
	m.Versioned, m.MediaType = specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageManifest
	m.Config = ocispec.Descriptor{MediaType: empty.MediaType, Digest: empty.Digest, Size: empty.Size}
	m.Layers = []ocispec.Descriptor{layer}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: m.ArtifactType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if tag == "" {
		tag = d.Digest.String()
	}
	for blob, content := range map[*ocispec.Descriptor][]byte{&m.Config: empty.Data, &layer: content} {
		if err := p.PushBlob(t.Context(), repository, *blob, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.PushManifest(t.Context(), repository, d, b, tag); err != nil {
		t.Fatal(err)
	}
	return d
}
