package download

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// rangeSize is how much tests ask for at a time.
const rangeSize = 1000

// content is an object of eleven ranges.
var content = bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvw"), 330)

// serverFor returns a Server that waits for little.
func serverFor(h http.Handler) (*Server, string, func()) {
	s := httptest.NewServer(h)
	return &Server{
		Name: "the server", Client: s.Client(), Idle: 10 * time.Second, Throttle: &connection.Throttle{},
		Retry: retry.Policy{Tries: 4, FirstWait: time.Millisecond, MaxWait: 4 * time.Millisecond},
		Unreachable: func(ctx context.Context, err error) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return outcome.Errorf(outcome.Unavailable, "cannot reach the server").Because(err)
		},
	}, s.URL, s.Close
}

func refused(rsp *http.Response) error {
	return outcome.Errorf(outcome.NotFound, "refused with status %d", rsp.StatusCode)
}

func reasonOf(err error) outcome.Reason {
	if err == nil {
		return ""
	}
	return outcome.ReasonOf(err)
}

func TestOpen(t *testing.T) {
	size := int64(len(content))
	cases := map[string]struct {
		reason   string
		from, to int64
		whole    bool // The server knows no ranges.
		stream   bool // Without a budget.
		want     outcome.Reason
	}{
		"Whole":        {reason: "All of the bytes should come.", to: size},
		"Part":         {reason: "Reading should end where it is asked to.", from: 1234, to: 8765},
		"PartStream":   {reason: "In one stream too.", from: 1234, to: 8765, stream: true},
		"NoRanges":     {reason: "A server without ranges should be read to the end.", to: size, whole: true},
		"NoRangesPart": {reason: "Of a server without ranges, what is not asked for should be left out.", from: 1234, to: 8765, whole: true},
		"Head":         {reason: "The first bytes should not need ranges.", to: 10, whole: true, stream: true},
		"Nothing":      {reason: "Nothing should need no request.", from: 7, to: 7},
		"Backwards":    {reason: "An end should not be before the start.", from: 8, to: 7, want: outcome.Internal},
		"Beyond":       {reason: "Nothing is beyond the end.", to: size + 1, want: outcome.Internal},
		"Before":       {reason: "Nothing is before the start.", from: -1, to: 7, want: outcome.Internal},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, u, stop := serverFor(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tc.whole {
					r.Header.Del("Range")
				}
				http.ServeContent(w, r, "x.bin", time.Time{}, bytes.NewReader(content))
			}))
			defer stop()
			opt := Options{Range: rangeSize, Parallel: 3, Budget: NewBudget(1 << 20)}
			if tc.stream {
				opt = Options{}
			}
			r, err := s.Open(t.Context(), Object{Name: "x", URL: u, Size: size, Refused: refused}, tc.from, tc.to, opt)
			if diff := cmp.Diff(tc.want, reasonOf(err)); diff != "" || err != nil {
				if diff != "" {
					t.Errorf("\n%s\nOpen(...): -want, +got:\n%s", tc.reason, diff)
				}
				return
			}
			defer func() { _ = r.Close() }()
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, content[tc.from:tc.to]) {
				t.Errorf("\n%s\nwant bytes %d to %d, got %d bytes, %v", tc.reason, tc.from, tc.to, len(got), err)
			}
		})
	}
}

