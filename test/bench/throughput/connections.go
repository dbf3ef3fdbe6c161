package main

import (
	"context"
	"fmt"
	"time"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
)

// aThird is what Stream may take of the older worker's time where an end limits each
// connection, or is far away.
const aThird = 1.0 / 3

// connectionRate of an end that limits each connection, in bytes a second.
const connectionRate = 10 << 20

// measureConnections is about one large file from a Hub that limits each connection.
func (b *bench) measureConnections(ctx context.Context) error {
	s := line.Shape{Hub: line.End{ConnectionRate: connectionRate, Delay: 20 * time.Millisecond}}
	what := "one file, the Hub at " + perConnection(s.Hub)
	r, err := b.againstBefore(ctx, shardedModel(1, b.scaled(8<<10)<<20), s, what)
	if err != nil {
		return err
	}
	own := r.of(b.stream().name()).median()
	b.report.figure(size(r.model.Bytes)+" in "+what, "%.0f MiB/s", float64(r.model.Bytes>>20)/own.Seconds())
	return nil
}

// measureUploads is about several large files to a registry that limits each connection.
func (b *bench) measureUploads(ctx context.Context) error {
	s := line.Shape{Registry: line.End{ConnectionRate: connectionRate}}
	what := fmt.Sprintf("%d files, the registry at %s", shareFiles, perConnection(s.Registry))
	_, err := b.againstBefore(ctx, shardedModel(shareFiles, shareFiles*b.scaled(256)<<20), s, what)
	return err
}

// shareFiles is how many files of the same size a model consists of that is moved side by
// side, over many connections or by several Pods.
const shareFiles = 16

// measureDistance is about many small files to a registry that is far away.
func (b *bench) measureDistance(ctx context.Context) error {
	s := line.Shape{Registry: line.End{Delay: 50 * time.Millisecond}}
	r := smallModel(int(b.scaled(5000)))
	_, err := b.againstBefore(ctx, r, s, fmt.Sprintf("%d small files, the registry %s away", len(r.files), 2*s.Registry.Delay))
	return err
}

// againstBefore holds Stream through a line of this shape against the older worker, once
// each: what limits them is the line, whose rates and delays do not vary.
func (b *bench) againstBefore(ctx context.Context, made recipe, s line.Shape, what string) (round, error) {
	m, err := made.prepare(b.content)
	if err != nil {
		return round{}, err
	}
	where, back, err := b.roomFor(m.Bytes)
	if err != nil {
		return round{}, err
	}
	defer back()
	l, err := line.Start(ctx, b.ends.place, s)
	if err != nil {
		return round{}, err
	}
	defer l.Stop()
	r := round{model: m, results: b.ownAndBefore("ModelPack")}
	if err := b.inTurn(ctx, r, l.Place, 1); err != nil {
		return round{}, err
	}
	b.rows(size(m.Bytes)+" in "+what+", registry "+where, r, 0)
	b.holdBefore(r, what, aThird, "a third of the time before")
	return r, nil
}

// perConnection says in words what an end does to a connection.
func perConnection(e line.End) string {
	text := megabytes(e.ConnectionRate) + "/s a connection"
	if e.Delay > 0 {
		text += fmt.Sprintf(" and %s each way", e.Delay)
	}
	return text
}
