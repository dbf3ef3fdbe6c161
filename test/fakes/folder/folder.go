// Package folder is a source.Folder in memory, for tests.
package folder

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"sync"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Folder holds files in memory. It tells nothing of their content but a version, as a
// folder on a volume does.
type Folder struct {
	// URL is its name.
	URL string

	// Content of the files, by their paths. While a run reads, only Change changes it.
	Content map[string][]byte

	// Versions of the files, by their paths; a file without one has the version 0.
	Versions map[string]int

	// Listed changes what List tells; nil for no change.
	Listed func(f file.File) file.File

	// Reading changes what Open returns; nil for no change.
	Reading func(f file.File, from int64, rc io.ReadCloser) (io.ReadCloser, error)

	mu sync.Mutex
}

// Change gives a file other content, in a new version.
func (d *Folder) Change(path string, content []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Versions == nil {
		d.Versions = map[string]int{}
	}
	d.Content[path] = content
	d.Versions[path]++
}

// Name implements source.Folder.
func (d *Folder) Name() string { return d.URL }

// List implements source.Folder.
func (d *Folder) List(context.Context) ([]file.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := make([]file.File, 0, len(d.Content))
	for p, b := range d.Content {
		f := file.File{Path: p, Size: int64(len(b)), Version: d.version(p)}
		if d.Listed != nil {
			f = d.Listed(f)
		}
		files = append(files, f)
	}
	return files, nil
}

func (d *Folder) version(p string) string { return "version:" + strconv.Itoa(d.Versions[p]) }

// Complete implements source.Folder.
func (*Folder) Complete(_ context.Context, files []file.File) ([]file.File, error) {
	return files, nil
}

// Open implements source.Folder.
func (d *Folder) Open(_ context.Context, f file.File, from, to int64) (io.ReadCloser, error) {
	b, err := d.content(f)
	if err != nil {
		return nil, err
	}
	rc := &reader{Reader: bytes.NewReader(b[from:to]), folder: d, file: f}
	if d.Reading != nil {
		return d.Reading(f, from, rc)
	}
	return rc, nil
}

// content returns a file's content if it is still the listed one.
func (d *Folder) content(f file.File) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.Version != "" && f.Version != d.version(f.Path) {
		return nil, outcome.Errorf(outcome.Changed, "file %q of %s has changed", f.Path, d.URL)
	}
	return d.Content[f.Path], nil
}

// Close implements source.Folder.
func (*Folder) Close() {}

// A reader reads a file that must not change meanwhile.
type reader struct {
	io.Reader

	folder *Folder
	file   file.File
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if _, err := r.folder.content(r.file); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// Close implements io.Closer.
func (*reader) Close() error { return nil }
