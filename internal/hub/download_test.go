package hub

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// rangeSize is how much tests ask for at a time.
const rangeSize = 300 << 10

// large is a file of eleven ranges, of which the last is a short one.
var large = noise(10*rangeSize + 12345)

// noise returns bytes of which no two places are alike.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// A world is a Hub with one large file, and a client that waits for little.
type world struct {
	hub    *testhub.Handler
	server *httptest.Server
	client *Client
	file   file.File
	budget *download.Budget
}

func newWorld(t *testing.T, content []byte) *world {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "models/org/large/main/model.safetensors", string(content))
	w := &world{hub: testhub.NewHandler(dir, testhub.WithCDN("localhost")), budget: download.NewBudget(64 << 20)}
	w.server = httptest.NewServer(w.hub)
	t.Cleanup(w.server.Close)
	w.client = newClient(t, Options{Endpoint: w.server.URL, Token: "hf_in"})
	t.Cleanup(w.client.Close)
	w.client.streams = retry.Policy{Tries: 4, FirstWait: time.Millisecond, MaxWait: 4 * time.Millisecond, MaxRetryAfter: 5 * time.Second}
	w.client.idle = 10 * time.Second
	files, err := w.client.List(t.Context(), "org/large", "main")
	if err != nil || len(files) != 1 {
		t.Fatalf("want one file, got %v, %v", files, err)
	}
	w.file = files[0]
	w.hub.ResetRequests()
	return w
}

func (w *world) options() download.Options {
	return download.Options{Range: rangeSize, Parallel: 4, Budget: w.budget}
}

func (w *world) download(ctx context.Context, offset int64) (*download.Reader, error) {
	return w.client.Download(ctx, "org/large", "main", w.file, offset, w.file.Size, w.options())
}

// sent returns how many bytes of the file were sent. The Hub is closed then, so
// that all is counted.
func (w *world) sent() int64 {
	w.server.Close()
	return w.hub.Sent()
}

// asked returns how many requests were for paths with this part.
func (w *world) asked(part string) int {
	n := 0
	for _, r := range w.hub.Requests() {
		if strings.Contains(r.Path, part) {
			n++
		}
	}
	return n
}

func TestDownload(t *testing.T) {
	type args struct {
		offset   int64
		parallel int
		budget   int64
	}
	type want struct {
		Hub, CDN int // Requests.
	}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"Ranges":    {reason: "Eleven ranges of one link.", args: args{budget: 64 << 20}, want: want{Hub: 1, CDN: 11}},
		"TwoAtOnce": {reason: "As many side by side as wanted.", args: args{budget: 64 << 20, parallel: 2}, want: want{Hub: 1, CDN: 11}},
		"Offset":    {reason: "From any byte on.", args: args{budget: 64 << 20, offset: 777}, want: want{Hub: 1, CDN: 11}},
		"Late":      {reason: "What is short comes in one stream.", args: args{budget: 64 << 20, offset: 9*rangeSize + 1}, want: want{Hub: 1, CDN: 1}},
		"Last":      {reason: "The last byte is one.", args: args{budget: 64 << 20, offset: int64(len(large)) - 1}, want: want{Hub: 1, CDN: 1}},
		"End":       {reason: "Nothing is asked for nothing.", args: args{budget: 64 << 20, offset: int64(len(large))}},
		"OneStream": {reason: "One at a time is a stream.", args: args{budget: 64 << 20, parallel: 1}, want: want{Hub: 1, CDN: 1}},
		"OneBlock":  {reason: "Little memory is enough.", args: args{budget: (256 << 10)}, want: want{Hub: 1, CDN: 11}},
		"NoBlock":   {reason: "So is none.", args: args{}, want: want{Hub: 1, CDN: 11}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, large)
			b := download.NewBudget(tc.args.budget)
			r, err := w.client.Download(t.Context(), "org/large", "main", w.file, tc.args.offset, w.file.Size,
				download.Options{Range: rangeSize, Parallel: tc.args.parallel, Budget: b})
			if err != nil {
				t.Fatal(err)
			}
			// Not WriteTo, which io.Copy prefers.
			got, err := io.ReadAll(io.MultiReader(r))
			if err != nil || !bytes.Equal(got, large[tc.args.offset:]) {
				t.Errorf("\n%s\nRead(...): want the bytes, got %d, %v", tc.reason, len(got), err)
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("\n%s\nRead(...): want the end to last, got %d, %v", tc.reason, n, err)
			}
			if diff := cmp.Diff(tc.want, want{Hub: w.asked("/resolve/"), CDN: w.asked("/cdn/")}); diff != "" {
				t.Errorf("\n%s\nrequests: -want, +got:\n%s", tc.reason, diff)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if sent := w.sent(); sent != int64(len(got)) {
				t.Errorf("\n%s\nwant each byte once, got %d for %d", tc.reason, sent, len(got))
			}
			if b.Used() != 0 || b.Peak() > tc.args.budget {
				t.Errorf("\n%s\nwant %d bytes of memory at most and none at the end, got %d and %d", tc.reason, tc.args.budget, b.Peak(), b.Used())
			}
			for _, q := range w.hub.Requests() {
				if q.Authorization != strings.Contains(q.Path, "/resolve/") {
					t.Errorf("want the token at the Hub and nowhere else, got %+v", q)
				}
			}
		})
	}
}

