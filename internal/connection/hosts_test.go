package connection

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const origin = "https://registry.test"

// A script answers requests, one after the other, as its letters say: "." at
// once, "s" slowly, "-" not at all, "t" without being trusted, "a" with a TLS
// alert, "v" with a version of TLS that nobody knows, "c" as this program's settings
// are wrong, "l" with a limit, "u" as unavailable for a minute and "h" hangs.
type script struct {
	letters string
	asked   int
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	letter := s.letters[min(s.asked, len(s.letters)-1)]
	s.asked++
	rsp := httptest.NewRecorder()
	switch letter {
	case 's':
		time.Sleep(quickAnswer + time.Second)
	case '-':
		return nil, syscall.ECONNREFUSED
	case 't':
		return nil, &BlockedError{}
	case 'a':
		return nil, &net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")}
	case 'v':
		return nil, errors.New("tls: server selected unsupported protocol version 301")
	case 'c':
		return nil, outcome.Errorf(outcome.ConfigInvalid, "no URL of a proxy")
	case 'l':
		rsp.Header().Set("Retry-After", "90")
		rsp.WriteHeader(http.StatusTooManyRequests)
	case 'u':
		rsp.Header().Set("Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
		rsp.WriteHeader(http.StatusServiceUnavailable)
	case 'h':
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	return rsp.Result(), nil
}

// askHost asks a host, and says in one letter what became of it: as a script, "o"
// where a breaker is open, "r" where the host wants to rest.
func askHost(t *testing.T, h *Hosts, s *script, account, place string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, place+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := h.Transport(origin, account, s).RoundTrip(req)
	var resting *UnavailableError
	switch {
	case errors.As(err, &resting) && resting.RateLimited:
		return "r"
	case errors.As(err, &resting):
		return "o"
	case err != nil:
		return "-"
	}
	_ = rsp.Body.Close()
	return "."
}

func TestHosts(t *testing.T) {
	type step struct {
		wait  time.Duration // Before the first request.
		times int
		want  string
	}
	cases := map[string]struct {
		reason string
		script string
		steps  []step
		quick  bool
	}{
		"Quick":     {reason: "A host that answers is asked.", script: ".", steps: []step{{times: 7, want: "......."}}, quick: true},
		"Slow":      {reason: "Also one that takes its time, but it is known.", script: ".s", steps: []step{{times: 2, want: ".."}}},
		"Few":       {reason: "Some failures open no breaker, if they are not in a row.", script: "----.----.", steps: []step{{times: 10, want: "----.----."}}, quick: true},
		"Open":      {reason: "One that does not answer is left alone.", script: "-", steps: []step{{times: 7, want: "-----oo"}, {wait: 29 * time.Second, times: 1, want: "o"}}},
		"HalfOpen":  {reason: "When the time has come, one request is let through, and closes the breaker.", script: "-----.", steps: []step{{times: 6, want: "-----o"}, {wait: 31 * time.Second, times: 3, want: "..."}}, quick: true},
		"Reopen":    {reason: "If that fails, the breaker stays open for longer.", script: "-", steps: []step{{times: 6, want: "-----o"}, {wait: 31 * time.Second, times: 2, want: "-o"}, {wait: 31 * time.Second, times: 1, want: "o"}, {wait: 31 * time.Second, times: 2, want: "-o"}}},
		"Bounded":   {reason: "But not for ever.", script: "-", steps: []step{{times: 6, want: "-----o"}, {wait: time.Hour, times: 2, want: "-o"}, {wait: time.Hour, times: 2, want: "-o"}, {wait: time.Hour, times: 2, want: "-o"}, {wait: time.Hour, times: 2, want: "-o"}, {wait: longestOpen, times: 1, want: "-"}}},
		"Untrusted": {reason: "Who cannot be trusted has answered.", script: "----t----.", steps: []step{{times: 10, want: "---------."}}, quick: true},
		"Alert":     {reason: "A host that sends a TLS alert should count as one that answered.", script: "a", steps: []step{{times: 7, want: "-------"}}},
		"Version":   {reason: "A host that speaks another TLS should count as one that answered.", script: "v", steps: []step{{times: 7, want: "-------"}}},
		"Settings":  {reason: "Wrong settings of this program should not count as the host's failures.", script: "c", steps: []step{{times: 7, want: "-------"}}},
		"Probed":    {reason: "A TLS alert should close the breaker.", script: "-----a", steps: []step{{times: 6, want: "-----o"}, {wait: 31 * time.Second, times: 2, want: "--"}}},
		"Hangs":     {reason: "One that hangs does not answer.", script: "h", steps: []step{{times: 6, want: "-----o"}}},
		"Limit":     {reason: "A host says when to come back, in seconds.", script: "l.", steps: []step{{times: 2, want: ".r"}, {wait: 88 * time.Second, times: 1, want: "r"}, {wait: 3 * time.Second, times: 1, want: "."}}, quick: true},
		"Date":      {reason: "Or by a date.", script: "u.", steps: []step{{times: 2, want: ".r"}, {wait: 58 * time.Second, times: 1, want: "r"}, {wait: 3 * time.Second, times: 1, want: "."}}, quick: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, s := NewHosts(), &script{letters: tc.script}
				for _, step := range tc.steps {
					time.Sleep(step.wait)
					got := ""
					for range step.times {
						got += askHost(t, h, s, "ada", origin)
					}
					if diff := cmp.Diff(step.want, got); diff != "" {
						t.Fatalf("\n%s\nRoundTrip(...): -want, +got:\n%s", tc.reason, diff)
					}
				}
				if got := h.Quick(origin); got != tc.quick {
					t.Errorf("\n%s\nQuick(...): want %t, got %t", tc.reason, tc.quick, got)
				}
			})
		})
	}
}

