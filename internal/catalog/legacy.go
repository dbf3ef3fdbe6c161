package catalog

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

const (
	// legacyTries is how often a legacy tag is written that others write at the same
	// time: registries cannot write only what nobody has changed.
	legacyTries = 3

	// maxEnvelopes bounds the attestations under a legacy tag that are read to find the
	// owner's. Others count as foreign.
	maxEnvelopes = 50
)

// A legacySigner signs in the form that legacy tags hold. Keys do.
type legacySigner interface {
	LegacySignature(repository string, d digest.Digest) (attest.LegacyLayer, error)
}

// signLegacy adds to the legacy tags of a manifest the attestation that a record is, in
// place of the owner's earlier ones, and a signature. What others have signed stays. It
// returns why that is not possible, which is no failure: a tag may hold something else,
// and a registry may not let it be changed.
func (c Catalog) signLegacy(ctx context.Context, subject digest.Digest, r provenance.Record) (string, error) {
	if !c.writesLegacy(subject, r) {
		return "", nil
	}
	err := c.pushLegacy(ctx, subject, r)
	if provenance.IsRefusal(err) {
		return err.Error(), nil
	}
	return "", err
}

// writesLegacy reports whether a record about a manifest is under legacy tags, too.
func (c Catalog) writesLegacy(subject digest.Digest, r provenance.Record) bool {
	return c.LegacyTags && c.Keys.Signer != nil && c.place().IsForVerifiers(subject, r)
}

func (c Catalog) pushLegacy(ctx context.Context, subject digest.Digest, r provenance.Record) error {
	signer, ok := c.Keys.Signer.(legacySigner)
	if !ok {
		return outcome.Errorf(outcome.Unsupported, "what signs has no key, without which legacy tags hold nothing")
	}
	bundle, err := c.place().Sign(ctx, subject, c.owned(r))
	if err != nil {
		return err
	}
	attestation, err := attest.LegacyAttestation(bundle)
	if err != nil {
		return err
	}
	signature, err := signer.LegacySignature(c.Name, subject)
	if err != nil {
		return err
	}
	err = c.writeLegacy(ctx, attest.LegacyTag(subject, attest.LegacyAttestationSuffix), func(layers []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		others, _, err := c.withoutOwners(ctx, subject, layers, attestation.Descriptor.Digest, c.Owner)
		return withLayer(others, attestation.Descriptor), err
	}, attestation)
	if err != nil {
		return err
	}
	return c.writeLegacy(ctx, attest.LegacyTag(subject, attest.LegacySignatureSuffix), func(layers []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		return withLayer(layers, signature.Descriptor), nil
	}, signature)
}

// unsignLegacy removes what owners have under the legacy tags of a manifest: their
// attestations and, with the last owner's, the signature. What the registry does not let
// be removed stays, and so does what a tag holds that is not of cosign's form.
func (c Catalog) unsignLegacy(ctx context.Context, subject digest.Digest, owners ...provenance.Owner) error {
	if c.Keys.Verifier == nil {
		return nil
	}
	others := 0
	err := c.writeLegacy(ctx, attest.LegacyTag(subject, attest.LegacyAttestationSuffix), func(layers []ocispec.Descriptor) (_ []ocispec.Descriptor, err error) {
		layers, others, err = c.withoutOwners(ctx, subject, layers, "", owners...)
		return layers, err
	})
	if err := ignoreRefusal(err); err != nil || others > 0 {
		return err
	}
	return ignoreRefusal(c.writeLegacy(ctx, attest.LegacyTag(subject, attest.LegacySignatureSuffix), func(layers []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		return slices.DeleteFunc(slices.Clone(layers), func(l ocispec.Descriptor) bool { return c.Keys.Verifier.IsLegacySignature(c.Name, subject, l) }), nil
	}))
}

// hasLegacy reports whether the owner has an attestation under the legacy tag of one of
// these manifests.
func (c Catalog) hasLegacy(ctx context.Context, subjects []digest.Digest) (bool, error) {
	if !c.LegacyTags || c.Keys.Verifier == nil {
		return false, nil
	}
	for _, subject := range subjects {
		_, m, err := c.readLegacy(ctx, attest.LegacyTag(subject, attest.LegacyAttestationSuffix))
		var others []ocispec.Descriptor
		if err == nil {
			others, _, err = c.withoutOwners(ctx, subject, m.Layers, "", c.owners()...)
		}
		if err := ignoreRefusal(err); err != nil || len(others) < len(m.Layers) {
			return err == nil, err
		}
	}
	return false, nil
}

// ignoreRefusal returns no error for what a registry does not let this account do, or
// for a tag that is not of cosign's form.
func ignoreRefusal(err error) error {
	if provenance.IsRefusal(err) || registry.IsUnauthorized(err) {
		return nil
	}
	return err
}

