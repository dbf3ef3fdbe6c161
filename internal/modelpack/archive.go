package modelpack

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "crypto/sha512" // A layer's digest may be one of SHA-512.
	"encoding/hex"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/semaphore"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Bounds of what an archive may unpack to. Weights hardly compress, and text
// compresses to a fraction of its size.
const (
	// maxArchiveRatio is how many times its own size a compressed archive may
	// unpack to, beyond archiveSlackBytes.
	maxArchiveRatio   = 100
	archiveSlackBytes = 16 << 20

	// maxArchiveEntries bounds the entries of an archive.
	maxArchiveEntries = 1 << 18

	// maxListedEntries and maxListedNameBytes bound the files of an archive, and
	// the length of their names together, of which Entries makes a list. No
	// manifest could hold more files.
	maxListedEntries   = 1 << 16
	maxListedNameBytes = 8 << 20
)

// Bounds of the memory that decompression of Zstandard takes.
const (
	// maxZstdWindow is the largest window that is read: what zstd itself reads
	// unless told otherwise (zstd(1), --long: a windowLog of 27).
	maxZstdWindow = 128 << 20

	// usualZstdWindow is the largest window that zstd writes at its ordinary
	// levels, up to 19 (zstd, lib/compress/clevels.h: a windowLog of 23).
	usualZstdWindow = 8 << 20
)

// zstdWindows is the memory for the windows of all Zstandard decompressors of
// this process together. So one layer with the largest window is read at a time,
// or several with usual ones.
var zstdWindows = semaphore.NewWeighted(maxZstdWindow)

// HeadBytes is how many first bytes of each file Entries keeps: enough to tell its
// format without reading the archive again.
const HeadBytes = 264

// ErrDigest is the error of a layer whose bytes have another digest than its
// descriptor says.
var ErrDigest = errors.New("the bytes of the layer do not have its digest")

// An Entry is a file in a layer.
type Entry struct {
	// Path of the file in the model.
	Path string

	// Size in bytes.
	Size int64

	// Executable reports whether the file's owner may execute it.
	Executable bool

	// Offset of the content in the uncompressed layer, in bytes.
	Offset int64

	// SHA256 of the content, in hex. Only Entries sets it.
	SHA256 string

	// Head is the first HeadBytes of the content, or all of it if it has no more.
	// Only Entries sets it.
	Head []byte

	// Content of a file that Entries was asked to keep.
	Content []byte
}

// Walk reads a layer to its end and calls visit with each file in it and the
// file's content. Nothing that visit got may be trusted before Walk has returned
// nil, which means that the layer has its digest.
//
// It returns r's or visit's error as it is, and ErrDigest if the layer has
// another digest. A layer with a link, a device, a file twice, or one that
// unpacks to far more bytes than its size allows is an error with reason
// Unsupported, and a malformed archive one with reason Mismatch.
func (l Layer) Walk(ctx context.Context, r io.Reader, visit func(e Entry, content io.Reader) error) error {
	sum := l.Digest.Algorithm().Hash()
	in := &errorNoter{Reader: io.TeeReader(r, sum)}
	err := l.walk(ctx, in, visit)
	if in.err != nil {
		// A decompressor's or an archive reader's error would hide this one.
		return in.err
	}
	if err != nil && outcome.ReasonOf(err) != outcome.Mismatch {
		return err
	}
	// The digest covers what follows the archive's end.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	// A wrong digest explains why an archive is malformed.
	if digest.NewDigest(l.Digest.Algorithm(), sum) != l.Digest {
		return ErrDigest
	}
	return err
}

func (l Layer) walk(ctx context.Context, r io.Reader, visit func(e Entry, content io.Reader) error) error {
	if l.Encoding == Raw {
		return visit(Entry{Path: l.Path, Size: l.Size}, r)
	}
	plain, err := l.Plain(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = plain.Close() }()
	counted := &countingReader{Reader: plain}
	w := &walker{layer: l, plain: counted, tar: tar.NewReader(counted), seen: map[string]bool{}}
	return l.malformed(w.walk(visit))
}

// malformed explains an error of reading an archive: one with reason Unsupported
// if the archive needs too much memory, else with reason Mismatch. It returns an
// outcome.Error as it is.
func (l Layer) malformed(err error) error {
	var known *outcome.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return outcome.Errorf(outcome.Unsupported, "layer %s cannot be unpacked: its Zstandard window is larger than %d MiB, or than that of its first frame: "+
			"compress it again in one frame with a smaller window", l.Digest, maxZstdWindow>>20).Because(err)
	}
	return outcome.Errorf(outcome.Mismatch, "layer %s is no archive of the kind that it is said to be", l.Digest).Because(err)
}

// Plain returns the uncompressed bytes of a layer. Reading from a compressed layer
// far more of them than its size allows returns an error with reason Unsupported.
//
// Before it returns the bytes of a layer in Zstandard, Plain waits until there is
// memory for its window; closing the reader releases that.
func (l Layer) Plain(ctx context.Context, r io.Reader) (io.ReadCloser, error) {
	bounded := &boundedReader{left: archiveSlackBytes + min(l.Size, 1<<56)*maxArchiveRatio, layer: l}
	switch l.Encoding {
	case TarGzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, l.malformed(err)
		}
		bounded.ReadCloser = z
	case TarZstd:
		z, err := newZstdReader(ctx, r)
		if err != nil {
			return nil, l.malformed(err)
		}
		bounded.ReadCloser = z
	default:
		return io.NopCloser(r), nil
	}
	return bounded, nil
}

