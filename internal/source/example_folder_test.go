package source_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
)

// A disk is a folder on a disk. Its files are pinned by the time of their last change.
type disk struct{ root *os.Root }

var _ source.Folder = disk{}

// Name implements source.Folder.
func (d disk) Name() string { return "file://" + d.root.Name() }

// List implements source.Folder.
func (d disk) List(ctx context.Context) ([]file.File, error) {
	var files []file.File
	err := fs.WalkDir(d.root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || len(files) > source.MaxFiles {
			return err
		}
		info, err := e.Info()
		if err == nil {
			files = append(files, file.File{Path: path, Size: info.Size(), Version: versionOf(info)})
		}
		return err
	})
	if err != nil {
		return nil, outcome.Errorf(outcome.ConfigInvalid, "cannot list %s: check that the run may read it", d.Name()).Because(err)
	}
	return files, ctx.Err()
}

func versionOf(info fs.FileInfo) string { return fmt.Sprintf("mtime:%d", info.ModTime().UnixNano()) }

// Complete implements source.Folder: a disk knows no hashes.
func (disk) Complete(_ context.Context, files []file.File) ([]file.File, error) { return files, nil }

// Open implements source.Folder.
func (d disk) Open(_ context.Context, f file.File, from, to int64) (io.ReadCloser, error) {
	r, err := d.root.Open(f.Path)
	if err != nil {
		return nil, outcome.Errorf(outcome.Changed, "%s of %s is gone: restore it", f.Path, d.Name()).Because(err)
	}
	return &section{Reader: io.NewSectionReader(r, from, to-from), file: r, listed: f}, nil
}

// Close implements source.Folder.
func (d disk) Close() { _ = d.root.Close() }

// A section is a part of a file, which must not change while it is read.
type section struct {
	io.Reader

	file   *os.File
	listed file.File
}

// Read implements io.Reader.
func (s *section) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	info, statErr := s.file.Stat()
	if statErr != nil || info.Size() != s.listed.Size || versionOf(info) != s.listed.Version {
		return 0, outcome.Errorf(outcome.Changed, "%s has changed while it was read: request another run", s.listed.Path).Because(statErr)
	}
	return n, err
}

// Close implements io.Closer.
func (s *section) Close() error { return s.file.Close() }
