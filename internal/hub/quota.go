package hub

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// A quotaTransport has requests for files wait for the next window of the Hub's rate limit
// as soon as an answer says that this one has no request left
// (https://huggingface.co/docs/hub/rate-limits). Otherwise each of the requests that are
// made side by side would be refused first.
type quotaTransport struct {
	origin   *url.URL
	throttle *connection.Throttle
	next     http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *quotaTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	rsp, err := t.next.RoundTrip(req)
	if err == nil && strings.EqualFold(req.URL.Host, t.origin.Host) && strings.Contains(req.URL.Path, "/resolve/") {
		// The next request shows whether a longer wait is meant, which ends the run.
		if d := untilRenewed(rsp.Header); d <= retry.Default().MaxRetryAfter {
			t.throttle.Hold(req.URL.Host, d)
		}
	}
	return rsp, err
}

// untilRenewed returns how long a limit without a request left is from its next window;
// zero if there is none.
func untilRenewed(h http.Header) time.Duration {
	var longest time.Duration
	for _, l := range limits(h) {
		if l.remaining == 0 {
			longest = max(longest, l.renewed)
		}
	}
	return longest
}

// CloseIdleConnections is what http.Client looks for.
func (t *quotaTransport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}
