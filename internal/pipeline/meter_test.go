package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// newTestMeter returns a meter with a clock that stands still until it is told
// to go on.
func newTestMeter() (m *Meter, pass func(time.Duration)) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m = &Meter{now: func() time.Time { return now }}
	return m, func(d time.Duration) { now = now.Add(d) }
}

func TestMeter(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   func(m *Meter, pass func(time.Duration))
		want   outcome.Progress
	}{
		"Zero": {
			reason: "A run that has not begun should have no progress.",
			args:   func(*Meter, func(time.Duration)) {},
		},
		"OneStep": {
			reason: "The percentage of a run of one step should be that of its bytes.",
			args: func(m *Meter, pass func(time.Duration)) {
				m.Step("copy", 1000)
				pass(10 * time.Second)
				m.Add(290)
			},
			want: outcome.Progress{Step: "copy", Percent: 29, BytesDone: 290, BytesTotal: 1000, BytesPerSecond: 29},
		},
		"FirstSecond": {
			reason: "There should be no rate in the first second.",
			args: func(m *Meter, pass func(time.Duration)) {
				m.Step("copy", 1000)
				pass(900 * time.Millisecond)
				m.Add(500)
			},
			want: outcome.Progress{Step: "copy", Percent: 50, BytesDone: 500, BytesTotal: 1000},
		},
		"Skipped": {
			reason: "Skipped bytes should count as done, but not for the rate.",
			args: func(m *Meter, pass func(time.Duration)) {
				m.Step("copy", 1000)
				m.Skip(900)
				pass(5 * time.Second)
				m.Add(50)
			},
			want: outcome.Progress{Step: "copy", Percent: 95, BytesDone: 950, BytesTotal: 1000, BytesPerSecond: 10},
		},
		"TakenBack": {
			reason: "Bytes that must be moved again should not count as done.",
			args: func(m *Meter, pass func(time.Duration)) {
				m.Step("copy", 1000)
				pass(10 * time.Second)
				m.Add(500)
				m.Add(-400)
			},
			want: outcome.Progress{Step: "copy", Percent: 10, BytesDone: 100, BytesTotal: 1000, BytesPerSecond: 10},
		},
		"TooMuch": {
			reason: "Done bytes should be between zero and the total.",
			args: func(m *Meter, pass func(time.Duration)) {
				m.Step("copy", 1000)
				m.Add(1500)
				pass(time.Second)
				m.Step("more", 1000)
				m.Add(-10)
				pass(time.Second)
			},
			want: outcome.Progress{Step: "more", BytesTotal: 1000},
		},
		"UnknownTotal": {
			reason: "Bytes should be counted without a known total.",
			args: func(m *Meter, pass func(time.Duration)) {
				m.Step("copy", 0)
				pass(10 * time.Second)
				m.Add(500)
			},
			want: outcome.Progress{Step: "copy", BytesDone: 500, BytesPerSecond: 50},
		},
		"LastMinute": {
			reason: "The rate should be that of the last minute.",
			args: func(m *Meter, pass func(time.Duration)) {
				m.Step("copy", 1000000)
				m.Add(600000)
				for range 59 {
					pass(time.Second)
					m.Add(60)
				}
				pass(time.Second)
				m.Add(60)
			},
			want: outcome.Progress{Step: "copy", Percent: 60, BytesDone: 603600, BytesTotal: 1000000, BytesPerSecond: 61},
		},
		"Still": {
			reason: "The rate should be zero after a minute without bytes.",
			args: func(m *Meter, pass func(time.Duration)) {
				m.Step("copy", 1000)
				pass(time.Second)
				m.Add(500)
				pass(time.Minute)
			},
			want: outcome.Progress{Step: "copy", Percent: 50, BytesDone: 500, BytesTotal: 1000},
		},
		"ClockSetBack": {
			reason: "A clock that is set back should be tolerated.",
			args: func(m *Meter, pass func(time.Duration)) {
				m.Step("copy", 1000)
				pass(10 * time.Second)
				m.Add(500)
				pass(-time.Hour)
				m.Add(100)
			},
			want: outcome.Progress{Step: "copy", Percent: 60, BytesDone: 600, BytesTotal: 1000},
		},
		"Plan": {
			reason: "Each step of a plan should have an equal share.",
			args: func(m *Meter, _ func(time.Duration)) {
				m.Plan("import", "pack", "check", "push")
				m.Step("pack", 1000)
				m.Add(500)
			},
			want: outcome.Progress{Step: "pack", Percent: 37, BytesDone: 500, BytesTotal: 1000},
		},
		"NotPlanned": {
			reason: "A step that is not in the plan should not count.",
			args: func(m *Meter, _ func(time.Duration)) {
				m.Plan("import", "push")
				m.Step("look", 1000)
				m.Add(500)
			},
			want: outcome.Progress{Step: "look", BytesDone: 500, BytesTotal: 1000},
		},
		"Reached": {
			reason: "Reach should raise the count of its own step only, and never lower it.",
			args: func(m *Meter, pass func(time.Duration)) {
				m.Plan("import", "push")
				m.Step("import", 1000)
				pass(10 * time.Second)
				m.Reach("import", 400)
				m.Reach("import", 300)
				m.Reach("push", 900)
				m.End("push")
			},
			want: outcome.Progress{Step: "import", Percent: 20, BytesDone: 400, BytesTotal: 1000, BytesPerSecond: 40},
		},
		"Ended": {
			reason: "End should count all of a step as done.",
			args: func(m *Meter, pass func(time.Duration)) {
				m.Plan("import", "push")
				m.Step("push", 1000)
				pass(10 * time.Second)
				m.Reach("push", 400)
				m.End("push")
			},
			want: outcome.Progress{Step: "push", Percent: 100, BytesDone: 1000, BytesTotal: 1000, BytesPerSecond: 40},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m, pass := newTestMeter()
			tc.args(m, pass)
			if diff := cmp.Diff(tc.want, m.Progress()); diff != "" {
				t.Errorf("\n%s\nProgress(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestNilMeter(t *testing.T) {
	var m *Meter
	m.Plan("a")
	m.Step("a", 1)
	m.Add(1)
	m.Skip(1)
	m.Reach("a", 1)
	m.End("a")
	if diff := cmp.Diff(outcome.Progress{}, m.Progress()); diff != "" {
		t.Errorf("A nil meter counts nothing.\nProgress(): -want, +got:\n%s", diff)
	}
}

func TestMeterOfSeveral(t *testing.T) {
	m := &Meter{}
	m.Step("copy", 80)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				m.Add(1)
				m.Progress()
			}
		})
	}
	all.Wait()
	if got := m.Progress().BytesDone; got != 80 {
		t.Errorf("All bytes should be counted.\nProgress(): want 80 bytes, got %d", got)
	}
}

