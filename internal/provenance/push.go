package provenance

import (
	"bytes"
	"context"
	"io"
	"slices"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// A Writer writes to a registry.
type Writer interface {
	Reader

	// HasBlob reports whether a repository has a blob.
	HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error)

	// PushBlob pushes a blob.
	PushBlob(ctx context.Context, repository string, d ocispec.Descriptor, r io.Reader) error

	// PushManifest pushes a manifest under a tag, or under its digest.
	PushManifest(ctx context.Context, repository string, d ocispec.Descriptor, manifest []byte, reference string) error
}

// again is how a record is pushed again that is not listed afterwards. Some
// registries list with a delay.
var again = retry.Policy{Tries: 4, FirstWait: 500 * time.Millisecond, MaxWait: 4 * time.Second}

// Sign returns the Sigstore bundle of a record about an artifact. It returns an error with
// reason Unsupported if there is no key to sign with, and Keys.Unusable if that says why
// there is none.
func (p Place) Sign(ctx context.Context, subject digest.Digest, r Record) ([]byte, error) {
	statement, err := p.statement(subject, r)
	if err != nil {
		return nil, err
	}
	return p.sign(ctx, statement)
}

// statement returns what Sign signs.
func (p Place) statement(subject digest.Digest, r Record) ([]byte, error) {
	if p.Unusable != nil {
		return nil, p.Unusable
	}
	if p.Signer == nil {
		return nil, outcome.Errorf(outcome.Unsupported, "the provider has no key to sign records of ownership with")
	}
	return p.provenance(subject, r).Statement()
}

func (p Place) sign(ctx context.Context, statement []byte) ([]byte, error) {
	bundle, err := p.Signer.Sign(ctx, attest.PayloadType, statement)
	return bundle, errors.Wrap(err, "cannot sign the record of ownership")
}

// signOnce returns the bundle of a record as Sign does. It returns the one that the
// registry has already if the signer would make another, so that signing the same record
// again adds no referrer.
func (p Place) signOnce(ctx context.Context, reader Reader, subject digest.Digest, r Record) ([]byte, error) {
	statement, err := p.statement(subject, r)
	if err != nil {
		return nil, err
	}
	if p.Signer.IsDeterministic() {
		return p.sign(ctx, statement)
	}
	all, _, err := p.Of(ctx, reader, subject, r.Owner)
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		if f.KeyID == p.Signer.KeyID() && f.Descriptor.ArtifactType == p.artifactType(subject, r) && bytes.Equal(f.statement, statement) {
			return f.bundle, nil
		}
	}
	return p.sign(ctx, statement)
}

// Push signs a record about an artifact and pushes it, and makes sure that it is
// listed: where a registry has no referrers API the list is one manifest, which two may
// write at once. It returns the descriptor of the record's manifest. It returns an error as
// Sign does, and one with reason Unsupported if the registry takes the record and does not
// list it.
func (p Place) Push(ctx context.Context, w Writer, subject ocispec.Descriptor, r Record) (ocispec.Descriptor, error) {
	bundle, err := p.signOnce(ctx, w, subject.Digest, r)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, layer, content, err := p.manifest(subject, r, bundle)
	if err != nil {
		return d, err
	}
	if err := pushBlob(ctx, w, p.Repository, ocispec.DescriptorEmptyJSON, ocispec.DescriptorEmptyJSON.Data); err != nil {
		return d, err
	}
	if err := pushBlob(ctx, w, p.Repository, layer, bundle); err != nil {
		return d, err
	}
	unlisted := outcome.Errorf(outcome.Unavailable, "the registry does not list yet who pushed %s to %s", subject.Digest, p.Repository)
	err = again.Do(ctx, "provenance", func() error {
		began := time.Now()
		if err := w.PushManifest(ctx, p.Repository, d, content, d.Digest.String()); err != nil {
			return retry.Permanent(err)
		}
		listed, err := staysListed(ctx, w, p.Repository, subject.Digest, d.Digest, time.Since(began))
		if err != nil {
			return retry.Permanent(err)
		}
		if !listed {
			return unlisted
		}
		return nil
	})
	if errors.Is(err, unlisted) {
		return d, outcome.Errorf(outcome.Unsupported, "the registry takes manifests that refer to others, and does not list them in %s", p.Repository).Because(err)
	}
	return d, err
}

// IsRefusal reports whether an error of Push means that no record can be pushed, by
// any account and at any later time.
func IsRefusal(err error) bool {
	var why *outcome.Error
	if !errors.As(err, &why) {
		return false
	}
	switch why.Reason {
	case outcome.Unsupported, outcome.Internal, outcome.NotFound, outcome.Mismatch:
		return true
	default:
		return false
	}
}

// pushBlob pushes a blob that a record's manifest refers to.
func pushBlob(ctx context.Context, w Writer, repository string, d ocispec.Descriptor, content []byte) error {
	d.Data = nil
	if has, err := w.HasBlob(ctx, repository, d); err == nil && has {
		return nil
	}
	// Some registries do not report it; all take it from accounts that may push.
	return again.Do(ctx, "provenance", func() error {
		return w.PushBlob(ctx, repository, d, bytes.NewReader(content))
	})
}

// longestPause bounds the wait before a record is looked for again.
const longestPause = time.Second

// staysListed reports whether a record is listed, and still is after twice the
// time that pushing it took: who read the list before it was there, and writes
// it without the record, has done so by then.
func staysListed(ctx context.Context, r Reader, repository string, subject, record digest.Digest, took time.Duration) (bool, error) {
	listed, err := isListed(ctx, r, repository, subject, record)
	if err != nil || !listed {
		return false, err
	}
	if err := retry.Sleep(ctx, min(2*took, longestPause)); err != nil {
		return false, err
	}
	return isListed(ctx, r, repository, subject, record)
}

// isListed reports whether a record's manifest is among an artifact's referrers.
func isListed(ctx context.Context, r Reader, repository string, subject, record digest.Digest) (bool, error) {
	all, err := r.Referrers(ctx, repository, subject, "")
	return slices.ContainsFunc(all, func(d ocispec.Descriptor) bool { return d.Digest == record }), err
}
