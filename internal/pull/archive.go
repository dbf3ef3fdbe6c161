package pull

import (
	"context"
	"hash"
	"io"
	"os"
	"path"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// An entry is an unpacked file of an archive that does not have its name yet.
type entry struct {
	name string
	from string
	file file
}

// pullArchive fetches the files of a tar layer into the folder.
func (j *job) pullArchive(ctx context.Context, l modelpack.Layer) error {
	start := time.Now()
	here, err := j.archiveIsHere(l.Key())
	if err != nil {
		return err
	}
	if here {
		j.meter.add(l, l.Size)
		j.log.Printf("%s: %d bytes, already here", l.Digest, l.Size)
		return nil
	}
	if err := j.emptyFor(l); err != nil {
		return err
	}
	how := ", taken from the older folder"
	entries, reused, err := j.reuseArchive(ctx, l)
	if err == nil && !reused {
		how = ""
		if err = j.emptyFor(l); err == nil {
			entries, err = j.unpack(ctx, l)
		}
	}
	if err != nil {
		return err
	}
	if err := j.nameAll(l.Key(), entries); err != nil {
		return err
	}
	j.log.Printf("%s: %d bytes, %d files%s, in %s", l.Digest, l.Size, len(entries), how, time.Since(start).Round(time.Millisecond))
	return nil
}

// emptyFor makes the folder for the files of an archive, without any.
func (j *job) emptyFor(l modelpack.Layer) error {
	dir := unpacked(l.Key())
	return j.folder.failed(dir, errors.Join(j.folder.RemoveAll(dir), j.folder.MkdirAll(dir, dirMode)))
}

// archiveIsHere reports whether all files of the archive with this key are present.
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

// unpack unpacks an archive into files with numbers as names, and verifies it.
func (j *job) unpack(ctx context.Context, l modelpack.Layer) ([]entry, error) {
	in := j.open(ctx, l, 0)
	defer func() { _ = in.Close() }()
	entries, err := j.unpackFrom(ctx, in, l)
	if errors.Is(err, modelpack.ErrDigest) {
		return nil, j.otherBytes(l)
	}
	return entries, err
}

// unpackFrom unpacks the files of an archive.
func (j *job) unpackFrom(ctx context.Context, layer io.Reader, l modelpack.Layer) ([]entry, error) {
	u := &unpacker{folder: j.folder, layer: l, buffer: make([]byte, copyBytes)}
	if err := l.Walk(ctx, layer, u.write); err != nil {
		return nil, err
	}
	return u.entries, nil
}

// An unpacker writes the files of one archive. It names them by number, so that
// no name in an archive that is not verified yet is used.
type unpacker struct {
	folder  *folder
	layer   modelpack.Layer
	buffer  []byte
	entries []entry
}

// write writes a file.
func (u *unpacker) write(of modelpack.Entry, content io.Reader) error {
	if err := notState(of.Path); err != nil {
		return outcome.Errorf(outcome.Unsupported, "layer %s cannot be unpacked: %s", u.layer.Digest, err).Because(err)
	}
	e := entry{name: of.Path, from: path.Join(unpacked(u.layer.Key()), strconv.Itoa(len(u.entries))), file: file{Size: of.Size}}
	mode := os.FileMode(fileMode)
	if of.Executable {
		mode = execMode
	}
	out, err := u.folder.OpenFile(e.from, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode)
	if err != nil {
		return u.folder.failed(e.from, err)
	}
	sum := digest.Canonical.Hash()
	if err := u.copy(out, sum, content); err != nil {
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

// copy copies a file's content. It explains an error of the folder, and returns
// one of the archive as it is.
func (u *unpacker) copy(out *os.File, sum hash.Hash, content io.Reader) error {
	w := &errorNoter{Writer: out}
	_, err := io.CopyBuffer(onlyWriter{io.MultiWriter(w, sum)}, content, u.buffer)
	if w.err != nil {
		return failedAt(out.Name(), w.err)
	}
	return err
}

// An errorNoter records the error of a writer, which a copy does not tell from
// one of its reader.
type errorNoter struct {
	io.Writer

	err error
}

func (e *errorNoter) Write(p []byte) (int, error) {
	n, err := e.Writer.Write(p)
	e.err = err
	return n, err
}
