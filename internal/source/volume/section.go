package volume

import (
	"context"
	"io"
	"os"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A section is a part of a file, which must not change while it is read.
type section struct {
	ctx    context.Context //nolint:containedctx // Of all of the reading.
	folder *Folder
	file   *os.File
	listed file.File
	in     *io.SectionReader
}

// Read implements io.Reader. Before it returns the last bytes it checks that the file is
// still the listed one.
func (s *section) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, errors.Wrapf(s.ctx.Err(), "cannot read %q in %s", outcome.Shorten(s.listed.Path), s.folder.name)
	}
	n, err := s.in.Read(p)
	at, _ := s.in.Seek(0, io.SeekCurrent)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return 0, s.folder.failed(s.listed.Path, err)
	case at == s.in.Size():
		if err := s.checkAgain(); err != nil {
			return 0, err
		}
	case err != nil:
		return 0, s.changed()
	}
	return n, err
}

// checkAgain returns an error unless what is under the file's name now is the listed one.
// It is opened for that: a network file system asks its server then, and may answer for a
// file that is open from what it remembers.
func (s *section) checkAgain() error {
	again, err := s.folder.open(s.listed.Path)
	if err != nil {
		return err
	}
	defer func() { _ = again.Close() }()
	return s.check(again)
}

// check returns an error unless an open file is the listed one.
func (s *section) check(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return s.folder.failed(s.listed.Path, err)
	}
	if !info.Mode().IsRegular() || info.Size() != s.listed.Size || versionOf(info) != s.listed.Version || stateOf(info) != s.folder.states[s.listed.Path] {
		return s.changed()
	}
	return nil
}

func (s *section) changed() error {
	return outcome.Errorf(outcome.Changed, "%q in %s has changed since it was listed: let nothing change the folder while it is read", outcome.Shorten(s.listed.Path), s.folder.name)
}

// Close implements io.Closer.
func (s *section) Close() error { return s.file.Close() }
