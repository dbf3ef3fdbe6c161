package hub

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testhub "github.com/crossplane-contrib/provider-kitops/test/hub"
)

func TestRetry(t *testing.T) {
	type want struct {
		reason outcome.Reason
		after  time.Duration
		waits  int
	}
	cases := map[string]struct {
		reason string
		fault  testhub.Fault
		want   want
	}{
		"Passes":      {reason: "Two failures are no failure.", fault: testhub.Times(2, testhub.On("/api/"), testhub.Status(503, nil)), want: want{waits: 2}},
		"Asked":       {reason: "The Hub says how long to wait.", fault: testhub.Times(1, testhub.On("/api/"), testhub.Status(429, http.Header{"Ratelimit": {`"api";r=0;t=55`}})), want: want{waits: 1}},
		"AskedLong":   {reason: "A long wait is the caller's.", fault: testhub.Status(429, http.Header{"Retry-After": {"290"}}), want: want{reason: outcome.RateLimited, after: 290 * time.Second}},
		"Unavailable": {reason: "Tries have a limit.", fault: testhub.Status(500, nil), want: want{reason: outcome.Unavailable, waits: 4}},
		"Lasting":     {reason: "What does not pass is not tried again.", fault: testhub.Status(400, nil), want: want{reason: outcome.Internal}},
		"Broken":      {reason: "A broken answer is asked for again.", fault: testhub.Times(1, testhub.On("/tree/"), testhub.Truncate(10)), want: want{waits: 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h, c := serve(t, "")
			h.SetFault(tc.fault)
			var got want
			c.retry.sleep = func(_ context.Context, d time.Duration) error {
				if d <= 0 || d > c.retry.patient+c.retry.longest {
					t.Errorf("want a bounded wait, got %s", d)
				}
				got.waits++
				return nil
			}
			_, err := c.List(t.Context(), "org/open", "main")
			got.reason, got.after = reasonOf(err), retryAfter(err)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nList(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}

func TestRetryHonoursContext(t *testing.T) {
	h, c := serve(t, "")
	h.SetFault(testhub.Status(503, nil))
	c.retry = defaultRetrier()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := c.List(ctx, "org/open", "main"); err == nil {
		t.Error("want an error")
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("want the context to end the wait, took %s", d)
	}
}

func TestWaitAsked(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	cases := map[string]struct {
		reason string
		header http.Header
		want   time.Duration
	}{
		"None":      {reason: "Nothing was asked."},
		"Seconds":   {reason: "Retry-After in seconds.", header: http.Header{"Retry-After": {"12"}}, want: 12 * time.Second},
		"Date":      {reason: "Retry-After as a date.", header: http.Header{"Retry-After": {"Fri, 02 Jan 2026 03:05:05 GMT"}}, want: time.Minute},
		"Past":      {reason: "A date gone by is now.", header: http.Header{"Retry-After": {"Fri, 02 Jan 2026 03:00:05 GMT"}}},
		"RateLimit": {reason: "The Hub's own header.", header: http.Header{"Ratelimit": {`"api";r=0;t=55`}}, want: 55 * time.Second},
		"TwoLimits": {reason: "The longer of two.", header: http.Header{"Ratelimit": {`"api";r=0;t=5, "day";r=0;t=70`}}, want: 70 * time.Second},
		"Nonsense":  {reason: "What cannot be read asks nothing.", header: http.Header{"Retry-After": {"soon"}, "Ratelimit": {"t=-1"}}},
		"Forever":   {reason: "No server makes us wait for ever.", header: http.Header{"Retry-After": {"2000000000"}}, want: time.Hour},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, waitAsked(tc.header, now)); diff != "" {
				t.Errorf("\n%s\nwaitAsked(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func FuzzWaitAsked(f *testing.F) {
	f.Add("12", `"api";r=0;t=55`)
	f.Add("Fri, 02 Jan 2026 03:05:05 GMT", "t=")
	f.Add("99999999999999999999", ";;t=1;t=2,")
	f.Fuzz(func(t *testing.T, after, limit string) {
		d := waitAsked(http.Header{"Retry-After": {after}, "Ratelimit": {limit}}, time.Now())
		if d < 0 || d > maxAsked {
			t.Errorf("waitAsked(%q, %q) = %s", after, limit, d)
		}
	})
}

func TestVerifier(t *testing.T) {
	cases := map[string]struct {
		reason  string
		file    File
		content string
		want    outcome.Reason
	}{
		"SHA256": {
			reason:  "An LFS file is held against its SHA-256.",
			file:    File{Path: "a", Size: 5, SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
			content: "hello",
		},
		"Git": {
			reason:  "Any other is held against git's name of it.",
			file:    File{Path: "a", Size: 5, GitSHA1: "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"},
			content: "hello",
		},
		"EmptyGit": {
			reason: "An empty file has a hash as well.",
			file:   File{Path: "a", GitSHA1: "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"},
		},
		"Changed": {
			reason:  "One other byte is another file.",
			file:    File{Path: "a", Size: 5, SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
			content: "hellO",
			want:    outcome.Mismatch,
		},
		"ChangedGit": {
			reason:  "Here too.",
			file:    File{Path: "a", Size: 5, GitSHA1: "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"},
			content: "hellO",
			want:    outcome.Mismatch,
		},
		"Short": {
			reason:  "Too few bytes are not the file.",
			file:    File{Path: "a", Size: 6, SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
			content: "hello",
			want:    outcome.Mismatch,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := tc.file.NewVerifier()
			_, _ = io.WriteString(v, tc.content)
			if diff := cmp.Diff(tc.want, reasonOf(v.Verify())); diff != "" {
				t.Errorf("\n%s\nVerify(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
