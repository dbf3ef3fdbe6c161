package download

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/parallel"
)

const (
	// startRanges and mostRanges are how many ranges are read beside the files' own
	// streams, at first and at most.
	startRanges = 4
	mostRanges  = 32

	// rangeOfBlocks is the size of a range that has a few blocks.
	rangeOfBlocks = 4 * blockSize
)

// TestAheadAdapts reads objects from servers of several kinds, and counts the connections
// that are used at the same time. A bubble's time passes only while all wait.
func TestAheadAdapts(t *testing.T) {
	cases := map[string]struct {
		reason  string
		objects int
		server  *shaped
		reader  int64 // The bytes a second that each reader takes; 0 for all that come.

		atLeast, atMost int64 // Connections at the same time.
	}{
		"SlowConnections": {
			reason:  "A server that is slow by connection should be asked for as many ranges as are allowed.",
			objects: 1, server: &shaped{connection: 1 << 20, delay: 20 * time.Millisecond},
			atLeast: mostRanges, atMost: mostRanges + 1,
		},
		"Shared": {
			reason:  "Several files should share the same ranges, beside a stream of each.",
			objects: 4, server: &shaped{connection: 1 << 20, delay: 20 * time.Millisecond},
			atLeast: mostRanges, atMost: mostRanges + 4,
		},
		"SlowServer": {
			reason:  "A server that is no faster by more connections should keep the first number of them, but for a try.",
			objects: 1, server: &shaped{connection: 100 << 20, all: 8 << 20, delay: 20 * time.Millisecond},
			atLeast: startRanges, atMost: 2*startRanges + 1,
		},
		"SlowReader": {
			reason:  "A reader that is slower than its first ranges should get no more of them.",
			objects: 1, server: &shaped{connection: 4 << 20, delay: 20 * time.Millisecond}, reader: 2 << 20,
			atLeast: 1, atMost: startRanges + 1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := NewBudget(startRanges * rangeOfBlocks)
				limit := parallel.New(parallel.Options{
					Min: 1, Start: startRanges, Max: mostRanges,
					Changed: func(n int) { budget.SetLimit(int64(n) * rangeOfBlocks) },
				})
				var all sync.WaitGroup
				for range tc.objects {
					all.Go(func() {
						o := Options{Range: rangeOfBlocks, Ahead: limit, Budget: budget}
						if err := tc.server.read(t.Context(), int64(256<<20/tc.objects), tc.reader, o); err != nil {
							t.Errorf("\n%s\nwant the object, got %v", tc.reason, err)
						}
					})
				}
				all.Wait()
				if most := tc.server.most.Load(); most < tc.atLeast || most > tc.atMost {
					t.Errorf("\n%s\nwant %d to %d connections at the same time, got %d", tc.reason, tc.atLeast, tc.atMost, most)
				}
				if peak := budget.Peak(); peak > mostRanges*rangeOfBlocks || budget.Used() != 0 || budget.Users() != 0 {
					t.Errorf("\n%s\nwant at most %d bytes, all given back, got %d, of which %d are used", tc.reason, mostRanges*rangeOfBlocks, peak, budget.Used())
				}
			})
		})
	}
}

// TestBudgetShrinks reads an object while its memory becomes less, and then none.
func TestBudgetShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &shaped{connection: 1 << 20}
		budget := NewBudget(16 * rangeOfBlocks)
		go func() {
			for blocks := int64(64); blocks >= 0; blocks -= 8 {
				time.Sleep(500 * time.Millisecond)
				budget.SetLimit(blocks * blockSize)
			}
		}()
		o := Options{Range: rangeOfBlocks, Parallel: 17, Budget: budget}
		if err := server.read(t.Context(), 64<<20, 0, o); err != nil {
			t.Errorf("want the object, got %v", err)
		}
		if budget.Used() != 0 || len(budget.free) != 0 {
			t.Errorf("want no memory to be kept beyond the limit, got %d blocks, and %d bytes in use", len(budget.free), budget.Used())
		}
	})
}

