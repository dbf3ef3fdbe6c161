package provenance

import (
	"cmp"
	"context"
	"slices"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Reader reads from a registry.
type Reader interface {
	// Referrers to a manifest, of one type or, if that is empty, of any.
	Referrers(ctx context.Context, repository string, subject digest.Digest, artifactType string) ([]ocispec.Descriptor, error)

	// Manifest that a tag or a digest names.
	Manifest(ctx context.Context, repository, reference string) (ocispec.Descriptor, []byte, error)

	// Blob returns the content of a blob, whatever size others say that it has. It
	// returns an error with reason Unsupported if that is more than a number of bytes, and
	// one with reason Mismatch if it has another digest.
	Blob(ctx context.Context, repository string, d digest.Digest, most int64) ([]byte, error)
}

// A Found record is in a registry, and verified.
type Found struct {
	Record

	// Descriptor of the record's manifest.
	Descriptor ocispec.Descriptor

	// KeyID identifies the key or the identity that signed it; empty if that is not a
	// trusted one.
	KeyID string

	statement, bundle []byte
}

// maxFetched is how many records are fetched at most to look for an owner's.
const maxFetched = 50

// Of returns an owner's records about the artifact of this digest, the latest run
// first. It returns only those that a trusted key has signed, unless AnyKey, and that name
// the digest, the repository with its host, the cluster and the owner. If there are none, rejected
// says why one that is there does not count; it is empty if there is none, or if it names
// another owner. It returns Keys.Unusable as an error instead, if there is one. A record
// that cannot be read does not count while the registry answers otherwise: whoever may
// push could make one that it cannot serve.
func (p Place) Of(ctx context.Context, r Reader, subject digest.Digest, owner Owner) (found []Found, rejected string, err error) {
	switch {
	case p.Verifier == nil && p.Unusable == nil:
		return nil, "", nil
	case p.Verifier == nil:
		p.Verifier = &attest.Verifier{}
	}
	all, err := r.Referrers(ctx, p.Repository, subject, "")
	if err != nil {
		return nil, "", err
	}
	found, rejected, failed, err := p.readAll(ctx, r, subject, owner, candidates(all, owner))
	if err != nil {
		return nil, "", err
	}
	if failed != nil && len(found) == 0 {
		if _, err := r.Referrers(ctx, p.Repository, subject, ""); err != nil {
			return nil, "", failed
		}
	}
	switch {
	case len(found) > 0:
		rejected = ""
	case rejected != "" && p.Unusable != nil:
		return nil, "", p.Unusable
	}
	slices.SortFunc(found, func(a, b Found) int {
		return cmp.Or(cmp.Compare(b.Run, a.Run), cmp.Compare(a.Descriptor.Digest, b.Descriptor.Digest))
	})
	return found, rejected, nil
}

// readAll returns those of some referrers that are records of an owner, why another does
// not count, and the error of one that the registry failed to serve.
func (p Place) readAll(ctx context.Context, r Reader, subject digest.Digest, owner Owner, all []ocispec.Descriptor) (found []Found, rejected string, failed, err error) {
	for _, d := range all {
		f, why, err := p.fetch(ctx, r, subject, d.Digest)
		if err != nil && outcome.ReasonOf(err) != outcome.Unavailable {
			return nil, "", nil, err
		}
		if err != nil {
			failed, why = err, errors.Errorf("it cannot be read: %s", err)
		}
		switch {
		case why != nil && rejected == "" && !errors.Is(why, errOther):
			rejected = why.Error()
		case why == nil && owner.Owns(f.Record):
			found = append(found, f)
		}
	}
	return found, rejected, failed, nil
}

// candidates returns the referrers that may be an owner's records, the latest run
// first, as far as their annotations tell, and then in the order of their digests. Some
// registries list without annotations.
func candidates(all []ocispec.Descriptor, owner Owner) []ocispec.Descriptor {
	out := slices.DeleteFunc(slices.Clone(all), func(d ocispec.Descriptor) bool {
		said := hints(d.Annotations)
		return d.Digest.Validate() != nil || !IsRecordType(d.ArtifactType) || said.Owner != Owner{} && !owner.Owns(said)
	})
	slices.SortFunc(out, func(a, b ocispec.Descriptor) int {
		return cmp.Or(cmp.Compare(hints(b.Annotations).Run, hints(a.Annotations).Run), cmp.Compare(a.Digest, b.Digest))
	})
	out = slices.CompactFunc(out, func(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest })
	return out[:min(len(out), maxFetched)]
}

// errOther is of a manifest that holds no record of ours.
var errOther = errors.New("it is not a record of ownership")

// fetch returns the record with this digest. It returns why it does not count, nil if it
// does.
func (p Place) fetch(ctx context.Context, r Reader, subject, record digest.Digest) (_ Found, rejected, err error) {
	d, b, err := r.Manifest(ctx, p.Repository, record.String())
	switch {
	case isGone(err):
		// A list may name it still.
		return Found{}, errOther, nil
	case isUnreadable(err):
		return Found{}, errors.New("its manifest cannot be read"), nil
	case err != nil:
		return Found{}, nil, err
	}
	layer, why := layerOf(b, subject)
	if why != nil {
		return Found{}, why, nil
	}
	bundle, err := r.Blob(ctx, p.Repository, layer.Digest, attest.MaxBundleBytes)
	if isGone(err) || isUnreadable(err) {
		return Found{}, errors.New("its content is lost"), nil
	}
	if err != nil {
		return Found{}, nil, err
	}
	found, why := p.open(bundle, subject)
	found.Descriptor, found.bundle = d, bundle
	found.Descriptor.ArtifactType = layer.MediaType
	return found, why, nil
}

// open returns the record in a bundle, or why it does not count.
func (p Place) open(bundle []byte, subject digest.Digest) (Found, error) {
	statement, keyID, err := p.Verifier.Open(bundle, subject)
	if err != nil && p.AnyKey {
		statement, err = attest.OpenUnverified(bundle, subject)
	}
	if err != nil {
		return Found{}, err
	}
	r, err := p.recordIn(statement)
	return Found{Record: r, KeyID: keyID, statement: statement}, err
}

// OpenEnvelope returns the record in a DSSE envelope, as legacy tags hold it. It returns
// an error if the record does not count.
func (p Place) OpenEnvelope(envelope []byte, subject digest.Digest) (Record, error) {
	statement, err := p.Verifier.OpenEnvelope(envelope, subject)
	if err != nil {
		return Record{}, err
	}
	return p.recordIn(statement)
}

// recordIn returns the record in a statement whose signature is verified, or why it does
// not count.
func (p Place) recordIn(statement []byte) (Record, error) {
	said, err := attest.ReadProvenance(statement)
	switch {
	case err != nil:
		return Record{}, err
	case said.Repository != p.Name:
		return Record{}, errors.Errorf("the statement is about repository %s, and not about %s", said.Repository, p.Name)
	case said.Owner.Cluster != p.Cluster:
		return Record{}, errors.Errorf("the statement names an Artifact of cluster %s, and this one is %s: set --cluster-id if it was restored from there", said.Owner.Cluster, p.Cluster)
	}
	return recordOf(said), nil
}

// layerOf returns the bundle that a record's manifest names.
func layerOf(manifest []byte, subject digest.Digest) (ocispec.Descriptor, error) {
	var m ocispec.Manifest
	if decode.JSON(manifest, &m) != nil || m.ArtifactType != attest.BundleType && m.ArtifactType != attest.OwnershipType {
		return ocispec.Descriptor{}, errOther
	}
	switch {
	case m.Subject == nil || m.Subject.Digest != subject:
		return ocispec.Descriptor{}, errors.New("its manifest refers to another artifact")
	case len(m.Layers) != 1 || m.Layers[0].Digest.Validate() != nil:
		return ocispec.Descriptor{}, errors.New("its manifest does not name one bundle")
	}
	layer := m.Layers[0]
	layer.MediaType = m.ArtifactType
	return layer, nil
}

// isUnreadable reports whether an error is of the content itself, which whoever may push
// can make: it must not keep the records of others from being read.
func isUnreadable(err error) bool {
	reason := outcome.ReasonOf(err)
	return err != nil && (reason == outcome.Mismatch || reason == outcome.Unsupported)
}

// isGone reports whether a registry has no such thing.
func isGone(err error) bool { return err != nil && outcome.ReasonOf(err) == outcome.NotFound }
