package verify

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// Types of layers under legacy tags
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).
const (
	typeSimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	typeEnvelope      = "application/vnd.dsse.envelope.v1+json"
)

// maxWhys bounds the different reasons that a message gives.
const maxWhys = 3

// A search looks at what is stored beside one artifact until something verifies.
type search struct {
	*Verifier

	registry   Registry
	repository string
	subject    digest.Digest
	left       int64 // The bytes that may still be read.

	seen struct{ bundles, signatures, attestations int }
	whys []string // Why what was seen does not count.
}

// bundles reports whether a Sigstore bundle verifies.
func (s *search) bundles(ctx context.Context) (bool, error) {
	all, err := s.registry.AllReferrers(ctx, s.repository, s.subject)
	if err != nil {
		return false, err
	}
	candidates := bundlesFirst(all)
	if len(candidates) > maxLookedAt {
		s.because(fmt.Errorf("only %d of %d referrers were read", maxLookedAt, len(candidates)))
	}
	for _, d := range candidates[:min(len(candidates), maxLookedAt)] {
		layers, err := s.layers(ctx, d.Digest.String())
		if err != nil {
			return false, err
		}
		if len(layers) != 1 || !isBundle(layers[0].MediaType) {
			continue
		}
		s.seen.bundles++
		ok, err := s.try(ctx, layers[0], func(b []byte) (string, error) { return s.opener.OpenBundle(b, s.subject) })
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// legacySignatures reports whether a signature under the legacy .sig tag verifies.
func (s *search) legacySignatures(ctx context.Context) (bool, error) {
	if !s.accepts(attest.SignatureType) {
		return false, nil
	}
	return s.legacy(ctx, ".sig", typeSimpleSigning, &s.seen.signatures, func(b []byte, annotations map[string]string) (string, error) {
		return attest.SignatureType, s.opener.OpenLegacySignature(b, annotations, s.subject)
	})
}

// legacyAttestations reports whether an attestation under the legacy .att tag
// verifies. cosign does not count one as a signature.
func (s *search) legacyAttestations(ctx context.Context) (bool, error) {
	if s.options.PredicateType == "" || s.options.PredicateType == attest.SignatureType {
		return false, nil
	}
	return s.legacy(ctx, ".att", typeEnvelope, &s.seen.attestations, func(b []byte, annotations map[string]string) (string, error) {
		return s.opener.OpenLegacyAttestation(b, annotations, s.subject)
	})
}

// legacy reports whether a layer of this type under a legacy tag verifies.
func (s *search) legacy(ctx context.Context, suffix, mediaType string, seen *int, open func(b []byte, annotations map[string]string) (string, error)) (bool, error) {
	layers, err := s.layers(ctx, attest.LegacyTag(s.subject, suffix))
	if err != nil {
		return false, err
	}
	layers = slices.DeleteFunc(layers, func(l ocispec.Descriptor) bool { return l.MediaType != mediaType })
	for _, l := range layers[:min(len(layers), maxLookedAt)] {
		*seen++
		ok, err := s.try(ctx, l, func(b []byte) (string, error) { return open(b, l.Annotations) })
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// layers returns the layers of a manifest; none if it is missing or is none.
func (s *search) layers(ctx context.Context, reference string) ([]ocispec.Descriptor, error) {
	_, b, err := s.registry.Manifest(ctx, s.repository, reference)
	if isUnusable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if s.left -= int64(len(b)); s.left < 0 {
		s.because(errTooLarge)
		return nil, nil
	}
	var m ocispec.Manifest
	if err := decode.JSON(b, &m); err != nil {
		return nil, nil //nolint:nilerr // Only a manifest has layers.
	}
	return m.Layers, nil
}

// try reports whether a layer verifies and has the required type. It returns an error
// only if that could not be found out.
func (s *search) try(ctx context.Context, d ocispec.Descriptor, open func([]byte) (string, error)) (bool, error) {
	b, err := s.read(ctx, d)
	switch {
	case errors.Is(err, errTooLarge):
		s.because(err)
		return false, nil
	case isUnusable(err):
		s.because(errors.New("missing or damaged"))
		return false, nil
	case err != nil:
		return false, err
	}
	predicateType, err := open(b)
	if err == nil && !s.accepts(predicateType) {
		err = errors.Errorf("an attestation of type %q", outcome.Shorten(predicateType))
	}
	if err != nil {
		s.because(err)
	}
	return err == nil, nil
}

// read reads a small blob.
func (s *search) read(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if d.Size < 0 || d.Size > min(attest.MaxBundleBytes, s.left) {
		return nil, errTooLarge
	}
	if d.Digest.Validate() != nil {
		return nil, outcome.Errorf(outcome.Mismatch, "a layer has no valid digest")
	}
	s.left -= d.Size
	rc, err := s.registry.OpenBlob(ctx, s.repository, d)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }()
	return io.ReadAll(io.LimitReader(rc, d.Size+1))
}

// isUnusable reports whether an error is about what is stored, so that it counts as not
// there, and not about the registry.
func isUnusable(err error) bool {
	return registry.IsNotFound(err) || err != nil && outcome.ReasonOf(err) == outcome.Mismatch
}

// because records why something that was seen does not count.
func (s *search) because(err error) {
	if why := outcome.Shorten(err.Error()); !slices.Contains(s.whys, why) {
		s.whys = append(s.whys, why)
	}
}

// found describes what was seen.
func (s *search) found() string {
	var seen []string
	for what, n := range map[string]int{"Sigstore bundles": s.seen.bundles, "signatures under the tag .sig": s.seen.signatures, "attestations under the tag .att": s.seen.attestations} {
		if n > 0 {
			seen = append(seen, fmt.Sprintf("%d %s", n, what))
		}
	}
	if len(seen) == 0 {
		seen = []string{"no signature"}
	}
	slices.Sort(seen)
	out := strings.Join(seen, " and ")
	if whys := s.whys[:min(len(s.whys), maxWhys)]; len(whys) > 0 {
		out += " (" + strings.Join(whys, "; ") + ")"
	}
	return out
}
