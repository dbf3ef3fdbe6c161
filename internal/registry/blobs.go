package registry

import (
	"context"
	"io"
	"net/http"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// HasBlob reports whether a repository has a blob.
func (c *Client) HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (_ bool, err error) {
	defer c.observe("HasBlob", &err)
	repo, err := c.repository(repository)
	if err != nil {
		return false, err
	}
	ctx, cancel := c.ask(noteWaits(ctx))
	defer cancel()
	look := deed{"look for blobs in", repository}
	rsp, err := c.askBlob(ctx, http.MethodHead, repository, d, "")
	if err == nil && (refusesMethod(rsp.StatusCode) || rsp.StatusCode == http.StatusForbidden && rsp.Request.URL.Host != repo.Reference.Host()) {
		// It takes no HEAD, or its storage takes the address for a GET only.
		_ = rsp.Body.Close()
		rsp, err = c.askBlob(ctx, http.MethodGet, repository, d, "bytes=0-0")
	}
	if err != nil {
		return false, c.failed(ctx, err, look)
	}
	defer rsp.Body.Close()
	switch rsp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		return true, nil
	case http.StatusNotFound:
		return false, nil
	}
	return false, c.failed(ctx, responseError(rsp), look)
}

// PushBlob pushes a blob in one request (distribution-spec 1.1, "POST then
// PUT"), reading r as fast as the registry takes it and keeping none of it.
// The registry holds it against the digest. Where r is an io.Seeker it is retried
// as the client's other requests are, from r's start. An error of r is returned
// as it is, and r is not read any more afterwards.
func (c *Client) PushBlob(ctx context.Context, repository string, d ocispec.Descriptor, r io.Reader) (err error) {
	defer c.observe("PushBlob", &err)
	s, ok := r.(io.Seeker)
	if !ok {
		return c.pushBlob(ctx, repository, d, r)
	}
	return c.retried(ctx, func(ctx context.Context) error {
		if _, err := s.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return c.pushBlob(ctx, repository, d, r)
	})
}

// pushBlob pushes a blob, once.
func (c *Client) pushBlob(ctx context.Context, repository string, d ocispec.Descriptor, r io.Reader) error {
	repo, err := c.repository(repository)
	if err != nil {
		return err
	}
	if err := c.throttle.Wait(ctx, c.host); err != nil {
		return c.failed(ctx, err, deed{"push to", repository})
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
func (c *Client) OpenBlob(ctx context.Context, repository string, d ocispec.Descriptor) (_ io.ReadCloser, err error) {
	defer c.observe("OpenBlob", &err)
	var rc io.ReadCloser
	err = c.retried(ctx, func(ctx context.Context) error {
		var err error
		rc, err = c.OpenBlobAt(ctx, repository, d, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &verifiedBlob{Closer: rc, content: content.NewVerifyReader(rc, d), wrong: func(err error) error {
		return outcome.Errorf(outcome.Mismatch, "registry %s sent other bytes than those of %s", c.host, at(repository, d.Digest.String())).Because(err)
	}}, nil
}

// A verifiedBlob is a blob's body that ends only if it has the blob's digest.
type verifiedBlob struct {
	io.Closer

	content *content.VerifyReader
	wrong   func(error) error
}

// Read implements io.Reader.
func (b *verifiedBlob) Read(p []byte) (int, error) {
	n, err := b.content.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	var known *outcome.Error
	if verr := b.content.Verify(); errors.As(verr, &known) {
		return n, verr
	} else if verr != nil {
		return n, b.wrong(verr)
	}
	return n, io.EOF
}

type readCloser struct {
	io.Reader
	io.Closer
}
