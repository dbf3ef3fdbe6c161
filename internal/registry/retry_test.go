package registry

import (
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestRetry(t *testing.T) {
	type want struct {
		Reason outcome.Reason
		Asked  int64
	}
	cases := map[string]struct {
		reason string
		once   bool
		want   want
	}{
		"Tries":     {reason: "Two failures are no failure.", want: want{Asked: 3}},
		"SingleTry": {reason: "Who must not wait learns of the first one.", once: true, want: want{Reason: outcome.Unavailable, Asked: 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			c := serve(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodHead && asked.Add(1) <= 2 {
						w.WriteHeader(http.StatusBadGateway)
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			push(t, c, "v1")
			c = newClient(t, Options{Host: c.host, PlainHTTP: true, SingleTry: tc.once})
			_, err := c.Resolve(t.Context(), repository, "v1")
			if diff := cmp.Diff(tc.want, want{Reason: reasonOf(err), Asked: asked.Load()}); diff != "" {
				t.Errorf("\n%s\nResolve(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}

func TestClose(t *testing.T) {
	c := serve(t, nil)
	reused := func() bool {
		var info httptrace.GotConnInfo
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { info = i }})
		if _, err := c.Resolve(ctx, repository, "v1"); !IsNotFound(err) {
			t.Fatalf("Resolve(...): %v", err)
		}
		return info.Reused
	}
	reused()
	if !reused() {
		t.Error("want a second request to use the first one's connection")
	}
	c.Close()
	if reused() {
		t.Error("Close(): want no connection to be left")
	}
	c.Close()
}
