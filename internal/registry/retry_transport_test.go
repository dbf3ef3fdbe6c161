package registry

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// TestEveryRequestIsRetried has a registry fail each kind of request more often
// than a restart of it takes.
func TestEveryRequestIsRetried(t *testing.T) {
	const failures = 12
	patience := retry.Default()
	patience.Sleep = quick.Sleep
	config := []byte("{}")
	blob := describe("application/vnd.test.config.v1+json", config)
	cases := map[string]struct {
		method, part string
		ask          func(ctx context.Context, c *Client, d ocispec.Descriptor, manifest []byte) error
	}{
		"HasBlob": {method: http.MethodHead, part: "/blobs/", ask: func(ctx context.Context, c *Client, _ ocispec.Descriptor, _ []byte) error {
			_, err := c.HasBlob(ctx, repository, blob)
			return err
		}},
		"Resolve": {method: http.MethodHead, part: "/manifests/", ask: func(ctx context.Context, c *Client, _ ocispec.Descriptor, _ []byte) error {
			_, err := c.Resolve(ctx, repository, "v1")
			return err
		}},
		"Manifest": {method: http.MethodGet, part: "/manifests/", ask: func(ctx context.Context, c *Client, _ ocispec.Descriptor, _ []byte) error {
			_, _, err := c.Manifest(ctx, repository, "v1")
			return err
		}},
		"PushManifest": {method: http.MethodPut, part: "/manifests/", ask: func(ctx context.Context, c *Client, d ocispec.Descriptor, manifest []byte) error {
			return c.PushManifest(ctx, repository, d, manifest, "v2")
		}},
		"PushBlob": {method: http.MethodPut, part: "/blobs/uploads/", ask: func(ctx context.Context, c *Client, _ ocispec.Descriptor, _ []byte) error {
			return c.PushBlob(ctx, repository, blob, bytes.NewReader(config))
		}},
		"Upload": {method: http.MethodPost, part: "/blobs/uploads/", ask: func(ctx context.Context, c *Client, _ ocispec.Descriptor, _ []byte) error {
			return c.Upload(ctx, repository, blob, (&shelf{content: config}).open, patience)
		}},
		"Mount": {method: http.MethodPost, part: "/blobs/uploads/", ask: func(ctx context.Context, c *Client, _ ocispec.Descriptor, _ []byte) error {
			_, err := c.Mount(ctx, repository, "models/other", blob)
			return err
		}},
		"Tags": {method: http.MethodGet, part: "/tags/list", ask: func(ctx context.Context, c *Client, _ ocispec.Descriptor, _ []byte) error {
			_, err := c.Tags(ctx, repository)
			return err
		}},
	}
	faults := map[string]func(w http.ResponseWriter){
		"503": func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"429": func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) },
		"EOF": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"Cut": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		},
	}
	for name, tc := range cases {
		for fault, fail := range faults {
			if fault == "Cut" && tc.method != http.MethodGet {
				continue
			}
			t.Run(name+"/"+fault, func(t *testing.T) {
				var armed atomic.Bool
				var failed atomic.Int64
				c := serve(t, func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if armed.Load() && r.Method == tc.method && strings.Contains(r.URL.Path, tc.part) && failed.Add(1) <= failures {
							fail(w)
							return
						}
						next.ServeHTTP(w, r)
					})
				})
				d, manifest := push(t, c, "v1")
				armed.Store(true)
				c = newClient(t, Options{Host: c.host, PlainHTTP: true, Retry: patience})
				if err := tc.ask(t.Context(), c, d, manifest); err != nil {
					t.Errorf("want %d failures to be outlasted, got %v", failures, err)
				}
				if n := failed.Load(); n <= failures {
					t.Errorf("want more than %d requests, got %d", failures, n)
				}
			})
		}
	}
}

// TestRetryAfter has a registry ask to wait.
func TestRetryAfter(t *testing.T) {
	cases := map[string]struct {
		reason string
		status int
		asked  func() string
		least  time.Duration
		want   outcome.Reason
	}{
		"Seconds":  {reason: "A wait should not be cut short.", status: 429, asked: func() string { return "120" }, least: 120 * time.Second},
		"Failure":  {reason: "A failure may ask to wait, too.", status: 503, asked: func() string { return "120" }, least: 120 * time.Second},
		"Date":     {reason: "A date should be read as one.", status: 503, asked: func() string { return time.Now().Add(200 * time.Second).UTC().Format(http.TimeFormat) }, least: 190 * time.Second},
		"TooLong":  {reason: "A wait that is longer than a run waits should be the caller's.", status: 429, asked: func() string { return "3000" }, want: outcome.RateLimited},
		"Nonsense": {reason: "What is no wait should be none.", status: 503, asked: func() string { return "soon" }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			c := serve(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if asked.Add(1) == 1 {
						w.Header().Set("Retry-After", tc.asked())
						w.WriteHeader(tc.status)
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			var waited []time.Duration
			retries := retry.Default()
			retries.Sleep = func(_ context.Context, d time.Duration) error {
				waited = append(waited, d)
				return nil
			}
			c = newClient(t, Options{Host: c.host, PlainHTTP: true, Retry: retries})
			_, err := c.Tags(t.Context(), repository)
			if IsNotFound(err) {
				err = nil
			}
			if reasonOf(err) != tc.want {
				t.Errorf("\n%s\nTags(...): want %q, got %v", tc.reason, tc.want, err)
			}
			if tc.want != "" {
				if after := outcome.RetryAfterOf(err); after != 3000*time.Second {
					t.Errorf("\n%s\nTags(...): want the error to say how long to wait, got %s", tc.reason, after)
				}
				return
			}
			if len(waited) == 0 || slices.Max(waited) < tc.least {
				t.Errorf("\n%s\nTags(...): want a wait of %s at least, got %v", tc.reason, tc.least, waited)
			}
		})
	}
}

// TestAllWait has one request of several be told to wait.
func TestAllWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = 120 * time.Second
		start := time.Now()
		var (
			mu    sync.Mutex
			asked []time.Duration
		)
		next := roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, time.Since(start))
			rsp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}
			if len(asked) == 1 {
				rsp.StatusCode = http.StatusTooManyRequests
				rsp.Header.Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
			}
			return rsp, nil
		})
		throttle := &connection.Throttle{}
		var all sync.WaitGroup
		for i := range 8 {
			// Clients of a run share what they know.
			transport := trying(next, Options{Host: "registry.example.com", Retry: retry.Default()}, throttle)
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://registry.example.com/v2/", nil)
				if err != nil {
					t.Error(err)
					return
				}
				rsp, err := transport.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer rsp.Body.Close()
				if rsp.StatusCode != http.StatusOK {
					t.Errorf("want success in the end, got %d", rsp.StatusCode)
				}
			})
		}
		all.Wait()
		if early := slices.DeleteFunc(asked[1:], func(d time.Duration) bool { return d >= wait }); len(early) > 0 {
			t.Errorf("want nothing to be asked within %s, got requests after %v", wait, early)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRunsPolicy outlasts what a restart takes, and not much more.
func TestRunsPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		err := retry.Default().Do(t.Context(), "it", func() error {
			time.Sleep(askTimeout)
			return outcome.Errorf(outcome.Unavailable, "down")
		})
		if took := time.Since(start); took < 3*time.Minute || took > 8*time.Minute {
			t.Errorf("want tries for some minutes, of one that does not answer, too, got %s", took)
		}
		if diff := cmp.Diff(outcome.Unavailable, reasonOf(err)); diff != "" {
			t.Errorf("Do(...): -want, +got:\n%s", diff)
		}
	})
}
