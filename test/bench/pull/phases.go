package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
)

// Sizes of artifacts, and the rate of a connection in bytes a second.
const (
	largeBytes     = 1 << 30
	blobBytes      = 8 << 30
	shardBytes     = 100 << 20
	connectionRate = 10 << 20
)

// Limits.
const (
	// maxLoopback is of oras' time.
	maxLoopback = 1.05

	// maxConnection is of oras' time.
	maxConnection = 1.0 / 3

	// maxIncrement is of the bytes of what changed.
	maxIncrement = 1.01

	// maxMemory of the worker in bytes, whatever the artifact's size.
	maxMemory = 160 << 20
)

// A phase is one part of the benchmark.
type phase struct {
	name string
	run  func(b *bench, ctx context.Context) error
}

func phases() []phase {
	return []phase{{"loopback", (*bench).loopback}, {"incremental", (*bench).incremental}, {"connections", (*bench).connections}}
}

func phaseNames() []string {
	var out []string
	for _, p := range phases() {
		out = append(out, p.name)
	}
	return out
}

func contains(all []string, one string) bool { return slices.Contains(all, one) }

// loopback pulls a model as fast as the processors allow.
func (b *bench) loopback(ctx context.Context) error {
	m := largeModel(modelpack.FormatModelPack, b.scaled(largeBytes))
	if err := m.push(ctx, b.registry.Address); err != nil {
		return err
	}
	contenders := []contender{b.workerPull(), b.orasPull()}
	if b.options.modctl != "" {
		contenders = append(contenders, b.modctlPull())
	}
	results, err := b.inTurn(ctx, m, b.registry.Address, b.options.runs, contenders...)
	if err != nil {
		return err
	}
	b.report.add(size(m.bytes())+" over loopback", results)
	b.holdRatio(results, maxLoopback, size(m.bytes())+" over loopback: at most 1.05 times oras' time")
	b.holdMemory(results[0], size(m.bytes())+" over loopback")
	return b.otherFormats(ctx)
}

// otherFormats pulls the same files in other formats, which oras does not unpack.
func (b *bench) otherFormats(ctx context.Context) error {
	for _, format := range []modelpack.Format{modelpack.FormatModelKit, modelpack.FormatImage} {
		m := largeModel(format, b.scaled(largeBytes))
		if err := m.push(ctx, b.registry.Address); err != nil {
			return err
		}
		contenders := []contender{b.workerPull()}
		if b.options.kit != "" && format == modelpack.FormatModelKit {
			contenders = append(contenders, b.kitUnpack())
		}
		for _, c := range contenders {
			results, err := b.inTurn(ctx, m, b.registry.Address, b.options.runs, c)
			if err != nil {
				return err
			}
			b.report.add(fmt.Sprintf("%s as %s over loopback", size(m.bytes()), format), results)
		}
	}
	return nil
}

// connections pulls one large blob from a registry that gives each connection a rate.
func (b *bench) connections(ctx context.Context) error {
	m := blobModel(b.scaled(blobBytes))
	if err := m.push(ctx, b.registry.Address); err != nil {
		return err
	}
	l, err := b.through(ctx, line.Shape{Registry: line.End{ConnectionRate: connectionRate}})
	if err != nil {
		return err
	}
	defer l.Stop()
	results, err := b.inTurn(ctx, m, l.Place.Registry, 1, b.workerPull(), b.orasPull())
	if err != nil {
		return err
	}
	what := "one file of " + size(m.bytes()) + " at 10 MiB/s a connection"
	b.report.add(what, results)
	b.holdRatio(results, maxConnection, what+": at most a third of oras' time")
	b.holdMemory(results[0], what)
	return nil
}

// incremental pulls a second version of a model beside the first one, and counts what is
// moved.
func (b *bench) incremental(ctx context.Context) error {
	shard := b.scaled(shardBytes)
	for _, format := range []modelpack.Format{modelpack.FormatModelPack, modelpack.FormatModelKit, modelpack.FormatImage} {
		one, two := shardedModel(format, 1, shard), shardedModel(format, 2, shard)
		if err := errors.Join(one.push(ctx, b.registry.Address), two.push(ctx, b.registry.Address)); err != nil {
			return err
		}
		older := filepath.Join(b.dir, "older-"+string(format))
		if err := b.workerPull().run(ctx, one.reference(b.registry.Address), older, b.dir, &meter.Meter{}); err != nil {
			return err
		}
		l, err := b.through(ctx, line.Shape{})
		if err != nil {
			return err
		}
		results, err := b.inTurn(ctx, two, l.Place.Registry, 1, b.workerPull("--reuse="+older))
		counts, cerr := l.Counts()
		l.Stop()
		if err := errors.Join(err, cerr); err != nil {
			return err
		}
		what := fmt.Sprintf("one of ten files of %s changed, %s, with --reuse", size(shard), format)
		b.report.add(what, results)
		moved := float64(counts.Total()) / float64(shard)
		b.report.hold(moved <= maxIncrement, what+": the changed file's bytes and at most 1 % more", "%.4f times its bytes", moved)
	}
	return nil
}

// holdRatio holds the first result's time against oras'.
func (b *bench) holdRatio(results []*result, most float64, what string) {
	ratio := results[0].seconds() / results[1].seconds()
	b.report.hold(ratio <= most, what, "%.2f: %.2f s of %.2f s", ratio, results[0].seconds(), results[1].seconds())
}

// holdMemory holds a result's memory against the limit.
func (b *bench) holdMemory(r *result, what string) {
	b.report.hold(r.usage.Memory <= maxMemory, fmt.Sprintf("%s: at most %d MiB of memory", what, maxMemory>>20), "%d MiB", r.usage.Memory>>20)
}

// size returns a number of bytes in words.
func size(n int64) string {
	if n >= 1<<30 && n%(1<<30) < 1<<20 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
