package modelpack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/klauspost/compress/zstd"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// What an archive may hold. Weights hardly compress, text does a few times.
const (
	// maxArchiveRatio is how many times a compressed archive's size its plain
	// form may have, beyond archiveSlackBytes.
	maxArchiveRatio   = 100
	archiveSlackBytes = 16 << 20

	// maxEntries is how many entries an archive may have, and maxNamesBytes how
	// long their names may be together: no manifest could hold more files.
	maxEntries    = 1 << 16
	maxNamesBytes = 8 << 20

	// maxArchiveWindow bounds the window of Zstandard, and so the memory that
	// reading it takes, for every reader of layers. It is what zstd itself reads
	// unless it is told to read more (zstd(1), --long: a windowLog of 27), and
	// all that it writes at ordinary levels.
	maxArchiveWindow = 128 << 20
)

// An Entry is a file in a layer.
type Entry struct {
	// Path of the file in the model.
	Path string

	// Size in bytes.
	Size int64

	// SHA256 of the content, in hex.
	SHA256 string

	// Offset of the content in the layer's plain form, in bytes.
	Offset int64

	// Content of a file that was to be kept.
	Content []byte
}

// Entries reads a layer, and returns the files in it. It keeps the content of
// those that keep says, by their sizes; nil for none. The bytes are foreign: a
// layer with a link, a device, a file twice, or one that unpacks to far more
// than its size lets expect is an error with reason Unsupported, and one that is
// no archive of its kind one with reason Mismatch. It may end before the reader
// does.
func (l Layer) Entries(r io.Reader, keep func(size int64) bool) ([]Entry, error) {
	if keep == nil {
		keep = func(int64) bool { return false }
	}
	if l.Encoding == Raw {
		e, err := (&indexer{layer: l, keep: keep}).entry(r, l.Path, l.Size)
		return []Entry{e}, err
	}
	plain, err := l.Plain(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = plain.Close() }()
	counted := &countingReader{Reader: plain}
	x := &indexer{layer: l, keep: keep, plain: counted, tar: tar.NewReader(counted), seen: map[string]bool{}}
	entries, err := x.all()
	return entries, l.BadArchive(err)
}

// BadArchive explains an error of an archive's reader: one with reason
// Unsupported where the archive asks for too much memory, else Mismatch.
func (l Layer) BadArchive(err error) error {
	var known *outcome.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return outcome.Errorf(outcome.Unsupported, "layer %s cannot be unpacked: its Zstandard window is larger than %d MiB: compress it again with a smaller one",
			l.Digest, maxArchiveWindow>>20).Because(err)
	}
	return outcome.Errorf(outcome.Mismatch, "layer %s is no archive of the kind that it is said to be", l.Digest).Because(err)
}

// Plain returns the uncompressed bytes of a layer, as many as its size lets
// expect at most. Its reader takes memory for a window of the compression.
func (l Layer) Plain(r io.Reader) (io.ReadCloser, error) {
	limit := archiveSlackBytes + min(l.Size, 1<<56)*maxArchiveRatio
	switch l.Encoding {
	case TarGzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, l.BadArchive(err)
		}
		return &boundedReader{Reader: z, close: z.Close, left: limit, layer: l}, nil
	case TarZstd:
		z, err := NewZstdReader(r)
		if err != nil {
			return nil, l.BadArchive(err)
		}
		return &boundedReader{Reader: z, close: func() error { z.Close(); return nil }, left: limit, layer: l}, nil
	default:
		return io.NopCloser(r), nil
	}
}

// NewZstdReader returns a reader of Zstandard that takes memory for one window of
// bounded size.
func NewZstdReader(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxArchiveWindow))
}

// IsPlain says whether the layer's files lie in it as they are, at the offsets
// of their entries.
func (l Layer) IsPlain() bool { return l.Encoding == Raw || l.Encoding == Tar }

// An indexer finds the files of one layer.
type indexer struct {
	layer Layer
	keep  func(size int64) bool
	plain *countingReader
	tar   *tar.Reader
	seen  map[string]bool
	names int // How long the names are together.

	buffer []byte // That files are read through; nil before the first.
}

// all reads all entries.
func (x *indexer) all() ([]Entry, error) {
	var out []Entry
	for n := 0; ; n++ {
		h, err := x.tar.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if x.names += len(h.Name); n == maxEntries || x.names > maxNamesBytes {
			return nil, outcome.Errorf(outcome.Unsupported, "layer %s has more than %d files, or names longer than %d bytes together", x.layer.Digest, maxEntries, maxNamesBytes)
		}
		name, isFile, err := x.file(h)
		if err != nil {
			return nil, err
		}
		if !isFile {
			continue
		}
		e, err := x.entry(x.tar, name, h.Size)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
}

// file returns the path of an archive's entry, if it is a file.
func (x *indexer) file(h *tar.Header) (name string, isFile bool, err error) {
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		// Folders come with the files in them.
		return "", false, nil
	case tar.TypeReg:
	default:
		return "", false, x.refused("it holds %q, which is a link or a device: files alone are packed", short(h.Name))
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return "", false, x.refused("it holds %q as a sparse file, which may be of any size", short(h.Name))
		}
	}
	name, err = x.layer.EntryPath(h.Name)
	if err != nil {
		return "", false, x.refused("%s", err)
	}
	if x.seen[name] {
		return "", false, x.refused("it holds %q twice", short(name))
	}
	x.seen[name] = true
	return name, true, nil
}

func (x *indexer) refused(format string, args ...any) error {
	return outcome.Errorf(outcome.Unsupported, "layer "+x.layer.Digest.String()+" cannot be unpacked: "+format, args...)
}

// entry reads a file's content.
func (x *indexer) entry(r io.Reader, name string, size int64) (Entry, error) {
	e := Entry{Path: name, Size: size}
	if x.plain != nil {
		e.Offset = x.plain.read
	}
	sum := sha256.New()
	to := io.Writer(sum)
	var content *bytes.Buffer
	if x.keep(size) {
		content = bytes.NewBuffer(make([]byte, 0, size))
		to = io.MultiWriter(sum, content)
	}
	if x.buffer == nil {
		x.buffer = make([]byte, 128<<10)
	}
	n, err := io.CopyBuffer(to, r, x.buffer)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	e.SHA256 = hex.EncodeToString(sum.Sum(nil))
	if content != nil {
		e.Content = content.Bytes()
	}
	return e, err
}

// A countingReader counts what was read.
type countingReader struct {
	io.Reader

	read int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += int64(n)
	return n, err
}

// A boundedReader refuses to read more than a number of bytes.
type boundedReader struct {
	io.Reader

	close func() error
	left  int64
	layer Layer
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, outcome.Errorf(outcome.Unsupported, "layer %s unpacks to far more bytes than its size lets expect: it is not unpacked", b.layer.Digest)
	}
	return n, err
}

func (b *boundedReader) Close() error { return b.close() }
