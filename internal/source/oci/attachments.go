package oci

import (
	"cmp"
	"context"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

const (
	// maxAttachments bounds what is copied with an artifact. Kyverno refuses to verify
	// an artifact with more than 50 referrers.
	maxAttachments = 50

	// maxAttachmentBytes bounds one blob, and all of them together, which are held in
	// memory one at a time.
	maxAttachmentBytes    = 32 << 20
	maxAllAttachmentBytes = 128 << 20

	// ownTypes begin with this: what this provider says of an artifact in its
	// repository holds there only, and it says it again where it is copied to.
	ownTypes = "application/vnd.kitops.crossplane."
)

// legacySuffixes are those of the tags, named after an artifact's digest, under which
// cosign stores what belongs to it
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).
var legacySuffixes = []string{".sig", ".att", ".sbom"}

// An Attachment is a manifest that is stored beside an artifact and belongs to it: a
// signature, an attestation, a bill of materials.
type Attachment struct {
	// Tag that it is stored under; empty for a referrer.
	Tag string

	// Descriptor and content of its manifest.
	Descriptor ocispec.Descriptor
	Manifest   []byte

	// Blobs are its config and its layers.
	Blobs []ocispec.Descriptor
}

// Attachments returns the referrers of the artifact, by the registry's API and its
// fallback tag, and what is under cosign's tags. It must be called after Resolve. It
// returns an error with reason Unsupported if they are too many or too large.
func (s *Source) Attachments(ctx context.Context) ([]Attachment, error) {
	all, err := s.client.AllReferrers(ctx, s.ref.Repository, s.ref.Digest)
	if err != nil {
		return nil, sourceFailed(err)
	}
	references := make([]string, 0, len(all)+len(legacySuffixes))
	for _, d := range all {
		if d.Digest.Validate() == nil && !strings.HasPrefix(d.ArtifactType, ownTypes) {
			references = append(references, d.Digest.String())
		}
	}
	if len(references) > maxAttachments {
		return nil, s.unfit(outcome.Errorf(outcome.Unsupported, "%d manifests refer to it, and at most %d are copied: remove some, or leave spec.forProvider.source.oci.referrers out", len(references), maxAttachments))
	}
	for _, suffix := range legacySuffixes {
		references = append(references, attest.LegacyTag(s.ref.Digest, suffix))
	}
	var out []Attachment
	var total int64
	for _, reference := range references {
		a, ok, err := s.attachment(ctx, reference)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if total += pipeline.TotalBytes(a.Blobs); total > maxAllAttachmentBytes {
			return nil, s.unfit(outcome.Errorf(outcome.Unsupported, "what refers to it has more than %s: remove some of it, or leave spec.forProvider.source.oci.referrers out", pipeline.FormatBytes(maxAllAttachmentBytes)))
		}
		out = append(out, a)
	}
	return out, nil
}

// attachment reads a manifest that may belong to the artifact, and reports whether it
// does. One that is missing, or is no manifest of an image, does not.
func (s *Source) attachment(ctx context.Context, reference string) (Attachment, bool, error) {
	d, b, err := s.client.Manifest(ctx, s.ref.Repository, reference)
	switch {
	case registry.IsNotFound(err):
		return Attachment{}, false, nil
	case err != nil:
		return Attachment{}, false, sourceFailed(err)
	}
	var m ocispec.Manifest
	if err := decode.JSON(b, &m); err != nil {
		return Attachment{}, false, nil //nolint:nilerr // Not a manifest.
	}
	if m.Config.Digest == "" || strings.HasPrefix(cmp.Or(m.ArtifactType, m.Config.MediaType), ownTypes) {
		return Attachment{}, false, nil
	}
	a := Attachment{Manifest: b, Blobs: append([]ocispec.Descriptor{m.Config}, m.Layers...)}
	a.Descriptor = ocispec.Descriptor{MediaType: cmp.Or(m.MediaType, d.MediaType), Digest: digest.FromBytes(b), Size: int64(len(b))}
	if reference != a.Descriptor.Digest.String() {
		a.Tag = reference
	} else if m.Subject == nil || m.Subject.Digest != s.ref.Digest {
		return Attachment{}, false, nil
	}
	for _, blob := range a.Blobs {
		if blob.Size < 0 || blob.Size > maxAttachmentBytes || blob.Digest.Validate() != nil {
			return Attachment{}, false, s.unfit(outcome.Errorf(outcome.Unsupported, "%s, which belongs to it, has a blob of %s, and at most %s are copied: remove it, or leave spec.forProvider.source.oci.referrers out",
				reference, pipeline.FormatBytes(blob.Size), pipeline.FormatBytes(maxAttachmentBytes)))
		}
	}
	return a, true, nil
}

// ReadBlob reads a small blob, and verifies its digest.
func (s *Source) ReadBlob(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	return s.readAll(ctx, d)
}
