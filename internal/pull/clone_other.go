//go:build !linux

package pull

import (
	"os"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// clone returns an error: only Linux shares content between files in the same way on all
// file systems that can.
func clone(_, _ *os.File) error { return errors.New("cloning is for Linux") }

// link returns an error: only Linux can link an open file.
func (f *folder) link(_ *os.File, _ string) error { return errors.New("linking is for Linux") }
