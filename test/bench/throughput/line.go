package main

import (
	"sync"
	"time"
)

const (
	// parcelSize is how many bytes are carried at a time at most.
	parcelSize = 32 << 10

	// window is how many bytes of one connection may be on their way in one
	// direction: what TCP's windows grow to by default on Linux.
	window = 4 << 20

	// slack is how much of the time that nothing passed is made up for, so that
	// the rate is kept although goroutines wake up late.
	slack = 20 * time.Millisecond
)

// A direction of a line. All connections share its rate, and each byte arrives
// so much later. Zero fields do nothing. It models neither loss nor the slow
// start of TCP.
type direction struct {
	// rate in bytes a second.
	rate int64

	// delay of each byte.
	delay time.Duration

	mu   sync.Mutex
	free time.Time // When the direction has room again.
}

// pass returns when n bytes have left that come now: after all that came
// before, at the direction's rate.
func (d *direction) pass(now time.Time, n int) time.Time {
	if d.rate <= 0 {
		return now
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if first := now.Add(-slack); d.free.Before(first) {
		d.free = first
	}
	d.free = d.free.Add(time.Duration(n) * time.Second / time.Duration(d.rate))
	return d.free
}

// shapes reports whether the direction does anything.
func (d *direction) shapes() bool { return d.rate > 0 || d.delay > 0 }

// ownTime is how long the line takes for so many bytes at least: their time at
// its rate, and one round trip.
func ownTime(bytes, rate int64, oneWay time.Duration) time.Duration {
	return time.Duration(float64(bytes)/float64(rate)*float64(time.Second)) + 2*oneWay
}
