package source

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/card"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/license"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// MaxFiles bounds the files of a Folder, as a list of files bounds them.
const MaxFiles = filelist.MaxFiles

// A Folder is files that know nothing of models: in a bucket, on a volume, at an HTTP
// server. FromFolder makes a Source of it. Its errors are or wrap an outcome.Error, and
// are final: a Folder retries transient errors itself.
type Folder interface {
	// Name of the folder for policies, provenance and people, as a URL:
	// s3://bucket/prefix.
	Name() string

	// List returns all files, at most MaxFiles and one more, with paths relative to the
	// folder. Each has a hash or a Version, so that a changed file is noticed. It is
	// called once, before all methods below.
	List(ctx context.Context) ([]file.File, error)

	// Complete returns the same files with the hashes that List could not tell, in the
	// same order. It is called once, with the files that the run needs.
	Complete(ctx context.Context, files []file.File) ([]file.File, error)

	// Open returns the bytes of a file from one offset up to another, which is larger and
	// not beyond the file's size. Reading resumes after a broken connection. The error is
	// an outcome.Changed if the file is not the listed one any more: bytes of another
	// version are never returned after such of the listed one. The context is for all of
	// the reading.
	Open(ctx context.Context, f file.File, from, to int64) (io.ReadCloser, error)

	// Close closes idle connections.
	Close()
}

// FromFolder returns the files of a folder that a run's source selects, as a Source. Its
// revision is the RevisionOf the listing. What is known of the model is what README.md
// and config.json at the top of the folder say, if they are among the files.
func FromFolder(s pipeline.Source, f Folder, logf func(format string, args ...any)) Source {
	return &folder{Folder: f, source: s, logf: logf}
}

func byPath(a, b file.File) int { return strings.Compare(a.Path, b.Path) }

// A folder is a Folder as a Source.
type folder struct {
	Folder

	source pipeline.Source
	logf   func(format string, args ...any)
	files  []file.File // The wanted ones, by path, between Resolve and List.
}

var _ Source = &folder{}

// Name of the folder: that which the run was given for it, by which the controller and
// its policies know it, else its own.
func (o *folder) Name() string { return cmp.Or(o.source.Name, o.Folder.Name()) }

// choose lists the folder and keeps the files that the run's patterns select. It returns how
// many there are in all.
func (o *folder) choose(ctx context.Context) (int, error) {
	if err := o.source.Files.Validate(); err != nil {
		return 0, err
	}
	all, err := o.Folder.List(ctx)
	if err == nil {
		err = o.check(all)
	}
	if err == nil {
		o.files, err = o.wanted(ctx, all)
	}
	return len(all), err
}

// Resolve implements Source.
func (o *folder) Resolve(ctx context.Context) (Contents, error) {
	all, err := o.choose(ctx)
	if err != nil {
		return Contents{}, err
	}
	slices.SortFunc(o.files, byPath)
	revision := RevisionOf(o.files)
	if want := o.source.Revision; want != "" && want != revision {
		return Contents{}, outcome.Errorf(outcome.Changed,
			"the files of %s are not those of revision %s, but of %s: restore them, write another folder in spec.forProvider.source, or create another Artifact", o.Name(), outcome.Shorten(want), revision)
	}
	c, err := o.contents(ctx, revision)
	if err == nil {
		o.logf("%s: %d files of %d, revision %s, licence %s", o.Name(), len(o.files), all, revision, cmp.Or(c.License, "not named"))
	}
	return c, err
}

// check returns an error for a listing that cannot be packaged.
func (o *folder) check(all []file.File) error {
	if len(all) > MaxFiles {
		return o.errTooMany()
	}
	seen := make(map[string]bool, len(all))
	for _, f := range all {
		if err := o.checkFile(f); err != nil {
			return err
		}
		if seen[f.Path] {
			return errTwice(o.Name(), f.Path)
		}
		seen[f.Path] = true
	}
	if name, ok := modelpack.FileAndFolder(seen); ok {
		return errFileAndFolder(o.Name(), name)
	}
	return nil
}

// checkFile returns an error for a listed file that cannot be packaged.
func (o *folder) checkFile(f file.File) error {
	switch {
	case !file.SafePath(f.Path):
		return outcome.Errorf(outcome.Unsupported, "%s has a file whose path is not safe to write: %q: rename it there", o.Name(), outcome.Shorten(f.Path))
	case f.Size < 0 || !f.IsPinned() || !f.HasForm():
		return outcome.Errorf(outcome.Unsupported, "%s tells no usable size, or neither a hash nor a version, of file %q", o.Name(), outcome.Shorten(f.Path))
	}
	return nil
}

