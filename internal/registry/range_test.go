package registry

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

func TestReadRange(t *testing.T) {
	blob := []byte(strings.Repeat("0123456789", 1_000))
	d := describe("application/octet-stream", blob)
	noRange := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); next.ServeHTTP(w, r) })
	}
	other := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=3-9")
			next.ServeHTTP(w, r)
		})
	}
	cases := map[string]struct {
		reason     string
		wrap       func(http.Handler) http.Handler
		from       int64
		none       bool
		want       outcome.Reason
		overloaded bool
	}{
		"Range":       {reason: "The bytes of the range should be returned.", from: 5},
		"Whole":       {reason: "A registry that sends the whole blob has no ranges.", wrap: noRange, from: 5, none: true},
		"WholeFirst":  {reason: "A registry that sends the whole blob for its beginning has no ranges.", wrap: noRange, none: true},
		"Refused":     {reason: "A registry that refuses the range has none.", wrap: answer(http.StatusRequestedRangeNotSatisfiable, ""), from: 5, none: true},
		"Other":       {reason: "A registry that sends another range has none.", wrap: other, from: 5, none: true},
		"Busy":        {reason: "A registry with too many requests should be told from others.", wrap: answer(http.StatusTooManyRequests, ""), from: 5, want: outcome.RateLimited, overloaded: true},
		"Unavailable": {reason: "A registry that is unavailable should be told from others.", wrap: answer(http.StatusServiceUnavailable, ""), from: 5, want: outcome.Unavailable, overloaded: true},
		"Failing":     {reason: "A registry that fails is not overloaded.", wrap: answer(http.StatusInternalServerError, ""), from: 5, want: outcome.Unavailable},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.wrap == nil {
				tc.wrap = func(next http.Handler) http.Handler { return next }
			}
			c := serve(t, func(http.Handler) http.Handler { return tc.wrap(serving(blob)) })
			failed, overloaded := 0, false
			retries := retry.Policy{Tries: 2, FirstWait: time.Second, Logf: func(string, ...any) { failed++ }, Sleep: func(context.Context, time.Duration) error { return nil }}
			ctx := connection.WithOverload(t.Context(), func(*http.Request) { overloaded = true })
			rc := c.ReadRange(ctx, repository, d, tc.from, 77, retries)
			defer rc.Close()
			got, err := io.ReadAll(rc)
			if errors.Is(err, ErrNoRanges) != tc.none || !tc.none && reasonOf(err) != tc.want || overloaded != tc.overloaded {
				t.Errorf("\n%s\nReadRange(...): %v", tc.reason, err)
			}
			if err == nil && string(got) != string(blob[tc.from:77]) {
				t.Errorf("\n%s\nReadRange(...): got %q", tc.reason, got)
			}
			if want := map[bool]int{true: 1}[tc.want != ""]; failed != want {
				t.Errorf("\n%s\nReadRange(...): want %d tries that failed and are followed by another, got %d", tc.reason, want, failed)
			}
		})
	}
}
