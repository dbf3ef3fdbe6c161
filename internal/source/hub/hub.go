// Package hub reads models and datasets from a Hugging Face Hub.
package hub

import (
	"cmp"
	"context"
	"io"
	"path"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
)

// A Source is a model or a dataset on a Hub.
type Source struct {
	source  pipeline.Source
	hub     *hub.Client
	options download.Options
	logf    func(format string, args ...any)

	commit string // After Resolve.
}

var _ source.Source = &Source{}

// New returns the model or the dataset of a run's source. It downloads files as the
// options say.
func New(s pipeline.Source, options download.Options, logf func(format string, args ...any)) (*Source, error) {
	h, err := pipeline.NewHub(s)
	if err != nil {
		return nil, err
	}
	options.Logf = logf
	return &Source{source: s, hub: h, options: options, logf: logf}, nil
}

// Resolve implements source.Source.
func (s *Source) Resolve(ctx context.Context) (source.Contents, error) {
	if err := s.source.Files.Validate(); err != nil {
		return source.Contents{}, err
	}
	revision, err := s.hub.Resolve(ctx, s.source.Model, s.source.Revision)
	if err != nil {
		return source.Contents{}, err
	}
	s.commit = revision.Commit
	s.logf("%s: revision %q is commit %s, licence %s", s.source.Model, s.source.Revision, revision.Commit, cmp.Or(revision.License, "not named"))
	return source.Contents{Facts: s.facts(revision), Revision: revision.Commit, License: revision.License, Model: revision.Model, Names: s.names(revision)}, nil
}

// names returns what policies know the model or dataset by. The Hub leads from the
// former name of one that was renamed to what it is now.
func (s *Source) names(r hub.Revision) []string {
	names := []string{s.source.Model}
	if r.Name != "" && r.Name != s.source.Model {
		names = append(names, r.Name)
	}
	if s.source.Kind == hub.Dataset {
		for i := range names {
			names[i] = policy.DatasetPrefix + names[i]
		}
	}
	return names
}

// Scan implements source.Source.
func (s *Source) Scan(ctx context.Context) (policy.Scan, error) {
	scan, err := s.hub.Scan(ctx, s.source.Model, s.commit)
	if err != nil {
		return policy.Scan{}, err
	}
	out := policy.Scan{Known: scan.Known, Done: scan.Done}
	for _, i := range scan.Issues {
		out.Issues = append(out.Issues, policy.Issue{Path: i.Path, Level: i.Level})
	}
	return out, nil
}

// List implements source.Source. Files that only serve git are omitted.
func (s *Source) List(ctx context.Context, _ *pipeline.Meter) ([]file.File, error) {
	all, err := s.hub.List(ctx, s.source.Model, s.commit)
	if err != nil {
		return nil, err
	}
	return s.wanted(hub.WithoutGit(all))
}

// wanted returns the files that the run's patterns select, of which there must be
// some.
func (s *Source) wanted(all []file.File) ([]file.File, error) {
	kind := cmp.Or(s.source.Kind, hub.Model)
	if len(all) == 0 {
		return nil, outcome.Errorf(outcome.NotFound, "%s %s has no files at revision %q: check %s and revision", kind, s.source.Model, s.source.Revision, kind)
	}
	files := s.source.Files.Apply(all)
	if len(files) == 0 {
		return nil, outcome.Errorf(outcome.NotFound,
			"none of the %d files of %s %s matches: change include and exclude in spec.forProvider.source.files", len(all), kind, s.source.Model)
	}
	if left := len(all) - len(files); left > 0 {
		s.logf("%d of %d files are left out, as the spec says", left, len(all))
	}
	return files, nil
}

// facts returns what the Hub tells about the model itself.
func (s *Source) facts(r hub.Revision) modelpack.Facts {
	f := modelpack.Facts{
		Name:        path.Base(s.source.Model),
		SourceURL:   canonicalURL(s.source),
		Revision:    r.Commit,
		License:     r.License,
		CommittedAt: r.LastModified,
	}
	if dir := path.Dir(s.source.Model); dir != "." {
		f.Author = dir
	}
	return f
}

// canonicalURL returns the page of a model on the public Hub. Artifacts name it as
// their source, so that a model has the same digest whichever mirror it is read from.
func canonicalURL(s pipeline.Source) string {
	if s.Kind == hub.Dataset {
		return hub.DefaultEndpoint + "/datasets/" + s.Model
	}
	return hub.DefaultEndpoint + "/" + s.Model
}

// Open implements source.Source.
func (s *Source) Open(ctx context.Context, f file.File, offset int64) (io.ReadCloser, error) {
	r, err := s.hub.Download(ctx, s.source.Model, s.commit, f, offset, f.Size, s.options)
	if err != nil {
		return nil, retry.Permanent(err)
	}
	return r, nil
}

// Head implements source.Source.
func (s *Source) Head(ctx context.Context, f file.File, n int64) (io.ReadCloser, error) {
	r, err := s.hub.Download(ctx, s.source.Model, s.commit, f, 0, max(min(n, f.Size), 0), download.Options{Logf: s.logf})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Close implements source.Source.
func (s *Source) Close() { s.hub.Close() }

// WasAt reports whether the source's revision stood for a commit lately. It must be called
// after Resolve. Where the Hub does not tell the history of a revision, it did not.
func (s *Source) WasAt(ctx context.Context, commit string) (bool, error) {
	return s.hub.WasAt(ctx, s.source.Model, s.source.Revision, commit)
}
