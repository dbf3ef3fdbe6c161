package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pull"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal"
)

const (
	barColumns  = 20
	nameColumns = 32

	// rateWindow is the time of which a rate is the average.
	rateWindow = 10 * time.Second
)

// A barScreen shows how far a pull is as bars below its log.
type barScreen struct {
	*terminal.Live

	now     func() time.Time
	samples []sample // Of the last rateWindow, the oldest first.
}

// A sample is how many bytes were done at a time.
type sample struct {
	at   time.Time
	done int64
}

// show shows the progress of a pull. An error of the terminal cannot be reported.
func (b *barScreen) show(p pull.Progress) { _ = b.Draw(b.lines(p)) }

// lines returns a bar for each layer that is being fetched, and one for all.
func (b *barScreen) lines(p pull.Progress) []string {
	out := make([]string, 0, len(p.Layers)+1)
	for _, l := range p.Layers {
		out = append(out, bar(l.Name, outcome.Progress{BytesDone: l.Done, BytesTotal: l.Size}))
	}
	return append(out, bar("all", outcome.Progress{BytesDone: p.Done, BytesTotal: p.Total, BytesPerSecond: b.rate(p.Done)}))
}

// bar returns a progress as a bar and words.
func bar(name string, p outcome.Progress) string {
	name = terminal.Cut(terminal.Line(name), nameColumns)
	share := 1.0
	if p.BytesTotal > 0 {
		share = float64(p.BytesDone) / float64(p.BytesTotal)
	}
	return fmt.Sprintf("%s%s %s %s", name, strings.Repeat(" ", nameColumns-terminal.Columns(name)), terminal.Bar(share, barColumns), p)
}

// rate returns how many bytes were fetched in a second lately.
func (b *barScreen) rate(done int64) int64 {
	now := b.now()
	b.samples = append(b.samples, sample{at: now, done: done})
	for now.Sub(b.samples[0].at) > rateWindow {
		b.samples = b.samples[1:]
	}
	took := now.Sub(b.samples[0].at).Seconds()
	if took <= 0 {
		return 0
	}
	return max(0, int64(float64(done-b.samples[0].done)/took))
}
