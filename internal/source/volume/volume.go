// Package volume reads the files of a folder of a mounted volume. Nothing outside of the
// volume is ever read: whoever writes to it chooses its links.
package volume

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
)

// maxDepth bounds how deep folders may be: more cannot be in a safe path.
const maxDepth = 512

// A Folder is a folder of a mounted volume. Its files are pinned by the time of their
// last change, which is all that a volume keeps of a version.
type Folder struct {
	name   string
	volume *os.Root
	root   *os.Root         // Of the path in the volume.
	states map[string]state // Of the listed files.
	most   int              // Bounds the entries of one folder.
}

// A state is which file is under a name, and when anything about it changed last. It
// shows within a run that a file was replaced by one with the same time.
type state struct {
	inode   uint64
	changed syscall.Timespec
}

var _ source.Folder = &Folder{}

// New returns a folder of a mounted volume.
func New(s pipeline.VolumeSource) (*Folder, error) {
	volume, err := os.OpenRoot(s.Folder)
	if errors.Is(err, fs.ErrPermission) {
		info, _ := os.Lstat(s.Folder)
		return nil, unreadable("the top folder of the volume", s.Name, info, err)
	}
	if err != nil {
		return nil, outcome.Errorf(outcome.Internal, "the volume of %s is not mounted at %s", s.Name, s.Folder).Because(err)
	}
	f := &Folder{name: s.Name, volume: volume, most: source.MaxFiles}
	// Opening a pipe would wait for who writes to it.
	if info, err := volume.Stat(cmp.Or(s.Path, ".")); err == nil && !info.IsDir() {
		defer f.Close()
		return nil, f.noFolder(volume, s.Path, syscall.ENOTDIR)
	}
	if f.root, err = volume.OpenRoot(cmp.Or(s.Path, ".")); err != nil {
		defer f.Close()
		return nil, f.noFolder(volume, s.Path, err)
	}
	return f, nil
}

// noFolder returns the error for a path that cannot be opened as a folder.
func (f *Folder) noFolder(volume *os.Root, name string, err error) error {
	const field = "spec.forProvider.source.persistentVolumeClaim.path"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return outcome.Errorf(outcome.NotFound, "the volume has no folder %q: correct %s", name, field).Because(err)
	case errors.Is(err, fs.ErrPermission):
		return f.unreadable(volume, name, err)
	}
	return outcome.Errorf(outcome.Unsupported, "%q is no folder inside the volume, but a file, or a link that leads elsewhere: correct %s", name, field).Because(err)
}

// Name implements source.Folder.
func (f *Folder) Name() string { return f.name }

// List implements source.Folder. Links to files inside the folder are followed; other
// links, and what is no file, are refused. Folders that filesystems make for themselves
// are left out.
func (f *Folder) List(ctx context.Context) ([]file.File, error) {
	var files []file.File
	f.states = map[string]state{}
	err := fs.WalkDir(boundedFS{FS: f.root.FS(), folder: f}, ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return errors.Wrapf(ctx.Err(), "cannot list %s", f.name)
		case err != nil:
			return f.failed(name, err)
		case e.IsDir() && isOfFilesystem(name):
			return fs.SkipDir
		case e.IsDir() && depth(name) > maxDepth:
			return outcome.Errorf(outcome.Unsupported, "%s has folders that are more than %d deep: name a folder in it", f.name, maxDepth)
		case e.IsDir():
			return nil
		case len(files) > source.MaxFiles:
			return fs.SkipAll
		}
		one, err := f.listed(name)
		if err == nil {
			files = append(files, one)
		}
		return err
	})
	return files, err
}

// A boundedFS reads no folder with so many entries that they may not fit into memory.
type boundedFS struct {
	fs.FS

	folder *Folder
}

// ReadDir implements fs.ReadDirFS.
func (b boundedFS) ReadDir(name string) ([]fs.DirEntry, error) {
	d, err := b.folder.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	entries, err := d.ReadDir(b.folder.most + 1)
	if len(entries) > b.folder.most {
		return nil, outcome.Errorf(outcome.Unsupported, "folder %q in %s has more than %d files: name another folder", outcome.Shorten(name), b.folder.name, b.folder.most)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	if errors.Is(err, io.EOF) { // It is empty.
		return nil, nil
	}
	return entries, err
}

// listed returns a file as it is now.
func (f *Folder) listed(name string) (file.File, error) {
	info, err := f.root.Lstat(name)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		info, err = f.root.Stat(name)
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return file.File{}, outcome.Errorf(outcome.Unsupported,
				"%q in %s is a link that leads out of the folder, or to nothing: put the file itself there, or remove the link", outcome.Shorten(name), f.name)
		}
	}
	if err != nil {
		return file.File{}, f.failed(name, err)
	}
	if info.IsDir() {
		return file.File{}, outcome.Errorf(outcome.Unsupported, "%q in %s is a link to a folder: put the folder itself there, or remove the link", outcome.Shorten(name), f.name)
	}
	if !info.Mode().IsRegular() {
		return file.File{}, outcome.Errorf(outcome.Unsupported, "%q in %s is no regular file: remove it, or name another folder", outcome.Shorten(name), f.name)
	}
	f.states[name] = stateOf(info)
	return file.File{Path: name, Size: info.Size(), Version: versionOf(info)}, nil
}