// TestHostsApart shows what one client's requests change for another's.
func TestHostsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHosts()
		if got := askHost(t, h, &script{letters: "l"}, "ada", origin); got != "." {
			t.Fatal(got)
		}
		if got := askHost(t, h, &script{letters: "."}, "bob", origin); got != "." {
			t.Errorf("another account waits, too: %q", got)
		}
		for range openAfter + 1 {
			askHost(t, h, &script{letters: "-"}, "ada", "https://auth.test")
		}
		if got := askHost(t, h, &script{letters: "."}, "ada", "https://auth.test"); got != "o" {
			t.Errorf("want the breaker of the token server open, got %q", got)
		}
		if got := askHost(t, h, &script{letters: "."}, "bob", origin); got != "." {
			t.Errorf("the breaker of a token server is the registry's, too: %q", got)
		}
		other := h.Transport("https://other.test", "ada", &script{letters: "."})
		rsp, err := other.RoundTrip(httptest.NewRequest(http.MethodGet, "https://auth.test/", nil))
		if err != nil {
			t.Fatalf("the breaker of one registry's token server is another's, too: %v", err)
		}
		_ = rsp.Body.Close()
	})
}

func TestHostsDeadlines(t *testing.T) {
	cases := map[string]struct {
		reason string
		method string
		within time.Duration
		want   string // Of the next request.
	}{
		"Short": {reason: "A caller's short deadline should not count as the host's failure.", method: http.MethodGet, within: time.Second, want: "."},
		"Write": {reason: "Nor should one of a write.", method: http.MethodDelete, within: 3 * time.Second, want: "."},
		"Long":  {reason: "A host that has not answered a write for long should count as silent.", method: http.MethodDelete, within: time.Minute, want: "o"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := NewHosts()
				hangs := roundTrip(func(req *http.Request) (*http.Response, error) {
					httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{})
					<-req.Context().Done()
					return nil, req.Context().Err()
				})
				for range openAfter {
					ctx, cancel := context.WithTimeout(t.Context(), tc.within)
					req := httptest.NewRequest(tc.method, origin+"/v2/", nil).WithContext(ctx)
					if _, err := h.Transport(origin, "", hangs).RoundTrip(req); err == nil { //nolint:bodyclose // There is none.
						t.Error("want an error")
					}
					cancel()
				}
				if got := askHost(t, h, &script{letters: "."}, "", origin); got != tc.want {
					t.Errorf("\n%s\nRoundTrip(...): want %q, got %q", tc.reason, tc.want, got)
				}
			})
		})
	}
}

// TestHostsHalfOpen: while one request tries, no other does.
func TestHostsHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := NewHosts(), &script{letters: "-----h"}
		for range openAfter {
			askHost(t, h, s, "", origin)
		}
		time.Sleep(firstOpen + time.Second)
		got := make(chan string)
		go func() { got <- askHost(t, h, s, "", origin) }()
		synctest.Wait()
		if now := askHost(t, h, s, "", origin); now != "o" {
			t.Errorf("want one request at a time, got %q", now)
		}
		<-got
	})
}

