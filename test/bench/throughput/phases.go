package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
)

// measure runs the phases. Limits that are missed are an error once all figures
// are known.
func measure(ctx context.Context, o options) (err error) {
	if len(o.phases) == 0 {
		o.phases = phaseNames()
	} else {
		o.page = "" // It shows the whole table, or the one that it has.
	}
	if o.quick {
		o.scale, o.runs, o.lineRuns = min(o.scale, quickScale), min(o.runs, 2), 1
	}
	if o.scale != 1 {
		o.page = ""
	}
	if err := checkOutputs(o.outputs()); err != nil {
		return err
	}
	b, stop, err := newBench(ctx, o)
	defer func() {
		if failed := stop(); err == nil {
			err = failed
		}
	}()
	if err != nil {
		return err
	}
	if err := b.phases(ctx); err != nil {
		return err
	}
	if err := b.report.print(); err != nil {
		return err
	}
	if err := b.writePage(ctx); err != nil {
		return err
	}
	if err := b.report.verdict(); err != nil && !o.print {
		return err
	}
	return nil
}

// quickScale is what the sizes of models are multiplied with for developing.
const quickScale = 1.0 / 64

// A phase is a part of the benchmark.
type phase struct {
	name string
	run  func(*bench, context.Context) error
}

// phases of the benchmark, in their order.
func phases() []phase {
	return []phase{
		{"large", (*bench).measureLarge}, {"small", (*bench).measureSmall}, {"memory", (*bench).measureMemory},
		{"line", (*bench).measureLine}, {"s3", (*bench).measureS3}, {"formats", (*bench).measureFormats},
		{"connections", (*bench).measureConnections}, {"uploads", (*bench).measureUploads}, {"distance", (*bench).measureDistance},
		{"shares", (*bench).measureShares}, {"many", (*bench).measureMany},
	}
}

// phaseNames returns the names of all phases.
func phaseNames() []string {
	var names []string
	for _, p := range phases() {
		names = append(names, p.name)
	}
	return names
}

// phases runs those that are asked for.
func (b *bench) phases(ctx context.Context) error {
	for _, p := range phases() {
		if !slices.Contains(b.options.phases, p.name) {
			continue
		}
		if err := p.run(b, ctx); err != nil {
			return errors.Wrapf(err, "phase %s", p.name)
		}
	}
	return nil
}

// scaled returns a size of the models that --scale is for, and at least one.
func (b *bench) scaled(n int64) int64 { return max(int64(float64(n)*b.options.scale), 1) }

// measureLarge is about a few large files on loopback.
func (b *bench) measureLarge(ctx context.Context) error {
	r, err := b.loopback(ctx, b.large)
	if err != nil {
		return err
	}
	limit, own := r.results[0].median(), r.of(b.stream().name())
	b.rows(fmt.Sprintf("%s in %d files, loopback", size(b.large.Bytes), len(b.large.Files)), r, limit)
	b.holdLimit(r, 1.25, "large files")
	b.holdNotSlower(r, "large files")
	b.report.figure(fmt.Sprintf("%s over loopback, on %d cores", size(b.large.Bytes), runtime.NumCPU()),
		"%.2f times the time of `curl`, which hashes nothing; %s of memory, nothing on disk", own.median().Seconds()/limit.Seconds(), megabytes(own.usage.Memory))
	in, out := float64(own.carried.HubIn)/float64(b.large.Bytes), float64(own.carried.RegistryOut)/float64(b.large.Bytes)
	b.report.hold(in < 1.005 && out < 1.005, "network: 1.00 in, 1.00 out", "%.3f in, %.3f out", in, out)
	b.report.hold(own.usage.Written < 1<<20, "written to disk: 0", "%d KiB", own.usage.Written>>10)
	b.holdSecond(r, "large files, loopback")
	return b.holdDescribed(ctx, r, "large files")
}

// measureSmall is about many small files on loopback.
func (b *bench) measureSmall(ctx context.Context) error {
	r, err := b.loopback(ctx, b.small)
	if err != nil {
		return err
	}
	b.rows(fmt.Sprintf("%d small files, %s, loopback", len(b.small.Files), size(b.small.Bytes)), r, r.results[0].median())
	b.holdLimit(r, 2, "small files")
	b.holdNotSlower(r, "small files")
	first, second := r.of(b.stream().name()).median(), r.second.median()
	b.report.hold(second.Seconds() <= 0.3*first.Seconds(), "second run, small files, loopback: at most 0.30 of the first run's time",
		"%.2f times %.2f s; plain GETs of the layers take %.2f s", second.Seconds()/first.Seconds(), first.Seconds(), r.readBack.Seconds())
	return b.holdDescribed(ctx, r, "small files")
}