// isOfFilesystem reports whether a filesystem makes a folder for itself: what ext4
// recovers, and the snapshots that NFS servers show.
func isOfFilesystem(name string) bool {
	base := path.Base(name)
	return base == "lost+found" || base == ".snapshot"
}

func depth(name string) int {
	n := 0
	for _, c := range name {
		if c == '/' {
			n++
		}
	}
	return n
}

// versionOf returns what pins a file over runs: when its content changed last.
func versionOf(info fs.FileInfo) string { return fmt.Sprintf("mtime:%d", info.ModTime().UnixNano()) }

// stateOf returns a file's state; the zero state on a system that tells none.
func stateOf(info fs.FileInfo) state {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return state{}
	}
	return state{inode: s.Ino, changed: s.Ctim}
}

// Complete implements source.Folder: a volume knows no hashes.
func (*Folder) Complete(_ context.Context, files []file.File) ([]file.File, error) {
	return files, nil
}

// Open implements source.Folder.
func (f *Folder) Open(ctx context.Context, one file.File, from, to int64) (io.ReadCloser, error) {
	opened, err := f.open(one.Path)
	if err != nil {
		return nil, err
	}
	s := &section{ctx: ctx, folder: f, file: opened, listed: one, in: io.NewSectionReader(opened, from, to-from)}
	if err := s.check(opened); err != nil {
		_ = opened.Close()
		return nil, err
	}
	return s, nil
}

// open opens a file. A pipe that replaced it does not block.
func (f *Folder) open(name string) (*os.File, error) {
	opened, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, f.failed(name, err)
	}
	return opened, nil
}

// Close implements source.Folder.
func (f *Folder) Close() {
	if f.root != nil {
		_ = f.root.Close()
	}
	_ = f.volume.Close()
}

// failed returns the error for a file or folder that cannot be opened or read.
func (f *Folder) failed(name string, err error) error {
	switch {
	case errors.As(err, new(*outcome.Error)):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.ELOOP):
		return outcome.Errorf(outcome.Changed, "%q in %s is gone since it was listed: let nothing change the folder while it is read", outcome.Shorten(name), f.name).Because(err)
	case errors.Is(err, fs.ErrPermission):
		return f.unreadable(f.root, name, err)
	}
	return outcome.Errorf(outcome.Unavailable, "cannot read %q in %s: %s; this may be transient", outcome.Shorten(name), f.name, cause(err)).Because(err)
}

// unreadable returns the error for what the run's user may not read. It names the first
// part of the path that is closed to it.
func (f *Folder) unreadable(root *os.Root, name string, err error) error {
	at := name
	for dir := path.Dir(name); dir != "." && dir != "/"; dir = path.Dir(dir) {
		if _, lerr := root.Lstat(at); lerr == nil {
			break
		}
		at = dir
	}
	info, _ := root.Lstat(at)
	return unreadable(fmt.Sprintf("%q", outcome.Shorten(at)), f.name, info, err)
}

// unreadable returns the error for a file or folder that the run's user may not read.
// What is known of it may be nil.
func unreadable(what, in string, info fs.FileInfo, err error) error {
	kind := ""
	if info != nil {
		kind = fmt.Sprintf(" (mode %s%s)", info.Mode(), owner(info))
	}
	return outcome.Errorf(outcome.Unauthorized,
		"%s in %s%s cannot be read by user %d and groups %s of the run: make it readable for others or for one of these groups", what, in, kind, os.Getuid(), groups()).Because(err)
}

func owner(info fs.FileInfo) string {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf(", owner %d:%d", s.Uid, s.Gid)
	}
	return ""
}

func groups() string {
	all, err := os.Getgroups()
	if err != nil || len(all) == 0 {
		all = []int{os.Getgid()}
	}
	return fmt.Sprint(all)
}

// cause returns an error's text without the path, which is named already.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return filepath.ToSlash(err.Error())
}
