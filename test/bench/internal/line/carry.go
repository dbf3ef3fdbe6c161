package line

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"golang.org/x/sync/semaphore"
)

// A wire is one end of the line: a listener whose connections are carried to an
// address.
type wire struct {
	// to is the address.
	to string

	// up is the pace of what clients send, down of what they get.
	up, down *pace

	// shape of each connection.
	shape End

	open     atomic.Int64
	sent     atomic.Int64
	received atomic.Int64
}

// serve carries connections until the listener is closed.
func (w *wire) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		w.open.Add(1)
		go func() {
			defer w.open.Add(-1)
			w.carry(c)
		}()
	}
}

// carry carries one connection in both directions until both have ended.
func (w *wire) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer server.Close()

	// Before a client can send anything, TCP's handshake goes to and fro.
	opened := time.Now().Add(2 * w.shape.Delay)
	var both sync.WaitGroup
	both.Go(func() { pass(server, client, w.direction(w.up), opened, &w.sent) })
	both.Go(func() { pass(client, server, w.direction(w.down), opened, &w.received) })
	both.Wait()
}

// direction returns one of a new connection.
func (w *wire) direction(shared *pace) direction {
	return direction{shared: shared, own: &pace{rate: w.shape.ConnectionRate}, delay: w.shape.Delay}
}

// pass carries what one end sends to the other, not before a time, and counts.
// An end that takes nothing any more is closed at both ends.
func pass(to, from net.Conn, d direction, opened time.Time, count *atomic.Int64) {
	var err error
	if d.shapes() {
		err = passShaped(to, from, d, opened, count)
	} else {
		var n int64
		n, err = io.Copy(to, from)
		count.Add(n)
	}
	if err != nil {
		_ = from.Close()
		_ = to.Close()
		return
	}
	if t, ok := to.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
}

// A parcel must arrive at a given time.
type parcel struct {
	bytes []byte
	due   time.Time
}

// passShaped carries bytes at the direction's rate and delay. An end of the
// stream is no error.
func passShaped(to, from net.Conn, d direction, opened time.Time, count *atomic.Int64) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	queue, room := make(chan parcel, window/1024), semaphore.NewWeighted(window)
	arrived := make(chan error, 1)
	go func() {
		defer cancel()
		arrived <- deliver(to, queue, room, count)
	}()
	err := collect(ctx, from, d, opened, queue, room)
	close(queue)
	if failed := <-arrived; failed != nil {
		return failed
	}
	return err
}

// collect takes bytes from a connection as the line has room for them, until it
// ends. It takes more only when what it took has left, so that connections take
// turns.
func collect(ctx context.Context, from net.Conn, d direction, opened time.Time, queue chan<- parcel, room *semaphore.Weighted) error {
	for {
		buf := make([]byte, parcelSize)
		n, err := from.Read(buf)
		if n > 0 {
			if err := room.Acquire(ctx, int64(n)); err != nil {
				return err
			}
			now := time.Now()
			if now.Before(opened) {
				now = opened
			}
			left := d.pass(now, n)
			select {
			case queue <- parcel{bytes: buf[:n], due: left.Add(d.delay)}:
			case <-ctx.Done():
				return ctx.Err()
			}
			time.Sleep(time.Until(left))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// deliver writes parcels when they are due.
func deliver(to net.Conn, queue <-chan parcel, room *semaphore.Weighted, count *atomic.Int64) error {
	for p := range queue {
		time.Sleep(time.Until(p.due))
		n, err := to.Write(p.bytes)
		count.Add(int64(n))
		room.Release(int64(len(p.bytes)))
		if err != nil {
			return err
		}
	}
	return nil
}
