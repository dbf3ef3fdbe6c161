package pull

import (
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// clone makes a file share the content of another one until one of them is written to
// (ioctl_ficlone(2)). It returns an error on file systems that cannot.
func clone(dst, src *os.File) error {
	return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
}

// link gives an open file a name in a folder, whatever names it had or has
// (linkat(2), "/proc/self/fd").
func (f *folder) link(src *os.File, name string) error {
	dir, err := f.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", src.Fd()), int(dir.Fd()), path.Base(name), unix.AT_SYMLINK_FOLLOW)
}
