package stream

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	gcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// TestSideBySide moves layers that take a second each to registries of several makes, and
// counts how many are moved at the same time.
func TestSideBySide(t *testing.T) {
	type want struct{ Large, Small, Both int64 } // Without large and small ones, any number of them.
	cases := map[string]struct {
		reason string
		run    pipeline.Run
		layers int // Of each kind.
		want   want
	}{
		"Few":     {reason: "A few layers should be moved side by side.", run: runTo("registry.example.com", 0), layers: 3, want: want{3, 3, 6}},
		"Many":    {reason: "More layers should be moved side by side as long as that is faster.", run: runTo("registry.example.com", 0), layers: 2000, want: want{mostLarge, mostSmall, mostLarge + mostSmall}},
		"Asked":   {reason: "Large and small layers together should be no more than was asked for.", run: runTo("registry.example.com", 6), layers: 200, want: want{Both: 6}},
		"One":     {reason: "One layer after the other may be asked for.", run: runTo("registry.example.com", 1), layers: 20, want: want{1, 1, 1}},
		"Bounded": {reason: "A registry that limits the time of an upload should get one large layer at a time.", run: runTo("ghcr.io", 0), layers: 8, want: want{1, 8, 9}},
		"Case":    {reason: "A host with capitals and a port should be recognised.", run: runTo("GHCR.io:443", 0), layers: 8, want: want{1, 8, 9}},
		"Whole":   {reason: "A registry without a known time limit should get several uploads in parallel.", run: runTo("europe-docker.pkg.dev", 0), layers: 4, want: want{4, 4, 8}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := New().newLimits(tc.run)
				var large, small, both gauge
				move := func(own *gauge, done func(int64), n int64) func(context.Context, int) error {
					return func(context.Context, int) error {
						defer own.begin()()
						defer both.begin()()
						time.Sleep(time.Second)
						done(n)
						return nil
					}
				}
				var all sync.WaitGroup
				all.Go(func() {
					_ = each(t.Context(), l.large, l.layers, make([]int, tc.layers), move(&large, l.large.Add, 8<<20))
				})
				all.Go(func() {
					_ = each(t.Context(), l.small, l.layers, make([]int, tc.layers), move(&small, l.small.Add, 1))
				})
				all.Wait()
				got := want{large.most.Load(), small.most.Load(), both.most.Load()}
				if tc.want.Large == 0 {
					got.Large, got.Small = 0, 0
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("\n%s\nlayers side by side: -want, +got:\n%s", tc.reason, diff)
				}
			})
		})
	}
}

func runTo(registry string, layers int) pipeline.Run {
	return pipeline.Run{Target: pipeline.Target{Registry: registry}, Parallel: pipeline.Parallel{Layers: layers}}
}

// A gauge counts what happens at the same time.
type gauge struct{ now, most atomic.Int64 }

func (g *gauge) begin() (end func()) {
	n := g.now.Add(1)
	for m := g.most.Load(); n > m && !g.most.CompareAndSwap(m, n); m = g.most.Load() {
	}
	return func() { g.now.Add(-1) }
}

