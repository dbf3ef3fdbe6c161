package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// OpenBlobAt returns a blob's bytes from an offset on, which is at most the
// blob's size. It asks for that range (distribution-spec 1.1, "Pulling blobs";
// RFC 9110, section 14); from a registry that knows no ranges it reads, and
// drops, what is before it. The reader ends with io.EOF only after as many
// bytes as are missing. The caller, which has the first bytes, must verify the
// digest of the whole.
func (c *Client) OpenBlobAt(ctx context.Context, repository string, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	return c.openBlobAt(ctx, repository, d, offset, false)
}

// openBlobAt does what OpenBlobAt does. If it may only read a range, it returns
// ErrNoRanges for a registry that knows none.
func (c *Client) openBlobAt(ctx context.Context, repository string, d ocispec.Descriptor, offset int64, ranged bool) (io.ReadCloser, error) {
	if _, err := c.repository(repository); err != nil {
		return nil, err
	}
	if err := d.Digest.Validate(); err != nil {
		return nil, outcome.Errorf(outcome.Unsupported, "%q is not a digest", d.Digest)
	}
	if err := c.throttle.Wait(ctx, c.host); err != nil {
		return nil, errors.Wrapf(err, "cannot read %s at registry %s", at(repository, d.Digest.String()), c.host)
	}
	ctx, cancel := context.WithCancelCause(once(noteWaits(ctx)))
	timer := time.AfterFunc(c.stall, func() { cancel(errStalled) })
	read := operation{"read", at(repository, d.Digest.String())}
	rsp, skip, err := c.getBlob(ctx, repository, d, offset, ranged) //nolint:bodyclose // The reader that is returned does.
	timer.Stop()
	if errors.Is(err, ErrNoRanges) {
		cancel(nil)
		return nil, err
	}
	if err != nil {
		err = c.failed(ctx, err, read)
		cancel(nil)
		return nil, err
	}
	left := &counted{ReadCloser: rsp.Body, left: d.Size - offset + skip}
	out := &download{
		ReadCloser: left,
		ctx:        ctx, cancel: cancel, timer: timer, stall: c.stall,
		failed: func(err error) error { return c.failed(ctx, err, read) },
		verify: func() error { return c.failedCount(left.left, read) },
	}
	if _, err := io.CopyN(io.Discard, out, skip); err != nil {
		_ = out.Close()
		return nil, err
	}
	return out, nil
}

// failedCount returns the error of a body that ended before its last bytes, or
// did not end after them.
func (c *Client) failedCount(left int64, read operation) error {
	switch {
	case left > 0:
		return outcome.Errorf(outcome.Unavailable, "registry %s ended %s before its last %d bytes; this may be transient", c.host, read.object, left)
	case left < 0:
		return outcome.Errorf(outcome.Mismatch, "registry %s sent more bytes than %s has", c.host, read.object)
	}
	return nil
}

// getBlob asks for a blob from an offset on. It returns the answer, and how
// many bytes come before the offset; if only a range may come, ErrNoRanges for any
// other answer with content.
func (c *Client) getBlob(ctx context.Context, repository string, d ocispec.Descriptor, offset int64, only bool) (*http.Response, int64, error) {
	ranged := ""
	if offset < d.Size {
		// Also for the whole, since what this reads may be a part of the blob. Some
		// registries want to be told the end as well.
		ranged = fmt.Sprintf("bytes=%d-%d", offset, d.Size-1)
	}
	rsp, err := c.askBlob(ctx, http.MethodGet, repository, d, ranged)
	if err == nil && only && (rsp.StatusCode == http.StatusOK || refusesRange(rsp, offset)) {
		_ = rsp.Body.Close()
		return nil, 0, ErrNoRanges
	}
	if err == nil && ranged != "" && refusesRange(rsp, offset) {
		_ = rsp.Body.Close()
		rsp, err = c.askBlob(ctx, http.MethodGet, repository, d, "")
	}
	if err != nil {
		return nil, 0, err
	}
	switch {
	case rsp.StatusCode == http.StatusOK:
		return rsp, offset, nil
	case rsp.StatusCode == http.StatusPartialContent && startsAt(rsp.Header.Get("Content-Range")) == offset:
		return rsp, 0, nil
	}
	defer rsp.Body.Close()
	if rsp.StatusCode == http.StatusPartialContent {
		return nil, 0, errors.New("Content-Range is not what was asked for")
	}
	return nil, 0, responseError(rsp)
}

// refusesRange reports whether a registry knows no ranges, or not the one that
// begins at an offset, and may have the blob without one.
func refusesRange(rsp *http.Response, offset int64) bool {
	switch status := rsp.StatusCode; status {
	case http.StatusPartialContent:
		return startsAt(rsp.Header.Get("Content-Range")) != offset
	case http.StatusRequestedRangeNotSatisfiable:
		return true
	default:
		return refusesMethod(status)
	}
}

// askBlob asks about a blob, or for a range of it.
func (c *Client) askBlob(ctx context.Context, method, repository string, d ocispec.Descriptor, ranged string) (*http.Response, error) {
	ref := oras.Reference{Registry: c.host, Repository: repository, Reference: d.Digest.String()}
	ctx = auth.AppendRepositoryScope(ctx, ref, auth.ActionPull)
	u := fmt.Sprintf("%s://%s/v2/%s/blobs/%s", c.scheme(), ref.Host(), repository, d.Digest)
	req, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return nil, err
	}
	if ranged != "" {
		req.Header.Set("Range", ranged)
	}
	return c.client(repository).Do(req)
}

// startsAt returns the first position that a Content-Range names, or -1.
func startsAt(contentRange string) int64 {
	rest, ok := strings.CutPrefix(contentRange, "bytes ")
	if !ok {
		return -1
	}
	first, _, _ := strings.Cut(rest, "-")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// A counted reader counts down the bytes that are left, and reads at most one too
// many.
type counted struct {
	io.ReadCloser

	left int64
}

func (r *counted) Read(p []byte) (int, error) {
	if r.left < 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > r.left+1 {
		p = p[:r.left+1]
	}
	n, err := r.ReadCloser.Read(p)
	r.left -= int64(n)
	return n, err
}
