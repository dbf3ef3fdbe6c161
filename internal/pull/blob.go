package pull

import (
	"context"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A blob is a stream of a layer's bytes, whose coming it tells.
type blob struct {
	io.ReadCloser

	moved func(n int) // Is told how many bytes came.
}

// open returns a layer's bytes from an offset on. Nothing is asked before they
// are read.
func (s *source) open(ctx context.Context, layer ocispec.Descriptor, offset int64, moved func(n int)) *blob {
	return &blob{ReadCloser: s.ReadBlob(ctx, s.ref.Repository, layer, offset, layer.Size, s.again), moved: moved}
}

// Read ends with io.EOF only at the layer's size.
func (b *blob) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.moved(n)
	return n, err
}
