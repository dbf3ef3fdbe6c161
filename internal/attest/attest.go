// Package attest makes and checks the signed statements about an artifact: who made it
// from what (SLSA provenance), which files it has (OpenSSF Model Signing, CycloneDX),
// and by which key that is signed (DSSE envelopes in Sigstore bundles). It knows
// neither registries nor Kubernetes.
//
// A signature by a key covers a digest, whatever the statement says of it: cosign and
// Flux accept any statement by a trusted key as a signature of the image. So this
// package makes no statement about an artifact that must not be used.
package attest

import (
	"context"
	"sync"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
)

// Types of the referrers that hold signed and other descriptions of an artifact. They
// are both the manifest's artifactType and the type of its one layer.
const (
	// BundleType is a Sigstore bundle
	// (https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md). One of them
	// makes cosign, Kyverno and Flux ignore signatures under legacy tags.
	BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

	// OwnershipType is the same bundle under a type that signature verifiers do not
	// look for. It records who owns a copy whose upstream signatures must stay visible.
	OwnershipType = "application/vnd.kitops.crossplane.ownership.v1+json"

	// ModelSignatureType is a bundle with an OpenSSF Model Signing statement. Its
	// subject is the model's files and not the manifest, so it must not have the type
	// by which verifiers look for signatures of the manifest.
	ModelSignatureType = "application/vnd.kitops.crossplane.oms.v1+json"

	// BOMType is a CycloneDX bill of materials.
	BOMType = "application/vnd.cyclonedx+json"
)

// PayloadType is the type of an in-toto statement in a DSSE envelope
// (https://github.com/in-toto/attestation/blob/main/spec/v1/envelope.md).
const PayloadType = "application/vnd.in-toto+json"

// Predicate types of statements.
const (
	// ProvenanceType is SLSA's build provenance
	// (https://slsa.dev/spec/v1.1/provenance).
	ProvenanceType = "https://slsa.dev/provenance/v1"

	// ModelSigningType is an OpenSSF Model Signing v1.0 statement (section 5.1).
	ModelSigningType = "https://model_signing/signature/v1.0"
)

// MaxBundleBytes bounds a bundle that is read. Provenance needs far less.
const MaxBundleBytes = decode.MaxBytes

// A Signer signs payloads.
type Signer interface {
	// Sign returns a Sigstore bundle of type BundleType whose DSSE envelope holds the
	// payload.
	Sign(ctx context.Context, payloadType string, payload []byte) (bundle []byte, err error)

	// KeyID identifies the key or the identity that signs.
	KeyID() string

	// IsDeterministic reports whether Sign returns the same bundle for the same
	// payload. What other signers have signed must be reused, since each further
	// signature would be one more referrer.
	IsDeterministic() bool
}

// An IdentityVerifier verifies bundles that are signed by an identity, whose certificate
// they contain. Package keyless has one.
type IdentityVerifier interface {
	// OpenPayload returns the in-toto statement in a bundle, and what identifies who
	// signed it. It returns an error unless that is a trusted identity.
	OpenPayload(bundle []byte) (payload []byte, id string, err error)
}

// largeFiles is the number of files from which models are described one at a time.
const largeFiles = 10_000

// large is held while a model of many files is described, which takes up to 1.5 KiB of
// memory for a file, so that the memory does not grow with the number of callers.
var large sync.Mutex

// describe calls f, which describes so many files.
func describe(files int, f func() ([]byte, error)) ([]byte, error) {
	if files >= largeFiles {
		large.Lock()
		defer large.Unlock()
	}
	return f()
}
