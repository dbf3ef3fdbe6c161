package bucket

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// Unreachable returns the error of a request that got no answer. It does not repeat the
// cause's text, since that may hold a signed URL.
func (c *Client) Unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return errors.Wrapf(ctx.Err(), "cannot ask %s", c.base.Host)
	}
	var known *outcome.Error
	if errors.As(err, &known) {
		// Of the credentials, or of a proxy's settings.
		return known
	}
	var left *connection.UnavailableError
	if errors.As(err, &left) {
		return left.Failure()
	}
	where := c.base.Host
	var ue *url.Error
	if errors.As(err, &ue) {
		if u, perr := url.Parse(ue.URL); perr == nil && u.Host != "" {
			where = u.Host
		}
	}
	why := connection.CauseOf(err)
	switch {
	case why != connection.None:
		return outcome.Errorf(outcome.Untrusted, "cannot reach %s at %s: %s: %s", c.service, where, connection.Explain(err), c.cure(why)).Because(err)
	case outcome.IsBadRequest(err):
		return outcome.Errorf(outcome.Internal, "cannot ask %s at %s: the request cannot be sent as it is", c.service, where).Because(err)
	case errors.Is(err, connection.ErrDowngrade):
		return outcome.Errorf(outcome.Untrusted, "cannot reach %s at %s: it redirects to a URL without TLS: correct %s", c.service, where, c.address).Because(err)
	case errors.Is(err, connection.ErrTooManyRedirects):
		return retry.Permanent(outcome.Errorf(outcome.Unavailable, "cannot reach %s at %s: it redirects without an end: correct %s", c.service, where, c.address).Because(err))
	}
	return outcome.Errorf(outcome.Unavailable, "cannot reach %s at %s: %s; this may be transient, or a network policy of the Pod does not allow it", c.service, where, connection.Symptom(err)).Because(err)
}

// cure returns what to do about a refused connection.
func (c *Client) cure(why connection.Cause) string {
	switch why {
	case connection.UnknownAuthority:
		return "put that authority's ca.crt into the Secret that " + c.field + ".certSecretRef names"
	case connection.InvalidCertificate:
		return "renew it, or check this machine's clock"
	case connection.NoTLS:
		return "begin " + c.address + " with http:// if that is meant"
	case connection.Blocked:
		if !c.confined {
			return "correct " + c.address
		}
		return "the provider itself asks public addresses only, and private ones for buckets that sourceIdentity.allow of the ClusterProviderConfig lists: " +
			"have an administrator list it there, or write revisionPolicy: Pinned and request a run when files have changed"
	default:
		return "correct " + c.address
	}
}

// Failed returns the error of a status that every object store has for a failure of its
// own or a rate limit, which are transient; nil for any other status.
func (c *Client) Failed(status int, h http.Header, what string) error {
	after, _ := connection.RetryAfter(h.Get("Retry-After"), time.Now())
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		// Azure and S3 limit rates with a 503.
		reason := outcome.RateLimited
		if status == http.StatusServiceUnavailable {
			reason = outcome.Unavailable
		}
		return outcome.Errorf(reason, "%s at %s asks for fewer requests, or is down, when asked for %s (status %d); this is transient and is retried", c.service, c.base.Host, what, status).After(after)
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout:
		return outcome.Errorf(outcome.Unavailable, "%s at %s failed to answer for %s (status %d); this may be transient", c.service, c.base.Host, what, status).After(after)
	}
	return nil
}

// Unexpected returns the error of an answer that no object store gives.
func (c *Client) Unexpected(status int, what string) error {
	if status >= http.StatusMultipleChoices && status < http.StatusBadRequest {
		return outcome.Errorf(outcome.Unsupported, "%s redirects requests for %s: write the host that it leads to into %s", c.base.Host, what, c.address)
	}
	return outcome.Errorf(outcome.Unsupported, "%s does not answer for %s as %s does (status %s): check %s", c.base.Host, what, c.service, strconv.Itoa(status), c.address)
}

// Garbled returns the error of a successful answer that is not what was asked for. It may
// have been cut on its way, which is transient.
func (c *Client) Garbled(what string, err error) error {
	return outcome.Errorf(outcome.Unavailable, "%s answers for %s with what %s does not send; this may be transient, else check %s", c.base.Host, what, c.service, c.address).Because(err)
}
