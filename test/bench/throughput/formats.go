package main

import (
	"context"
	"fmt"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
)

// Limits of formats that have a second hash of each layer, to the time of ModelPack, which
// has none: where the processor is the limit, and where the line is.
const (
	secondHash       = 1.20
	secondHashOnLine = 1.02
)

// measureFormats is about what a format takes with the same large files.
func (b *bench) measureFormats(ctx context.Context) error {
	what := fmt.Sprintf("%s in %d files", size(b.large.Bytes), len(b.large.Files))
	if err := b.formats(ctx, b.ends.place, b.options.runs, what+", formats in turn, loopback", secondHash); err != nil {
		return err
	}
	l, err := line.Start(ctx, b.ends.place, line.Even(b.lineRate(), b.options.delay))
	if err != nil {
		return err
	}
	defer l.Stop()
	return b.formats(ctx, l.Place, 1, what+", formats in turn, line", secondHashOnLine)
}

// formats has Stream run with all formats in turn, and holds them against ModelPack.
func (b *bench) formats(ctx context.Context, at line.Place, runs int, what string, most float64) error {
	r := round{model: b.large}
	for _, f := range []string{"ModelPack", "ModelKit", "Image"} {
		r.results = append(r.results, &result{contender: b.streamOf(f)})
	}
	if err := b.inTurn(ctx, r, at, runs); err != nil {
		return err
	}
	if err := b.settle(ctx, r, at, most); err != nil {
		return err
	}
	first := r.results[0]
	b.rows(what, r, 0)
	for _, o := range r.results[1:] {
		b.holdRatio(o, first, fmt.Sprintf("%s: %s at most %.2f times %s", what, o.contender.name(), most, first.contender.name()), most)
	}
	return nil
}
