package pull

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Paths in the folder besides the artifact's files.
const (
	stateDir   = ".provider-kitops"
	stateFile  = stateDir + "/state.json"
	lockFile   = stateDir + "/lock"
	partialDir = stateDir + "/partial"
)

// Modes of files and folders, which other users may read.
const (
	dirMode  = 0o755
	fileMode = 0o644
	execMode = 0o755
)

// lockPoll is the interval of tries for a lock that another pull holds.
const lockPoll = time.Second

// A folder is the destination of a pull. No path, and no symbolic link in it, leads out
// of it.
type folder struct {
	*os.Root

	locked  *os.File
	journal *os.File // nil before the first change of the state.
}

// openFolder opens a folder, and creates it if it does not exist.
func openFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, failedAt(dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, failedAt(dir, err)
	}
	f := &folder{Root: root}
	if err := f.MkdirAll(partialDir, dirMode); err != nil {
		_ = root.Close()
		return nil, failedAt(filepath.Join(dir, partialDir), err)
	}
	return f, nil
}

// close closes the folder and releases its lock.
func (f *folder) close() {
	_ = f.closeJournal()
	if f.locked != nil {
		_ = f.locked.Close()
	}
	_ = f.Close()
}

// lock waits until no other pull holds the folder's lock, and acquires it. The lock ends
// with this process. On a file system without locks, lock does nothing.
func (f *folder) lock(ctx context.Context, logf func(string, ...any)) error {
	var err error
	if f.locked, err = f.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, fileMode); err != nil {
		return f.failed(lockFile, err)
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for said := false; ; said = true {
		err := syscall.Flock(int(f.locked.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil
		}
		if !said {
			logf("waiting for another pull into this folder")
		}
		select {
		case <-ctx.Done():
			return outcome.Errorf(outcome.Evicted, "the pull was stopped while it was waiting for another one into the same folder").Because(ctx.Err())
		case <-tick.C:
		}
	}
}

// failed explains an error of an operation on a file in the folder.
func (f *folder) failed(name string, err error) error {
	return failedAt(filepath.Join(f.Name(), name), err)
}

// failedAt explains an error of an operation on a file. It returns nil and an
// outcome.Error as they are.
func failedAt(name string, err error) error {
	var known *outcome.Error
	var at *fs.PathError
	var link *os.LinkError
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case outcome.ReasonOf(err) == outcome.NoSpace:
		return outcome.Errorf(outcome.NoSpace,
			"the volume of %q is full: make it larger, an emptyDir by its sizeLimit; the pull resumes", name).Because(err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return outcome.Errorf(outcome.Unsupported,
			"%q cannot be written: mount a volume there that this user may write, for example by the Pod's fsGroup", name).Because(err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, fs.ErrExist), errors.Is(err, syscall.ENOTEMPTY):
		return outcome.Errorf(outcome.Unsupported,
			"%q is in the way, a file where a folder is needed or vice versa: use an empty folder", name).Because(err)
	case errors.As(err, &at):
		err = at.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return outcome.Errorf(outcome.Internal, "cannot write %q: %s", name, err).Because(err)
}

// partial returns the path of a raw layer until it is verified.
func partial(d digest.Digest) string {
	return path.Join(partialDir, d.Algorithm().String()+"-"+d.Encoded())
}

// unpacked returns the folder for the files of the archive with this key until it is
// verified.
func unpacked(key string) string {
	return path.Join(partialDir, digest.FromString(key).Encoded()+"-files")
}

// put gives a verified file its name, and replaces a file that had it.
func (f *folder) put(from, name string) error {
	if err := f.MkdirAll(path.Dir(name), dirMode); err != nil {
		return f.failed(path.Dir(name), err)
	}
	return f.failed(name, f.Rename(from, name))
}

// copy creates another file of the same content, as a hard link if the file system has
// them.
func (f *folder) copy(from, name string) error {
	if err := f.MkdirAll(path.Dir(name), dirMode); err != nil {
		return f.failed(path.Dir(name), err)
	}
	if err := f.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.failed(name, err)
	}
	if f.Link(from, name) == nil {
		return nil
	}
	src, err := f.Open(from)
	if err != nil {
		return f.failed(from, err)
	}
	defer func() { _ = src.Close() }()
	temp := path.Join(partialDir, "copy-"+digest.FromString(name).Encoded())
	dst, err := f.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fileMode)
	if err != nil {
		return f.failed(temp, err)
	}
	_, err = io.Copy(dst, src)
	if err := errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		return f.failed(temp, err)
	}
	return f.put(temp, name)
}

// remove removes a file, and the folders that become empty.
func (f *folder) remove(name string) error {
	if err := f.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.failed(name, err)
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if f.Remove(dir) != nil {
			return nil //nolint:nilerr // It is not empty.
		}
	}
	return nil
}

// clean removes the partial layers that are not in keep.
func (f *folder) clean(keep map[string]bool) error {
	entries, err := fs.ReadDir(f.FS(), partialDir)
	if err != nil {
		return f.failed(partialDir, err)
	}
	for _, e := range entries {
		name := path.Join(partialDir, e.Name())
		if keep[name] {
			continue
		}
		if err := f.RemoveAll(name); err != nil {
			return f.failed(name, err)
		}
	}
	return nil
}

// hash returns the digest of a file's content, by the algorithm of like.
func (f *folder) hash(name string, like digest.Digest) (digest.Digest, error) {
	file, err := f.Open(name)
	if err != nil {
		return "", f.failed(name, err)
	}
	defer func() { _ = file.Close() }()
	d, err := like.Algorithm().FromReader(file)
	return d, f.failed(name, err)
}
