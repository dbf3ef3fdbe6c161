// Package bucket is what the sources in object stores have in common: which keys are
// files, how requests are authorized, made and retried, and words for what went wrong.
// Each cloud is a package below it. A source of other HTTP servers has all but the keys
// in common with them.
package bucket

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

const (
	headerTimeout = 60 * time.Second

	// bodyTimeout bounds an answer that is read whole, with its header.
	bodyTimeout = 2 * time.Minute
)

// Options of a Client.
type Options struct {
	// Service is what speaks at the endpoint, for messages: Azure Blob Storage.
	Service string

	// Field of the spec that describes the source, for messages:
	// spec.forProvider.source.azureBlob.
	Field string

	// Address is the field of the spec that has the endpoint, for messages; Field's
	// endpoint if empty.
	Address string

	// Endpoint of the service.
	Endpoint string

	// Source has further authorities to trust, and what makes the requests.
	Source pipeline.Source

	// Authorizer of requests; nil for anonymous ones.
	Authorizer Authorizer

	// Redirects says that the service leads to other hosts for an object's bytes.
	// Otherwise, a redirect is an answer like any other.
	Redirects bool

	// Retry is how requests are retried.
	Retry retry.Policy
}

// A Client makes requests to one endpoint. It is safe for concurrent use.
type Client struct {
	// HTTP makes the requests. It authorizes those to the endpoint.
	HTTP *http.Client

	service, field, address string
	base                    *url.URL
	confined                bool
	retry                   retry.Policy
}

// NewClient returns a Client. It takes a proxy from the environment, and connects to
// nothing at a cloud's metadata service.
func NewClient(o Options) (*Client, error) {
	base, err := url.Parse(strings.TrimRight(connection.Trimmed(o.Endpoint), "/"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, outcome.Errorf(outcome.Unsupported, "%s.endpoint is no URL of the form https://host[:port][/path]", o.Field)
	}
	pool, err := connection.Roots(o.Source.CA, o.Source.CAFile)
	if errors.Is(err, connection.ErrNoCertificate) {
		return nil, outcome.Errorf(outcome.ConfigInvalid, "the source's ca.crt holds no certificate in PEM form: correct the Secret that %s.certSecretRef names", o.Field)
	}
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the source's certificate authorities")
	}
	guard := connection.NewGuard(base.Host)
	if o.Source.Confined {
		guard.Confine(o.Source.Private)
	}
	transport := connection.NewTransport(pool, guard)
	transport.ResponseHeaderTimeout = headerTimeout
	transport.ReadBufferSize = 64 << 10
	// A file's bytes must be those that its hash was taken of.
	transport.DisableCompression = true
	next := connection.Draining(transport)
	if o.Source.Transport != nil {
		next = o.Source.Transport(next)
	}
	c := &Client{HTTP: &http.Client{Transport: next}, service: o.Service, field: o.Field, address: cmp.Or(o.Address, o.Field+".endpoint"), base: base, confined: o.Source.Confined, retry: o.Retry}
	if o.Authorizer != nil {
		own := &authorizing{origin: base, own: o.Authorizer, next: next, patience: refusalPatience}
		if o.Source.Credentials != nil {
			// They do not change.
			own.patience = 0
		}
		c.HTTP.Transport = own
	}
	c.HTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if o.Redirects {
		c.HTTP.CheckRedirect = connection.CheckRedirect
	}
	return c, nil
}

// Server returns what downloads objects by the client's requests. Waits are those of a
// policy.
func (c *Client) Server(retries retry.Policy) *download.Server {
	s := &download.Server{
		Name: c.service, Client: c.HTTP, UserAgent: version.UserAgent(), Idle: download.DefaultIdle, Retry: download.RetryPolicy(),
		Throttle: &connection.Throttle{Sleep: retries.Sleep}, Unreachable: c.Unreachable,
	}
	s.Retry.Sleep = retries.Sleep
	return s
}

// Endpoint returns a copy of the endpoint's URL.
func (c *Client) Endpoint() *url.URL {
	u := *c.base
	return &u
}

// Host returns the host of the endpoint.
func (c *Client) Host() string { return c.base.Host }

// Close closes idle connections.
func (c *Client) Close() { c.HTTP.CloseIdleConnections() }

// Request returns a request that reads what a URL names.
func (c *Client) Request(ctx context.Context, method string, u *url.URL) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), http.NoBody)
	if err != nil {
		return nil, outcome.Errorf(outcome.Internal, "cannot make a request to %s", c.base.Host).Because(err)
	}
	req.Header.Set("User-Agent", version.UserAgent())
	return req, nil
}

// An Answer is a whole answer.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Ask makes a request until its answer, of at most a number of bytes, is taken, or no other
// try would help. Take is called with each whole answer, whatever its status is, and
// returns an outcome.Error if it is not what was asked for. What that is goes into
// messages.
func (c *Client) Ask(ctx context.Context, what string, most int64, request func(ctx context.Context) (*http.Request, error), take func(Answer) error) error {
	return c.retry.Do(ctx, what, func() error {
		a, err := c.once(ctx, what, most, request)
		if err != nil {
			return err
		}
		return take(a)
	})
}

// once makes a request and reads the answer.
func (c *Client) once(ctx context.Context, what string, most int64, request func(ctx context.Context) (*http.Request, error)) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, bodyTimeout+refusalPatience)
	defer cancel()
	req, err := request(ctx)
	if err != nil {
		return Answer{}, err
	}
	rsp, err := c.HTTP.Do(req)
	if err != nil {
		return Answer{}, c.Unreachable(ctx, err)
	}
	defer func() { _ = rsp.Body.Close() }()
	stop := time.AfterFunc(bodyTimeout, cancel)
	defer stop.Stop()
	body, err := io.ReadAll(io.LimitReader(rsp.Body, most+1))
	switch {
	case err != nil:
		return Answer{}, outcome.Errorf(outcome.Unavailable, "the answer of %s about %s was cut; this may be transient", c.base.Host, what).Because(err)
	case int64(len(body)) > most:
		return Answer{}, outcome.Errorf(outcome.Unsupported, "the answer of %s about %s is larger than %d MiB: check %s", c.base.Host, what, most>>20, c.address)
	}
	return Answer{Status: rsp.StatusCode, Header: rsp.Header, Body: body}, nil
}
