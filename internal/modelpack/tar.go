package modelpack

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A File of a model.
type File struct {
	// Path relative to the model's folder, with slashes.
	Path string

	// Size in bytes.
	Size int64
}

// An OpenFunc opens a file's bytes, from an offset in it on.
type OpenFunc func(f File, offset int64) (io.ReadCloser, error)

// Sizes in the archive format (POSIX.1-2024, pax, "ustar Interchange Format").
const (
	tarBlockBytes = 512
	tarEndBytes   = 2 * tarBlockBytes
)

// A tarStyle is who the files in an archive belong to, and where they lie.
type tarStyle struct {
	folder    string // The folder that the model lies in; none, or one that ends with a slash.
	uid       int
	dirSuffix string // What a folder's name ends with.
}

// header returns the bytes before a file's content: the entries of the folders
// that it lies in, other than those in seen, and its own.
func (s tarStyle) header(f File, seen map[string]bool) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	name := s.folder + f.Path
	for i, r := range name {
		if r != '/' || seen[name[:i]] {
			continue
		}
		seen[name[:i]] = true
		dir := &tar.Header{Typeflag: tar.TypeDir, Name: name[:i] + s.dirSuffix, Mode: 0o755, Uid: s.uid}
		if err := w.WriteHeader(dir); err != nil {
			return nil, errors.Wrapf(err, "cannot make an archive's header of the folder %q", outcome.Shorten(name[:i]))
		}
	}
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Uid: s.uid, Size: f.Size})
	return b.Bytes(), errors.Wrapf(err, "cannot make an archive's header of the file %q", outcome.Shorten(name))
}

// A piece of a layer: bytes that are made, or a file's.
type piece struct {
	size  int64
	bytes []byte // Zeros where it is shorter than size.
	file  *File
}

// pieces are what a layer consists of, one after the other. An archive's are made
// when their turn comes, so that a layer of many files does not hold the headers
// of all in memory. They depend on nothing but the files' paths and sizes.
type pieces struct {
	style tarStyle
	files []File          // Whose turn comes.
	seen  map[string]bool // Folders that have an entry.
	now   []piece
	ended bool // There are no more than in now.
}

// next returns the next piece, or io.EOF after the last one. A file that cannot
// be in an archive is an error with reason Unsupported.
func (p *pieces) next() (piece, error) {
	if len(p.now) == 0 {
		if p.ended {
			return piece{}, io.EOF
		}
		if err := p.fill(); err != nil {
			return piece{}, err
		}
	}
	first := p.now[0]
	p.now = p.now[1:]
	return first, nil
}

// fill makes the pieces of the next file, or the archive's end.
func (p *pieces) fill() error {
	if len(p.files) == 0 {
		p.now, p.ended = []piece{{size: tarEndBytes}}, true
		return nil
	}
	f := &p.files[0]
	if clean, err := FilePath(f.Path); err != nil || clean != f.Path || f.Size < 0 {
		return outcome.Errorf(outcome.Unsupported, "the file %q of %d bytes cannot be in an archive", outcome.Shorten(f.Path), f.Size).Because(err)
	}
	h, err := p.style.header(*f, p.seen)
	if err != nil {
		return err
	}
	p.now = []piece{{size: int64(len(h)), bytes: h}, {size: f.Size, file: f}}
	if over := f.Size % tarBlockBytes; over > 0 {
		p.now = append(p.now, piece{size: tarBlockBytes - over})
	}
	p.files = p.files[1:]
	return nil
}

// size returns how many bytes all pieces have together.
func (p *pieces) size() (int64, error) {
	var n int64
	for {
		one, err := p.next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		n += one.size
	}
}

// open returns the bytes of a piece from an offset in it on.
func (p piece) open(offset int64, open OpenFunc) (io.ReadCloser, error) {
	if p.file != nil {
		rc, err := open(*p.file, offset)
		if err != nil {
			return nil, err
		}
		return &exactly{ReadCloser: rc, left: p.size - offset}, nil
	}
	at := min(offset, int64(len(p.bytes)))
	r := io.MultiReader(bytes.NewReader(p.bytes[at:]), zeros{})
	return io.NopCloser(io.LimitReader(r, p.size-offset)), nil
}

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// exactly ends after so many bytes, and fails where there are fewer: what
// follows would not be where it belongs.
type exactly struct {
	io.ReadCloser

	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.ReadCloser.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// A pieceReader reads pieces one after the other, and opens each when its turn
// comes.
type pieceReader struct {
	pieces *pieces
	piece  piece // The one whose turn it is.
	offset int64 // In piece, of what is to be opened next.
	open   OpenFunc
	now    io.ReadCloser
	closed bool
}

// Read implements io.Reader.
func (r *pieceReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if err := r.next(); err != nil {
			return 0, err
		}
		n, err := r.now.Read(p)
		if errors.Is(err, io.EOF) {
			err = r.end()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next opens the next piece that has bytes, if none is open.
func (r *pieceReader) next() error {
	for r.now == nil {
		if r.closed {
			return fs.ErrClosed
		}
		if r.offset >= r.piece.size {
			p, err := r.pieces.next()
			if err != nil {
				return err
			}
			r.offset -= r.piece.size
			r.piece = p
			continue
		}
		rc, err := r.piece.open(r.offset, r.open)
		if err != nil {
			return err
		}
		r.now, r.offset = rc, r.piece.size
	}
	return nil
}

func (r *pieceReader) end() error {
	if r.now == nil {
		return nil
	}
	err := r.now.Close()
	r.now = nil
	return err
}

// Close implements io.Closer.
func (r *pieceReader) Close() error {
	r.closed = true
	return r.end()
}

// sharedFolder returns the path that describes a layer of several files: the
// folder that all of them lie in.
func sharedFolder(files []File) string {
	dir := path.Dir(files[0].Path)
	for _, f := range files[1:] {
		for dir != "." && !strings.HasPrefix(f.Path, dir+"/") {
			dir = path.Dir(dir)
		}
	}
	return dir
}
