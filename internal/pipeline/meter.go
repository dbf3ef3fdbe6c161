package pipeline

import (
	"slices"
	"sync"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Meter counts what a run has done and has to do. Its zero value is for a run that
// has not begun, and a nil Meter counts nothing. It is safe for concurrent use.
//
// The percentage of a run of one step is that of its bytes. In a run that has called
// Plan, each step has an equal share: every step of kit reads or writes the whole
// model once, and whether the network or the disk is slower differs between clusters.
type Meter struct {
	now func() time.Time // nil for the time.

	mu          sync.Mutex
	plan        []string
	step        string
	done, total int64
	rate        rate
}

// Plan sets the steps of the run, in their order. A step that is not among them
// counts for nothing in the percentage.
func (m *Meter) Plan(steps ...string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plan = slices.Clone(steps)
}

// Step begins a step of the run and resets the count of bytes. The total is what the
// step has to move, 0 if that is not known. The name must be a word in lower case; it
// is public.
func (m *Meter) Step(name string, total int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.step, m.done, m.total = name, 0, total
	m.rate = rate{began: m.time()}
}

// Add counts bytes that were moved. A negative number subtracts bytes that must be
// moved again.
func (m *Meter) Add(n int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
	m.rate.add(m.time(), n)
}

// Skip counts bytes that need not be moved. They count as done, but not for the rate.
func (m *Meter) Skip(n int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
}

// Reach raises the count of a step to a number of bytes, if that is the current step.
// It never lowers it.
func (m *Meter) Reach(step string, done int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.step != step || done <= m.done {
		return
	}
	m.rate.add(m.time(), done-m.done)
	m.done = done
}

// End counts all of a step as done.
func (m *Meter) End(step string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.step == step {
		m.done = max(m.done, m.total)
	}
}

// Progress returns the progress of the run.
func (m *Meter) Progress() outcome.Progress {
	if m == nil {
		return outcome.Progress{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := outcome.Progress{Step: m.step, BytesDone: max(m.done, 0), BytesTotal: m.total}
	if m.total > 0 {
		p.BytesDone = min(p.BytesDone, m.total)
	}
	p.Percent = m.percent(p)
	p.BytesPerSecond = m.rate.perSecond(m.time())
	return p
}

// percent returns how much of the run is done, rounded down.
func (m *Meter) percent(p outcome.Progress) int32 {
	part := 0.0
	if p.BytesTotal > 0 {
		part = float64(p.BytesDone) / float64(p.BytesTotal)
	}
	if len(m.plan) > 0 {
		before := slices.Index(m.plan, m.step)
		if before < 0 {
			return 0
		}
		part = (float64(before) + part) / float64(len(m.plan))
	}
	// A whole percentage may be slightly less as a fraction.
	return int32(100*part + 1e-9)
}

func (m *Meter) time() time.Time {
	if m.now == nil {
		return time.Now()
	}
	return m.now()
}

// rateWindow is the number of seconds that a rate is averaged over.
const rateWindow = 60 // Seconds.

// A rate counts the bytes that were moved in each of the last seconds.
type rate struct {
	began   time.Time
	seconds [rateWindow]int64
	second  int64 // That the last bytes were of, counted from began.
}

// add counts bytes now.
func (r *rate) add(now time.Time, n int64) {
	r.pass(now)
	r.seconds[r.second%rateWindow] += n
}

// pass drops the seconds that are out of the window.
func (r *rate) pass(now time.Time) {
	if r.began.IsZero() {
		r.began = now
	}
	// The clock may be set back.
	second := max(int64(now.Sub(r.began)/time.Second), r.second)
	for range min(second-r.second, rateWindow) {
		r.second++
		r.seconds[r.second%rateWindow] = 0
	}
	r.second = second
}

// perSecond returns the rate; 0 in the first second.
func (r *rate) perSecond(now time.Time) int64 {
	r.pass(now)
	elapsed := now.Sub(r.began)
	if elapsed < time.Second {
		return 0
	}
	var moved int64
	for _, n := range r.seconds {
		moved += n
	}
	// The current second is only partly in the window.
	window := min(elapsed, (rateWindow-1)*time.Second+elapsed%time.Second)
	return max(int64(float64(moved)/window.Seconds()), 0)
}