// TestOrigin checks that the server itself gets the object's headers and a signature for
// each try, and a link neither.
func TestOrigin(t *testing.T) {
	type asked struct {
		Path, Version, Signature string
		Ranged                   bool
	}
	var mu sync.Mutex
	var got []asked
	cdn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, asked{r.URL.Path, r.Header.Get("X-Version"), r.Header.Get("X-Signature"), r.Header.Get("Range") != ""})
		if strings.HasPrefix(r.URL.Path, "/expired") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		http.ServeContent(w, r, "x.bin", time.Time{}, bytes.NewReader(content))
	}))
	defer cdn.Close()
	s, u, stop := serverFor(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, asked{r.URL.Path, r.Header.Get("X-Version"), r.Header.Get("X-Signature"), r.Header.Get("Range") != ""})
		switch len(got) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			http.Redirect(w, r, cdn.URL+"/expired", http.StatusFound)
		default:
			http.Redirect(w, r, cdn.URL+"/link", http.StatusFound)
		}
	}))
	defer stop()
	// Of what a redirect keeps, the server's own client decides.
	s.Client.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		req.Header.Del("X-Version")
		req.Header.Del("X-Signature")
		return nil
	}
	signed := 0
	o := Object{
		Name: "x", URL: u + "/x", Size: int64(len(content)), Header: http.Header{"X-Version": {"7"}},
		Sign: func(req *http.Request) error {
			signed++
			req.Header.Set("X-Signature", strings.Repeat("s", signed)+req.Header.Get("Range"))
			return nil
		},
		Refused: func(*http.Response) error { return outcome.Errorf(outcome.Unavailable, "down") },
	}
	r, err := s.Open(t.Context(), o, 0, 2*rangeSize, Options{Range: rangeSize, Parallel: 2, Budget: NewBudget(1 << 20)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, content[:2*rangeSize]) {
		t.Errorf("want the object, got %d bytes, %v", len(b), err)
	}
	want := []asked{
		{"/x", "7", "sbytes=0-999", true},
		{"/x", "7", "ssbytes=0-999", true},
		{"/expired", "", "", true},
		{"/x", "7", "sssbytes=0-999", true},
		{"/link", "", "", true},
		{"/link", "", "", true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests: -want, +got:\n%s", diff)
	}
}

func TestOtherVersions(t *testing.T) {
	changed := outcome.Errorf(outcome.Changed, "changed")
	cases := map[string]struct {
		reason  string
		tag     string
		size    int64 // Of what the server has after the first range.
		accept  func(*http.Response) error
		changed func(string) error
		want    outcome.Reason
	}{
		"Same":        {reason: "An object that stays the same should be read.", tag: `"a"`, size: int64(len(content))},
		"Weak":        {reason: "A weak ETag says nothing of bytes.", tag: `W/"b"`, size: int64(len(content))},
		"Tag":         {reason: "Another ETag should end the reading.", tag: `"b"`, size: int64(len(content)), want: outcome.Unavailable},
		"TagChanged":  {reason: "Whoever knows better names the reason.", tag: `"b"`, size: int64(len(content)), changed: func(string) error { return changed }, want: outcome.Changed},
		"Size":        {reason: "Another size should end the reading.", tag: `"a"`, size: int64(len(content)) - 1, want: outcome.Mismatch},
		"SizeChanged": {reason: "Whoever knows better names the reason.", tag: `"a"`, size: int64(len(content)) - 1, changed: func(string) error { return changed }, want: outcome.Changed},
		"Accept":      {reason: "What is not accepted should not be read.", tag: `"a"`, size: int64(len(content)), accept: func(*http.Response) error { return changed }, want: outcome.Changed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, u, stop := serverFor(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tag, b := tc.tag, content[:tc.size]
				if strings.HasPrefix(r.Header.Get("Range"), "bytes=0-") {
					tag, b = `"a"`, content
				}
				w.Header().Set("ETag", tag)
				http.ServeContent(w, r, "x.bin", time.Time{}, bytes.NewReader(b))
			}))
			defer stop()
			o := Object{Name: "x", URL: u, Size: int64(len(content)), Accept: tc.accept, Changed: tc.changed, Refused: refused}
			r, err := s.Open(t.Context(), o, 0, o.Size, Options{Range: rangeSize, Parallel: 2, Budget: NewBudget(1 << 20)})
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				_ = r.Close()
			}
			if diff := cmp.Diff(tc.want, reasonOf(err)); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}
