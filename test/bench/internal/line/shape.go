// Package line carries the connections of a benchmark at given rates and delays, and
// counts their bytes.
package line

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

// A Shape says what the line does to what passes it. Zero fields do nothing.
type Shape struct {
	// Rate in each direction, in bytes a second, which all connections share.
	Rate int64 `json:"rate,omitempty"`

	// What is between the line and each end, for that end's connections only.
	Hub      End `json:"hub"`
	Registry End `json:"registry"`
}

// An End is what the line does to the connections of one end.
type End struct {
	// ConnectionRate of each connection in each direction, in bytes a second: what many
	// servers, and lines with loss, grant to one connection.
	ConnectionRate int64 `json:"connectionRate,omitempty"`

	// Delay of each byte in each direction.
	Delay time.Duration `json:"delay,omitempty"`
}

// Even returns the shape of a line with the same delay to both ends.
func Even(rate int64, delay time.Duration) Shape {
	return Shape{Rate: rate, Hub: End{Delay: delay}, Registry: End{Delay: delay}}
}

// A pace lets bytes pass at a rate. It is safe for concurrent use.
type pace struct {
	// rate in bytes a second; without one, all may pass at once.
	rate int64

	mu   sync.Mutex
	free time.Time // When there is room again.
}

// pass returns when n bytes have left that come now: after all that came
// before, at the rate.
func (p *pace) pass(now time.Time, n int) time.Time {
	if p.rate <= 0 {
		return now
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if first := now.Add(-slack); p.free.Before(first) {
		p.free = first
	}
	p.free = p.free.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
	return p.free
}

// A direction is one of both of a connection. It models neither loss nor the slow
// start of TCP.
type direction struct {
	// shared is the pace of all connections in this direction, own that of this one.
	shared, own *pace

	// delay of each byte.
	delay time.Duration
}

// pass returns when n bytes have left that come now, at both paces.
func (d direction) pass(now time.Time, n int) time.Time {
	shared, own := d.shared.pass(now, n), d.own.pass(now, n)
	if own.After(shared) {
		return own
	}
	return shared
}

// shapes reports whether the direction does anything.
func (d direction) shapes() bool { return d.shared.rate > 0 || d.own.rate > 0 || d.delay > 0 }

// OwnTime is how long the line takes for so many bytes at least: their time at
// its rate, and one round trip.
func OwnTime(bytes, rate int64, oneWay time.Duration) time.Duration {
	return time.Duration(float64(bytes)/float64(rate)*float64(time.Second)) + 2*oneWay
}
