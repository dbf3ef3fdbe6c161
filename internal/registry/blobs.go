package registry

import (
	"context"
	"io"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// HasBlob says whether a repository has a blob.
func (c *Client) HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error) {
	repo, err := c.repository(repository)
	if err != nil {
		return false, err
	}
	ctx, cancel := ask(noteWaits(ctx))
	defer cancel()
	has, err := repo.Blobs().Exists(ctx, d)
	if err != nil {
		return false, c.failed(ctx, err, deed{"look for blobs in", repository})
	}
	return has, nil
}

// PushBlob pushes a blob in one request (distribution-spec 1.1, "POST then
// PUT"), reading r as fast as the registry takes it and keeping none of it.
// The registry holds it against the digest. It is not tried again here, as r
// can be read once only. An error of r is returned as it is, and r is not read
// any more afterwards.
func (c *Client) PushBlob(ctx context.Context, repository string, d ocispec.Descriptor, r io.Reader) error {
	repo, err := c.repository(repository)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(noteWaits(ctx))
	defer cancel(nil)
	up := newUpload(r, d.Size, c.stall, c.commit, cancel)
	err = repo.Blobs().Push(ctx, d, up)
	broken := up.end()
	switch {
	case err == nil:
		return nil
	case broken != nil:
		return broken
	}
	return c.failed(ctx, err, deed{"push to", repository})
}

// OpenBlob returns a blob's bytes. The reader ends with io.EOF only if they
// have the blob's digest and size.
func (c *Client) OpenBlob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error) {
	repo, err := c.repository(repository)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(noteWaits(ctx))
	timer := time.AfterFunc(c.stall, func() { cancel(errStalled) })
	read := deed{"read", at(repository, d.Digest.String())}
	rc, err := repo.Blobs().Fetch(ctx, d)
	timer.Stop()
	if err != nil {
		err = c.failed(ctx, err, read)
		cancel(nil)
		return nil, err
	}
	vr := content.NewVerifyReader(rc, d)
	return &download{
		ReadCloser: readCloser{vr, rc},
		ctx:        ctx, cancel: cancel, timer: timer, stall: c.stall,
		failed: func(err error) error { return c.failed(ctx, err, read) },
		verify: func() error {
			if err := vr.Verify(); err != nil {
				return outcome.Errorf(outcome.Mismatch, "registry %s sent other bytes than those of %s", c.host, read.object).Because(err)
			}
			return nil
		},
	}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}
