package identity

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	// requestTimeout bounds one request.
	requestTimeout = 20 * time.Second

	// maxAnswerBytes bounds an answer. Passwords and tokens have up to 8 KiB.
	maxAnswerBytes = 64 << 10

	// maxTokenBytes bounds a token or a password.
	maxTokenBytes = 16 << 10
)

// answerLimits are the bounds of a JSON answer.
var answerLimits = decode.Limits{Bytes: maxAnswerBytes, Containers: 100, Values: 1000}

// linkLocal are the addresses at which clouds answer the workloads of one machine, by the
// hosts in the URLs of this package. Nothing else is connected to for such a URL, and no
// proxy is used.
var linkLocal = map[string]netip.AddrPort{
	podIdentityV4:  netip.MustParseAddrPort("169.254.170.23:80"),
	podIdentityV6:  netip.MustParseAddrPort("[fd00:ec2::23]:80"),
	googleMetadata: netip.MustParseAddrPort("169.254.169.254:80"),
}

// A client makes the requests of an exchange.
type client struct {
	userAgent string
	now       func() time.Time
	transport http.RoundTripper // Nil to connect to the host of each request.
	wrap      func(http.RoundTripper) http.RoundTripper
}

// An endpoint is where a request goes, and what messages say about it.
type endpoint struct {
	// name of the service, such as AWS STS.
	name string

	// cure of a refusal.
	cure string
}

// post sends a form and returns the answer's body.
func (c *client) post(ctx context.Context, to endpoint, u string, form url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.Wrap(err, "cannot prepare a request for the workload's identity")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, body, err := c.do(to, req)
	return body, err
}

