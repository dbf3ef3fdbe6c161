package hub

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// A subject is what a request is about, for its error's message.
type subject struct {
	kind                  Kind
	model, revision, path string
}

func (s subject) String() string {
	switch {
	case s.path != "":
		return fmt.Sprintf("file %q of %s", s.path, s.repository())
	case s.revision != "":
		return fmt.Sprintf("revision %q of %s", s.revision, s.repository())
	}
	return s.repository()
}

func (s subject) repository() string { return string(s.kind) + " " + s.model }

// page returns the path of the repository's own pages.
func (s subject) page() string { return s.kind.page(s.model) }

// Values of the header X-Error-Code, by which the Hub says which of several
// things is missing or refused.
const (
	codeRepo     = "RepoNotFound"
	codeRevision = "RevisionNotFound"
	codeEntry    = "EntryNotFound"
	codeGated    = "GatedRepo"
)

// Values of the header X-Error-Message that say what no code does. They are
// compared whole, as huggingface_hub does (src/huggingface_hub/utils/_http.py).
const (
	messageDisabled = "Access to this resource is disabled."
	messageInvalid  = "Invalid credentials in Authorization header"
)

// errNoRoute is the cause where a server refuses a request without saying, as
// the Hub does, what is missing: it may have no such route, or not know a
// parameter.
var errNoRoute = errors.New("the server does not know the request")

// refused returns the error of an answer that is not a success. The Hub's code
// decides, then the status.
func (c *Client) refused(rsp *http.Response, s subject) error {
	switch rsp.Header.Get("X-Error-Code") {
	case codeGated:
		return c.gated(s)
	case codeRevision:
		return outcome.Errorf(outcome.NotFound,
			"%s has no revision %q: name a branch, tag or commit that %s/%s has", s.repository(), s.revision, c.base, s.page())
	case codeEntry:
		return outcome.Errorf(outcome.NotFound, "there is no %s at revision %q", s, s.revision)
	case codeRepo:
		return c.noModel(s)
	}
	switch status := rsp.StatusCode; {
	case rsp.Header.Get("X-Error-Message") == messageDisabled:
		return outcome.Errorf(outcome.NotFound, "the Hub has disabled %s: choose another %s", s.repository(), s.kind)
	case status == http.StatusUnauthorized:
		return c.unauthorized(rsp, s)
	case status == http.StatusForbidden:
		return c.forbidden(rsp, s)
	case status == http.StatusTooManyRequests:
		return outcome.Errorf(outcome.RateLimited,
			"%s limits the rate of requests; this is transient and is retried%s", host(rsp), c.ifAnonymous(", and sooner with a token (tokenSecretRef)")).
			After(waitAsked(rsp.Header, time.Now()))
	case status == http.StatusNotImplemented:
		return c.notServed(rsp, s)
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout:
		return outcome.Errorf(outcome.Unavailable, "%s failed to answer for %s (status %d); this may be transient", host(rsp), s, status).
			After(waitAsked(rsp.Header, time.Now()))
	case status == http.StatusNotFound:
		return outcome.Errorf(outcome.NotFound, "%s has no %s: check its name, and that huggingFace.endpoint is a Hub", c.base, s).Because(errNoRoute)
	case status >= http.StatusBadRequest:
		return c.notServed(rsp, s)
	}
	return outcome.Errorf(outcome.Internal, "%s answered the request for %s with unexpected status %d", host(rsp), s, rsp.StatusCode)
}

// notServed returns the error of a request that a server does not accept from any
// client.
func (c *Client) notServed(rsp *http.Response, s subject) error {
	return outcome.Errorf(outcome.Unsupported,
		"%s does not answer for %s as a Hub does (status %d): check huggingFace.endpoint, or use another mirror", host(rsp), s, rsp.StatusCode).Because(errNoRoute)
}

func (c *Client) unauthorized(rsp *http.Response, s subject) error {
	if !c.hasToken && rsp.Header.Get("X-Error-Message") != messageInvalid {
		return c.noModel(s)
	}
	return outcome.Errorf(outcome.Unauthorized,
		"the Hub at %s refused the token for %s: put a valid one into the Secret that tokenSecretRef names", c.base.Host, s.repository())
}