// measureMemory is about a model eight times as large, once.
func (b *bench) measureMemory(ctx context.Context) error {
	where, back, err := b.roomFor(b.huge.Bytes)
	if err != nil {
		return err
	}
	defer back()
	large, err := b.once(ctx, b.stream(), b.large, b.ends.place, true)
	if err != nil {
		return err
	}
	idle, err := b.once(ctx, b.stream(), b.large, b.ends.place, false)
	if err != nil {
		return err
	}
	r := round{model: b.huge, results: b.ownAndBefore("ModelPack")}
	if err := b.inTurn(ctx, r, b.ends.place, 1); err != nil {
		return err
	}
	b.rows(fmt.Sprintf("%s in %d files, loopback, registry %s", size(b.huge.Bytes), len(b.huge.Files), where), r, 0)
	huge := r.of(b.stream().name()).usage
	// The garbage collector's variance is not counted.
	same := float64(huge.Memory) <= 1.1*float64(large.Memory)+4<<20
	b.report.hold(same, fmt.Sprintf("memory the same for %s and %s", size(b.large.Bytes), size(b.huge.Bytes)),
		"%s and %s", megabytes(large.Memory), megabytes(huge.Memory))
	buffers := max(large.Memory, huge.Memory) - idle.Memory
	b.report.hold(buffers <= 64<<20, "memory: at most 64 MiB more than a run that moves nothing", "%s more than %s", megabytes(buffers), megabytes(idle.Memory))
	b.holdMemory(r, "loopback")
	return nil
}

// measureLine is about a few large files through the line.
func (b *bench) measureLine(ctx context.Context) error {
	r, err := b.throughLine(ctx, b.large)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d Mbit/s, %s each way", b.options.rate, b.options.delay)
	own := line.OwnTime(b.large.Bytes, b.lineRate(), b.options.delay)
	b.rows(fmt.Sprintf("%s in %d files, %s", size(b.large.Bytes), len(b.large.Files), what), r, own)
	took := r.of(b.stream().name()).median()
	b.report.hold(took.Seconds() <= 1.1*own.Seconds(), "line: at most 1.10 times its own time", "%.3f times %.2f s", took.Seconds()/own.Seconds(), own.Seconds())
	b.report.figure(fmt.Sprintf("%s over a line of %d Mbit/s", size(b.large.Bytes), b.options.rate), "%.2f times the time that the line itself takes", took.Seconds()/own.Seconds())
	if k := r.of(kit{}.name()); k != nil {
		b.report.hold(k.median().Seconds() >= 1.8*took.Seconds(), "line: at least 1.8 times as fast as kit", "%.2f times", k.median().Seconds()/took.Seconds())
	}
	b.holdSecond(r, "large files, line")
	return nil
}

// measureS3 is about a few large files in a bucket, on loopback.
func (b *bench) measureS3(ctx context.Context) error {
	bucket, err := startBucket(ctx, b.content, b.dir, b.large)
	if err != nil {
		return err
	}
	defer bucket.stop()
	own := b.stream()
	own.bucket = bucket
	r := round{model: b.large, results: []*result{{contender: curl{bucket: bucket}}, {contender: own}}}
	if err := b.inTurn(ctx, r, b.ends.place, b.options.runs); err != nil {
		return err
	}
	b.rows(fmt.Sprintf("%s in %d files, from S3, loopback", size(b.large.Bytes), len(b.large.Files)), r, r.results[0].median())
	b.holdLimit(r, 1.25, "large files from S3")
	return nil
}

// rows adds a round to the table. Ratios are to this time.
func (b *bench) rows(what string, r round, limit time.Duration) {
	var before time.Duration
	if o := r.of(beforeName); o != nil {
		before = o.median()
	}
	for _, o := range r.results {
		b.report.row(what, o, limit, before, r.model)
		what = ""
	}
	if r.second != nil {
		o := *r.second
		o.contender = named{contender: o.contender, as: o.contender.name() + ", again"}
		b.report.row("", &o, limit, before, r.model)
	}
}

// named is a contender by another name.
type named struct {
	contender

	as string
}

func (n named) name() string { return n.as }

// holdLimit holds Stream against the limit and kit.
func (b *bench) holdLimit(r round, times float64, what string) {
	limit, own := r.results[0].median().Seconds(), r.of(b.stream().name()).median().Seconds()
	b.report.hold(own <= times*limit, fmt.Sprintf("%s: at most %.2f times the limit", what, times), "%.2f times", own/limit)
	k := r.of(kit{}.name())
	if k == nil {
		return
	}
	for _, o := range r.results {
		if s, ok := o.contender.(stream); ok && s.before == 0 && o.failed == "" {
			b.report.hold(o.median() <= k.median(), what+": "+o.contender.name()+" not slower than kit", "%.2f times kit's time", o.median().Seconds()/k.median().Seconds())
		}
	}
}

// holdSecond holds a second run of the same large model against its limits: next to
// nothing is moved, so that next to no time may pass.
func (b *bench) holdSecond(r round, what string) {
	share := float64(r.second.carried.Total()) / float64(r.model.Bytes)
	first, second := r.of(b.stream().name()).median(), r.second.median()
	b.report.hold(share < 0.01 && second.Seconds() < 0.1*first.Seconds(), "second run, "+what+": under 1 % of the bytes, under 0.10 of the first run's time",
		"%.3f %%, %.3f times %.2f s", 100*share, second.Seconds()/first.Seconds(), first.Seconds())
}

// size of a model, in words.
func size(n int64) string {
	if n >= 1<<30 && n%(1<<30) == 0 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return megabytes(n)
}