// withoutOwners returns the layers under a legacy tag of a manifest without the
// attestations of these owners, but for the one to keep, and how many of the rest are
// attestations of other owners.
func (c Catalog) withoutOwners(ctx context.Context, subject digest.Digest, layers []ocispec.Descriptor, keep digest.Digest, owners ...provenance.Owner) (rest []ocispec.Descriptor, others int, err error) {
	read := 0
	for _, l := range layers {
		rest = append(rest, l)
		if l.Digest == keep || !attest.IsLegacyProvenance(l) || read == maxEnvelopes {
			continue
		}
		read++
		b, err := c.Registry.Blob(ctx, c.Repository, l.Digest, attest.MaxBundleBytes)
		if err := ignoreRefusal(err); err != nil {
			return nil, 0, err
		}
		r, err := c.place().OpenEnvelope(b, subject)
		switch {
		case err != nil:
			// Not signed by a key that is trusted, or not about this.
		case slices.ContainsFunc(owners, func(o provenance.Owner) bool { return o.Owns(r) }):
			rest = rest[:len(rest)-1]
		default:
			others++
		}
	}
	return rest, others, nil
}

// withLayer returns layers with another one, unless it is among them.
func withLayer(layers []ocispec.Descriptor, l ocispec.Descriptor) []ocispec.Descriptor {
	if slices.ContainsFunc(layers, func(o ocispec.Descriptor) bool { return isSameLayer(o, l) }) {
		return layers
	}
	return append(slices.Clone(layers), l)
}

// isSameLayer reports whether two layers are the same signature: signers of the same
// payload differ in annotations alone.
func isSameLayer(a, b ocispec.Descriptor) bool {
	return a.Digest == b.Digest && maps.Equal(a.Annotations, b.Annotations)
}

// writeLegacy changes the layers under a legacy tag, of which those that are added are
// pushed first. As cosign does, it rewrites the one manifest that all signers share, and
// keeps what else is in it. Another signer may write it at the same time, so it is read
// again after it was written. It returns an error with reason Unsupported if the tag is not
// of cosign's form, and is then left as it is.
func (c Catalog) writeLegacy(ctx context.Context, tag string, change func([]ocispec.Descriptor) ([]ocispec.Descriptor, error), added ...attest.LegacyLayer) error {
	for try := 0; ; try++ {
		there, m, err := c.readLegacy(ctx, tag)
		if err != nil {
			return err
		}
		layers, err := change(m.Layers)
		if err != nil || slices.EqualFunc(layers, m.Layers, isSameLayer) {
			return err
		}
		if try == legacyTries {
			return outcome.Errorf(outcome.Unavailable, "Tag %q of %s is written by others at the same time", tag, c.Name)
		}
		if len(layers) == 0 {
			if err := provenance.DeleteTag(ctx, c.Registry, c.Repository, tag, there); err != nil {
				return err
			}
			continue
		}
		if err := c.pushLegacyManifest(ctx, tag, m, layers, added); err != nil {
			return err
		}
	}
}

// pushLegacyManifest pushes a manifest under a legacy tag with other layers.
func (c Catalog) pushLegacyManifest(ctx context.Context, tag string, m ocispec.Manifest, layers []ocispec.Descriptor, added []attest.LegacyLayer) error {
	manifest, config, err := attest.LegacyManifest(m, layers)
	if err != nil {
		return err
	}
	for _, l := range append(slices.Clone(added), attest.LegacyLayer{Content: config}) {
		d := ocispec.Descriptor{Digest: digest.FromBytes(l.Content), Size: int64(len(l.Content))}
		if has, err := c.Registry.HasBlob(ctx, c.Repository, d); err == nil && has {
			continue
		}
		if err := c.Registry.PushBlob(ctx, c.Repository, d, bytes.NewReader(l.Content)); err != nil {
			return err
		}
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
	return c.Registry.PushManifest(ctx, c.Repository, d, manifest, tag)
}

// readLegacy returns the manifest under a legacy tag, which has no layers if there is none.
func (c Catalog) readLegacy(ctx context.Context, tag string) (ocispec.Descriptor, ocispec.Manifest, error) {
	d, b, err := c.Registry.Manifest(ctx, c.Repository, tag)
	if registry.IsNotFound(err) {
		return d, ocispec.Manifest{}, nil
	}
	if err != nil {
		return d, ocispec.Manifest{}, err
	}
	m, err := attest.ReadLegacyManifest(b)
	if err != nil {
		return d, m, outcome.Errorf(outcome.Unsupported, "Tag %q of %s is left as it is: %s", tag, c.Name, err).Because(err)
	}
	return d, m, nil
}
