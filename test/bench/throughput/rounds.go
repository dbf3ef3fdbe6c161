package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
)

// A result is what a contender took for one model.
type result struct {
	contender contender
	took      []time.Duration
	usage     meter.Usage
	carried   line.Counts

	// failed says why it did not do it; empty where it did.
	failed string
}

// median of the times.
func (r *result) median() time.Duration { return meter.Median(r.took) }

// add counts a run.
func (r *result) add(o run) {
	r.took = append(r.took, o.took)
	r.usage = r.usage.With(o.Usage)
}

// A round is several contenders with one model.
type round struct {
	model   model
	results []*result
	second  *result // Of Stream, with what it did before in the registry.

	// readBack is how long plain GETs of the layers take that the second run finds.
	readBack time.Duration
}

// of returns the result of a contender by its name, and nil where there is none.
func (r round) of(name string) *result {
	i := slices.IndexFunc(r.results, func(o *result) bool { return o.contender.name() == name && o.failed == "" })
	if i < 0 {
		return nil
	}
	return r.results[i]
}

// contenders of the benchmark. The first two have to do their job.
func (b *bench) contenders() []contender {
	c := []contender{curl{}, b.stream()}
	if b.hasBefore() {
		c = append(c, b.beforeStream("ModelPack"))
	}
	if b.options.kit != "" {
		c = append(c, kit{program: b.options.kit})
	}
	return append(c, b.streamOf("ModelKit"), b.streamOf("Image"))
}

// stream is the one that is held against the limits.
func (b *bench) stream() stream { return b.streamOf("ModelPack") }

// streamOf returns the worker of this source tree, with a format.
func (b *bench) streamOf(format string) stream { return stream{worker: b.worker, format: format} }

// beforeStream returns the worker of an older commit, with a format.
func (b *bench) beforeStream(format string) stream {
	return stream{worker: b.before.program, format: format, before: b.before.contract}
}

// hasBefore reports whether there is a worker of an older commit.
func (b *bench) hasBefore() bool { return b.before.missing == "" }

// loopback runs all contenders over loopback: first once through what counts
// bytes, without being timed, since counting takes time; then in turn.
func (b *bench) loopback(ctx context.Context, m model) (round, error) {
	r := round{model: m}
	counter, err := line.Start(ctx, b.ends.place, line.Shape{})
	if err != nil {
		return r, err
	}
	defer counter.Stop()
	for _, c := range b.contenders() {
		one, carried, err := b.counted(ctx, counter, c, m, true)
		o := &result{contender: c, carried: carried, usage: one.Usage}
		r.results = append(r.results, o)
		if err != nil {
			o.failed = err.Error()
			if c == contender(curl{}) || c == contender(b.stream()) {
				return r, err
			}
			fmt.Fprintf(os.Stderr, "left out: %v\n", err)
			continue
		}
		if c != contender(b.stream()) {
			continue
		}
		again, carried, err := b.counted(ctx, counter, c, m, false)
		if err != nil {
			return r, err
		}
		r.second = &result{contender: c, carried: carried, usage: again.Usage}
		if err := b.again(ctx, &r); err != nil {
			return r, err
		}
	}
	if err := b.inTurn(ctx, r, b.ends.place, b.options.runs); err != nil {
		return r, err
	}
	if before := r.of(beforeName); before != nil {
		pair := round{model: m, results: []*result{before, r.of(b.stream().name())}}
		return r, b.settle(ctx, pair, b.ends.place, notSlower)
	}
	return r, nil
}

// again times Stream with what it did before in the registry, and plain GETs of that
// in turn with it.
func (b *bench) again(ctx context.Context, r *round) error {
	var reads []time.Duration
	for range b.options.runs {
		one, err := b.once(ctx, b.stream(), r.model, b.ends.place, false)
		if err != nil {
			return err
		}
		r.second.add(one)
		took, err := b.readBack(ctx)
		if err != nil {
			return err
		}
		reads = append(reads, took)
	}
	r.readBack = meter.Median(reads)
	return nil
}

// counted has a contender do its job once, and counts what it moves.
func (b *bench) counted(ctx context.Context, l *line.Line, c contender, m model, empty bool) (run, line.Counts, error) {
	before, err := l.Counts()
	if err != nil {
		return run{}, line.Counts{}, err
	}
	one, err := b.once(ctx, c, m, l.Place, empty)
	if err != nil {
		return one, line.Counts{}, err
	}
	after, err := l.Counts()
	return one, after.Less(before), err
}

// inTurn has contenders run one after the other, several times, so that a noisy
// minute hits all of them.
func (b *bench) inTurn(ctx context.Context, r round, at line.Place, runs int) error {
	for i := range runs {
		for _, o := range r.results {
			if o.failed != "" {
				continue
			}
			one, err := b.once(ctx, o.contender, r.model, at, true)
			if err != nil {
				return err
			}
			o.add(one)
			fmt.Fprintf(os.Stderr, "%s, run %d of %d: %-22s %6.2f s\n", r.model.Name, i+1, runs, o.contender.name(), one.took.Seconds())
		}
	}
	return nil
}

// throughLine runs the limit, Stream and kit through the line.
func (b *bench) throughLine(ctx context.Context, m model) (round, error) {
	r := round{model: m}
	l, err := line.Start(ctx, b.ends.place, line.Even(b.lineRate(), b.options.delay))
	if err != nil {
		return r, err
	}
	defer l.Stop()
	for _, c := range b.contenders() {
		if s, ok := c.(stream); !ok || s == b.stream() {
			r.results = append(r.results, &result{contender: c})
		}
	}
	if err := b.inTurn(ctx, r, l.Place, b.options.lineRuns); err != nil {
		return r, err
	}
	if _, err := b.once(ctx, b.stream(), m, b.ends.place, true); err != nil {
		return r, err
	}
	again, carried, err := b.counted(ctx, l, b.stream(), m, false)
	r.second = &result{contender: b.stream(), carried: carried, usage: again.Usage, took: []time.Duration{again.took}}
	return r, err
}

// lineRate in bytes a second.
func (b *bench) lineRate() int64 { return b.options.rate * 1_000_000 / 8 }