// errTooMany returns the error of a folder with more than MaxFiles.
func (o *folder) errTooMany() error {
	return outcome.Errorf(outcome.Unsupported, "%s has more than %d files: name a folder in it", o.Name(), MaxFiles)
}

// errTwice returns the error of a listing with two files of one path.
func errTwice(folder, path string) error {
	return outcome.Errorf(outcome.Unsupported, "%s lists file %q twice", folder, outcome.Shorten(path))
}

// errFileAndFolder returns the error of a listing with a file that is another one's folder.
func errFileAndFolder(folder, path string) error {
	return outcome.Errorf(outcome.Unsupported, "%s has %q both as a file and as a folder: rename one of them there, or exclude it by another folder", folder, outcome.Shorten(path))
}

// wanted returns the files that the run's patterns select, of which there must be some.
func (o *folder) wanted(ctx context.Context, all []file.File) ([]file.File, error) {
	if len(all) == 0 {
		return nil, o.errEmpty()
	}
	var files []file.File
	selection := o.source.Files.Selection()
	for _, f := range all {
		keep, err := selection.Keep(ctx, f.Path)
		if err != nil {
			return nil, errors.Wrapf(err, "cannot select files of %s", o.Name())
		}
		if keep {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil, o.errNoneMatches(len(all))
	}
	return files, nil
}

// errEmpty returns the error of a folder without files.
func (o *folder) errEmpty() error {
	return outcome.Errorf(outcome.NotFound, "%s has no files: check spec.forProvider.source", o.Name())
}

// errNoneMatches returns the error of a folder with files of which none is selected.
func (o *folder) errNoneMatches(files int) error {
	return outcome.Errorf(outcome.NotFound,
		"none of the %d files of %s matches: change include and exclude in spec.forProvider.source.files", files, o.Name())
}

// contents returns what is known of the model.
func (o *folder) contents(ctx context.Context, revision string) (Contents, error) {
	readme, err := o.head(ctx, "README.md", card.MaxBytes)
	if err != nil {
		return Contents{}, err
	}
	config, err := o.head(ctx, "config.json", card.MaxConfigBytes)
	if err != nil {
		return Contents{}, err
	}
	c := card.Read(readme)
	model := card.Model(c, card.ReadConfig(config))
	expression := license.FromHub(c.License...)
	if declared := o.source.License; declared != "" {
		expression, model.Licenses, model.LicenseName, model.LicenseLink = declared, []string{declared}, "", ""
	}
	return Contents{
		Facts:    modelpack.Facts{Name: path.Base(o.Name()), SourceURL: o.Name(), Revision: revision, License: expression},
		Revision: revision, License: expression, Declared: true, Model: model, Names: []string{o.Name()},
	}, nil
}

// head returns the first bytes of one of the files; none if it is not among them.
func (o *folder) head(ctx context.Context, name string, most int64) ([]byte, error) {
	i, ok := slices.BinarySearchFunc(o.files, name, func(f file.File, name string) int { return strings.Compare(f.Path, name) })
	if !ok {
		return nil, nil
	}
	f := o.files[i]
	rc, err := o.Head(ctx, f, min(f.Size, most))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }()
	b, err := io.ReadAll(rc)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot read %s of %s", name, o.Name())
	}
	if f.Size > most {
		return b, nil
	}
	v := f.NewVerifier()
	_, _ = v.Write(b)
	return b, v.Verify()
}

// List implements Source.
func (o *folder) List(ctx context.Context, _ *pipeline.Meter) ([]file.File, error) {
	listed := o.files
	o.files = nil // They may be many.
	files, err := o.Complete(ctx, slices.Clone(listed))
	if err != nil {
		return nil, err
	}
	same := func(a, b file.File) bool { return a.Path == b.Path && a.Size == b.Size && a.Version == b.Version }
	if !slices.EqualFunc(listed, files, same) {
		return nil, outcome.Errorf(outcome.Changed, "%s has changed since its files were listed: request another run", o.Name())
	}
	return files, o.check(files)
}

// Open implements Source.
func (o *folder) Open(ctx context.Context, f file.File, offset int64) (io.ReadCloser, error) {
	rc, err := o.open(ctx, f, offset, f.Size)
	if err != nil {
		return nil, retry.Permanent(err)
	}
	return rc, nil
}

// Head implements Source.
func (o *folder) Head(ctx context.Context, f file.File, n int64) (io.ReadCloser, error) {
	return o.open(ctx, f, 0, min(n, f.Size))
}

func (o *folder) open(ctx context.Context, f file.File, from, to int64) (io.ReadCloser, error) {
	if from >= to {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	return o.Folder.Open(ctx, f, from, to)
}

// Scan implements Source: a Folder has none.
func (*folder) Scan(context.Context) (policy.Scan, error) { return policy.Scan{}, nil }
