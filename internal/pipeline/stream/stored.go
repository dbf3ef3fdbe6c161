package stream

import (
	"context"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
)

// checkStored has the policies check the first bytes of files that are a blob in the
// repository, whose digest the registry has verified. Those that a source sends of a file
// that is not read to its end are verified by nothing. The first bytes of files in an
// archive are kept when it is listed, which verifies its digest.
func (r *task) checkStored(ctx context.Context, d ocispec.Descriptor, files []file.File) error {
	if !r.run.Policies.HasFileRules() || len(files) == 0 || d.Size == 0 {
		return nil
	}
	head := make([]byte, min(d.Size, policy.HeadBytes))
	rc := r.registry.ReadBlob(ctx, r.run.Target.Repository, d, 0, int64(len(head)), r.uploading)
	defer func() { _ = rc.Close() }()
	if _, err := io.ReadFull(rc, head); err != nil {
		return err
	}
	for _, f := range files {
		if err := r.source.CheckHead(f, head); err != nil {
			return err
		}
	}
	return nil
}

// areBlob returns the files of an artifact that is copied which are a blob each.
func (r *task) areBlob(d ocispec.Descriptor) []file.File {
	var out []file.File
	for _, f := range r.copied {
		if f.SHA256 == d.Digest.Encoded() && f.Size == d.Size {
			out = append(out, f)
		}
	}
	return out
}
