package hub

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

// refusalPatience is how long a client waits for another token once the Hub refuses one
// that it accepted before: a Secret that has changed reaches a Pod's volume within 90
// seconds (kubelet, syncFrequency and its jitter), and who changes both needs some time
// between them.
const refusalPatience = 3 * time.Minute

// A TokenFunc returns the token for a Hub as it is now, without white space around it. It
// is called for each request, and must be quick and safe for concurrent use.
type TokenFunc func(ctx context.Context) (string, error)

// A tokenTransport puts the token into requests to one origin. Since the token
// is in no request otherwise, no redirect can carry it to another host.
type tokenTransport struct {
	origin *url.URL
	token  TokenFunc
	next   http.RoundTripper

	// patience is how long to wait for another token than one that is refused; 0 for one
	// that never changes.
	patience time.Duration
	accepted atomic.Bool // The Hub took a token.
}

// RoundTrip implements http.RoundTripper. A request whose token the Hub no longer accepts
// is made again once there is another one.
func (t *tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != t.origin.Scheme || !strings.EqualFold(req.URL.Host, t.origin.Host) {
		return t.next.RoundTrip(req)
	}
	ctx := req.Context()
	token, err := t.token(ctx)
	if err != nil {
		return nil, err
	}
	rsp, err := t.send(req, token)
	if err != nil || t.patience == 0 || token == "" {
		return rsp, err
	}
	if rsp.StatusCode < http.StatusBadRequest {
		t.accepted.Store(true)
	}
	if rsp.StatusCode != http.StatusUnauthorized || !t.accepted.Load() || !connection.Renewed(ctx, t.patience, token, t.token) {
		return rsp, nil
	}
	_ = rsp.Body.Close()
	if token, err = t.token(ctx); err != nil {
		return nil, err
	}
	return t.send(req, token)
}

// send sends a request, which has no body, with a token.
func (t *tokenTransport) send(req *http.Request, token string) (*http.Response, error) {
	if token != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return t.next.RoundTrip(req)
}

// CloseIdleConnections is what http.Client looks for.
func (t *tokenTransport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}
