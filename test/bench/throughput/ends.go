package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/child"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/registry"
)

// ends are a Hub and a registry, each in processes of their own.
type ends struct {
	ca       string
	hub      *child.Process
	registry *registry.Server
	place    line.Place

	// hubLimit is how many requests for files the Hub answers in each hubWindow; all if it
	// is zero.
	hubLimit  int
	hubWindow time.Duration
}

// startEnds starts both over the models in content. The registry keeps what it
// holds in registryDir.
func startEnds(ctx context.Context, content, dir, registryDir string) (*ends, error) {
	e := &ends{ca: filepath.Join(dir, caFile)}
	if err := writeIdentity(dir); err != nil {
		return e, err
	}
	var err error
	if e.registry, err = registry.New(ctx, registryDir, filepath.Join(dir, "registry.yaml")); err != nil {
		return e, err
	}
	e.place.Registry = e.registry.Address
	e.hub, e.place.Hub, err = startHub(ctx, content, dir)
	return e, err
}

// stop ends both.
func (e *ends) stop() error {
	e.hub.Stop()
	return e.registry.Stop()
}

// contentDir is where models are kept for the next time.
func contentDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", errors.Wrap(err, "cannot find the user's cache directory")
	}
	dir = filepath.Join(dir, "provider-kitops", "throughput")
	return dir, errors.Wrap(os.MkdirAll(dir, 0o755), "cannot make the models' folder")
}

// inMemory makes a folder in memory, where the machine has one with this much
// room. Otherwise it makes one where other temporary files are. It says which.
func inMemory(room int64) (string, bool, error) {
	const shared = "/dev/shm"
	var s syscall.Statfs_t
	if syscall.Statfs(shared, &s) == nil && s.Bavail >= uint64(room)/uint64(s.Bsize) { //nolint:gosec // Neither is negative.
		if dir, err := os.MkdirTemp(shared, "throughput-"); err == nil {
			return dir, true, nil
		}
	}
	dir, err := os.MkdirTemp("", "throughput-")
	return dir, false, errors.Wrap(err, "cannot make a folder for the registry")
}

// spareMemory is what programs and the Hub's files may need beside a registry in memory.
const spareMemory = 4 << 30

// roomFor has the registry keep its data where there is room for so much: in
// memory, if enough of it is available, else on disk. It says where,
// and returns what has it keep its data where it did.
func (b *bench) roomFor(bytes int64) (string, func(), error) {
	dir, where := b.dir, "on disk"
	if available() >= bytes+spareMemory && b.options.registryDir == "" {
		var memory bool
		var err error
		if dir, memory, err = inMemory(bytes); err != nil {
			return "", nil, err
		}
		if memory {
			where = "in memory"
		}
	}
	if err := b.ends.registry.Stop(); err != nil {
		return "", nil, err
	}
	before := b.ends.registry.Move(dir)
	return where, func() {
		_ = b.ends.registry.Stop()
		b.ends.registry.Move(before)
		if dir != b.dir {
			_ = os.RemoveAll(dir)
		}
	}, nil
}

// available returns the memory that is available to programs, in bytes.
func available() int64 {
	return meter.Kilobytes("/proc/meminfo", "MemAvailable:")
}

// hold leaves both ends running until the context ends, for what one wants to
// try by hand.
func hold(ctx context.Context, o options) error {
	b, stop, err := newBench(ctx, o)
	defer func() { _ = stop() }()
	if err != nil {
		return err
	}
	if err := b.ends.registry.Renew(ctx); err != nil {
		return err
	}
	fmt.Printf("export HTTPS_PROXY=http://%s CA=%s REGISTRY=%s CONTENT=%s WORKER=%s LARGE=%s SMALL=%s HUGE=%s\n",
		b.ends.place.Hub, b.ends.ca, b.ends.place.Registry, b.content, b.worker, b.large.name(), b.small.name(), b.huge.Name)
	<-ctx.Done()
	return nil
}
