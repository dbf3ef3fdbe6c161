package registry

import (
	"context"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// blobsAtOnce is how many blobs are asked for side by side.
const blobsAtOnce = 16

// A BlobFinder knows which blobs a repository has.
type BlobFinder interface {
	// HasBlob reports whether a repository has a blob.
	HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error)
}

// Missing returns those blobs, each once and in their order, that a repository
// does not have. It asks for a few side by side; its error is that of the first
// that cannot be asked for.
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
