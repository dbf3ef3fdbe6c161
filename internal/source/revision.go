package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

const (
	// selectionTime bounds how long Revision compares files with patterns: a program that
	// asks for many folders must not be kept busy by one.
	selectionTime = 2 * time.Second

	// selectionBatch is how many files are compared with patterns at a time.
	selectionBatch = 1000

	// maxUnordered bounds what is kept of a listing that is not in the order of its paths,
	// in bytes: some 50,000 files.
	maxUnordered = 8 << 20

	// pinnedBytes is what a pinned takes beside its texts.
	pinnedBytes = 48
)

// A Lister is a Folder whose listing need not be kept.
type Lister interface {
	Folder

	// Each calls take with each of the files that List returns, until that returns an error.
	Each(ctx context.Context, take func(file.File) error) error
}

// RevisionOf returns the revision of files as Folder.List returns them, in any order:
// the SHA-256 of their paths and sizes, and of what pins each of them.
func RevisionOf(files []file.File) string {
	sorted := slices.SortedFunc(slices.Values(files), byPath)
	sum := sha256.New()
	for _, f := range sorted {
		pinnedOf(f).write(sum)
	}
	return hexOf(sum)
}

// hexOf returns a revision by its hash.
func hexOf(sum hash.Hash) string { return "sha256:" + hex.EncodeToString(sum.Sum(nil)) }

// Revision returns the revision that a run would find now if it read a folder as its source
// says, without reading a file, and without keeping the list of files unless that is short. It
// gives up if patterns take too long.
func Revision(ctx context.Context, s pipeline.Source, f Lister) (string, error) {
	if err := s.Files.Validate(); err != nil {
		return "", err
	}
	r := &revision{folder: &folder{Folder: f, source: s}, selection: s.Files.Selection(), patience: selectionTime, order: newOrder(f.Name())}
	err := f.Each(ctx, func(one file.File) error {
		if r.batch = append(r.batch, one); len(r.batch) < selectionBatch {
			return nil
		}
		return r.flush(ctx)
	})
	if err == nil {
		err = r.flush(ctx)
	}
	if err != nil {
		return "", err
	}
	return r.end()
}

// A pinned is a file in a revision.
type pinned struct {
	path string
	size int64

	// pin determines its content: its hash if no other content has it, else its version,
	// else its weaker hashes. It is empty for a file that is not selected.
	pin string
}

func pinnedOf(f file.File) pinned {
	p := pinned{path: f.Path, size: f.Size}
	switch {
	case f.SHA256 != "":
		p.pin = "sha256:" + f.SHA256
	case f.GitSHA1 != "":
		p.pin = "git:" + f.GitSHA1
	case f.Version != "":
		p.pin = f.Version
	default:
		p.pin = fmt.Sprintf("md5:%s crc32c:%s crc64nvme:%s", f.MD5, f.CRC32C, f.CRC64NVME)
	}
	return p
}

// write adds the file's line to a revision.
func (p pinned) write(sum hash.Hash) { _, _ = fmt.Fprintf(sum, "%q %d %q\n", p.path, p.size, p.pin) }

// A revision is computed while a folder is listed. Buckets are listed in the order of their
// keys, with few exceptions (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html,
// directory buckets; Azure's hierarchical namespace). Only what is not is kept and sorted.
type revision struct {
	folder    *folder
	selection file.Selection
	patience  time.Duration // What is left of it.

	batch            []file.File
	listed, selected int

	order     *order
	unordered bool     // The listing is not in order.
	kept      []pinned // All files, unless they are more than maxUnordered.
	keptBytes int
}

// flush adds the files of the batch.
func (r *revision) flush(ctx context.Context) error {
	keep, err := r.selects(ctx)
	if err != nil {
		return err
	}
	for i, f := range r.batch {
		if err := r.folder.checkFile(f); err != nil {
			return err
		}
		p := pinned{path: f.Path}
		if keep[i] {
			p = pinnedOf(f)
			r.selected++
		}
		if err := r.add(p); err != nil {
			return err
		}
	}
	r.batch = r.batch[:0]
	return nil
}

// selects reports which files of the batch are selected. It gives up once patterns have
// taken too long.
func (r *revision) selects(ctx context.Context) ([]bool, error) {
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	keep := make([]bool, len(r.batch))
	for i, f := range r.batch {
		var err error
		keep[i], err = r.selection.Keep(within, f.Path)
		switch {
		case ctx.Err() != nil:
			return nil, errors.Wrapf(ctx.Err(), "cannot select files of %s", r.folder.Name())
		case err != nil:
			return nil, outcome.Errorf(outcome.Unsupported,
				"%s cannot be followed: to compare its files with the patterns takes longer than %s: write fewer or simpler patterns in spec.forProvider.source.files, or name a folder in it as prefix", r.folder.Name(), selectionTime)
		}
	}
	r.patience -= time.Since(began)
	return keep, nil
}

// add adds a file of the listing.
func (r *revision) add(p pinned) error {
	if r.listed++; r.listed > MaxFiles {
		return r.folder.errTooMany()
	}
	r.unordered = r.unordered || p.path < r.order.last
	if !r.unordered {
		if err := r.order.add(p); err != nil {
			return err
		}
	}
	if r.keptBytes += pinnedBytes + len(p.path) + len(p.pin); r.keptBytes <= maxUnordered {
		r.kept = append(r.kept, p)
		return nil
	}
	r.kept = nil
	if r.unordered {
		return outcome.Errorf(outcome.Unsupported, "%s cannot be followed: it has too many files for a server that does not list them in the order of their names: name a folder in it as prefix, or write revisionPolicy: Pinned", r.folder.Name())
	}
	return nil
}

// end returns the revision.
func (r *revision) end() (string, error) {
	switch {
	case r.listed == 0:
		return "", r.folder.errEmpty()
	case r.selected == 0:
		return "", r.folder.errNoneMatches(r.listed)
	case !r.unordered:
		return hexOf(r.order.sum), nil
	}
	slices.SortFunc(r.kept, func(a, b pinned) int { return strings.Compare(a.path, b.path) })
	sorted := newOrder(r.folder.Name())
	for _, p := range r.kept {
		if err := sorted.add(p); err != nil {
			return "", err
		}
	}
	return hexOf(sorted.sum), nil
}

// An order is files in the order of their paths, as far as a revision and checks need them.
type order struct {
	folder string
	sum    hash.Hash
	last   string

	// above are the files whose paths the last one begins with, itself included.
	above []string
}

func newOrder(folder string) *order { return &order{folder: folder, sum: sha256.New()} }

// add adds a file, whose path is not before the last one's. It returns an error if there are
// two of one path, or one is a folder of the other.
func (o *order) add(p pinned) error {
	if p.path == o.last {
		return errTwice(o.folder, p.path)
	}
	for len(o.above) > 0 && !strings.HasPrefix(p.path, o.above[len(o.above)-1]) {
		o.above = o.above[:len(o.above)-1]
	}
	for _, name := range o.above {
		if p.path[len(name)] == '/' {
			return errFileAndFolder(o.folder, name)
		}
	}
	o.last, o.above = p.path, append(o.above, p.path)
	if p.pin != "" {
		p.write(o.sum)
	}
	return nil
}
