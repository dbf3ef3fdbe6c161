package connection

import (
	"io"
	"os"
	"sync"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// maxFileBytes bounds a MountedFile: no Secret is larger
// (https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size).
const maxFileBytes = 1 << 20

// A MountedFile is a value of a Secret, or a token, that the kubelet mounts into a Pod, as
// it is now. It is read again once the path names another file than before: the kubelet
// never writes to one, but replaces the link to the folder that they are in. It is safe
// for concurrent use.
type MountedFile struct {
	path string

	mu      sync.Mutex
	info    os.FileInfo // Of what was read last; nil before.
	content []byte
}

// NewMountedFile returns the file at a path, which is not read yet.
func NewMountedFile(path string) *MountedFile { return &MountedFile{path: path} }

// Read returns the content, which must not be changed. It returns an error if the file
// cannot be read, or is larger than a Secret can be.
func (f *MountedFile) Read() ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := os.Stat(f.path)
	if err != nil {
		return nil, errors.Wrap(err, "cannot read a mounted credential")
	}
	if f.info != nil && same(f.info, now) {
		return f.content, nil
	}
	info, content, err := read(f.path)
	if err != nil {
		return nil, errors.Wrap(err, "cannot read a mounted credential")
	}
	f.info, f.content = info, content
	return content, nil
}

// Text returns the content as a value that a person wrote, without the white space around
// it.
func (f *MountedFile) Text() (string, error) {
	b, err := f.Read()
	return Trimmed(string(b)), err
}

// same reports whether two looks at a path saw the same file, unchanged.
func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// read returns the content of a file together with what identifies it.
func read(path string) (os.FileInfo, []byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err == nil && len(content) > maxFileBytes {
		err = errors.Errorf("it has more than %d bytes", maxFileBytes)
	}
	return info, content, err
}