// cdn lets a fault happen to the first n requests to the CDN that match.
func cdn(n int, match testhub.Match, f testhub.Fault) testhub.Fault {
	return testhub.Times(n, testhub.Both(testhub.On("/cdn/"), match), f)
}

func all(*http.Request) bool { return true }

func TestDownloadFaults(t *testing.T) {
	const (
		ever    = 1 << 30
		unknown = -1
	)
	third := testhub.OnRange(2 * rangeSize)
	type want struct {
		Reason outcome.Reason
		Again  int64 // Bytes that were sent more than once.
		Hub    int   // Requests to it.
	}
	cases := map[string]struct {
		reason string
		fault  testhub.Fault
		want   want
	}{
		"None":             {reason: "All goes well.", want: want{Hub: 1}},
		"Truncated":        {reason: "An interrupted range should be resumed.", fault: cdn(1, third, testhub.Truncate(100_000)), want: want{Hub: 1}},
		"TruncatedFirst":   {reason: "The first too.", fault: cdn(1, all, testhub.Truncate(1)), want: want{Hub: 1}},
		"TruncatedAll":     {reason: "Each may break.", fault: cdn(ever, beginning, testhub.Truncate(1000)), want: want{Hub: 1}},
		"TruncatedEmpty":   {reason: "A stream may break before its first byte.", fault: cdn(1, third, testhub.Truncate(0)), want: want{Hub: 1}},
		"Reset":            {reason: "What a reset loses is sent again.", fault: cdn(1, third, testhub.Reset(100_000)), want: want{Again: unknown, Hub: 1}},
		"Stalled":          {reason: "A range that stands still is asked for again.", fault: cdn(1, third, testhub.Stall(100_000)), want: want{Hub: 1}},
		"StalledFirst":     {reason: "The first too.", fault: cdn(1, all, testhub.Stall(10)), want: want{Hub: 1}},
		"Mute":             {reason: "A server may not answer at all.", fault: cdn(1, third, mute), want: want{Hub: 1}},
		"Corrupt":          {reason: "Another byte is found by the hash.", fault: cdn(1, third, testhub.Corrupt(5)), want: want{Reason: outcome.Mismatch, Hub: 1}},
		"Expired":          {reason: "A link may end, and the Hub has another.", fault: cdn(1, third, testhub.Status(403, nil)), want: want{Hub: 2}},
		"Gone":             {reason: "In these words as well.", fault: cdn(1, third, testhub.Status(410, nil)), want: want{Hub: 2}},
		"ExpiredAtOnce":    {reason: "A link may be bad from the start.", fault: cdn(1, all, testhub.Status(403, nil)), want: want{Hub: 2}},
		"ExpiredAlways":    {reason: "Tries have a limit.", fault: cdn(ever, third, testhub.Status(403, nil)), want: want{Reason: outcome.Unavailable, Again: unknown, Hub: unknown}},
		"Limited":          {reason: "The CDN asks to wait.", fault: cdn(2, third, testhub.Status(429, http.Header{"Retry-After": {"1"}})), want: want{Hub: 1}},
		"LimitedHub":       {reason: "The Hub asks to wait.", fault: testhub.Times(1, testhub.On("/resolve/"), testhub.Status(429, http.Header{"Ratelimit": {`"resolvers";r=0;t=1`}})), want: want{Hub: 2}},
		"LimitedLong":      {reason: "A long wait is the caller's.", fault: testhub.Times(1, testhub.On("/resolve/"), testhub.Status(429, http.Header{"Retry-After": {"3000"}})), want: want{Reason: outcome.RateLimited, Again: unknown, Hub: 1}},
		"Failing":          {reason: "A server may fail for a while.", fault: cdn(2, third, testhub.Status(500, nil)), want: want{Hub: unknown}},
		"FailingAlways":    {reason: "But not for ever.", fault: cdn(ever, third, testhub.Status(500, nil)), want: want{Reason: outcome.Unavailable, Again: unknown, Hub: unknown}},
		"BrokenAlways":     {reason: "A trickle of bytes is no progress.", fault: cdn(ever, all, testhub.Truncate(1000)), want: want{Reason: outcome.Unavailable, Again: unknown, Hub: unknown}},
		"Missing":          {reason: "What the Hub has not is not tried again.", fault: testhub.Times(ever, testhub.On("/resolve/"), testhub.Status(404, http.Header{"X-Error-Code": {codeEntry}})), want: want{Reason: outcome.NotFound, Again: unknown, Hub: 1}},
		"NoRanges":         {reason: "A server may know no ranges.", fault: cdn(ever, all, testhub.WithoutRanges()), want: want{Hub: 1}},
		"NoRangesBroken":   {reason: "Then what came before is sent again.", fault: both(cdn(ever, all, testhub.WithoutRanges()), cdn(1, all, testhub.Truncate(1_000_000))), want: want{Again: 1_000_000, Hub: 1}},
		"NoRangesLater":    {reason: "Or not any more: all the rest comes in one stream.", fault: cdn(ever, notFirst(), testhub.WithoutRanges()), want: want{Again: unknown, Hub: 1}},
		"OneWithoutRanges": {reason: "Or one of many servers knows none.", fault: cdn(1, third, testhub.WithoutRanges()), want: want{Again: unknown, Hub: 1}},
		"NoIfRange":        {reason: "A server may not take a condition.", fault: cdn(ever, conditional, testhub.WithoutRanges()), want: want{Again: unknown, Hub: 1}},
		"OtherRange":       {reason: "A server may send what was not asked for.", fault: cdn(1, third, testhub.Header("Content-Range", "bytes 0-307199/3084345")), want: want{Again: unknown, Hub: 1}},
		"NoContentRange":   {reason: "Or not say what it sends.", fault: cdn(1, third, testhub.Header("Content-Range", "")), want: want{Again: unknown, Hub: 1}},
		"OtherRangeAlways": {reason: "It may do so each time.", fault: cdn(ever, third, testhub.Header("Content-Range", "bytes 0-307199/3084345")), want: want{Reason: outcome.Unavailable, Again: unknown, Hub: unknown}},
		"OtherSize":        {reason: "A file of another size is another file.", fault: cdn(ever, third, testhub.Header("Content-Range", "bytes 614400-921599/3084346")), want: want{Reason: outcome.Mismatch, Again: unknown, Hub: unknown}},
		"Shorter":          {reason: "So is one that ends before the range.", fault: cdn(ever, third, testhub.Status(416, nil)), want: want{Reason: outcome.Mismatch, Again: unknown, Hub: unknown}},
		"OtherVersion":     {reason: "No file is made of two versions.", fault: cdn(ever, third, testhub.Header("ETag", `"other"`)), want: want{Reason: outcome.Unavailable, Again: unknown, Hub: unknown}},
		"OneOtherVersion":  {reason: "One of many servers may be behind.", fault: cdn(1, third, testhub.Header("ETag", `"other"`)), want: want{Again: unknown, Hub: 1}},
		"WeakETag":         {reason: "A weak tag says nothing.", fault: cdn(ever, third, testhub.Header("ETag", `W/"other"`)), want: want{Hub: 1}},
		"NoETag":           {reason: "A server may have none.", fault: cdn(ever, all, testhub.Header("ETag", "")), want: want{Hub: 1}},
		"Encoded":          {reason: "Other bytes are not taken.", fault: cdn(1, third, testhub.Header("Content-Encoding", "br")), want: want{Again: unknown, Hub: 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, large)
			if strings.HasPrefix(name, "Stalled") || name == "Mute" {
				w.client.idle = 200 * time.Millisecond
			}
			w.hub.SetFault(tc.fault)
			v, err := w.read(t.Context())
			got := want{Reason: reasonOf(err), Again: w.sent() - v.Size(), Hub: w.asked("/resolve/")}
			if tc.want.Again == unknown {
				got.Again = unknown
			}
			if tc.want.Hub == unknown {
				got.Hub = unknown
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nDownload(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if w.budget.Used() != 0 {
				t.Errorf("\n%s\nwant no memory to be left, got %d", tc.reason, w.budget.Used())
			}
		})
	}
}

// read reads the file to its end and verifies it.
func (w *world) read(ctx context.Context) (*file.Verifier, error) {
	v := w.file.NewVerifier()
	r, err := w.download(ctx, 0)
	if err != nil {
		return v, err
	}
	defer func() { _ = r.Close() }()
	if _, err := io.Copy(v, r); err != nil {
		return v, err
	}
	return v, v.Verify()
}

// mute never answers.
func mute(http.Handler) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

func both(a, b testhub.Fault) testhub.Fault {
	return func(next http.Handler) http.Handler { return a(b(next)) }
}

// beginning matches requests for the whole of a range, and not for a rest.
func beginning(r *http.Request) bool {
	var from int
	n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
	return n == 1 && from%rangeSize == 0
}

// notFirst matches what does not begin at the first byte.
func notFirst() testhub.Match {
	first := testhub.OnRange(0)
	return func(r *http.Request) bool { return !first(r) }
}

// conditional matches ranges under a condition.
func conditional(r *http.Request) bool { return r.Header.Get("If-Range") != "" }
