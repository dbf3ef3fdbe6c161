package registry

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// A retryTransport retries with backoff each request that moves no blob, by its
// client's policy, and waits while the registry asks clients to wait. It sends a
// request whose body cannot be sent again, and one that is marked with once, only
// once: their callers retry.
type retryTransport struct {
	next     http.RoundTripper
	host     string // Of the registry, also for its token server.
	retries  retry.Policy
	throttle *connection.Throttle
}

type (
	onceKey  struct{}
	limitKey struct{}
)

// once marks requests that their caller retries.
func once(ctx context.Context) context.Context {
	return context.WithValue(ctx, onceKey{}, true)
}

func isOnce(ctx context.Context) bool { return ctx.Value(onceKey{}) != nil }

// retried calls f, which makes requests that are marked with once, by the
// client's policy.
func (c *Client) retried(ctx context.Context, f func(ctx context.Context) error) error {
	if c.singleTry {
		return f(ctx)
	}
	return c.retries.Do(ctx, "registry "+c.host, func() error { return f(once(ctx)) })
}

// ask bounds the time of a request that moves no blob, or of each try where it
// is retried.
func (c *Client) ask(ctx context.Context) (context.Context, context.CancelFunc) {
	return c.askWithin(ctx, askTimeout)
}

// askWithin is ask with another limit.
func (c *Client) askWithin(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if !c.singleTry && !isOnce(ctx) {
		return context.WithCancel(context.WithValue(ctx, limitKey{}, limit))
	}
	return context.WithTimeoutCause(ctx, limit, errStalled)
}

// RoundTrip implements http.RoundTripper. What the last try came to is what it
// returns.
func (p *retryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if isOnce(ctx) || req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return p.next.RoundTrip(req)
	}
	var (
		rsp    *http.Response
		failed error
	)
	err := p.retries.Do(ctx, "registry "+p.host, func() error {
		if rsp != nil {
			_ = rsp.Body.Close()
		}
		rsp, failed = nil, nil
		if err := p.throttle.Wait(ctx, p.host); err != nil {
			return retry.Permanent(err)
		}
		rsp, failed = p.try(req) //nolint:bodyclose // The next try, or the caller, closes it.
		return p.judge(rsp, failed)
	})
	switch {
	case rsp != nil:
		return rsp, nil
	case failed != nil:
		return nil, failed
	}
	return nil, err
}

// try sends a request. The content of a success is read into memory, so that a
// try whose answer breaks off is retried, too.
func (p *retryTransport) try(req *http.Request) (*http.Response, error) {
	limit, ok := req.Context().Value(limitKey{}).(time.Duration)
	if !ok {
		limit = askTimeout
	}
	ctx, cancel := context.WithTimeoutCause(req.Context(), limit, errStalled)
	req = req.Clone(ctx)
	if req.GetBody != nil {
		var err error
		if req.Body, err = req.GetBody(); err != nil {
			cancel()
			return nil, err
		}
	}
	rsp, err := p.next.RoundTrip(req)
	if err == nil && req.Method == http.MethodGet && rsp.StatusCode == http.StatusOK {
		err = buffer(rsp)
	}
	if err != nil {
		defer cancel()
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
		return nil, err
	}
	rsp.Body = readCloser{rsp.Body, closing{rsp.Body, cancel}}
	return rsp, nil
}

// buffer replaces an answer's body by one in memory, cut off after
// decode.MaxBytes+1 bytes: no answer but a blob may be larger.
func buffer(rsp *http.Response) error {
	defer rsp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(rsp.Body, decode.MaxBytes+1))
	rsp.Body = io.NopCloser(bytes.NewReader(b))
	return err
}

// closing ends a request with its body.
type closing struct {
	body   io.Closer
	cancel context.CancelFunc
}

func (c closing) Close() error {
	defer c.cancel()
	return c.body.Close()
}

// judge returns what a try came to as an error that may be transient; nil for
// an answer that no other try changes.
func (p *retryTransport) judge(rsp *http.Response, err error) error {
	switch {
	case errors.Is(err, errStalled):
		return outcome.Errorf(outcome.Unavailable, "no answer came in time")
	case err != nil && connection.CauseOf(err) == connection.None && (outcome.IsNetwork(err) || errors.Is(err, io.EOF)):
		return outcome.Errorf(outcome.Unavailable, "%s", connection.Symptom(err))
	case err != nil:
		return retry.Permanent(err)
	}
	reason := outcome.Unavailable
	switch status := rsp.StatusCode; {
	case status == http.StatusTooManyRequests:
		reason = outcome.RateLimited
	case status == http.StatusNotImplemented, status < http.StatusInternalServerError && status != http.StatusRequestTimeout, isFull(rsp):
		return nil
	}
	asked, _ := connection.RetryAfter(rsp.Header.Get("Retry-After"), time.Now())
	return outcome.Errorf(reason, "status %d", rsp.StatusCode).After(asked)
}

// isFull reports whether an answer says that the registry has no room. The
// answer can still be read.
func isFull(rsp *http.Response) bool {
	b, err := io.ReadAll(io.LimitReader(rsp.Body, maxRefusal))
	rest := rsp.Body
	defer func() { rsp.Body = readCloser{io.MultiReader(bytes.NewReader(b), rest), rest} }()
	rsp.Body = io.NopCloser(bytes.NewReader(b))
	return err == nil && full(responseError(rsp))
}
