package pull

import (
	"bufio"
	"context"
	"hash"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// maxFormerState bounds the state and the journal of an older folder: those of 100,000
// files have some 20 MB each.
const maxFormerState = 64 << 20

// maxNames is how many files of an older folder are tried for a layer, and maxWrong how many
// may not be what the state says before nothing more is taken: each is copied and hashed as a
// whole.
const (
	maxNames = 2
	maxWrong = 3
)

// A former is an older folder, of another pull, from which unchanged files are taken. It
// is only read. Nothing in it is trusted: its state says where to look, and no more. What
// is taken is a copy, whose digest is verified before it gets a name.
type former struct {
	*os.Root

	state *state
	names map[digest.Digest][]string // At most maxNames each.
	wrong atomic.Int32               // The files that were not what the state says.
}

// openFormer opens an older folder. It returns nil if there is none, or none of a pull.
func openFormer(dir string, logf func(string, ...any)) *former {
	root, err := os.OpenRoot(dir)
	if err != nil {
		logf("nothing is taken from %q: %s", dir, err)
		return nil
	}
	f := &former{Root: root, names: map[digest.Digest][]string{}}
	if f.state = f.load(); f.state == nil {
		logf("nothing is taken from %q: it has no state of a pull that can be read", dir)
		_ = root.Close()
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(f.state.Files)) {
		if d := f.state.Files[name].Digest; len(f.names[d]) < maxNames {
			f.names[d] = append(f.names[d], name)
		}
	}
	return f
}

// close closes the folder, if there is one.
func (f *former) close() {
	if f != nil {
		_ = f.Close()
	}
}

// isUsable reports whether there is a folder, and few of its files were not what its state
// says.
func (f *former) isUsable() bool { return f != nil && f.wrong.Load() < maxWrong }

// load reads the folder's state with its journal, or returns nil if it cannot be read.
func (f *former) load() *state {
	in, err := f.open(stateFile, -1)
	if err != nil {
		return nil
	}
	defer func() { _ = in.Close() }()
	b, err := io.ReadAll(io.LimitReader(in, maxFormerState))
	if err != nil {
		return nil
	}
	s, ok := parseState(b)
	if !ok {
		return nil
	}
	journal, err := f.open(journalFile(s.Generation), -1)
	if err != nil {
		return s
	}
	defer func() { _ = journal.Close() }()
	if _, ok := s.apply(bufio.NewReader(io.LimitReader(journal, maxFormerState))); !ok || !s.valid() {
		return nil
	}
	return s
}

// open opens a file of a size, or of any if that is negative. It opens nothing else than a
// file, and follows no link.
func (f *former) open(name string, size int64) (*os.File, error) {
	in, err := f.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	fi, err := in.Stat()
	if err == nil && (!fi.Mode().IsRegular() || size >= 0 && fi.Size() != size) {
		err = errors.New("it is not the file that it was")
	}
	if err != nil {
		_ = in.Close()
		return nil, err
	}
	return in, nil
}

// reuseRaw takes a raw layer from the older folder into a temporary file, verified, and
// returns its name; "" if the folder does not have it.
func (j *job) reuseRaw(ctx context.Context, l modelpack.Layer) (string, error) {
	if !j.former.isUsable() {
		return "", nil
	}
	temp := partial(l.Digest) + "-reused"
	for _, name := range j.former.names[l.Digest] {
		if !j.former.isUsable() {
			break
		}
		took, err := j.take(ctx, name, l.Size, temp)
		if err != nil {
			return "", err
		}
		if !took {
			continue
		}
		h := l.Digest.Algorithm().Hash()
		if err := j.rehash(ctx, l, temp, h); err != nil {
			return "", err
		}
		if digest.NewDigest(l.Digest.Algorithm(), h) == l.Digest {
			return temp, nil
		}
		j.meter.add(l, -l.Size)
		j.distrust(l.Path, strconv.Quote(name))
	}
	return "", j.drop(temp)
}

// distrust notes that something in the older folder is not what its state says.
func (j *job) distrust(layer, what string) {
	j.log.Printf("%s: %s in %q: not what its state says, and not used", layer, what, j.former.Name())
	if j.former.wrong.Add(1) == maxWrong {
		j.log.Printf("nothing more is taken from %q", j.former.Name())
	}
}

// drop removes a temporary file, if there is one. It may be a link to a file of the older
// folder, and is never written to.
func (j *job) drop(temp string) error {
	if err := j.folder.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return j.folder.failed(temp, err)
	}
	return nil
}

// take copies a file of the older folder, or links it if the options say so, and reports
// whether it did. It returns an error of the new folder only.
func (j *job) take(ctx context.Context, name string, size int64, temp string) (bool, error) {
	if err := j.drop(temp); err != nil {
		return false, err
	}
	in, err := j.former.open(name, size)
	if err != nil {
		return false, nil // The file is fetched instead.
	}
	defer func() { _ = in.Close() }()
	if j.options.HardLinks && j.folder.link(in, temp) == nil {
		return j.sized(temp, size)
	}
	out, err := j.folder.OpenFile(temp, os.O_CREATE|os.O_RDWR|os.O_EXCL, fileMode)
	if err != nil {
		return false, j.folder.failed(temp, err)
	}
	defer func() { _ = out.Close() }()
	if clone(out, in) != nil {
		w := &errorNoter{Writer: out}
		if _, err := io.CopyBuffer(onlyWriter{w}, &untilDone{ctx, io.LimitReader(in, size)}, make([]byte, copyBytes)); w.err != nil {
			return false, j.folder.failed(temp, w.err)
		} else if err != nil {
			return false, ctx.Err()
		}
	}
	if err := errors.Join(out.Sync(), out.Close()); err != nil {
		return false, j.folder.failed(temp, err)
	}
	// It may have grown since its size was looked at.
	return j.sized(temp, size)
}