func TestSayer(t *testing.T) {
	const mib = 1 << 20
	m, pass := newTestMeter()
	var s sayer
	var got []string
	next := func(d time.Duration, done int64) {
		pass(d)
		m.Add(done)
		got = append(got, s.next(m.Progress()))
	}

	next(0, 0)
	m.Step("copy", 1000*mib)
	next(0, 0)
	next(10*time.Second, 100*mib)
	next(15*time.Second, 150*mib)
	next(15*time.Second, 0)
	next(2*time.Minute, 0)
	next(15*time.Second, 0)
	next(15*time.Second, 750*mib)
	next(2*time.Minute, 0)
	m.Step("push", 1000*mib)
	next(2*time.Minute, 0)

	want := []string{
		"",
		"",
		"copy: 100.0 MiB of 1000.0 MiB (10 %), 10.0 MiB/s, 1m30s left",
		"copy: 250.0 MiB of 1000.0 MiB (25 %), 10.0 MiB/s, 1m20s left",
		"",
		"copy: 250.0 MiB of 1000.0 MiB (25 %), nothing moved in the last minute",
		"",
		"copy: 1000.0 MiB of 1000.0 MiB (100 %), 12.7 MiB/s",
		"",
		"",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("A run says how far it is while something moves, and once that nothing does.\nnext(...): -want, +got:\n%s", diff)
	}
}

func TestProgressLine(t *testing.T) {
	const gib = 1 << 30
	cases := map[string]struct {
		reason string
		args   outcome.Progress
		want   string
	}{
		"Whole": {
			reason: "The line should hold all that is known.",
			args:   outcome.Progress{Step: "copy", BytesDone: 12 * gib, BytesTotal: 40 * gib, BytesPerSecond: 85 << 20},
			want:   "copy: 12.0 GiB of 40.0 GiB (30 %), 85.0 MiB/s, 5m40s left",
		},
		"Hours": {
			reason: "Units of zero should be omitted.",
			args:   outcome.Progress{Step: "copy", BytesDone: 1, BytesTotal: 7201, BytesPerSecond: 1},
			want:   "copy: 1 B of 7.0 KiB (0 %), 1 B/s, 2h left",
		},
		"Unknown": {
			reason: "Without a total there should be neither a percentage nor a remaining time.",
			args:   outcome.Progress{BytesDone: 12 * gib, BytesPerSecond: 85 << 20},
			want:   "12.0 GiB, 85.0 MiB/s",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.args.String()); diff != "" {
				t.Errorf("\n%s\nString(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// pipelineFunc is a pipeline for tests.
type pipelineFunc func(context.Context, Run) (outcome.Result, error)

func (f pipelineFunc) Run(ctx context.Context, run Run) (outcome.Result, error) { return f(ctx, run) }

func TestMetered(t *testing.T) {
	log := &watchedLog{line: "copy: ", seen: make(chan struct{})}
	p := meteredPipeline{every: time.Millisecond, Pipeline: pipelineFunc(func(_ context.Context, run Run) (outcome.Result, error) {
		run.Meter.Step("copy", 1000)
		run.Meter.Add(5)
		for i := range 10 {
			_, _ = fmt.Fprintf(run.Log, "line %d\n", i)
		}
		select {
		case <-log.seen:
		case <-time.After(10 * time.Second):
		}
		_, _ = io.WriteString(run.Log, "done\n")
		return outcome.Result{Files: 1}, nil
	})}
	got, err := p.Run(t.Context(), Run{Log: log})
	if err != nil || got.Files != 1 {
		t.Errorf("The run's result is the pipeline's.\nRun(...): got %+v, %v", got, err)
	}
	if !bytes.Contains(log.Bytes(), []byte("copy: ")) || !bytes.HasSuffix(log.Bytes(), []byte("done\n")) {
		t.Errorf("Among a run's lines are some that say how far it is, and none after its end.\ngot:\n%s", log.String())
	}

	_, err = Metered(pipelineFunc(func(_ context.Context, run Run) (outcome.Result, error) {
		run.Meter.Step("copy", 1)
		return outcome.Result{}, nil
	})).Run(t.Context(), Run{})
	if err != nil {
		t.Errorf("A run without a log has nobody to tell.\nRun(...): got %v", err)
	}
}

// A watchedLog says when there is a line that begins so.
type watchedLog struct {
	bytes.Buffer

	line string
	seen chan struct{}
}

func (l *watchedLog) Write(b []byte) (int, error) {
	if strings.HasPrefix(string(b), l.line) {
		close(l.seen)
	}
	return l.Buffer.Write(b)
}
