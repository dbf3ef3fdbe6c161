package pipeline

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// progressEvery is the interval at which a run's progress is logged.
const progressEvery = 15 * time.Second

// Metered returns a pipeline whose runs log their progress every 15 seconds, while
// something moves.
func Metered(p Pipeline) Pipeline { return meteredPipeline{Pipeline: p, every: progressEvery} }

type meteredPipeline struct {
	Pipeline

	every time.Duration
}

// Run implements Pipeline.
func (p meteredPipeline) Run(ctx context.Context, run Run) (outcome.Result, error) {
	if run.Meter == nil {
		run.Meter = &Meter{}
	}
	if run.Log == nil {
		return p.Pipeline.Run(ctx, run)
	}
	// Two goroutines write to it.
	run.Log = &lockedWriter{w: run.Log}
	saying, stop := context.WithCancel(ctx)
	said := make(chan struct{})
	go func() {
		defer close(said)
		ticker := time.NewTicker(p.every)
		defer ticker.Stop()
		say(saying, ticker.C, run.Meter, run.Log)
	}()
	// The run's own last line must be the last one.
	defer func() { stop(); <-said }()
	return p.Pipeline.Run(ctx, run)
}

// say logs the progress of a run at each tick, if there is something to report.
func say(ctx context.Context, tick <-chan time.Time, m *Meter, log io.Writer) {
	var s sayer
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		if line := s.next(m.Progress()); line != "" {
			// An error of the log itself cannot be reported.
			_, _ = fmt.Fprintln(log, line)
		}
	}
}

// A sayer remembers what was logged last.
type sayer struct {
	last outcome.Progress
}

// next returns the line for a progress. It is empty if nothing has moved since the
// last line, except for one line that reports that.
func (s *sayer) next(p outcome.Progress) string {
	last := s.last
	if p.Step != last.Step || p.BytesDone != last.BytesDone || p.BytesTotal != last.BytesTotal {
		if p.BytesDone == 0 {
			return ""
		}
		s.last = p
		return p.String()
	}
	if p.BytesPerSecond > 0 || last.BytesPerSecond == 0 || p.BytesDone == p.BytesTotal {
		return ""
	}
	s.last = p
	return p.String() + ", nothing moved in the last minute"
}

// A lockedWriter is safe for concurrent use.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
