package pull

import (
	"context"
	"io"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// bytesABreak is how much of a blob has to come for each time beyond the
// policy's tries that its connection may break.
const bytesABreak = 16 << 20

// A blob is a stream of a layer's bytes. Where a connection breaks, it goes on
// with another from there.
type blob struct {
	ctx    context.Context //nolint:containedctx // It is this one stream's.
	source *source
	layer  ocispec.Descriptor
	offset int64
	moved  func(n int) // Is told how many bytes came.

	rc     io.ReadCloser
	start  int64 // Where the first connection began.
	broken int64 // How many connections broke.
}

// open returns a layer's bytes from an offset on. Nothing is asked before they
// are read.
func (s *source) open(ctx context.Context, layer ocispec.Descriptor, offset int64, moved func(n int)) *blob {
	return &blob{ctx: ctx, source: s, layer: layer, offset: offset, start: offset, moved: moved}
}

// Read ends with io.EOF only at the layer's size.
func (b *blob) Read(p []byte) (int, error) {
	if b.offset == b.layer.Size {
		return 0, io.EOF
	}
	n := 0
	err := b.source.again.Do(b.ctx, b.layer.Digest.String(), func() error {
		var err error
		n, err = b.read(p)
		return err
	})
	return n, err
}

// read reads once, from the connection that there is or from a new one.
func (b *blob) read(p []byte) (int, error) {
	if b.rc == nil {
		rc, err := b.source.OpenBlobAt(b.ctx, b.source.ref.Repository, b.layer, b.offset)
		if err != nil {
			return 0, b.failed(err)
		}
		b.rc = rc
	}
	n, err := b.rc.Read(p[:min(int64(len(p)), b.layer.Size-b.offset)])
	b.offset += int64(n)
	b.moved(n)
	switch {
	case n > 0:
		// An error, if there is one, comes again.
		return n, nil
	case err == nil, errors.Is(err, io.EOF):
		return 0, nil
	}
	_ = b.Close()
	return 0, b.failed(err)
}

// failed counts a failure, and settles it if there were too many for what came.
func (b *blob) failed(err error) error {
	if outcome.ReasonOf(err).Passes() {
		b.broken++
	}
	if b.broken > int64(b.source.again.Tries)+(b.offset-b.start)/bytesABreak {
		return retry.Settled(err)
	}
	return err
}

// Close ends the connection that there is.
func (b *blob) Close() error {
	if b.rc == nil {
		return nil
	}
	rc := b.rc
	b.rc = nil
	return rc.Close()
}
