// Package flock makes processes wait for each other with flock(2). The kernel
// lets a lock go when its holder dies.
package flock

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// poll is how often a lock that is held is tried again.
const poll = 100 * time.Millisecond

// Lock locks an open file or directory, waiting until ctx ends while another
// process, or another open file of this one, holds the lock. It calls waiting
// once if it has to wait. Closing the file lets the lock go.
func Lock(ctx context.Context, f *os.File, waiting func()) error {
	for first := true; ; first = false {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return errors.Wrapf(err, "cannot lock %s", f.Name())
		}
		if first {
			waiting()
		}
		select {
		case <-ctx.Done():
			return errors.Wrapf(ctx.Err(), "cannot wait for the lock of %s", f.Name())
		case <-time.After(poll):
		}
	}
}
