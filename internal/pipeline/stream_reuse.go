package pipeline

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// hasIdentity reports whether the source announced a hash of a file's content.
// Without one, nothing tells whether two files of one size are the same, or
// whether what somebody has stored is the file.
func hasIdentity(f hub.File) bool { return f.SHA256 != "" || f.GitSHA1 != "" }

// isMismatch reports whether bytes were not what they should be.
func isMismatch(err error) bool { return err != nil && outcome.ReasonOf(err) == outcome.Mismatch }

// verifyStored reads a layer back from the repository and returns an error
// unless it is the one that is planned, of files that are what their source
// announced. Whoever may push to the repository can write a checkpoint, so a
// layer that only a checkpoint names must not be published without it.
func (r *streamRun) verifyStored(ctx context.Context, m *layerMove) error {
	rc := r.registry.ReadBlob(ctx, r.run.Target.Repository, m.blob(), 0, m.plan.Size, r.uploading)
	defer rc.Close()
	sum := digest.SHA256.Hash()
	err := m.plan.Verify(io.TeeReader(rc, sum), func(f modelpack.File, content io.Reader) error {
		v := r.file(f).NewVerifier()
		if _, err := io.Copy(v, content); err != nil {
			return err
		}
		return v.Verify()
	})
	if err == nil && digest.NewDigest(digest.SHA256, sum) != m.digest {
		err = outcome.Errorf(outcome.Mismatch, "the registry sent other bytes than those of %s", m.digest)
	}
	return err
}
