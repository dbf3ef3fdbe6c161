package connection

import (
	"context"
	"net/http"
)

type overloadKey struct{}

// WithOverload returns a context with which a client's requests call this function when
// their server answers that it is asked too much (RFC 6585, section 4, and RFC 9110,
// section 15.6.4). It is called from several goroutines.
func WithOverload(ctx context.Context, refused func(*http.Request)) context.Context {
	return context.WithValue(ctx, overloadKey{}, refused)
}

// noteOverload calls the function of the request's context, if it has one and the answer is
// of that kind.
func noteOverload(req *http.Request, rsp *http.Response) {
	if rsp.StatusCode != http.StatusTooManyRequests && rsp.StatusCode != http.StatusServiceUnavailable {
		return
	}
	if refused, ok := req.Context().Value(overloadKey{}).(func(*http.Request)); ok {
		refused(req)
	}
}