// do makes a request and returns the answer's header and body. An answer with another
// status than 200 is an error.
func (c *client) do(to endpoint, req *http.Request) (http.Header, []byte, error) {
	if c.userAgent != "" {
		req.Header.Set("User-Agent", c.userAgent)
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	transport, done, err := c.transportFor(req.URL.Host)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	h := &http.Client{Transport: transport, Timeout: requestTimeout,
		// No other host gets the workload's token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	rsp, err := h.Do(req)
	if err != nil {
		return nil, nil, unreachable(to, req.URL.Host, err)
	}
	defer func() { _ = rsp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(rsp.Body, maxAnswerBytes+1))
	switch {
	case err != nil:
		return nil, nil, unreachable(to, req.URL.Host, err)
	case rsp.StatusCode != http.StatusOK:
		return nil, nil, c.refused(to, rsp, body)
	case len(body) > maxAnswerBytes:
		return nil, nil, unusable(to)
	}
	return rsp.Header, body, nil
}

// transportFor returns the transport for a host, and a function to call when it is not
// used any more. Tokens are exchanged too rarely to keep connections.
func (c *client) transportFor(host string) (http.RoundTripper, func(), error) {
	if c.transport != nil {
		return c.transport, func() {}, nil
	}
	if at, ok := linkLocal[host]; ok {
		t := linkLocalTransport(at)
		return t, t.CloseIdleConnections, nil
	}
	pool, err := connection.Roots(nil, "")
	if err != nil {
		return nil, nil, errors.Wrap(err, "cannot read the system's certificate authorities")
	}
	t := connection.NewTransport(pool, connection.NewGuard(host))
	if c.wrap != nil {
		return c.wrap(t), t.CloseIdleConnections, nil
	}
	return t, t.CloseIdleConnections, nil
}

// linkLocalTransport returns a transport that connects to one address, whatever the host.
func linkLocalTransport(at netip.AddrPort) *http.Transport {
	t := connection.NewTransport(nil, connection.NewGuard(at.String()))
	d := &net.Dialer{Timeout: 5 * time.Second}
	t.Proxy = nil
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", at.String())
	}
	return t
}

// unreachable returns the error of a request that got no answer.
func unreachable(to endpoint, host string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if connection.CauseOf(err) != connection.None {
		return outcome.Errorf(outcome.Untrusted, "%s at %s cannot be connected to: %s", to.name, host, connection.Explain(err)).Because(err)
	}
	return outcome.Errorf(outcome.Unavailable, "%s at %s cannot be reached: %s; this may be transient, or a network policy of the Pod does not allow it",
		to.name, host, connection.Symptom(err)).Because(err)
}

// unusable returns the error of an answer that is not what was asked for.
func unusable(to endpoint) error {
	return outcome.Errorf(outcome.Unsupported, "%s answers with no token that can be used: %s", to.name, to.cure)
}

// refused returns the error of an answer with another status than 200.
func (c *client) refused(to endpoint, rsp *http.Response, body []byte) error {
	code := errorCode(body)
	after, _ := connection.RetryAfter(rsp.Header.Get("Retry-After"), c.now())
	said := "status " + strconv.Itoa(rsp.StatusCode)
	if code != "" {
		said += ", " + code
	}
	switch status := rsp.StatusCode; {
	case status == http.StatusTooManyRequests, strings.Contains(code, "Throttling"):
		return outcome.Errorf(outcome.RateLimited, "%s limits the rate of requests (%s); this is transient and is retried", to.name, said).After(after)
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout:
		return outcome.Errorf(outcome.Unavailable, "%s failed to exchange the workload's identity (%s); this may be transient", to.name, said).After(after)
	}
	return outcome.Errorf(outcome.Unauthorized, "%s refuses the workload's identity (%s): %s", to.name, said, to.cure)
}

var (
	// code matches names of errors, which are no secrets: ExpiredTokenException,
	// invalid_grant, PERMISSION_DENIED.
	code = regexp.MustCompile(`^[A-Za-z][A-Za-z_.]{0,63}$`)

	// xmlCode finds the name in an answer of an AWS query API.
	xmlCode = regexp.MustCompile(`<Code>([A-Za-z.]{1,64})</Code>`)

	// entraCode finds the number that Entra ID explains errors by
	// (https://learn.microsoft.com/entra/identity-platform/reference-error-codes).
	entraCode = regexp.MustCompile(`AADSTS[0-9]{1,12}`)
)

// errorCode returns the name that a cloud gives an error; empty for none. It repeats
// nothing else of an answer.
func errorCode(body []byte) string {
	if m := entraCode.Find(body); m != nil {
		return string(m)
	}
	if m := xmlCode.FindSubmatch(body); m != nil {
		return string(m[1])
	}
	var named struct {
		Type  string `json:"__type"` // AWS's JSON protocols.
		Code  string `json:"code"`
		Error any    `json:"error"` // OAuth: a name. Google's APIs: an object.
	}
	if answerLimits.JSON(body, &named) != nil {
		return ""
	}
	found := named.Type[strings.LastIndex(named.Type, "#")+1:]
	if found == "" {
		found = named.Code
	}
	switch e := named.Error.(type) {
	case string:
		found = e
	case map[string]any:
		found, _ = e["status"].(string)
	}
	if !code.MatchString(found) {
		return ""
	}
	return found
}

// isToken reports whether a value can be a token or a password.
func isToken(v string) bool {
	return v != "" && len(v) <= maxTokenBytes && connection.InHeader(v) && !strings.ContainsAny(v, " \t")
}

// subject returns the token in a file, which is the workload's at the cluster, as reading
// that came out.
func subject(t string, err error) (string, error) {
	if err != nil {
		return "", outcome.Errorf(outcome.ConfigInvalid, "the token of the workload's service account cannot be read: check that the cloud's admission webhook mounts it into the Pod").Because(err)
	}
	if !isToken(t) {
		return "", outcome.Errorf(outcome.ConfigInvalid, "the file that should hold the token of the workload's service account holds none: check what mounts it")
	}
	return t, nil
}

// lifeOf returns how long something lives by a number of seconds.
func lifeOf(seconds float64) time.Duration {
	return time.Duration(min(seconds, longestLife.Seconds()) * float64(time.Second))
}