// IsPlain reports whether the layer holds its files uncompressed, at the offsets
// of their entries.
func (l Layer) IsPlain() bool { return l.Encoding == Raw || l.Encoding == Tar }

// A zstdReader decompresses Zstandard. It holds its part of zstdWindows.
type zstdReader struct {
	*zstd.Decoder

	window int64
}

// newZstdReader returns a reader that has memory for the window of the first
// frame, and refuses later frames with a larger one than that or the usual one.
func newZstdReader(ctx context.Context, r io.Reader) (*zstdReader, error) {
	in := bufio.NewReader(r)
	window := firstZstdWindow(in)
	if window > maxZstdWindow {
		return nil, zstd.ErrWindowSizeExceeded
	}
	if err := zstdWindows.Acquire(ctx, window); err != nil {
		return nil, outcome.Errorf(outcome.Evicted, "stopped while waiting for memory to unpack a layer").Because(err)
	}
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(window))) //nolint:gosec // A window is never negative.
	if err != nil {
		zstdWindows.Release(window)
		return nil, err
	}
	return &zstdReader{Decoder: z, window: window}, nil
}

// firstZstdWindow returns the window of the first frame, or the largest one if it
// is not known.
func firstZstdWindow(in *bufio.Reader) int64 {
	// The decoder meets the error of a stream that is shorter, too.
	b, _ := in.Peek(zstd.HeaderMaxSize)
	var h zstd.Header
	if h.Decode(b) != nil || h.Skippable {
		return maxZstdWindow
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	return int64(min(max(window, usualZstdWindow), maxZstdWindow+1))
}

// Close implements io.Closer. It must be called once.
func (z *zstdReader) Close() error {
	z.Decoder.Close()
	zstdWindows.Release(z.window)
	return nil
}

// A walker reads the entries of one archive.
type walker struct {
	layer Layer
	plain *countingReader
	tar   *tar.Reader
	seen  map[string]bool
}

func (w *walker) walk(visit func(e Entry, content io.Reader) error) error {
	for n := 0; ; n++ {
		h, err := w.tar.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == maxArchiveEntries {
			return w.layer.refused("it has more than %d files", maxArchiveEntries)
		}
		name, isFile, err := w.file(h)
		if err != nil {
			return err
		}
		if !isFile {
			continue
		}
		if err := visit(Entry{Path: name, Size: h.Size, Executable: h.Mode&0o100 != 0, Offset: w.plain.read}, w.tar); err != nil {
			return err
		}
	}
}

// file returns the path of an archive's entry, and reports whether it is a file.
func (w *walker) file(h *tar.Header) (name string, isFile bool, err error) {
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		// Folders are created for the files in them.
		return "", false, nil
	case tar.TypeReg:
	default:
		return "", false, w.layer.refused("it holds %q, which is a link or a device: only files are supported", outcome.Shorten(h.Name))
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return "", false, w.layer.refused("it holds %q as a sparse file, which may be of any size", outcome.Shorten(h.Name))
		}
	}
	if name, err = w.layer.entryPath(h.Name); err != nil {
		return "", false, w.layer.refused("%s", err)
	}
	if w.seen[name] {
		return "", false, w.layer.refused("it holds %q twice", outcome.Shorten(name))
	}
	w.seen[name] = true
	return name, true, nil
}

func (l Layer) refused(format string, args ...any) error {
	return outcome.Errorf(outcome.Unsupported, "layer "+l.Digest.String()+" cannot be unpacked: "+format, args...)
}

// Entries returns the files in a layer as Walk does, with their hashes and, of
// those whose size keep reports, their content. A nil keep keeps none.
func (l Layer) Entries(ctx context.Context, r io.Reader, keep func(size int64) bool) ([]Entry, error) {
	var out []Entry
	nameBytes, buffer := 0, make([]byte, 128<<10)
	err := l.Walk(ctx, r, func(e Entry, content io.Reader) error {
		if nameBytes += len(e.Path); len(out) == maxListedEntries || nameBytes > maxListedNameBytes {
			return l.refused("it has more than %d files, or their names are longer than %d bytes together", maxListedEntries, maxListedNameBytes)
		}
		sum := sha256.New()
		to := io.Writer(sum)
		var kept *bytes.Buffer
		if keep != nil && keep(e.Size) {
			kept = bytes.NewBuffer(make([]byte, 0, e.Size))
			to = io.MultiWriter(sum, kept)
		}
		var err error
		if e.Head, err = readHead(content, e.Size); err != nil {
			return err
		}
		_, _ = to.Write(e.Head)
		n, err := io.CopyBuffer(to, content, buffer)
		if err == nil && n+int64(len(e.Head)) != e.Size {
			err = io.ErrUnexpectedEOF
		}
		if kept != nil {
			e.Content = kept.Bytes()
		}
		e.SHA256 = hex.EncodeToString(sum.Sum(nil))
		out = append(out, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// readHead reads the first bytes of a file.
func readHead(content io.Reader, size int64) ([]byte, error) {
	head := make([]byte, min(size, HeadBytes))
	_, err := io.ReadFull(content, head)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return head, err
}

// An errorNoter records the error of a reader whose user may hide it.
type errorNoter struct {
	io.Reader

	err error
}

func (e *errorNoter) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		e.err = err
	}
	return n, err
}

// A countingReader counts the bytes that were read.
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
	io.ReadCloser

	left  int64
	layer Layer
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.layer.refused("it unpacks to far more bytes than its size allows")
	}
	return n, err
}
