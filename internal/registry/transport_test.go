package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestStall(t *testing.T) {
	release := make(chan struct{})
	c := serve(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.Header().Set("Location", "/v2/"+repository+"/blobs/uploads/1")
				w.WriteHeader(http.StatusAccepted)
				return
			}
			<-release
		})
	})
	defer close(release)
	c.stall, c.commit = 50*time.Millisecond, 50*time.Millisecond
	start := time.Now()
	err := c.PushBlob(t.Context(), repository, describe("a/b", make([]byte, 32<<20)), bytes.NewReader(make([]byte, 32<<20)))
	if reasonOf(err) != outcome.Unavailable || time.Since(start) > 10*time.Second {
		t.Errorf("want the push to be given up, got %v after %s", err, time.Since(start))
	}
}

func TestPushContext(t *testing.T) {
	c := serve(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.PushBlob(ctx, repository, describe("a/b", []byte("x")), strings.NewReader("x")); err == nil {
		t.Error("want an error of the context")
	}
	broken := outcome.Errorf(outcome.Unavailable, "the source broke")
	err := c.PushBlob(t.Context(), repository, describe("a/b", []byte("xy")), io.MultiReader(strings.NewReader("x"), failing{broken}))
	if fmt.Sprint(err) != broken.Error() {
		t.Errorf("want the source's own error, got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestUnreachable(t *testing.T) {
	gone := serve(t, nil)
	gone.host = "127.0.0.1:1"
	cases := map[string]struct {
		reason  string
		client  *Client
		want    outcome.Reason
		message string
	}{
		"Refused": {reason: "Nobody listens.", client: gone, want: outcome.Unavailable, message: "refused"},
		"Cut": {
			reason: "The registry hangs up.",
			client: serve(t, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			}),
			want: outcome.Unavailable, message: "may be transient",
		},
		"OtherHost": {
			reason:  "No other host gets the blob, nor does the message get what is in the URL.",
			client:  serve(t, answer(http.StatusAccepted, "", "Location", "http://evil.example.com/upload?state=secret")),
			want:    outcome.Unsupported,
			message: "Location",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := tc.client.PushBlob(t.Context(), repository, describe("a/b", []byte("x")), strings.NewReader("x"))
			if reasonOf(err) != tc.want || err == nil || !strings.Contains(err.Error(), tc.message) || strings.Contains(err.Error(), "secret") {
				t.Errorf("\n%s\nPushBlob(...): want %s with %q, got %v", tc.reason, tc.want, tc.message, err)
			}
		})
	}
}
