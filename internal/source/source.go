// Package source is where the files of a run come from: one package each for the
// Hugging Face Hub, for registries, and for what only knows files. A new kind of source
// is one more implementation of Folder.
package source

import (
	"context"
	"io"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
)

// A Source holds the files of a model or a dataset. Its errors are or wrap an
// outcome.Error, and are final: a Source retries transient errors itself.
type Source interface {
	// Resolve finds the version to read. It must be called before all other
	// methods, once.
	Resolve(ctx context.Context) (Contents, error)

	// List returns the files, each with the size and the hashes that its bytes are
	// verified against. It must be called before a file is read, once.
	List(ctx context.Context, m *pipeline.Meter) ([]file.File, error)

	// Open returns a file's bytes from an offset on. The context is for all of
	// the reading.
	Open(ctx context.Context, f file.File, offset int64) (io.ReadCloser, error)

	// Head returns the first n bytes of a file.
	Head(ctx context.Context, f file.File, n int64) (io.ReadCloser, error)

	// Scan returns the security scan of the version that was resolved; the zero Scan
	// if the source has none.
	Scan(ctx context.Context) (policy.Scan, error)

	// Close closes idle connections.
	Close()
}

// Contents is what a Source tells about one version of a model.
type Contents struct {
	// Facts that go into the artifact.
	Facts modelpack.Facts

	// Revision of the files: a commit, or the digest of an artifact.
	Revision string

	// License as the source names it.
	License string

	// Declared reports whether License is only what the Artifact, the files themselves or
	// who packed them say, not what the source vouches for.
	Declared bool

	// Model is what the source tells about the model beside Facts.
	Model filelist.Model

	// Names that policies know the source by: as it was asked for, and as it names
	// itself if that is another name, such as the one that a model was renamed to.
	Names []string

	// Claimed is the name of the source that an artifact says it was made from;
	// empty for none.
	Claimed string
}
