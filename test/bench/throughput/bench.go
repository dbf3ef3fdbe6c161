package main

import (
	"context"
	"fmt"
	"os"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// A bench is both ends, what is between them and the models.
type bench struct {
	options options
	report  *report
	content string
	dir     string
	worker  string
	before  olderWorker
	ends    *ends

	// registryDir is where the registry has its data.
	registryDir string

	large, small, huge model
}

// newBench prepares the models and starts both ends. What it returns to stop
// them is never nil.
func newBench(ctx context.Context, o options) (*bench, func() error, error) {
	b := &bench{options: o, report: &report{out: os.Stdout}, worker: o.worker}
	var stops []func() error
	stop := func() error {
		var errs []error
		for _, s := range stops {
			errs = append([]error{s()}, errs...)
		}
		return errors.Join(errs...)
	}
	var err error
	if b.content, err = contentDir(); err != nil {
		return b, stop, err
	}
	if err := b.prepare(); err != nil {
		return b, stop, err
	}
	if b.dir, err = os.MkdirTemp("", "throughput-"); err != nil {
		return b, stop, errors.Wrap(err, "cannot make a directory")
	}
	stops = append(stops, func() error { return os.RemoveAll(b.dir) })
	if b.worker == "" {
		if b.worker, err = buildWorker(ctx, b.dir); err != nil {
			return b, stop, err
		}
	}
	if b.before, err = findBefore(ctx, o.before, b.content); err != nil {
		return b, stop, err
	}
	if !b.hasBefore() {
		fmt.Fprintf(os.Stderr, "no worker of an older commit is measured: %s\n", b.before.missing)
	}
	if b.registryDir = o.registryDir; b.registryDir == "" {
		if b.registryDir, b.report.inMemory, err = inMemory(2 * b.large.Bytes); err != nil {
			return b, stop, err
		}
		stops = append(stops, func() error { return os.RemoveAll(b.registryDir) })
	}
	b.ends, err = startEnds(ctx, b.content, b.dir, b.registryDir)
	stops = append([]func() error{b.ends.stop}, stops...)
	return b, stop, err
}

// prepare makes the models that the phases need.
func (b *bench) prepare() error {
	large, small, huge := int64(1<<30), 2000, int64(8<<30)
	if b.options.quick {
		large, small, huge = 128<<20, 200, 1<<30
	}
	var err error
	if b.large, err = largeModel(large, false).prepare(b.content); err != nil {
		return err
	}
	if b.small, err = smallModel(small).prepare(b.content); err != nil {
		return err
	}
	b.huge, err = largeModel(huge, true).prepare(b.content)
	return err
}
