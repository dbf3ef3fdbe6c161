package kit

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// Steps of a run, in their order. Each reads or writes the whole model once; kit
// import downloads it, and then packs it.
const (
	stepImport = "import"
	stepCopy   = "copy"
	stepPack   = "pack"
	stepUnpack = "unpack"
	stepRepack = "repack"
	stepCheck  = "check"
	stepPush   = "push"
)

// plan returns the steps of a run.
func plan(run pipeline.Run) []string {
	if run.Source.Volume != nil {
		return []string{stepCopy, stepRepack, stepCheck, stepPush}
	}
	if run.Format == pipeline.FormatModelPack {
		return []string{stepImport, stepPack, stepUnpack, stepRepack, stepCheck, stepPush}
	}
	return []string{stepImport, stepPack, stepCheck, stepPush}
}

const (
	// gaugeEvery is the interval at which the progress of a command is measured.
	// Measuring takes at most one in gaugeShare of the time.
	gaugeEvery = 5 * time.Second
	gaugeShare = 20

	// maxGauged limits how many files and folders are measured.
	maxGauged = 50_000
)

// A gauge updates a run's meter with the progress of a command of kit. kit does not
// report it, so it is measured from outside. If it cannot be measured, the step stays
// at its beginning until it ends.
type gauge func()

// watched runs one command of kit, and calls the gauge until it has ended.
func (r *task) watched(ctx context.Context, gauge gauge, args ...string) error {
	looking, stop := context.WithCancel(ctx)
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		look(looking, gauge, r.kit.gaugeEvery)
	}()
	// The gauge must not change the meter once the next step has begun.
	defer func() { stop(); <-seen }()
	start := time.Now()
	err := r.step(ctx, args...)
	if err == nil && time.Since(start) >= time.Second {
		r.log.printf("kit %s took %s", args[0], pipeline.Took(start))
	}
	return err
}

// look calls a gauge at intervals until its context ends.
func look(ctx context.Context, gauge gauge, every time.Duration) {
	// The first call comes early, for commands that end soon.
	wait := every / 5
	for retry.Sleep(ctx, wait) == nil {
		start := time.Now()
		gauge()
		wait = max(every, gaugeShare*time.Since(start))
	}
}

// gaugeImport returns a gauge for kit import: of what was downloaded, and of what was
// packed once there is any.
func (r *task) gaugeImport() gauge {
	m, model := r.run.Meter, pipeline.TotalSize(r.files)
	m.Step(stepImport, model)
	packed, packing := r.packed(), false
	return func() {
		n, ok := packed()
		if !ok {
			return
		}
		if n > 0 && !packing {
			packing = true
			m.Step(stepPack, model)
		}
		m.Reach(stepPack, n)
		if n, ok = sizeBelow(filepath.Join(r.workspace.kitHome, "cache", "import")); ok {
			m.Reach(stepImport, n)
		}
	}
}

// gaugeUnpack returns a gauge for kit unpack.
func (r *task) gaugeUnpack() gauge {
	r.run.Meter.Step(stepUnpack, pipeline.TotalSize(r.files))
	return func() {
		if n, ok := sizeBelow(r.workspace.unpacked); ok {
			r.run.Meter.Reach(stepUnpack, n)
		}
	}
}

// gaugeRepack returns a gauge for kit pack.
func (r *task) gaugeRepack() gauge {
	r.run.Meter.Step(stepRepack, pipeline.TotalSize(r.files))
	packed := r.packed()
	return func() {
		if n, ok := packed(); ok {
			r.run.Meter.Reach(stepRepack, n)
		}
	}
}

// packed returns a function that measures how many bytes kit has packed from now on:
// what it is packing, and what it has moved to its storage.
func (r *task) packed() func() (int64, bool) {
	// Bytes that are moved meanwhile should be missed rather than counted twice.
	folders := []string{r.workspace.storage(), filepath.Join(r.workspace.kitHome, "cache", "pack")}
	before, known := sizeBelow(folders...)
	return func() (int64, bool) {
		now, ok := sizeBelow(folders...)
		return now - before, ok && known
	}
}

// gaugePush returns a gauge for kit push of so many bytes: kit's process writes
// little else than what it sends to the registry.
func (r *task) gaugePush(size int64) gauge {
	r.run.Meter.Step(stepPush, size)
	return func() {
		if n, ok := writtenBy(r.pid.Load()); ok {
			r.run.Meter.Reach(stepPush, n)
		}
	}
}

// counted returns a reader that adds to the meter what is read.
func (r *task) counted(rd io.Reader) io.Reader { return countedReader{rd, r.run.Meter} }

type countedReader struct {
	io.Reader

	meter *pipeline.Meter
}

func (r countedReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.meter.Add(int64(n))
	return n, err
}

var errTooMany = errors.New("there are too many files")

// sizeBelow returns the size of all files in folders, and reports whether there are
// few enough to measure. Files that vanish meanwhile or cannot be read count as
// empty.
func sizeBelow(folders ...string) (int64, bool) {
	var size int64
	entries := 0
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // See above.
			}
			if entries++; entries > maxGauged {
				return errTooMany
			}
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
				size += info.Size()
			}
			return nil
		})
		if err != nil {
			return 0, false
		}
	}
	return size, true
}

// writtenBy returns how many bytes a process has written, to files and
// connections (https://docs.kernel.org/filesystems/proc.html#proc-pid-io-display-the-io-accounting-fields).
func writtenBy(pid int64) (int64, bool) {
	if pid <= 0 {
		return 0, false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, false
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if value, ok := bytes.CutPrefix(lines.Bytes(), []byte("wchar: ")); ok {
			n, err := strconv.ParseInt(string(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