// TestLimitsOverloaded has ends refuse requests, since there are too many of them.
func TestLimitsOverloaded(t *testing.T) {
	type want struct{ Large, Small, Ranges, Files int }
	cases := map[string]struct {
		reason string
		host   string
		want   want
	}{
		"Registry": {reason: "What is sent to a registry that asks for less should be halved.", host: "REGISTRY.example.com", want: want{startLarge / 2, startSmall / 2, startAhead / hubRange, 16}},
		"Source":   {reason: "What is asked of a source that asks for less should be halved.", host: "cdn.example.com", want: want{startLarge, startSmall / 2, startAhead / hubRange / 2, 8}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := New().newLimits(runTo("registry.example.com", 0))
			refuse(t, l, tc.host)
			got := want{l.large.Size(), l.small.Size(), l.ranges.Size(), l.files.Size()}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// refuse has a host refuse a request of a run with these limits, to registry.example.com.
func refuse(t *testing.T, l *limits, host string) {
	t.Helper()
	ctx := connection.WithOverload(t.Context(), l.overloaded("registry.example.com"))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := connection.Draining(overloaded{}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = rsp.Body.Close()
}

// overloaded is a transport whose servers are all asked too much.
type overloaded struct{}

func (overloaded) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
}

// TestStreamOverloaded runs with an end that refuses what is too much at a time. The run
// must ask for less, and succeed.
func TestStreamOverloaded(t *testing.T) {
	const most = 2 // At a time.
	small, large := map[string]string{}, map[string]string{}
	for i := range 2 * startSmall {
		small[fmt.Sprintf("%02d.json", i)] = strings.Repeat(fmt.Sprintf("%d", i), 2000)
	}
	for i := range 2 * startLarge {
		large[fmt.Sprintf("%d.safetensors", i)] = strings.Repeat(fmt.Sprintf("%07d\n", i), 200_000)
	}
	type want struct{ Large, Small int } // The least at a time.
	cases := map[string]struct {
		reason   string
		files    map[string]string
		status   int
		registry bool // It is the registry that refuses.
		want     want
	}{
		"SmallLayers": {
			reason: "A registry that refuses small layers should get fewer of them at a time, and large ones as well.",
			files:  small, status: http.StatusTooManyRequests, registry: true, want: want{startLarge / 2, startSmall / 2},
		},
		"LargeLayers": {
			reason: "A registry that refuses large layers should get fewer of them at a time, and small ones as well.",
			files:  large, status: http.StatusServiceUnavailable, registry: true, want: want{startLarge / 2, startSmall / 2},
		},
		"Source": {
			reason: "A source that refuses requests for small files should get fewer of them at a time, and the registry as many as before.",
			files:  small, status: http.StatusServiceUnavailable, want: want{startLarge, startSmall / 2},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := &crowd{most: most, status: tc.status, refused: make(chan struct{})}
			reg := whole(gcr.New(gcr.Logger(log.New(io.Discard, "", 0))))
			if tc.registry {
				c.match, reg = func(r *http.Request) bool { return r.Method == http.MethodPost }, c.before(reg)
			}
			w := newStreamWorld(t, tc.files, reg)
			if !tc.registry {
				c.match = func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/resolve/") }
				w.hub.SetFault(c.before)
			}
			quick := retry.Policy{Tries: 100, FirstWait: time.Millisecond, MaxWait: 20 * time.Millisecond, MaxRetryAfter: time.Second}
			w.stream.uploads = quick
			// No interval ends in between, so that each limit backs off once.
			var largest, smallest sizes
			w.stream.large.Interval, w.stream.large.Changed = time.Hour, largest.note
			w.stream.small.Interval, w.stream.small.Changed = time.Hour, smallest.note
			if _, err := w.stream.Run(t.Context(), w.run); err != nil {
				t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, w.log)
			}
			got := want{largest.least(startLarge), smallest.least(startSmall)}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nlayers side by side: -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.files, w.pulled(t, stagingTag)); diff != "" {
				t.Errorf("\n%s\nfiles: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// sizes notes the choices of a limit.
type sizes struct {
	mu  sync.Mutex
	all []int
}

func (s *sizes) note(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, n)
}

func (s *sizes) least(start int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Min(append(s.all, start))
}

// A crowd refuses requests that are too many at a time. The first ones are held until one
// was refused.
type crowd struct {
	match  func(*http.Request) bool
	most   int64
	status int

	now     atomic.Int64
	once    sync.Once
	refused chan struct{} // Closed once a request was.
}

func (c *crowd) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.match(r) {
			next.ServeHTTP(w, r)
			return
		}
		defer c.now.Add(-1)
		if c.now.Add(1) > c.most {
			c.once.Do(func() { close(c.refused) })
			w.WriteHeader(c.status)
			return
		}
		select {
		case <-c.refused:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}
