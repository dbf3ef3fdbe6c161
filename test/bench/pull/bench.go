package main

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"golang.org/x/sys/unix"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// A bench is a registry and the contenders.
type bench struct {
	options  options
	report   report
	worker   string
	oras     string
	dir      string // Where contenders pull to, and the registry keeps its data.
	inMemory bool   // Whether dir is.
	registry *registry.Server
}

// spareMemory is what programs need beside what is kept in memory.
const spareMemory = 3 << 30

// measure runs the phases.
func measure(ctx context.Context, o options) (err error) {
	b := &bench{options: o, worker: o.worker, report: report{out: os.Stdout}}
	if err := b.report.check(o.page); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	for _, p := range phases() {
		if len(o.phases) > 0 && !contains(o.phases, p.name) {
			continue
		}
		if err := b.registry.Renew(ctx); err != nil {
			return err
		}
		if err := p.run(b, ctx); err != nil {
			return errors.Wrapf(err, "phase %s", p.name)
		}
	}
	if err := b.report.print(); err != nil {
		return err
	}
	if o.page != "" && o.scale == 1 && len(o.phases) == 0 {
		if err := b.report.write(o.page, b.circumstances(ctx)); err != nil {
			return err
		}
	}
	if o.print {
		return nil
	}
	return b.report.verdict()
}

// prepare builds the programs and starts the registry.
func (b *bench) prepare(ctx context.Context) error {
	// The largest artifact is once in the registry and once in the folder.
	if err := b.makeDir(2*b.scaled(blobBytes) + spareMemory); err != nil {
		return err
	}
	built, err := programs.Build(ctx, os.Stderr, programs.ORAS)
	if err != nil {
		return errors.Wrap(err, "cannot build oras")
	}
	b.oras = filepath.Join(built, "oras")
	if b.worker == "" {
		if b.worker, err = b.buildWorker(ctx); err != nil {
			return err
		}
	}
	b.registry, err = registry.New(ctx, b.dir, filepath.Join(b.dir, "registry.yaml"))
	return err
}

// makeDir makes the folder in memory if it has room, else where other temporary files are.
func (b *bench) makeDir(room int64) error {
	const shared = "/dev/shm"
	var s syscall.Statfs_t
	parent := ""
	if syscall.Statfs(shared, &s) == nil && s.Bavail >= uint64(room)/uint64(s.Bsize) && meter.Kilobytes("/proc/meminfo", "MemAvailable:") >= room { //nolint:gosec // Neither is negative.
		parent, b.inMemory = shared, true
	}
	var err error
	b.dir, err = os.MkdirTemp(parent, "pull-")
	return errors.Wrap(err, "cannot make a folder")
}

// buildWorker builds the worker of this source tree as the image has it.
func (b *bench) buildWorker(ctx context.Context) (string, error) {
	root, err := programs.SourceTree(ctx)
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.dir, "worker")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./cmd/worker")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	return path, errors.Wrapf(err, "cannot build the worker: %s", out)
}

// close stops the registry and removes all that was kept.
func (b *bench) close() error {
	var err error
	if b.registry != nil {
		err = b.registry.Stop()
	}
	if b.dir == "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// scaled returns a size in this run.
func (b *bench) scaled(bytes int64) int64 { return int64(float64(bytes) * b.options.scale) }

// through starts a line of a shape before the registry.
func (b *bench) through(ctx context.Context, s line.Shape) (*line.Line, error) {
	return line.Start(ctx, line.Place{Hub: b.registry.Address, Registry: b.registry.Address}, s)
}

// once has a contender pull a model into an empty folder, and returns how long that took.
// It checks that the files are there, if that can be told of the contender.
func (b *bench) once(ctx context.Context, r *result, m model, at string) error {
	work, err := os.MkdirTemp(b.dir, "work-")
	if err != nil {
		return errors.Wrap(err, "cannot make a folder to work in")
	}
	defer func() { _ = os.RemoveAll(work) }()
	unix.Sync()
	used := &meter.Meter{}
	dir := filepath.Join(work, "model")
	start := time.Now()
	if err := r.contender.run(ctx, m.reference(at), dir, work, used); err != nil {
		return errors.Wrap(err, r.contender.name)
	}
	r.took = append(r.took, time.Since(start))
	r.usage = r.usage.With(used.Usage())
	return errors.Wrap(check(dir, m), r.contender.name)
}

// check returns an error unless the files of a model are in a folder.
func check(dir string, m model) error {
	for _, f := range m.files {
		fi, err := os.Stat(filepath.Join(dir, f.Path))
		if errors.Is(err, fs.ErrNotExist) || err == nil && fi.Size() != f.Size {
			return errors.Errorf("%q is not there, or not of its size", f.Path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inTurn has contenders pull a model one after the other, several times, so that a noisy
// minute hits all of them. The one that fails is left out, if it is another's program.
func (b *bench) inTurn(ctx context.Context, m model, at string, runs int, contenders ...contender) ([]*result, error) {
	var results []*result
	for _, c := range contenders {
		results = append(results, &result{contender: c})
	}
	for range runs {
		for i, r := range results {
			if r.failed != "" {
				continue
			}
			err := b.once(ctx, r, m, at)
			if err != nil && i < mustPull {
				return nil, err
			}
			if err != nil {
				r.failed, _, _ = strings.Cut(err.Error(), "\n")
			}
		}
	}
	return results, nil
}

// mustPull is how many of the contenders must pull: the worker and oras.
const mustPull = 2