func (c *Client) gated(s subject) error {
	if !c.hasToken {
		return outcome.Errorf(outcome.Gated,
			"%s is gated and no token was given: accept its terms at %s/%s and name a Secret with that account's token in tokenSecretRef",
			s.repository(), c.base, s.page())
	}
	return outcome.Errorf(outcome.Gated,
		"%s is gated: accept its terms at %s/%s with the account of the token, and wait until its owner grants access where that is needed",
		s.repository(), c.base, s.page())
}

func (c *Client) noModel(s subject) error {
	if !c.hasToken {
		return outcome.Errorf(outcome.NotFound,
			"%s does not exist at %s, or is private: check its name, or name a Secret with a token that may read it in tokenSecretRef",
			s.repository(), c.base)
	}
	return outcome.Errorf(outcome.NotFound,
		"%s does not exist at %s, or is private and the token may not read it: check its name, or use the token of an account that may",
		s.repository(), c.base)
}

// forbidden tells a CDN's refusal from the Hub's: the link to a CDN is only
// good for a while, and the next try gets a new one.
func (c *Client) forbidden(rsp *http.Response, s subject) error {
	if host(rsp) != c.base.Host {
		return outcome.Errorf(outcome.Unavailable, "%s refused its own link to %s; this may be transient", host(rsp), s)
	}
	return outcome.Errorf(outcome.Unauthorized,
		"the Hub at %s forbids reading %s%s: use a token with read access to it (tokenSecretRef)",
		c.base.Host, s.repository(), c.ifAnonymous(" without a token"))
}

func (c *Client) ifAnonymous(s string) string {
	if c.hasToken {
		return ""
	}
	return s
}

// host returns the host that gave an answer, after all redirects.
func host(rsp *http.Response) string {
	return rsp.Request.URL.Host
}

// cures of permanent connection errors.
var cures = map[connection.Cause]string{
	connection.UnknownAuthority:   "put that authority's ca.crt into the Secret that huggingFace.certSecretRef names",
	connection.WrongHost:          "correct huggingFace.endpoint",
	connection.InvalidCertificate: "renew it, or check this machine's clock",
	connection.NoTLS:              "begin huggingFace.endpoint with http:// if that is meant",
	connection.NoCertificate:      "name one in huggingFace.endpoint that wants none",
	connection.Blocked:            "name one in huggingFace.endpoint that redirects to public hosts, or to hosts in a network of its own kind",
}

// unreachable returns the error of a request that got no answer. It does not
// repeat the cause's text, since that may hold a signed link.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.Wrapf(ctx.Err(), "cannot ask the Hub at %s", c.base.Host)
	}
	var known *outcome.Error
	if errors.As(err, &known) {
		// Of this program's own settings, such as a proxy's.
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
	case why == connection.Blocked:
		return outcome.Errorf(outcome.Untrusted, "cannot reach the Hub at %s: %s: %s", c.base.Host, connection.Explain(err), cures[why]).Because(err)
	case why != connection.None:
		return outcome.Errorf(outcome.Untrusted, "cannot reach the Hub at %s: %s: %s", where, why, cures[why]).Because(err)
	case outcome.IsBadRequest(err):
		return outcome.Errorf(outcome.Internal, "cannot ask the Hub at %s: the request cannot be sent as it is", where).Because(err)
	case errors.Is(err, connection.ErrDowngrade):
		return outcome.Errorf(outcome.Untrusted, "cannot reach the Hub at %s: it redirects to a URL without TLS", where).Because(err)
	case errors.Is(err, connection.ErrTooManyRedirects):
		return retry.Permanent(outcome.Errorf(outcome.Unavailable, "cannot reach the Hub at %s: it redirects without an end", where).Because(err))
	}
	return outcome.Errorf(outcome.Unavailable, "cannot reach the Hub at %s: %s; this may be transient", where, connection.Symptom(err)).Because(err)
}
