// Package hub reads models and datasets from a Hugging Face Hub: it resolves a
// revision to a commit, lists a commit's files with their hashes, and reads
// them, several ranges side by side where that is faster. What it
// says went wrong is an outcome.Error, in words for the model's user, without
// the token and without what a server answered.
package hub

import (
	"cmp"
	"context"
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// DefaultEndpoint is the public Hub.
const DefaultEndpoint = "https://huggingface.co"

const (
	headerTimeout = 60 * time.Second
	stallTimeout  = 60 * time.Second
	commitTimeout = 20 * time.Second
)

// Options of a Client.
type Options struct {
	// Endpoint of the Hub; DefaultEndpoint if empty. It may have a path, as
	// mirrors do.
	Endpoint string

	// Token for the Hub; empty for none. White space around it is left out. It
	// goes to the endpoint's own scheme, host and port, and nowhere else.
	Token string

	// TokenFrom returns the token as it is now, for one that changes while the client is
	// in use. A client waits a few minutes for another one if the Hub refuses one that it
	// accepted before. Nil for Token, which is ignored otherwise.
	TokenFrom TokenFunc

	// CA holds certificate authorities to trust beside the system's, in PEM
	// form; empty for none.
	CA []byte

	// CAFile is a file of more of them; empty for none.
	CAFile string

	// UserAgent that the client names itself by.
	UserAgent string

	// Hosts limit the requests to the Hub of all clients that share them: their time and,
	// by a circuit breaker, their number while it does not answer; nil for no limits.
	Hosts *connection.Hosts
}

// Origin returns what Hosts know the Hub at an endpoint by: its scheme and host. An
// empty endpoint is DefaultEndpoint, and one that no client can be made for has no
// origin.
func Origin(endpoint string) string {
	u, err := parseEndpoint(endpoint)
	if err != nil {
		return ""
	}
	return originOf(u)
}

func originOf(u *url.URL) string { return strings.ToLower(u.Scheme + "://" + u.Host) }

// A Client reads from one Hub. It is safe for concurrent use.
type Client struct {
	kind      Kind
	base      *url.URL
	http      *http.Client
	hasToken  bool
	userAgent string
	stall     time.Duration // How long an answer may send nothing.
	idle      time.Duration // How long a stream may send nothing.
	patience  time.Duration
	retry     retry.Policy
	streams   retry.Policy // Of streams that break.
	throttle  *connection.Throttle
}

// New returns a client. It takes a proxy from the environment. Establishing a
// connection and waiting for an answer have time limits; a body has none as
// long as its bytes keep coming.
func New(o Options) (*Client, error) {
	base, err := parseEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	token := connection.Trimmed(o.Token)
	if err := checkToken(token); err != nil {
		return nil, err
	}
	own := &tokenTransport{origin: base, token: func(context.Context) (string, error) { return token, nil }}
	if o.TokenFrom != nil {
		own.patience, own.token = refusalPatience, func(ctx context.Context) (string, error) {
			token, err := o.TokenFrom(ctx)
			if err == nil {
				err = checkToken(token)
			}
			return token, err
		}
	}
	pool, err := connection.Roots(o.CA, o.CAFile)
	if errors.Is(err, connection.ErrNoCertificate) {
		return nil, outcome.Errorf(outcome.ConfigInvalid,
			"the Hub's ca.crt holds no certificate in PEM form: correct the Secret that huggingFace.certSecretRef names")
	}
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the Hub's certificate authorities")
	}
	transport := connection.NewTransport(pool, connection.NewGuard(base.Host))
	transport.ResponseHeaderTimeout = headerTimeout
	transport.ReadBufferSize = 64 << 10
	// A file's bytes must be those that its hash was taken of.
	transport.DisableCompression = true
	next := connection.Draining(transport)
	if o.Hosts != nil {
		account := sha256.Sum256([]byte(token))
		next = o.Hosts.Transport(originOf(base), string(account[:]), next)
	}
	throttle := &connection.Throttle{}
	own.next = &quotaTransport{origin: base, throttle: throttle, next: next}
	return &Client{
		kind:      Model,
		base:      base,
		http:      &http.Client{Transport: own, CheckRedirect: connection.CheckRedirect},
		hasToken:  token != "" || o.TokenFrom != nil,
		userAgent: o.UserAgent,
		stall:     stallTimeout,
		idle:      download.DefaultIdle,
		patience:  commitTimeout,
		retry:     retry.Default(),
		streams:   download.RetryPolicy(),
		throttle:  throttle,
	}, nil
}

// checkToken returns an error if a token cannot be sent.
func checkToken(token string) error {
	if connection.InHeader(token) {
		return nil
	}
	return outcome.Errorf(outcome.ConfigInvalid,
		"the Hub's token has a line break or another character that no token has: write the token alone into the Secret that tokenSecretRef names")
}

// Close closes connections that are kept for later requests. The client may
// still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// parseEndpoint refuses what no request could be made of, or what would hide a
// password in a URL.
func parseEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(cmp.Or(connection.Trimmed(endpoint), DefaultEndpoint), "/"))
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, outcome.Errorf(outcome.Unsupported,
			"the Hub's endpoint is no URL of the form https://host[:port][/path]: correct huggingFace.endpoint")
	}
	return u, nil
}

// get returns the successful answer to one request, or an outcome.Error, which is
// permanent if no retry would help soon. It does not retry.
func (c *Client) get(ctx context.Context, u string, s subject) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	rsp, err := c.do(ctx, u, s)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	rsp.Body = download.NewBody(ctx, cancel, rsp.Body, c.stall, "the Hub", s.String())
	return rsp, nil
}

func (c *Client) do(ctx context.Context, u string, s subject) (*http.Response, error) {
	req, err := c.request(ctx, u, s)
	if err != nil {
		return nil, err
	}
	rsp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if err := c.check(rsp, s); err != nil {
		_ = rsp.Body.Close()
		return nil, err
	}
	return rsp, nil
}

func (c *Client) request(ctx context.Context, u string, s subject) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, outcome.Errorf(outcome.Internal, "cannot make a request for %s", s).Because(err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if c.userAgent != "" {
		req.Header.Set("User-Agent", c.userAgent)
	}
	return req, nil
}

// check returns the error of an answer that is not a success, or that cannot be
// read.
func (c *Client) check(rsp *http.Response, s subject) error {
	if rsp.StatusCode != http.StatusOK {
		return c.refused(rsp, s)
	}
	return checkEncoding(rsp, s)
}

func checkEncoding(rsp *http.Response, s subject) error {
	if rsp.Header.Get("Content-Encoding") == "" {
		return nil
	}
	return outcome.Errorf(outcome.Unavailable,
		"the Hub, or a proxy before it, sends %s encoded, where the bytes as they are were asked for", s)
}

// urlOf returns the endpoint's URL with these parts as its path, each escaped
// whole.
func (c *Client) urlOf(parts ...string) string {
	var b strings.Builder
	b.WriteString(c.base.String())
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(connection.Escape(p))
	}
	return b.String()
}
