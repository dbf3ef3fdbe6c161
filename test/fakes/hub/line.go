package hub

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Line is what lies between a server and its clients: it bounds the rate of
// what the server sends, delays it, and counts. Zero fields do nothing.
type Line struct {
	// PerConnection is how many bytes a second one connection carries.
	PerConnection int64

	// Total is how many bytes a second all of them carry together.
	Total int64

	// RoundTrip is how long a client waits for an answer at least: all that the
	// server sends arrives so much later.
	RoundTrip time.Duration

	in, out atomic.Int64
	mu      sync.Mutex
	free    time.Time // When Total has room again.
}

// In returns how many bytes came from clients so far.
func (l *Line) In() int64 { return l.in.Load() }

// Out returns how many bytes were sent to clients so far.
func (l *Line) Out() int64 { return l.out.Load() }

// Listen puts the line before a listener, whose connections all share it.
func (l *Line) Listen(inner net.Listener) net.Listener {
	return &lineListener{Listener: inner, line: l}
}

type lineListener struct {
	net.Listener

	line *Line
}

func (l *lineListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn := &lineConn{Conn: c, line: l.line}
	if l.line.PerConnection <= 0 && l.line.Total <= 0 && l.line.RoundTrip <= 0 {
		return conn, nil
	}
	// As much may be on its way as the round trip's worth, and some more.
	conn.queue = make(chan parcel, 1024)
	conn.gone = make(chan struct{})
	go conn.carry()
	return conn, nil
}

// parcelSize is how much is carried at a time.
const parcelSize = 16 << 10

// A parcel must arrive at a given time.
type parcel struct {
	bytes []byte
	due   time.Time
}

// A lineConn is the server's side of a connection.
type lineConn struct {
	net.Conn

	line  *Line
	queue chan parcel   // Nil where nothing is shaped.
	gone  chan struct{} // Closed when nothing is carried any more.

	mu     sync.Mutex // One writes at a time.
	free   time.Time  // When PerConnection has room again.
	closed bool
	failed atomic.Bool
}

func (c *lineConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.line.in.Add(int64(n))
	return n, err
}

// Write returns when the line has taken the bytes, at its rate.
func (c *lineConn) Write(p []byte) (int, error) {
	if c.queue == nil {
		n, err := c.Conn.Write(p)
		c.line.out.Add(int64(n))
		return n, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n < len(p) {
		if c.closed || c.failed.Load() {
			return n, net.ErrClosed
		}
		b := append([]byte(nil), p[n:min(n+parcelSize, len(p))]...)
		sent := c.line.pass(&c.free, int64(len(b)))
		select {
		case c.queue <- parcel{bytes: b, due: sent.Add(c.line.RoundTrip)}:
		case <-c.gone:
			return n, net.ErrClosed
		}
		n += len(b)
		time.Sleep(time.Until(sent))
	}
	return n, nil
}

// pass returns when so many bytes have passed at both rates.
func (l *Line) pass(free *time.Time, n int64) time.Time {
	now := time.Now()
	*free = after(*free, now, n, l.PerConnection)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = after(l.free, now, n, l.Total)
	if l.free.After(*free) {
		*free = l.free
	}
	return *free
}

// slack is how much of the time that nothing passed is made up for, so that the
// rate is kept although goroutines wake up late.
const slack = 50 * time.Millisecond

// after returns when n bytes have passed at a rate that is free from a time on.
func after(free, now time.Time, n, rate int64) time.Time {
	if rate <= 0 {
		return now
	}
	if first := now.Add(-slack); free.Before(first) {
		free = first
	}
	return free.Add(time.Duration(n) * time.Second / time.Duration(rate))
}

// carry delivers what is written, in time.
func (c *lineConn) carry() {
	defer close(c.gone)
	for p := range c.queue {
		time.Sleep(time.Until(p.due))
		n, err := c.Conn.Write(p.bytes)
		c.line.out.Add(int64(n))
		if err != nil {
			c.failed.Store(true)
			break
		}
	}
	_ = c.Conn.Close()
}

// Close closes the connection once all of it has arrived, without waiting for
// that.
func (c *lineConn) Close() error {
	if c.queue == nil {
		return c.Conn.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		close(c.queue)
	}
	return nil
}
