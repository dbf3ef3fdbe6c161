// Package parallel chooses how much runs side by side, by what is measured: more where
// that is faster, and less where a server asks for that.
package parallel

import (
	"context"
	"sync"
	"time"
)

// DefaultInterval is how long throughput is measured before the next choice.
const DefaultInterval = 500 * time.Millisecond

// Options say within which bounds a Limit chooses.
type Options struct {
	// Min and Max are the bounds. With the same value the limit is fixed.
	Min, Max int

	// Start is the first choice.
	Start int

	// Interval is how long throughput is measured before the next choice;
	// DefaultInterval if zero. It is extended, to four times at most, until each slot
	// has had Samples pieces of work done, of those that Add counts.
	Interval time.Duration

	// Samples is how many pieces of work an interval has for each slot at least, where
	// pieces are counted rather than bytes.
	Samples int64

	// Changed is called with each new choice, in their order; nil for no call. It must
	// not call the Limit.
	Changed func(size int)

	// Now returns the time; time.Now if nil.
	Now func() time.Time
}

// A Limit is the number of slots for what runs side by side. It grows as long as all slots
// are in use and throughput grows with their number. It is safe for concurrent use.
type Limit struct {
	options Options

	mu      sync.Mutex
	climber climber
	used    int
	waiting []chan struct{} // First come, first served. Each is closed once it has a slot.

	began  time.Time     // When the interval began.
	last   time.Time     // When inUse was last brought up to date.
	inUse  time.Duration // The time that slots were in use, of all slots together.
	done   int64         // The work that was done in the interval.
	backed bool          // The limit has backed off in the interval.
}

// New returns a Limit.
func New(o Options) *Limit {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Min = max(1, o.Min)
	o.Max = max(o.Min, o.Max)
	now := o.Now()
	return &Limit{options: o, climber: newClimber(o.Min, o.Start, o.Max), began: now, last: now}
}

// Fixed returns a Limit that is always n, at least 1.
func Fixed(n int) *Limit { return New(Options{Min: n, Start: n, Max: n}) }

// Size returns the number of slots.
func (l *Limit) Size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.climber.size
}

// Acquire waits for a slot, which the caller must release, or returns the context's error.
func (l *Limit) Acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	l.measure()
	if len(l.waiting) == 0 && l.used < l.climber.size {
		l.used++
		l.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	l.waiting = append(l.waiting, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	if !l.leave(turn) {
		// It was its turn meanwhile.
		l.Release()
	}
	return ctx.Err()
}

// leave reports whether a slot was still waited for, which it is not any more.
func (l *Limit) leave(turn chan struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.waiting {
		if w == turn {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// Release gives a slot back.
func (l *Limit) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.measure()
	l.used--
	l.admit()
}

// Add counts work that was done: bytes, or pieces.
func (l *Limit) Add(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done += n
	l.measure()
}

// BackOff halves the number of slots, since a server has asked to be asked less. Where
// many requests hear of that at a time, it does so once in an interval. What runs already
// is not interrupted.
func (l *Limit) BackOff() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.measure()
	if l.backed {
		return
	}
	l.backed = true
	l.set(l.climber.backOff())
}

// measure ends the interval if it is over, and makes the next choice.
func (l *Limit) measure() {
	now := l.options.Now()
	l.inUse += time.Duration(min(l.used, l.climber.size)) * now.Sub(l.last)
	l.last = now
	took := now.Sub(l.began)
	if took < l.options.Interval {
		return
	}
	if l.done < l.options.Samples*int64(l.climber.size) && took < 4*l.options.Interval {
		return
	}
	share := float64(l.inUse) / float64(took) / float64(l.climber.size)
	rate := float64(l.done) / took.Seconds()
	l.began, l.inUse, l.done, l.backed = now, 0, 0, false
	l.set(l.climber.next(rate, share >= full))
}

// set applies a choice.
func (l *Limit) set(size int, changed bool) {
	if !changed {
		return
	}
	if l.options.Changed != nil {
		l.options.Changed(size)
	}
	l.admit()
}

// admit gives free slots to those who wait.
func (l *Limit) admit() {
	for len(l.waiting) > 0 && l.used < l.climber.size {
		l.used++
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
	}
}