// shaped is a server, as the transport to it, of objects of zeros. It counts its
// connections.
type shaped struct {
	connection, all int64 // Bytes a second, of each connection and of all; 0 for no limit.
	delay           time.Duration

	now, most atomic.Int64

	mu   sync.Mutex
	busy time.Time // Until when all is used.
}

// read reads an object, at so many bytes a second.
func (s *shaped) read(ctx context.Context, size, rate int64, o Options) error {
	server := &Server{
		Name: "the server", Client: &http.Client{Transport: s}, Idle: time.Minute, Throttle: &connection.Throttle{}, Retry: RetryPolicy(),
		Unreachable: func(_ context.Context, err error) error { return err },
	}
	r, err := server.Open(ctx, Object{Name: "x", URL: "http://server.example.com/x", Size: size, Refused: refused}, 0, size, o)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	p, read := make([]byte, 64<<10), int64(0)
	for {
		n, err := r.Read(p)
		read += int64(n)
		switch {
		case err == io.EOF && read == size: //nolint:errorlint // What a Reader returns as it is.
			return nil
		case err != nil:
			return fmt.Errorf("after %d of %d bytes: %w", read, size, err)
		case rate > 0:
			time.Sleep(timeOf(n, rate))
		}
	}
}

// RoundTrip implements http.RoundTripper.
func (s *shaped) RoundTrip(r *http.Request) (*http.Response, error) {
	var from, to int64
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err != nil {
		return nil, err
	}
	now := s.now.Add(1)
	for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
	}
	time.Sleep(s.delay)
	return &http.Response{
		StatusCode: http.StatusPartialContent, Request: r, ContentLength: to + 1 - from,
		Header: http.Header{"Content-Range": {fmt.Sprintf("bytes %d-%d/*", from, to)}},
		Body:   &shapedBody{server: s, left: to + 1 - from},
	}, nil
}

// pass returns after the time that so many bytes of a connection take.
func (s *shaped) pass(n int) {
	time.Sleep(timeOf(n, s.connection))
	if s.all == 0 {
		return
	}
	s.mu.Lock()
	if now := time.Now(); s.busy.Before(now) {
		s.busy = now
	}
	s.busy = s.busy.Add(timeOf(n, s.all))
	until := s.busy
	s.mu.Unlock()
	time.Sleep(time.Until(until))
}

func timeOf(n int, rate int64) time.Duration {
	return time.Duration(int64(n) * int64(time.Second) / rate)
}

// A shapedBody has zeros.
type shapedBody struct {
	server *shaped
	left   int64
	closed bool
}

func (b *shapedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), b.left, 64<<10))
	b.server.pass(n)
	clear(p[:n])
	b.left -= int64(n)
	return n, nil
}

func (b *shapedBody) Close() error {
	if !b.closed {
		b.closed = true
		b.server.now.Add(-1)
	}
	return nil
}

// TestCloseDuringRead closes a Reader while another goroutine has it begin to read further
// segments ahead: none may begin once Close waits for those that have.
func TestCloseDuringRead(t *testing.T) {
	s, u, stop := serverFor(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "x.bin", time.Time{}, bytes.NewReader(content))
	}))
	defer stop()
	o := Object{Name: "x", URL: u, Size: int64(len(content)), Refused: refused}
	for i := range 100 {
		r, err := s.Open(t.Context(), o, 0, o.Size, Options{Range: rangeSize, Parallel: 4, Budget: NewBudget(1 << 20)})
		if err != nil {
			t.Fatal(err)
		}
		reached, done := make(chan struct{}), make(chan error)
		go func() {
			_, _ = io.CopyN(io.Discard, r, int64(i%10)*rangeSize)
			close(reached)
			_, err := io.Copy(io.Discard, r)
			done <- err
		}()
		<-reached
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, os.ErrClosed) {
			t.Errorf("Read(...): want all, or that it was stopped, got %v", err)
		}
	}
}
