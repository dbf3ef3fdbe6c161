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

// Push pushes a record about an artifact, which need not be there yet, and
// makes sure that it is listed: where a registry has no referrers API the list
// is one manifest, which two may write at once. A registry that takes the
// record and does not list it is an error with reason Unsupported.
func Push(ctx context.Context, w Writer, repository string, subject ocispec.Descriptor, r Record) error {
	if err := pushEmpty(ctx, w, repository); err != nil {
		return err
	}
	d, manifest, err := r.Manifest(subject)
	if err != nil {
		return err
	}
	unlisted := outcome.Errorf(outcome.Unavailable, "the registry does not list yet who pushed %s to %s", subject.Digest, repository)
	err = again.Do(ctx, "provenance", func() error {
		began := time.Now()
		if err := w.PushManifest(ctx, repository, d, manifest, d.Digest.String()); err != nil {
			return retry.Permanent(err)
		}
		listed, err := staysListed(ctx, w, repository, subject.Digest, d.Digest, time.Since(began))
		if err != nil {
			return retry.Permanent(err)
		}
		if !listed {
			return unlisted
		}
		return nil
	})
	if errors.Is(err, unlisted) {
		return outcome.Errorf(outcome.Unsupported, "the registry takes manifests that refer to others, and does not list them in %s", repository).Because(err)
	}
	return err
}

// IsRefusal says of an error of Push whether the registry takes no records,
// whoever pushes them, and however often.
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

// pushEmpty pushes the blob that the manifest of each record refers to.
func pushEmpty(ctx context.Context, w Writer, repository string) error {
	empty := ocispec.DescriptorEmptyJSON
	if has, err := w.HasBlob(ctx, repository, empty); err == nil && has {
		return nil
	}
	// Some registries do not tell; all let push who may.
	return again.Do(ctx, "provenance", func() error {
		return w.PushBlob(ctx, repository, empty, bytes.NewReader(empty.Data))
	})
}

// longestPause is how long a record is not looked at again at most.
const longestPause = time.Second

// staysListed reports whether a record is listed, and still is after twice the
// time that pushing it took: who read the list before it was there, and writes
// it without the record, has done so by then.
func staysListed(ctx context.Context, r Reader, repository string, subject, record digest.Digest, took time.Duration) (bool, error) {
	listed, err := isListed(ctx, r, repository, subject, record)
	if err != nil || !listed {
		return false, err
	}
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-time.After(min(2*took, longestPause)):
	}
	return isListed(ctx, r, repository, subject, record)
}

// isListed reports whether a record's manifest is among an artifact's referrers.
func isListed(ctx context.Context, r Reader, repository string, subject, record digest.Digest) (bool, error) {
	all, err := r.Referrers(ctx, repository, subject, ArtifactType)
	return slices.ContainsFunc(all, func(d ocispec.Descriptor) bool { return d.Digest == record }), err
}
