// Package verify verifies an artifact in a registry by the signatures and attestations
// that are stored beside it: Sigstore bundles among its referrers, and cosign's legacy
// tags. The artifact is named by its digest, which is all that a signature covers.
package verify

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/attest/keyless"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

const (
	// maxLookedAt bounds the referrers that are read, and the layers under each legacy
	// tag. Kyverno refuses artifacts with more than 50 referrers.
	maxLookedAt = 100

	// maxBytes bounds what is read of an artifact's signatures and attestations
	// together.
	maxBytes = 64 << 20

	// patience bounds the time that verifying takes, retries included.
	patience = 10 * time.Minute
)

// Options say whose signatures are accepted.
type Options struct {
	// Keys are public keys in PEM, and KeyFiles are files with such keys. One of them
	// must have signed.
	Keys     string
	KeyFiles []string

	// Identities are trusted in place of keys, by the trusted_root.json in
	// TrustedRootFile.
	Identities      []keyless.Identity
	TrustedRootFile string

	// PredicateType is the type of the attestation that is required; empty for any
	// signature or attestation, as cosign and Flux accept them.
	PredicateType string

	// Field is where these options are set, for messages.
	Field string
}

// A Registry reads from the artifact's registry.
type Registry interface {
	// AllReferrers returns the manifests that refer to a manifest.
	AllReferrers(ctx context.Context, repository string, subject digest.Digest) ([]ocispec.Descriptor, error)

	// Manifest returns the manifest that a tag or a digest stands for.
	Manifest(ctx context.Context, repository, reference string) (ocispec.Descriptor, []byte, error)

	// OpenBlob returns a blob's bytes, which end with an error if they do not have its
	// digest.
	OpenBlob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error)
}

var _ Registry = &registry.Client{}

// A Verifier verifies artifacts.
type Verifier struct {
	options Options
	opener  opener
}

// An opener verifies one signature. Its methods return an error unless the signature is
// by a trusted signer and covers the digest.
type opener interface {
	// OpenBundle returns the predicate type of the statement in a Sigstore bundle.
	OpenBundle(bundle []byte, subject digest.Digest) (string, error)

	// OpenLegacySignature verifies a layer under a legacy .sig tag.
	OpenLegacySignature(payload []byte, annotations map[string]string, subject digest.Digest) error

	// OpenLegacyAttestation returns the predicate type of the statement in a layer
	// under a legacy .att tag.
	OpenLegacyAttestation(envelope []byte, annotations map[string]string, subject digest.Digest) (string, error)
}

// New returns a Verifier. It returns an error with reason ConfigInvalid for a key, an
// identity or a trusted root that cannot be used.
func New(o Options) (*Verifier, error) {
	opener, err := newOpener(o)
	if err != nil {
		return nil, err
	}
	return &Verifier{options: o, opener: opener}, nil
}

// newOpener returns what verifies by keys, or by identities.
func newOpener(o Options) (opener, error) {
	switch keyed := strings.TrimSpace(o.Keys) != "" || len(o.KeyFiles) > 0; {
	case keyed && len(o.Identities) > 0:
		return nil, outcome.Errorf(outcome.ConfigInvalid, "%s names both keys and identities: leave one out", o.Field)
	case keyed:
		return newKeyed(o)
	case len(o.Identities) == 0:
		return nil, outcome.Errorf(outcome.ConfigInvalid, "%s does not say who must have signed: give a public key, or an identity", o.Field)
	case o.TrustedRootFile == "":
		return nil, outcome.Errorf(outcome.ConfigInvalid, "%s names an identity and no trusted root: give a trusted_root.json, as cosign trusted-root create makes it", o.Field)
	}
	b, err := os.ReadFile(o.TrustedRootFile)
	if err != nil {
		return nil, outcome.Errorf(outcome.ConfigMissing, "cannot read the trusted root of %s: %s", o.Field, err).Because(err)
	}
	v, err := keyless.New(b, o.Identities)
	if err != nil {
		return nil, outcome.Errorf(outcome.ConfigInvalid, "%s: %s", o.Field, err).Because(err)
	}
	return v, nil
}

// newKeyed returns what verifies by keys.
func newKeyed(o Options) (opener, error) {
	var pems [][]byte
	if strings.TrimSpace(o.Keys) != "" {
		pems = append(pems, []byte(o.Keys))
	}
	for _, name := range o.KeyFiles {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, outcome.Errorf(outcome.ConfigMissing, "cannot read the public key of %s: %s", o.Field, err).Because(err)
		}
		pems = append(pems, b)
	}
	keys, err := attest.ParseForeignKeys(pems...)
	if err != nil {
		return nil, outcome.Errorf(outcome.ConfigInvalid, "%s: %s", o.Field, err).Because(err)
	}
	return keyed{keys}, nil
}

// Verify returns an error with reason Unverified unless a trusted signer has signed the
// artifact with this digest. It reads nothing of the artifact itself.
func (v *Verifier) Verify(ctx context.Context, r Registry, ref registry.Reference) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s := &search{Verifier: v, registry: r, repository: ref.Repository, subject: ref.Digest, left: maxBytes}
	for _, look := range []func(context.Context) (bool, error){s.bundles, s.legacySignatures, s.legacyAttestations} {
		ok, err := look(ctx)
		if ok || err != nil {
			return err
		}
	}
	return outcome.Errorf(outcome.Unverified, "%s is not signed as %s demands: found %s: have it signed, or correct %s",
		ref, v.options.Field, s.found(), v.options.Field)
}

// accepts reports whether the required type is this one.
func (v *Verifier) accepts(predicateType string) bool {
	return v.options.PredicateType == "" || v.options.PredicateType == predicateType
}

// isBundle reports whether a type is that of a Sigstore bundle of any version.
func isBundle(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.dev.sigstore.bundle")
}

// mayBeBundle reports whether a listed referrer may be a bundle. Some registries list
// the type of the config, which is an empty one, or none.
func mayBeBundle(d ocispec.Descriptor) bool {
	return d.ArtifactType == "" || d.ArtifactType == ocispec.MediaTypeEmptyJSON || isBundle(d.ArtifactType)
}

// bundlesFirst returns the referrers that may be bundles, those that are listed as such
// first.
func bundlesFirst(all []ocispec.Descriptor) []ocispec.Descriptor {
	out := slices.DeleteFunc(slices.Clone(all), func(d ocispec.Descriptor) bool { return !mayBeBundle(d) || d.Digest.Validate() != nil })
	slices.SortStableFunc(out, func(a, b ocispec.Descriptor) int {
		switch isA, isB := isBundle(a.ArtifactType), isBundle(b.ArtifactType); {
		case isA == isB:
			return 0
		case isA:
			return -1
		}
		return 1
	})
	return out
}

// errTooLarge is returned for what is not read because of its size.
var errTooLarge = errors.New("too large to be read")
