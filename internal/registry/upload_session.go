package registry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	oras "oras.land/oras-go/v2/registry"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// cancelTimeout is how long a registry may take to forget a session.
const cancelTimeout = 5 * time.Second

// octets is the type of all that blobs are sent as.
const octets = "application/octet-stream"

var (
	errNoStatus  = errors.New("the registry does not tell how much it has of an upload")
	errForgotten = errors.Wrap(errNoStatus, "the registry does not know it")
)

// A session is an upload at a registry that can be gone on with. What it says
// of where that is, and with which token, is as of its last answer.
type session struct {
	location      *url.URL
	authorization string // Empty for a host that is not the registry's.
	least         int64  // The smallest chunk that it takes, but for the last one.
}

// sessions speaks of sessions to one repository, as distribution-spec 1.1,
// "Pushing blobs", has it.
type sessions struct {
	*Client

	ref oras.Reference
}

func (s sessions) operation() operation { return operation{"push to", s.ref.Repository} }

// endpoint returns where sessions start.
func (s sessions) endpoint() string {
	return fmt.Sprintf("%s://%s/v2/%s/blobs/uploads/", s.scheme(), s.ref.Host(), s.ref.Repository)
}

// ask makes a request without a body, for which it, or each of its tries, has
// some time. It returns no more than the header, and an error if accept does not
// take the status. If the registry refuses the credential, it makes the request again
// with another one that there is some time later.
func (s sessions) ask(ctx context.Context, limit time.Duration, method, u string, accept func(status int) bool) (*http.Response, error) {
	return s.credentials.authorized(ctx, kindOfRequest(method, s.ref.Repository), func() (*http.Response, error) {
		return s.askOnce(ctx, limit, method, u, accept)
	})
}

// askOnce is ask without waiting for another credential.
func (s sessions) askOnce(ctx context.Context, limit time.Duration, method, u string, accept func(status int) bool) (*http.Response, error) {
	if err := s.throttle.Wait(ctx, s.host); err != nil {
		return nil, s.failed(ctx, err, s.operation())
	}
	ctx, cancel := s.askWithin(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return nil, s.failed(ctx, err, s.operation())
	}
	rsp, err := s.auth.Do(req)
	if err != nil {
		return nil, s.failed(ctx, err, s.operation())
	}
	defer rsp.Body.Close()
	if !accept(rsp.StatusCode) {
		return rsp, s.failed(ctx, responseError(rsp), s.operation())
	}
	return rsp, nil
}

func only(want int) func(int) bool { return func(status int) bool { return status == want } }

// committed reports whether a status says that a blob is there.
func committed(status int) bool {
	return status == http.StatusCreated || status == http.StatusOK || status == http.StatusNoContent
}

func succeeded(status int) bool { return status/100 == 2 }

// start begins a session.
func (s sessions) start(ctx context.Context) (*session, error) {
	rsp, err := s.ask(ctx, s.stall, http.MethodPost, s.endpoint(), only(http.StatusAccepted)) //nolint:bodyclose // It is closed already.
	if err != nil {
		return nil, err
	}
	// A registry without such a limit omits the header (distribution-spec 1.1,
	// "Pushing a blob in chunks"). A sensible limit is no larger than a request.
	least, _ := strconv.ParseUint(rsp.Header.Get("OCI-Chunk-Min-Length"), 10, 40)
	out := &session{least: int64(least)}
	if err := s.follow(ctx, out, rsp); err != nil {
		return nil, err
	}
	return out, nil
}

// status returns how many bytes a session has, from its first one on.
func (s sessions) status(ctx context.Context, of *session) (int64, error) {
	rsp, err := s.ask(ctx, s.stall, http.MethodGet, of.location.String(), succeeded) //nolint:bodyclose // It is closed already.
	switch {
	case rsp != nil && rsp.StatusCode == http.StatusNotFound:
		return 0, errForgotten
	case rsp != nil && err != nil && !outcome.ReasonOf(err).Transient():
		// If the reason is a missing permission, the next request reports it.
		return 0, errNoStatus
	case err != nil:
		return 0, err
	}
	n, ok := uploaded(rsp.Header.Get("Range"))
	if !ok {
		return 0, errNoStatus
	}
	return n, s.follow(ctx, of, rsp)
}

// complete ends a session, all of whose bytes are there.
func (s sessions) complete(ctx context.Context, of *session, d digest.Digest) error {
	_, err := s.ask(ctx, s.commit, http.MethodPut, withDigest(of.location, d), committed) //nolint:bodyclose // It is closed already.
	return err
}

// cancel has the registry forget a session, if it will. Most do so by
// themselves some day. Nothing is asked to be deleted at another host.
func (s sessions) cancel(ctx context.Context, of *session) {
	if !s.isOwn(of.location) {
		return
	}
	ctx, cancel := context.WithTimeout(once(context.WithoutCancel(ctx)), cancelTimeout)
	defer cancel()
	_, _ = s.askOnce(ctx, cancelTimeout, http.MethodDelete, of.location.String(), succeeded) //nolint:bodyclose // It is closed already.
}

// follow records the session's next location as an answer names it, and the token
// of the request: a stream cannot be sent again with another token, and so needs
// one that is fresh.
func (s sessions) follow(ctx context.Context, of *session, rsp *http.Response) error {
	if rsp.Header.Get("Location") != "" || of.location == nil {
		to, err := s.locate(rsp)
		if err != nil {
			return s.failed(ctx, err, s.operation())
		}
		of.location = to
	}
	of.authorization = ""
	if s.isOwn(of.location) && s.isOwn(rsp.Request.URL) {
		of.authorization = rsp.Request.Header.Get("Authorization")
	}
	return nil
}

// locate returns the session's next location as an answer names it. It may be at
// another host, such as a storage's, which gets no credentials (as with
// containerd and go-containerregistry), but not without TLS if the registry has
// it. In which network it may be is for the client's Guard to say.
func (s sessions) locate(rsp *http.Response) (*url.URL, error) {
	to, err := rsp.Location()
	if err != nil {
		return nil, errors.New("Location is missing or no URL")
	}
	if to.Scheme != "https" && (to.Scheme != "http" || !s.plainHTTP) || to.Host == "" || to.Opaque != "" || to.User != nil {
		return nil, errors.New("Location is not where an upload can go on")
	}
	to.Fragment, to.RawFragment = "", ""
	if s.isOwn(to) {
		// In the words that tokens are kept under, with the same port.
		to.Host = s.ref.Host()
		return to, nil
	}
	return to, nil
}

// own returns the registry's own origin.
func (s sessions) own() *url.URL { return &url.URL{Scheme: s.scheme(), Host: s.ref.Host()} }

// isOwn reports whether a URL is the registry's, by its origin (RFC 6454).
func (s sessions) isOwn(u *url.URL) bool {
	own := s.own()
	return u.Scheme == own.Scheme && strings.EqualFold(u.Hostname(), own.Hostname()) && portOf(u) == portOf(own)
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// withDigest adds a digest to what a location's query holds, which stays as it
// is: it may be signed.
func withDigest(location *url.URL, d digest.Digest) string {
	u := *location
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "digest=" + url.QueryEscape(d.String())
	return u.String()
}

// uploaded returns how many bytes a session has by its Range: the position of
// the last one, as in 0-1023, which some write as bytes=0-1023.
func uploaded(header string) (int64, bool) {
	last, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(header), "bytes="), "0-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(last, 10, 62)
	if err != nil {
		return 0, false
	}
	return int64(n) + 1, true
}
