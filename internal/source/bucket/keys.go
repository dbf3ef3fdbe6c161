package bucket

import (
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
)

// MaxListingBytes bounds the answers of one listing: source.MaxFiles entries of some 2,500
// bytes, which is what an entry with a long key takes, or several of short ones.
const MaxListingBytes = 256 << 20

// maxPrefixBytes bounds a prefix, as all clouds bound keys
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
const maxPrefixBytes = 1024

// A Listing gathers the objects of a folder in a bucket as files.
type Listing struct {
	// Name of the folder for people: s3://bucket/prefix.
	Name string

	prefix string // With a slash at its end, unless it is empty.
	take   func(file.File) error
	files  int
	bytes  int64 // Of the answers.
}

// NewListing returns a Listing of the objects whose keys are below a prefix, which is the
// path of a folder; empty for the whole bucket. Their files are passed to take.
func NewListing(name, prefix string, take func(file.File) error) *Listing {
	return &Listing{Name: name, prefix: KeyPrefix(prefix), take: take}
}

// Collect returns the files that a function lists.
func Collect(list func(take func(file.File) error) error) ([]file.File, error) {
	var files []file.File
	err := list(func(f file.File) error {
		files = append(files, f)
		return nil
	})
	return files, err
}

// KeyPrefix returns what the keys below a prefix begin with: a listing of models/a must
// not have models/ab. It is empty for an empty prefix.
func KeyPrefix(prefix string) string {
	if prefix = strings.Trim(prefix, "/"); prefix == "" {
		return ""
	}
	return prefix + "/"
}

// CheckPrefix returns an outcome.Error if a prefix is no path of a folder.
func CheckPrefix(field, prefix string) error {
	if p := strings.Trim(prefix, "/"); p != "" && (!file.SafePath(p) || len(p) > maxPrefixBytes) {
		return outcome.Errorf(outcome.Unsupported, "%s.prefix is no path of a folder: write names with slashes between them, such as models/example", field)
	}
	return nil
}

// Prefix returns what the keys of the listing begin with.
func (l *Listing) Prefix() string { return l.prefix }

// Add adds an object: its key, and all of its file but the Path. An empty object whose key
// ends with a slash marks a folder, and is omitted. One that cannot be a file is an
// error, since the model would lack it.
func (l *Listing) Add(key string, f file.File) error {
	path, ok := strings.CutPrefix(key, l.prefix)
	switch {
	case !ok:
		return outcome.Errorf(outcome.Unsupported, "the server lists an object that is not in %s: %q: check the endpoint", l.Name, outcome.Shorten(key))
	case f.Size == 0 && (path == "" || strings.HasSuffix(path, "/")):
		return nil
	case !file.SafePath(path):
		return outcome.Errorf(outcome.Unsupported, "%s has an object whose key is no path of a file: %q: rename it there, or name another folder as prefix", l.Name, outcome.Shorten(key))
	case l.files > source.MaxFiles:
		return outcome.Errorf(outcome.Unsupported, "%s has more than %d objects: name a folder in it as prefix", l.Name, source.MaxFiles)
	}
	f.Path = path
	l.files++
	return l.take(f)
}

// Read counts the bytes of an answer, and returns an error if the listing has too many.
func (l *Listing) Read(n int) error {
	if l.bytes += int64(n); l.bytes > MaxListingBytes {
		return outcome.Errorf(outcome.Unsupported, "the list of %s is longer than %d MiB: name a folder in it as prefix", l.Name, MaxListingBytes>>20)
	}
	return nil
}

// Pages bounds the pages of one listing. A server may answer with pages that are not full,
// or empty, but not without an end.
const Pages = 2000

// ErrEndless returns the error of a listing that has more than Pages.
func (l *Listing) ErrEndless() error {
	return outcome.Errorf(outcome.Unsupported, "the server lists %s in more than %d pages: check the endpoint, or name a folder in it as prefix", l.Name, Pages)
}
