package bucket

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

// refusalPatience is how long a client waits for other credentials once a server refuses
// those that it accepted before: a Secret that has changed reaches a Pod's volume within
// 90 seconds (kubelet, syncFrequency and its jitter), and who changes both needs some time
// between them.
const refusalPatience = 3 * time.Minute

// An Authorizer has credentials of one account, as they are now. It must be safe for
// concurrent use.
type Authorizer interface {
	// Credentials returns something that differs if the credentials do; empty if there
	// are none. Its errors are outcome.Errors.
	Credentials(ctx context.Context) (string, error)

	// Authorize changes a request, which is sent as it is then.
	Authorize(req *http.Request) error
}

// An Expirer is an Authorizer that can tell refused credentials from missing rights by an
// answer with status 400, 401 or 403, whose body can still be read afterwards.
type Expirer interface {
	Expired(rsp *http.Response) bool
}

// An authorizing transport authorizes the requests to one origin. Since the credentials
// are in no request otherwise, no redirect can carry them to another host.
type authorizing struct {
	origin   *url.URL
	own      Authorizer
	next     http.RoundTripper
	patience time.Duration

	accepted atomic.Bool // The server took the credentials.
}

// RoundTrip implements http.RoundTripper. A request whose credentials the server no longer
// accepts is made again once there are others.
func (t *authorizing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != t.origin.Scheme || !strings.EqualFold(req.URL.Host, t.origin.Host) {
		return t.next.RoundTrip(req)
	}
	ctx := req.Context()
	was, err := t.own.Credentials(ctx)
	if err != nil {
		return nil, err
	}
	rsp, err := t.send(req)
	if err != nil || was == "" {
		return rsp, err
	}
	if rsp.StatusCode < http.StatusMultipleChoices {
		t.accepted.Store(true)
	}
	if !t.refused(rsp) || !t.accepted.Load() {
		return rsp, nil
	}
	renewed := connection.Renewed(ctx, t.patience, was, t.own.Credentials)
	if !renewed && ctx.Err() == nil {
		return rsp, nil
	}
	_ = rsp.Body.Close()
	if !renewed {
		// The refusal is not final: another try may wait for longer.
		return nil, ctx.Err()
	}
	return t.send(req)
}

// refused reports whether an answer refuses the credentials.
func (t *authorizing) refused(rsp *http.Response) bool {
	e, tells := t.own.(Expirer)
	switch rsp.StatusCode {
	case http.StatusUnauthorized:
		return !tells || e.Expired(rsp)
	case http.StatusForbidden:
		// Else the account has no right, which no other credentials of it would have.
		return tells && e.Expired(rsp)
	case http.StatusBadRequest:
		// S3's status for a session that has expired.
		return tells && e.Expired(rsp)
	}
	return false
}

// send authorizes and sends a copy of a request, which has no body.
func (t *authorizing) send(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if err := t.own.Authorize(req); err != nil {
		return nil, err
	}
	return t.next.RoundTrip(req)
}

// CloseIdleConnections is what http.Client looks for.
func (t *authorizing) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}