// sized reports whether a file that was taken has a size.
func (j *job) sized(temp string, size int64) (bool, error) {
	fi, err := j.folder.Lstat(temp)
	if err != nil {
		return false, j.folder.failed(temp, err)
	}
	if fi.Size() != size {
		j.distrust(temp, "a file that changes")
		return false, nil
	}
	return true, nil
}

// rehash hashes a file that was taken, and counts its bytes as those of the layer.
func (j *job) rehash(ctx context.Context, l modelpack.Layer, temp string, h hash.Hash) error {
	in, err := j.folder.Open(temp)
	if err != nil {
		return j.folder.failed(temp, err)
	}
	defer func() { _ = in.Close() }()
	n, err := io.CopyBuffer(onlyWriter{h}, &untilDone{ctx, io.LimitReader(in, l.Size)}, make([]byte, copyBytes))
	if j.meter.add(l, l.Size); err == nil && n < l.Size {
		// It was shortened while it was copied: its digest is another one.
		return nil
	}
	return j.folder.failed(temp, err)
}

// reuseArchive takes the files of an archive from the older folder into the folder for
// them, and returns them. That the archive of these files has the layer's digest verifies
// their paths and their content; so archives that are compressed, or that another program
// has built, are not taken. It reports whether it took them.
func (j *job) reuseArchive(ctx context.Context, l modelpack.Layer) ([]entry, bool, error) {
	if !j.former.isUsable() {
		return nil, false, nil
	}
	names := j.former.state.Archives[l.Key()]
	files := make([]modelpack.File, 0, len(names))
	for _, name := range names {
		files = append(files, modelpack.File{Path: name, Size: j.former.state.Files[name].Size})
	}
	t := &taking{files: map[string]*entry{}}
	archive, ok := l.Rebuild(files, func(f modelpack.File, _ int64) (io.ReadCloser, error) {
		in, err := j.folder.Open(t.files[f.Path].from)
		return &hashed{ReadCloser: in, hash: t.next(f.Path)}, err
	})
	if !ok {
		return nil, false, nil
	}
	defer func() { _ = archive.Close() }()
	for i, f := range files {
		e := &entry{name: f.Path, from: path.Join(unpacked(l.Key()), strconv.Itoa(i)), file: file{Size: f.Size}}
		took, err := j.take(ctx, f.Path, f.Size, e.from)
		if err != nil || !took || t.files[f.Path] != nil {
			return nil, false, err
		}
		t.files[f.Path] = e
	}
	sum := l.Digest.Algorithm().Hash()
	_, err := io.CopyBuffer(onlyWriter{sum}, &untilDone{ctx, archive}, make([]byte, copyBytes))
	if ctx.Err() != nil {
		return nil, false, ctx.Err()
	}
	if err != nil || digest.NewDigest(l.Digest.Algorithm(), sum) != l.Digest {
		j.distrust(l.Digest.String(), "the files")
		return nil, false, nil
	}
	j.meter.add(l, l.Size)
	entries, err := t.entries(j.folder, files)
	return entries, err == nil, err
}

// A taking is an archive whose files are taken.
type taking struct {
	files map[string]*entry
	sums  map[string]hash.Hash
}

// next returns the hash of a file's content.
func (t *taking) next(name string) hash.Hash {
	if t.sums == nil {
		t.sums = map[string]hash.Hash{}
	}
	t.sums[name] = digest.Canonical.Hash()
	return t.sums[name]
}

// entries returns the files with their digests, in order.
func (t *taking) entries(f *folder, files []modelpack.File) ([]entry, error) {
	out := make([]entry, 0, len(files))
	for _, one := range files {
		e := t.files[one.Path]
		fi, err := f.Lstat(e.from)
		if err != nil {
			return nil, f.failed(e.from, err)
		}
		sum := t.sums[one.Path]
		if sum == nil {
			// A file without content is not opened.
			sum = digest.Canonical.Hash()
		}
		e.file.Digest, e.file.ModTime = digest.NewDigest(digest.Canonical, sum), fi.ModTime().UnixNano()
		out = append(out, *e)
	}
	return out, nil
}

// A hashed reader hashes what is read.
type hashed struct {
	io.ReadCloser

	hash hash.Hash
}

// Read implements io.Reader.
func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	_, _ = h.hash.Write(p[:n]) // A hash does not fail.
	return n, err
}

// An untilDone reader ends with its context.
type untilDone struct {
	ctx context.Context //nolint:containedctx // It is this one copy's.

	io.Reader
}

// Read implements io.Reader.
func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, outcome.Errorf(outcome.Evicted, "the pull was stopped").Because(err)
	}
	return u.Reader.Read(p)
}
