package node

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster"
	"github.com/crossplane-contrib/provider-kitops/test/internal/flock"
	"github.com/crossplane-contrib/provider-kitops/test/localcluster/internal/cgroup"
)

// Down takes down the cluster in dir ("" for the default one), if there is one,
// and removes what it or a crashed one left: processes, mounts, network, control
// groups and the state directory. It is no error if there is nothing.
func Down(ctx context.Context, dir string) error {
	dir, err := cluster.StateDir(dir)
	if err != nil {
		return err
	}
	unlock, err := lock(ctx, dir)
	if err != nil {
		return err
	}
	defer unlock()
	return down(ctx, dir)
}

// down does Down's work, under the lock.
func down(ctx context.Context, dir string) error {
	i, err := cluster.ReadInstance(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := refuseForeign(dir); err != nil {
			return errors.Wrap(err, "cannot take a cluster down")
		}
		return cgroup.Sweep(cgroupPrefix)
	}
	if err != nil {
		return err
	}
	if err := kill(ctx, i); err != nil {
		return err
	}
	closeLife(i.PID)
	if err := cgroup.Remove(ctx, cgroupName(dir)); err != nil {
		return err
	}
	if err := cgroup.Sweep(cgroupPrefix); err != nil {
		return err
	}
	return errors.Wrap(os.RemoveAll(dir), "cannot remove the state directory")
}

// refuseForeign is an error if dir holds something that is not a cluster's.
func refuseForeign(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return errors.Errorf("%s is not empty and not a cluster's", dir)
	}
	return nil
}

// kill ends the cluster's process 1, and so all of its processes, and waits
// until they are gone: the kernel ends the others first.
func kill(ctx context.Context, i cluster.Instance) error {
	if !i.Alive() {
		return nil
	}
	fd, err := unix.PidfdOpen(i.PID, 0)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if err != nil {
		return errors.Wrap(err, "cannot take hold of the cluster's process")
	}
	defer func() { _ = unix.Close(fd) }()
	// It may have ended, and its number been taken, before we took hold of it.
	if !i.Alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, syscall.ESRCH) {
		return errors.Wrap(err, "cannot end the cluster's process")
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100) //nolint:gosec // File descriptors are small.
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return errors.Wrap(err, "cannot wait for the cluster's process to end")
		}
	}
	return errors.Wrap(ctx.Err(), "cannot wait for the cluster's process to end")
}

// lock keeps others from bringing clusters beside dir up or down meanwhile. The
// directory that dir is in is what is locked: dir itself comes and goes.
func lock(ctx context.Context, dir string) (func(), error) {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, errors.Wrap(err, "cannot make the directory to keep the cluster in")
	}
	f, err := os.Open(parent)
	if err != nil {
		return nil, errors.Wrap(err, "cannot open the directory to keep the cluster in")
	}
	if err := flock.Lock(ctx, f, func() {}); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
