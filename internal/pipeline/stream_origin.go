package pipeline

import (
	"cmp"
	"context"
	"io"
	"path"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// An origin is where the files of a Stream come from. Its errors are or wrap an
// outcome.Error, and are final: it has tried again where that helps.
type origin interface {
	// resolve finds out what is there. It is called once, before all else.
	resolve(ctx context.Context) (contents, error)

	// list returns the files to pack, each with what its bytes are held
	// against. It is called once, before any is read.
	list(ctx context.Context, m *Meter) ([]hub.File, error)

	// open returns a file's bytes from an offset on. The context is for all of
	// the reading.
	open(ctx context.Context, f hub.File, offset int64) (io.ReadCloser, error)

	// head returns the first n bytes of a file.
	head(ctx context.Context, f hub.File, n int64) (io.ReadCloser, error)

	// close ends idle connections.
	close()
}

// contents are what is known of one revision of a model.
type contents struct {
	// facts that go into the artifact.
	facts modelpack.Facts

	// revision that the files are of: a commit, or a digest.
	revision string

	// license as the source names it.
	license string
}

// A hubOrigin is a model or a dataset on a Hub.
type hubOrigin struct {
	source   Source
	hub      *hub.Client
	download hub.DownloadOptions
	logf     func(format string, args ...any)

	commit string // After resolve.
}

var _ origin = &hubOrigin{}

func (o *hubOrigin) resolve(ctx context.Context) (contents, error) {
	s := o.source
	if err := s.Files.Validate(); err != nil {
		return contents{}, err
	}
	revision, err := o.hub.Resolve(ctx, s.Model, s.Revision)
	if err != nil {
		return contents{}, err
	}
	o.commit = revision.Commit
	o.logf("%s: revision %q is commit %s, licence %s", s.Model, s.Revision, revision.Commit, cmp.Or(revision.License, "not named"))
	return contents{facts: hubFacts(s, revision), revision: revision.Commit, license: revision.License}, nil
}

func (o *hubOrigin) list(ctx context.Context, _ *Meter) ([]hub.File, error) {
	all, err := o.hub.List(ctx, o.source.Model, o.commit)
	if err != nil {
		return nil, err
	}
	return o.wanted(withoutGit(all))
}

// wanted returns the files that are wanted, of which there must be some.
func (o *hubOrigin) wanted(all []hub.File) ([]hub.File, error) {
	s := o.source
	kind := cmp.Or(s.Kind, hub.Model)
	if len(all) == 0 {
		return nil, outcome.Errorf(outcome.NotFound, "%s %s has no files at revision %q: check %s and revision", kind, s.Model, s.Revision, kind)
	}
	files := s.Files.Apply(all)
	if len(files) == 0 {
		return nil, outcome.Errorf(outcome.NotFound,
			"none of the %d files of %s %s matches: change include and exclude in spec.forProvider.source.huggingFace.files", len(all), kind, s.Model)
	}
	if left := len(all) - len(files); left > 0 {
		o.logf("%d of %d files are left out, as the spec says", left, len(all))
	}
	return files, nil
}

// hubFacts are what a Hub says of a model itself.
func hubFacts(s Source, r hub.Revision) modelpack.Facts {
	f := modelpack.Facts{
		Name:        path.Base(s.Model),
		SourceURL:   canonicalURL(s),
		Revision:    r.Commit,
		License:     r.License,
		CommittedAt: r.LastModified,
	}
	if dir := path.Dir(s.Model); dir != "." {
		f.Author = dir
	}
	return f
}

func (o *hubOrigin) open(ctx context.Context, f hub.File, offset int64) (io.ReadCloser, error) {
	r, err := o.hub.Download(ctx, o.source.Model, o.commit, f, offset, o.download)
	if err != nil {
		return nil, retry.Permanent(err)
	}
	return r, nil
}

func (o *hubOrigin) head(ctx context.Context, f hub.File, n int64) (io.ReadCloser, error) {
	return o.hub.Head(ctx, o.source.Model, o.commit, f, n, o.logf)
}

func (o *hubOrigin) close() { o.hub.Close() }

// withoutGit leaves out what only serves git.
func withoutGit(all []hub.File) []hub.File {
	files := make([]hub.File, 0, len(all))
	for _, f := range all {
		if base := path.Base(f.Path); base != ".gitattributes" && base != ".gitignore" {
			files = append(files, f)
		}
	}
	return files
}
