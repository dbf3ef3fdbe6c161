package kit

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// copyBuffer is how many bytes of a file are written at a time.
const copyBuffer = 1 << 20

// copyFiles copies the files of a volume into the workspace, with a Kitfile for them. A
// Kitfile of the volume is not used, since it could leave files out. The copies' hashes
// are what kit's artifact is verified against.
func (r *task) copyFiles(ctx context.Context) error {
	r.run.Meter.Step(stepCopy, pipeline.TotalSize(r.files))
	for i, f := range r.files {
		sum, err := r.copyFile(ctx, f)
		if err != nil {
			return err
		}
		r.files[i].SHA256 = sum
	}
	if err := r.setTimes(); err != nil {
		return err
	}
	k := newKitfile(r.contents.Facts.Author, r.contents.Facts.Name, r.contents.License, r.files)
	return writeKitfile(k, filepath.Join(r.workspace.unpacked, "Kitfile"))
}

// copyFile copies one file, and returns its SHA-256 in hex.
func (r *task) copyFile(ctx context.Context, f file.File) (string, error) {
	to := r.inUnpacked(f)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return "", errors.Wrap(err, "cannot make a folder in the workspace")
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", errors.Wrap(err, "cannot make a file in the workspace")
	}
	v := f.NewVerifier()
	err = r.copyTo(ctx, io.MultiWriter(out, v), f)
	if cerr := out.Close(); err == nil {
		err = copyError(cerr)
	}
	if err != nil {
		return "", err
	}
	return v.SHA256(), v.Verify()
}

// copyTo copies the bytes of one file.
func (r *task) copyTo(ctx context.Context, w io.Writer, f file.File) error {
	in, err := r.source.Open(ctx, f, 0)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out := bufio.NewWriterSize(w, copyBuffer)
	if _, err := io.Copy(out, r.counted(in)); err != nil {
		return copyError(err)
	}
	return copyError(out.Flush())
}

// copyError returns the error of a copy whose cause may be a full workspace.
func copyError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return outcome.Errorf(outcome.NoSpace, "the workspace is full: raise spec.forProvider.storage.size").Because(err)
	}
	return err
}
