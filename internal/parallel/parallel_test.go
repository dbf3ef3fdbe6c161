package parallel

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// TestLimit moves pieces that take a second each, side by side, through ends that take so
// many at a time. A bubble's time passes only while all wait.
func TestLimit(t *testing.T) {
	cases := map[string]struct {
		reason  string
		options Options
		ends    int64         // More at a time than these wait for each other.
		pieces  int64         // Of work.
		atMost  time.Duration // For all.
	}{
		"Fixed": {
			reason:  "A fixed limit should move as many at a time as it is told to.",
			options: Options{Min: 4, Start: 4, Max: 4}, ends: 1000, pieces: 400, atMost: 100 * time.Second,
		},
		"Grows": {
			reason:  "A limit should grow while that is faster.",
			options: Options{Min: 1, Start: 4, Max: 64, Interval: 2 * time.Second, Samples: 2}, ends: 1000, pieces: 4000, atMost: 100 * time.Second,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := New(tc.options)
				start := time.Now()
				var now, most atomic.Int64
				var all sync.WaitGroup
				for range tc.pieces {
					if err := l.Acquire(t.Context()); err != nil {
						t.Fatal(err)
					}
					all.Go(func() {
						defer l.Release()
						most.Store(max(most.Load(), now.Add(1)))
						defer now.Add(-1)
						time.Sleep(time.Second)
						l.Add(1)
					})
				}
				all.Wait()
				if took := time.Since(start); took > tc.atMost {
					t.Errorf("\n%s\nwant at most %s, got %s", tc.reason, tc.atMost, took)
				}
				if most.Load() > int64(tc.options.Max) {
					t.Errorf("\n%s\nwant at most %d at a time, got %d", tc.reason, tc.options.Max, most.Load())
				}
			})
		})
	}
}

// TestLimitBackOff backs off while slots are in use, and some wait.
func TestLimitBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		l := New(Options{Min: 1, Start: 8, Max: 8, Changed: func(n int) { sizes = append(sizes, n) }})
		for range 8 {
			_ = l.Acquire(t.Context())
		}
		for range 20 {
			// All of the requests are refused at a time.
			l.BackOff()
		}
		if diff := cmp.Diff([]int{4}, sizes); diff != "" {
			t.Errorf("Requests that are refused together should count once: -want, +got:\n%s", diff)
		}
		var got atomic.Bool
		go func() {
			_ = l.Acquire(t.Context())
			got.Store(true)
		}()
		for range 4 {
			l.Release()
		}
		synctest.Wait()
		if got.Load() {
			t.Error("No slot should be given while more are in use than there are")
		}
		l.Release()
		synctest.Wait()
		if !got.Load() {
			t.Error("A slot should be given once fewer are in use than there are")
		}
	})
}

// TestLimitCancelled ends a context while a slot is waited for.
func TestLimitCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Fixed(1)
		_ = l.Acquire(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error)
		go func() { failed <- l.Acquire(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("The context's error should be returned, got %v", err)
		}
		l.Release()
		if err := l.Acquire(t.Context()); err != nil {
			t.Errorf("The slot should be free for others, got %v", err)
		}
	})
}

// TestLimitRace uses a limit from many goroutines, for the race detector.
func TestLimitRace(t *testing.T) {
	l := New(Options{Min: 1, Start: 2, Max: 8, Interval: time.Millisecond, Changed: func(int) {}})
	var now atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for j := range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if l.Acquire(ctx) == nil {
					if n := now.Add(1); n > 8 {
						t.Errorf("want at most 8 at a time, got %d", n)
					}
					l.Add(1000)
					if i == 0 && j%50 == 0 {
						l.BackOff()
					}
					now.Add(-1)
					l.Release()
				}
				cancel()
			}
		})
	}
	all.Wait()
}
