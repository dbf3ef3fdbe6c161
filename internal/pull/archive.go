package pull

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"hash"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// What an archive may unpack to. Weights hardly compress, text does a few times.
const (
	// maxRatio is how many times an archive's declared size its files may have
	// together, beyond slackBytes.
	maxRatio   = 100
	slackBytes = 16 << 20

	// maxEntries is how many entries an archive may have.
	maxEntries = 1 << 18
)

// An entry is a file of an archive that was unpacked, and not named yet.
type entry struct {
	name string
	from string
	file file
}

// pullArchive brings the files of a tar layer into the folder.
func (j *job) pullArchive(ctx context.Context, l modelpack.Layer) error {
	start := time.Now()
	here, err := j.archiveIsHere(l.Key())
	if err != nil {
		return err
	}
	if here {
		j.done.Add(l.Size)
		j.log.Printf("%s: %d bytes, here already", l.Digest, l.Size)
		return nil
	}
	dir := unpacked(l.Key())
	if err := errors.Join(j.folder.RemoveAll(dir), j.folder.MkdirAll(dir, dirMode)); err != nil {
		return j.folder.failed(dir, err)
	}
	entries, err := j.unpack(ctx, l)
	if err != nil {
		return err
	}
	if err := j.nameAll(l.Key(), entries); err != nil {
		return err
	}
	j.log.Printf("%s: %d bytes, %d files, in %s", l.Digest, l.Size, len(entries), time.Since(start).Round(time.Millisecond))
	return nil
}

// archiveIsHere reports whether all files of the archive with this key are there.
func (j *job) archiveIsHere(key string) (bool, error) {
	j.mu.Lock()
	names, ok := j.state.Archives[key]
	j.mu.Unlock()
	if !ok {
		return false, nil
	}
	here, missing, err := j.look(names)
	if err != nil || len(missing) > 0 {
		return false, err
	}
	return true, j.note(here)
}

// unpack unpacks an archive out of its names' sight, while it holds the layer
// against its digest.
func (j *job) unpack(ctx context.Context, l modelpack.Layer) ([]entry, error) {
	in := j.source.open(ctx, l.Descriptor, 0, func(n int) { j.done.Add(int64(n)) })
	defer func() { _ = in.Close() }()
	h := l.Digest.Algorithm().Hash()
	layer := &errorNoter{Reader: io.TeeReader(in, h)}
	entries, err := j.unpackFrom(layer, l)
	if layer.err != nil {
		// What the archive's reader makes of it says less.
		return nil, layer.err
	}
	err = l.BadArchive(err)
	if err != nil && outcome.ReasonOf(err) != outcome.Mismatch {
		return nil, err
	}
	// What comes after the archive's end counts too.
	if _, cerr := io.Copy(io.Discard, layer); cerr != nil {
		return nil, cerr
	}
	// Other bytes are the better explanation of an archive that makes no sense.
	if merr := j.matches(h, l); merr != nil {
		return nil, merr
	}
	return entries, err
}

// unpackFrom unpacks the files of an archive.
func (j *job) unpackFrom(layer io.Reader, l modelpack.Layer) ([]entry, error) {
	plain, done, err := decompress(layer, l.Encoding)
	if err != nil {
		return nil, err
	}
	defer done()
	limit := l.Size
	if l.Encoding != modelpack.Tar {
		limit = slackBytes + min(l.Size, 1<<56)*maxRatio
	}
	u := &unpacker{folder: j.folder, layer: l, tar: tar.NewReader(&bounded{Reader: plain, left: limit, digest: l.Digest}), limit: limit}
	return u.all()
}

// decompress returns an archive's plain form, and what ends reading it.
func decompress(r io.Reader, e modelpack.Encoding) (io.Reader, func(), error) {
	switch e {
	case modelpack.TarGzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		return z, func() { _ = z.Close() }, nil
	case modelpack.TarZstd:
		z, err := modelpack.NewZstdReader(r)
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	default:
		return r, func() {}, nil
	}
}

