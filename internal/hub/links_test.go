package hub

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

func TestLinks(t *testing.T) {
	type want struct {
		Links int
		Err   outcome.Reason
	}
	cases := map[string]struct {
		reason string
		set    func(*world)
		midway func(*world)
		want   want
	}{
		"Good":      {reason: "One link is enough.", want: want{Links: 1}},
		"Expired":   {reason: "When it ends, all ranges get one other.", midway: func(w *world) { w.hub.ExpireLinks() }, want: want{Links: 2}},
		"Known":     {reason: "What is known to end is not asked.", set: func(w *world) { w.hub.SetLinks(2*time.Second, 0) }, midway: waitOut, want: want{Links: 2}},
		"OneTime":   {reason: "A link may be good once.", set: func(w *world) { w.hub.SetLinks(0, 1) }, want: want{Links: -1}},
		"Unlimited": {reason: "A mirror may send the file itself.", set: func(w *world) { w.hub.SetFault(itself()) }, want: want{Links: 0}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, large)
			if tc.set != nil {
				tc.set(w)
			}
			v := w.file.NewVerifier()
			r, err := w.download(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			if _, err := io.CopyN(v, r, 1000); err != nil {
				t.Fatal(err)
			}
			if tc.midway != nil {
				tc.midway(w)
			}
			if _, err := io.Copy(v, r); err != nil {
				t.Fatal(err)
			}
			got := want{Links: w.hub.Links(), Err: reasonOf(v.Verify())}
			if tc.want.Links < 0 {
				got.Links = -1
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nDownload(...): -want, +got:\n%s", tc.reason, diff)
			}
			if sent := w.sent(); sent != w.file.Size {
				t.Errorf("\n%s\nwant each byte once, got %d for %d", tc.reason, sent, w.file.Size)
			}
		})
	}
}

// waitOut waits until a link of two seconds is not asked any more.
func waitOut(*world) { time.Sleep(1600 * time.Millisecond) }

// itself has the Hub send what it would send a link to.
func itself() testhub.Fault {
	return testhub.Times(1000, testhub.On("/resolve/"), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/octet-stream")
			http.ServeContent(rw, r, "", time.Time{}, strings.NewReader(string(large)))
		})
	})
}

// A clock is a server that notes when it is asked, and answers as it is told.
type clock struct {
	answer func(n int, r *http.Request) *http.Response

	mu    sync.Mutex
	start time.Time
	asked []time.Duration
}

func (c *clock) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.asked = append(c.asked, time.Since(c.start))
	n := len(c.asked)
	c.mu.Unlock()
	rsp := c.answer(n, r)
	rsp.Request = r
	return rsp, nil
}

func respond(status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// ranged answers with what a request asks for of a body.
func ranged(r *http.Request, body string) *http.Response {
	var from, to int
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err != nil {
		return respond(http.StatusOK, nil, body)
	}
	return respond(http.StatusPartialContent, http.Header{"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", from, to, len(body))}}, body[from:to+1])
}

// downloadBy reads a file from a server with a clock.
func downloadBy(t *testing.T, c *clock, size int64) error {
	t.Helper()
	client := asking(answer{})
	client.http.Transport = c
	client.streams, client.idle = download.RetryPolicy(), download.DefaultIdle
	c.start = time.Now()
	r, err := client.Download(t.Context(), "org/model", sha, file.File{Path: "a.bin", Size: size}, 0, size,
		download.Options{Range: size / 10, Parallel: 4, Budget: download.NewBudget(16 << 20)})
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	_, err = io.Copy(io.Discard, r)
	return err
}

// Where one range is told to wait, none asks that host before it is time.
func TestWaitsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := strings.Repeat("x", 10<<20)
		c := &clock{answer: func(n int, r *http.Request) *http.Response {
			if n == 4 {
				return respond(http.StatusTooManyRequests, http.Header{"Retry-After": {"30"}}, "")
			}
			return ranged(r, body)
		}}
		if err := downloadBy(t, c, int64(len(body))); err != nil {
			t.Fatal(err)
		}
		// Those that were on their way already are.
		early := slices.IndexFunc(c.asked, func(d time.Duration) bool { return d > 0 })
		if len(c.asked) != 11 || early < 4 || early > 5 || c.asked[early] < 30*time.Second || c.asked[10] > 34*time.Second {
			t.Errorf("want all to wait for half a minute, got %s", c.asked)
		}
	})
}

// A server that fails is left alone for longer each time, and not for ever.
func TestWaitsGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clock{answer: func(int, *http.Request) *http.Response { return respond(http.StatusBadGateway, nil, "") }}
		if err := downloadBy(t, c, 10<<20); reasonOf(err) != outcome.Unavailable {
			t.Errorf("want the server to be given up, got %v", err)
		}
		policy := retry.Default()
		longest := policy.FirstWait
		for i := 1; i < len(c.asked); i++ {
			if d := c.asked[i] - c.asked[i-1]; d < longest/2 || d > longest {
				t.Errorf("want wait %d to be %s to %s, got %s", i, longest/2, longest, d)
			}
			longest = min(2*longest, policy.MaxWait)
		}
		if len(c.asked) != policy.Tries {
			t.Errorf("want %d tries, got %d", policy.Tries, len(c.asked))
		}
	})
}

// A server may send little at a time, but not next to nothing for ever.
func TestShortParts(t *testing.T) {
	cases := map[string]struct {
		reason string
		part   int64
		want   outcome.Reason
	}{
		"Some": {reason: "Parts that are not small are taken.", part: 100 << 10},
		"Tiny": {reason: "One byte each time is no stream.", part: 1, want: outcome.Unavailable},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := strings.Repeat("x", 2<<20)
				c := &clock{answer: func(_ int, r *http.Request) *http.Response {
					var from, to int64
					_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
					to = min(to, from+tc.part-1)
					return respond(http.StatusPartialContent, http.Header{"Content-Range": {fmt.Sprintf("bytes %d-%d/*", from, to)}}, body[from:to+1])
				}}
				if got := reasonOf(downloadBy(t, c, int64(len(body)))); got != tc.want {
					t.Errorf("\n%s\nDownload(...): want %q, got %q", tc.reason, tc.want, got)
				}
			})
		})
	}
}

// A trickle that would never end is no stream either.
func TestTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := strings.Repeat("x", 10<<20)
		c := &clock{answer: func(n int, r *http.Request) *http.Response {
			rsp := ranged(r, body)
			if n == 1 {
				rsp.Body = trickle{r.Context()}
			}
			return rsp
		}}
		if err := downloadBy(t, c, int64(len(body))); err != nil {
			t.Fatal(err)
		}
		if last := c.asked[len(c.asked)-1]; last < 30*time.Second || last > time.Minute {
			t.Errorf("want the trickle to be given up soon, took %s", last)
		}
	})
}

// A trickle is a body of a byte every ten seconds, which ends with its request.
type trickle struct {
	ctx context.Context //nolint:containedctx // Of its request.
}

func (b trickle) Read(p []byte) (int, error) {
	p[0] = 'x'
	err := retry.Sleep(b.ctx, 10*time.Second)
	if err != nil {
		return 0, err
	}
	return 1, nil
}

func (trickle) Close() error { return nil }