func TestUnavailableError(t *testing.T) {
	until := time.Date(2026, 11, 28, 12, 3, 10, 0, time.UTC)
	cases := map[string]struct {
		reason string
		err    UnavailableError
		want   string
	}{
		"Silent": {reason: "It says what the host did.", err: UnavailableError{Host: "registry.test", Until: until}, want: "registry.test has not answered 5 times in a row: asked again after 2026-11-28T12:03:10Z"},
		"Asked":  {reason: "Or wants.", err: UnavailableError{Host: "registry.test", Until: until, RateLimited: true}, want: "registry.test limits the rate of requests: asked again after 2026-11-28T12:03:10Z"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.err.Error()); diff != "" {
				t.Errorf("\n%s\nError(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestHostsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHosts()
		for i := range maxHosts + 10 {
			askHost(t, h, &script{letters: "."}, "", "https://"+strconv.Itoa(i)+".test")
			time.Sleep(time.Millisecond)
		}
		if len(h.hosts) > maxHosts {
			t.Errorf("%d hosts are remembered, more than %d", len(h.hosts), maxHosts)
		}
	})
}

func TestOpenBreakers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHosts()
		expect := func(want int, reason string) {
			t.Helper()
			if got := h.OpenBreakers(); got != want {
				t.Errorf("%s: want %d, got %d", reason, want, got)
			}
		}
		away, back := &script{letters: "-"}, &script{letters: "-----."}
		for range openAfter {
			expect(0, "A breaker should open after some failures only.")
			askHost(t, h, away, "", "https://away.test")
			askHost(t, h, back, "", "https://back.test")
		}
		expect(2, "Both hosts have not answered.")
		time.Sleep(firstOpen + time.Second)
		expect(2, "A breaker should stay open until its host answers.")
		askHost(t, h, back, "", "https://back.test")
		expect(1, "An answer should close the breaker.")
		time.Sleep(breakerRetention)
		expect(0, "A host that nobody asks any more should not count.")
		askHost(t, h, away, "", "https://away.test")
		expect(1, "It should count once it is asked again.")
	})
}

// TestHostsSlowBodies has a host that answers at once send its body slowly.
func TestHostsSlowBodies(t *testing.T) {
	cases := map[string]struct {
		reason string
		takes  time.Duration
		want   bool
	}{
		"Quick": {reason: "A host is quick if its whole answer comes quickly.", takes: quickAnswer, want: true},
		"Slow":  {reason: "A host that keeps its caller waiting for the body is not quick.", takes: quickAnswer + time.Millisecond},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := NewHosts()
				next := roundTrip(func(*http.Request) (*http.Response, error) {
					rsp := httptest.NewRecorder()
					_, _ = rsp.WriteString("{}")
					return rsp.Result(), nil
				})
				rsp, err := h.Transport(origin, "", next).RoundTrip(httptest.NewRequest(http.MethodGet, origin+"/v2/", nil))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(tc.takes)
				_ = rsp.Body.Close()
				if got := h.Quick(origin); got != tc.want {
					t.Errorf("\n%s\nQuick(...): want %t, got %t", tc.reason, tc.want, got)
				}
			})
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestHostsLongNames has a server lead to names that are too long to be such.
func TestHostsLongNames(t *testing.T) {
	h, s := NewHosts(), &script{letters: "."}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+strings.Repeat("a", 100<<10)+".test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Transport(origin, "", s).RoundTrip(req); CauseOf(err) != Blocked || s.asked > 0 || len(h.hosts) > 0 { //nolint:bodyclose // There is none.
		t.Errorf("RoundTrip(...): want nothing to be asked or remembered, got %d requests, %d hosts, %v", s.asked, len(h.hosts), err)
	}
}

// TestHostsTimeouts has servers of several kinds stand still.
func TestHostsTimeouts(t *testing.T) {
	// The connection is a pipe, since a network has no part in synctest's time.
	serve := func(conn net.Conn, answer string) {
		b := make([]byte, 1024)
		_, _ = conn.Read(b)
		_, _ = io.WriteString(conn, answer)
	}
	cases := map[string]struct {
		reason string
		dial   func(ctx context.Context, t *testing.T) (net.Conn, error)
		method string
		within time.Duration
	}{
		"Connect": {
			reason: "A connection takes 5 seconds at most.",
			dial: func(ctx context.Context, _ *testing.T) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
			method: http.MethodPut, within: connectTimeout,
		},
		"Header": {
			reason: "An answer takes 15 seconds at most.",
			dial: func(context.Context, *testing.T) (net.Conn, error) {
				here, there := net.Pipe()
				go serve(there, "")
				return here, nil
			},
			method: http.MethodGet, within: answerTimeout,
		},
		"Body": {
			reason: "So does what comes after its header.",
			dial: func(context.Context, *testing.T) (net.Conn, error) {
				here, there := net.Pipe()
				go serve(there, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
				return here, nil
			},
			method: http.MethodGet, within: bodyTimeout,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := NewHosts()
				transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return tc.dial(ctx, t) }}
				defer transport.CloseIdleConnections()
				began := time.Now()
				req, err := http.NewRequestWithContext(t.Context(), tc.method, "http://registry.test/", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				rsp, err := (&http.Client{Transport: h.Transport("http://registry.test", "", transport)}).Do(req)
				if err == nil {
					_, err = io.ReadAll(rsp.Body)
					_ = rsp.Body.Close()
				}
				if got := time.Since(began); got != tc.within {
					t.Errorf("\n%s\nwant an error after %s, got it after %s: %v", tc.reason, tc.within, got, err)
				}
				if err == nil || !strings.Contains(Symptom(err), "did not answer in time") {
					t.Errorf("\n%s\nwant a timeout, got %v", tc.reason, err)
				}
				if h.hosts["http://registry.test"].failures != 1 {
					t.Errorf("\n%s\nwant one failure noted", tc.reason)
				}
			})
		})
	}
}
