package registry

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

func TestReadBlob(t *testing.T) {
	blob := []byte(strings.Repeat("0123456789", 10_000))
	d := describe("application/octet-stream", blob)
	// cut ends the first n answers with a blob after some bytes.
	cut := func(n int) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") && n > 0 {
					n--
					w = &cutWriter{ResponseWriter: w, left: 9_000}
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	noRange := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); next.ServeHTTP(w, r) })
	}
	cases := map[string]struct {
		reason   string
		wrap     func(http.Handler) http.Handler
		from, to int64
		want     outcome.Reason
	}{
		"All":     {reason: "All of it.", to: d.Size},
		"Part":    {reason: "Some of it.", from: 5, to: 77_777},
		"NoRange": {reason: "Also from a registry that sends all.", wrap: noRange, from: 5, to: 77_777},
		"Nothing": {reason: "Nothing is not asked for.", from: 7, to: 7, wrap: answer(http.StatusTeapot, "")},
		"Breaks":  {reason: "It goes on where it broke.", wrap: cut(3), to: d.Size},
		"Broken":  {reason: "But not for ever.", wrap: cut(100), to: d.Size, want: outcome.Unavailable},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := serve(t, nil)
			if err := c.PushBlob(t.Context(), repository, d, bytes.NewReader(blob)); err != nil {
				t.Fatal(err)
			}
			if tc.wrap != nil {
				c = serve(t, func(http.Handler) http.Handler { return tc.wrap(serving(blob)) })
			}
			retries := retry.Policy{Tries: 4, FirstWait: time.Second, Sleep: func(context.Context, time.Duration) error { return nil }}
			rc := c.ReadBlob(t.Context(), repository, d, tc.from, tc.to, retries)
			defer rc.Close()
			got, err := io.ReadAll(rc)
			if reasonOf(err) != tc.want || err == nil && !bytes.Equal(got, blob[tc.from:tc.to]) {
				t.Errorf("\n%s\nReadBlob(...): want %q, got %d bytes, %v", tc.reason, tc.want, len(got), err)
			}
		})
	}
}

// serving serves a blob with ranges.
func serving(blob []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
	})
}

// A cutWriter breaks the connection after some bytes.
type cutWriter struct {
	http.ResponseWriter

	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}