// An unpacker reads one archive. It writes files by number, so that no name in
// the archive names anything yet.
type unpacker struct {
	folder *folder
	layer  modelpack.Layer
	tar    *tar.Reader
	limit  int64 // Bytes that the files may have together.

	entries []entry
	seen    map[string]bool
}

// all unpacks all files.
func (u *unpacker) all() ([]entry, error) {
	u.seen = map[string]bool{}
	for n := 0; ; n++ {
		h, err := u.tar.Next()
		if errors.Is(err, io.EOF) {
			return u.entries, nil
		}
		if err != nil {
			return nil, err
		}
		if n == maxEntries {
			return nil, outcome.Errorf(outcome.Unsupported, "layer %s has more than %d files", u.layer.Digest, maxEntries)
		}
		if err := u.next(h); err != nil {
			return nil, err
		}
	}
}

// next unpacks an archive's entry.
func (u *unpacker) next(h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		// Folders come with the files in them.
		return nil
	case tar.TypeReg:
	default:
		return outcome.Errorf(outcome.Unsupported, "layer %s holds %q, which is a link or a device: files alone are pulled", u.layer.Digest, shortName(h.Name))
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return outcome.Errorf(outcome.Unsupported, "layer %s holds %q as a sparse file, which may be of any size", u.layer.Digest, shortName(h.Name))
		}
	}
	name, err := entryPath(u.layer, h.Name)
	if err != nil {
		return outcome.Errorf(outcome.Unsupported, "layer %s cannot be unpacked: %s", u.layer.Digest, err).Because(err)
	}
	if u.seen[name] {
		return outcome.Errorf(outcome.Unsupported, "layer %s holds %q twice", u.layer.Digest, shortName(name))
	}
	if h.Size > u.limit {
		return tooLarge(u.layer.Digest)
	}
	u.limit -= h.Size
	u.seen[name] = true
	return u.write(name, h)
}

// write writes a file, and notes what it is.
func (u *unpacker) write(name string, h *tar.Header) error {
	e := entry{name: name, from: path.Join(unpacked(u.layer.Key()), strconv.Itoa(len(u.entries))), file: file{Size: h.Size}}
	mode := os.FileMode(fileMode)
	if h.Mode&0o100 != 0 {
		mode = execMode
	}
	out, err := u.folder.OpenFile(e.from, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode)
	if err != nil {
		return u.folder.failed(e.from, err)
	}
	sum := digest.Canonical.Hash()
	if err := u.copy(out, sum); err != nil {
		_ = out.Close()
		return err
	}
	fi, err := out.Stat()
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return u.folder.failed(e.from, err)
	}
	e.file.Digest, e.file.ModTime = digest.NewDigest(digest.Canonical, sum), fi.ModTime().UnixNano()
	u.entries = append(u.entries, e)
	return nil
}

// copy copies a file's content. An error of the folder is told from one of the
// archive.
func (u *unpacker) copy(out *os.File, sum hash.Hash) error {
	w := &errorNoter{Writer: out}
	_, err := io.CopyBuffer(onlyWriter{io.MultiWriter(w, sum)}, u.tar, make([]byte, copyBytes))
	if w.err != nil {
		return failedAt(out.Name(), w.err)
	}
	return err
}

func tooLarge(d digest.Digest) error {
	return outcome.Errorf(outcome.Unsupported, "layer %s unpacks to far more bytes than its size lets expect: it is not unpacked", d)
}

// shortName returns as much of a foreign name as fits into a message.
func shortName(s string) string { return s[:min(len(s), 120)] }

// A bounded reader refuses to read more than a number of bytes.
type bounded struct {
	io.Reader

	left   int64
	digest digest.Digest
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, tooLarge(b.digest)
	}
	return n, err
}

// An errorNoter notes what went wrong where a copy alone does not tell.
type errorNoter struct {
	io.Reader
	io.Writer

	err error
}

func (e *errorNoter) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		e.err = err
	}
	return n, err
}

func (e *errorNoter) Write(p []byte) (int, error) {
	n, err := e.Writer.Write(p)
	e.err = err
	return n, err
}
