package registry

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/content"
	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
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
	look := operation{"look for blobs in", repository}
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
		return c.failed(ctx, err, operation{"push to", repository})
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
	return c.failed(ctx, err, operation{"push to", repository})
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

// blobsAtOnce bounds how many requests for blobs run at the same time.
const blobsAtOnce = 16

// A BlobFinder knows which blobs a repository has.
type BlobFinder interface {
	// HasBlob reports whether a repository has a blob.
	HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error)
}

// Missing returns those blobs, each once and in their order, that a repository
// does not have. It returns the error of the first request that fails.
func Missing(ctx context.Context, f BlobFinder, repository string, all []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	seen := make(map[digest.Digest]bool, len(all))
	var blobs []ocispec.Descriptor
	for _, b := range all {
		if !seen[b.Digest] {
			seen[b.Digest] = true
			blobs = append(blobs, b)
		}
	}
	lost := make([]bool, len(blobs))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(blobsAtOnce)
	for i, b := range blobs {
		group.Go(func() error {
			has, err := f.HasBlob(gctx, repository, b)
			lost[i] = err == nil && !has
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var out []ocispec.Descriptor
	for i, b := range blobs {
		if lost[i] {
			out = append(out, b)
		}
	}
	return out, nil
}

// Mount has a repository take a blob from another one of the same registry,
// without its bytes being moved (distribution-spec 1.1, "Mounting a blob from
// another repository"), and reports whether it did. It is not an error if the other
// repository does not have the blob, if the account may not read it, or if the
// registry does not mount.
func (c *Client) Mount(ctx context.Context, repository, from string, d ocispec.Descriptor) (bool, error) {
	for _, name := range []string{repository, from} {
		if _, err := c.repository(name); err != nil {
			return false, err
		}
	}
	if err := d.Digest.Validate(); err != nil {
		return false, outcome.Errorf(outcome.Unsupported, "%q is not a digest", d.Digest)
	}
	s := sessions{c, oras.Reference{Registry: c.host, Repository: repository}}
	ctx = auth.AppendRepositoryScope(noteWaits(ctx), s.ref, auth.ActionPull, auth.ActionPush)
	both := auth.AppendRepositoryScope(ctx, oras.Reference{Registry: c.host, Repository: from}, auth.ActionPull)
	query := url.Values{"mount": {d.Digest.String()}, "from": {from}}
	rsp, err := s.askOnce(both, askTimeout, http.MethodPost, s.endpoint()+"?"+query.Encode(), func(status int) bool { //nolint:bodyclose // It is closed already.
		return status == http.StatusCreated || status == http.StatusAccepted
	})
	switch {
	case err != nil && refusal(err):
		return false, nil
	case err != nil:
		return false, err
	case rsp.StatusCode == http.StatusCreated:
		return true, nil
	}
	begun := &session{}
	if s.follow(ctx, begun, rsp) == nil {
		s.cancel(ctx, begun)
	}
	return false, nil
}

// refusal reports whether a registry, or who gives out its tokens, has heard a
// request and will not do it.
func refusal(err error) bool {
	var rsp *errcode.ErrorResponse
	return errors.As(err, &rsp) && rsp.StatusCode/100 == 4 && !outcome.ReasonOf(err).Transient()
}
