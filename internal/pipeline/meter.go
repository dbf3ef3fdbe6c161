package pipeline

import (
	"slices"
	"sync"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Meter counts what a run has done and has to do. Its zero value is that of a
// run which has not begun, and a nil one counts nothing. It is safe for
// concurrent use.
//
// A run of one step is as far as its bytes are. A run that has said by Plan which
// steps it takes is as far as its steps are, each of which has an equal share:
// every step of kit's reads or writes the whole model once, and which of network
// and disk is the slower one differs from cluster to cluster.
type Meter struct {
	now func() time.Time // nil for the time.

	mu          sync.Mutex
	plan        []string
	step        string
	done, total int64
	rate        rate
}

// Plan says which steps the run takes, in their order. A step of another name
// counts for nothing in the percentage.
func (m *Meter) Plan(steps ...string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plan = slices.Clone(steps)
}

// Step begins a step of the run, whose bytes are counted anew. The total is how
// many it has to move, 0 while that is not known. A step's name is a word in
// lower case, which everybody may read who reads the run's progress.
func (m *Meter) Step(name string, total int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.step, m.done, m.total = name, 0, total
	m.rate = rate{began: m.time()}
}

// Add counts bytes that were moved. A negative number takes back what has to be
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

// Skip counts bytes that need not be moved. They are done, and tell nothing of
// how fast the others are.
func (m *Meter) Skip(n int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
}

// Reach counts what is missing to so many bytes of the step, if the run is still
// at that. It takes nothing back.
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

// End says that all of a step is done, whatever of it was seen.
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

// Progress returns how far the run is.
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

// percent of the run that is done, rounded down.
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
	// What is a whole percent may be a trifle less as a fraction.
	return int32(100*part + 1e-9)
}

func (m *Meter) time() time.Time {
	if m.now == nil {
		return time.Now()
	}
	return m.now()
}

// rateWindow is what a rate is taken of.
const rateWindow = 60 // Seconds.

// A rate knows how many bytes were moved in each of the last seconds.
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

// pass forgets the seconds that are too long ago.
func (r *rate) pass(now time.Time) {
	if r.began.IsZero() {
		r.began = now
	}
	// A clock may be set back.
	second := max(int64(now.Sub(r.began)/time.Second), r.second)
	for range min(second-r.second, rateWindow) {
		r.second++
		r.seconds[r.second%rateWindow] = 0
	}
	r.second = second
}

// perSecond returns the rate, which is 0 in the first second.
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
	// Of the second that has just begun only a part is in the window.
	window := min(elapsed, (rateWindow-1)*time.Second+elapsed%time.Second)
	return max(int64(float64(moved)/window.Seconds()), 0)
}
