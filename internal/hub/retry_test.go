package hub

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
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
		"AskedLong":   {reason: "A long wait is the caller's.", fault: testhub.Status(429, http.Header{"Retry-After": {"400"}}), want: want{reason: outcome.RateLimited, after: 400 * time.Second}},
		"Unavailable": {reason: "Tries have a limit.", fault: testhub.Status(500, nil), want: want{reason: outcome.Unavailable, waits: retry.Default().Tries - 1}},
		"Lasting":     {reason: "What does not pass is not tried again.", fault: testhub.Status(400, nil), want: want{reason: outcome.Unsupported}},
		"Portal":      {reason: "What is no Hub does not become one.", fault: testhub.Status(200, nil), want: want{reason: outcome.Unavailable}},
		"Loop":        {reason: "A redirect without an end is followed once.", fault: always(http.RedirectHandler("/api/loop", http.StatusFound)), want: want{reason: outcome.Unavailable}},
		"Broken":      {reason: "A broken answer is asked for again.", fault: testhub.Times(1, testhub.On("/tree/"), testhub.Truncate(10)), want: want{waits: 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h, c := serve(t, "")
			h.SetFault(tc.fault)
			var got want
			c.retry.Sleep = func(_ context.Context, d time.Duration) error {
				if d <= 0 || d > c.retry.MaxRetryAfter+c.retry.MaxWait {
					t.Errorf("want a bounded wait, got %s", d)
				}
				got.waits++
				return nil
			}
			_, err := c.List(t.Context(), "org/open", "main")
			got.reason = reasonOf(err)
			var e *outcome.Error
			if errors.As(err, &e) {
				got.after = e.RetryAfter
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nList(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}

// always answers everything in one way.
func always(h http.Handler) testhub.Fault {
	return func(http.Handler) http.Handler { return h }
}

func TestRetryHonoursContext(t *testing.T) {
	h, c := serve(t, "")
	h.SetFault(testhub.Status(503, nil))
	c.retry = retry.Default()
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
