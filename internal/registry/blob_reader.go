package registry

import (
	"context"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// ReadBlob returns a blob's bytes from one place up to another, for example
// those of one file in an archive. Nothing is asked before they are read. Where
// a connection breaks, they go on with another from there, as the policy says;
// failures before progress do not count. It ends with io.EOF only after
// all of them. Whether they are the right ones is for the caller to see. The
// context is for all of the reading.
func (c *Client) ReadBlob(ctx context.Context, repository string, d ocispec.Descriptor, from, to int64, retries retry.Policy) io.ReadCloser {
	// The end is where the blob ends as far as this reader knows, so that no
	// more of it is asked for.
	d.Size = to
	return &blobReader{ctx: ctx, client: c, repository: repository, blob: d, at: from, mark: from, tries: retries.Start(d.Digest.String())}
}

// ErrNoRanges is the error of reading a range of a blob from a registry, or from the
// storage that it redirects to, that does not send just that range.
var ErrNoRanges = errors.New("the registry sends no ranges of blobs")

// ReadRange does what ReadBlob does, but for a reader that is one of several of the same
// blob: from a registry without ranges, each of them would read what is before its own.
// It returns ErrNoRanges instead.
func (c *Client) ReadRange(ctx context.Context, repository string, d ocispec.Descriptor, from, to int64, retries retry.Policy) io.ReadCloser {
	d.Size = to
	return &blobReader{ctx: ctx, client: c, repository: repository, blob: d, at: from, mark: from, ranged: true, tries: retries.Start(d.Digest.String())}
}

// A blobReader reads a blob over as many connections as it takes.
type blobReader struct {
	ctx        context.Context //nolint:containedctx // It is this one stream's.
	client     *Client
	repository string
	blob       ocispec.Descriptor
	ranged     bool // Whether nothing but the range may be read.
	tries      *retry.Tries

	rc   io.ReadCloser
	at   int64
	mark int64 // The place when failures were last forgotten.
}

// Read implements io.Reader.
func (r *blobReader) Read(p []byte) (int, error) {
	if r.at >= r.blob.Size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := r.read(p)
		if err == nil {
			return n, nil
		}
		if r.at-r.mark >= progressStep {
			r.mark = r.at
			r.tries.Reset()
		}
		if err := r.tries.Wait(r.ctx, err); err != nil {
			return 0, err
		}
	}
}

// read reads once, from the connection that there is or from a new one.
func (r *blobReader) read(p []byte) (int, error) {
	if r.rc == nil {
		rc, err := r.client.openBlobAt(r.ctx, r.repository, r.blob, r.at, r.ranged)
		if err != nil {
			return 0, err
		}
		r.rc = rc
	}
	// Registries that do not support ranges send more than the requested bytes.
	n, err := r.rc.Read(p[:min(int64(len(p)), r.blob.Size-r.at)])
	r.at += int64(n)
	switch {
	case n > 0:
		// An error, if there is one, comes again.
		return n, nil
	case err == nil:
		return 0, nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	_ = r.Close()
	return 0, err
}

// Close ends the connection that there is.
func (r *blobReader) Close() error {
	if r.rc == nil {
		return nil
	}
	rc := r.rc
	r.rc = nil
	return rc.Close()
}
