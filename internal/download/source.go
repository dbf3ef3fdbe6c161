package download

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// What an answer may be that another try makes up for.
var (
	errLinkRefused = errors.New("a link was refused")
	errNoIfRange   = errors.New("the server takes no If-Range")
)

// A source serves one object's bytes: its server, or the link that the server redirects
// to, which is used instead of it until it expires. It is safe for concurrent use.
type source struct {
	server *Server
	object Object
	size   int64

	resolving chan struct{} // Held by the goroutine that requests a link from the server.

	mu        sync.Mutex
	link      *link
	direct    bool              // The server sends the object without a redirect.
	whole     bool              // Ranges are not supported.
	noIfRange bool              // Or not with this condition.
	etags     map[string]string // Of the file, by host.
}

// A part is an answer with an object's bytes from one place up to another.
type part struct {
	body     io.ReadCloser
	from, to int64
	whole    bool // All of the file, although a range was requested.
}

// A target is what to ask: a link, or the server where there is none.
type target struct {
	url, host string
	link      *link
}

// ask asks for the bytes from one place up to another, once. Afresh, it asks the
// server, whatever link is known. The error is an outcome.Error or the context's.
func (s *source) ask(ctx context.Context, from, to int64, afresh bool) (*part, error) {
	t, done, err := s.target(ctx, afresh)
	if err != nil {
		return nil, err
	}
	defer done()
	p, err := s.askAt(ctx, t, from, to)
	if errors.Is(err, errNoIfRange) {
		return s.askAt(ctx, t, from, to)
	}
	return p, err
}

// target returns what to ask. Who gets the server, to learn a link, is alone with
// it until done is called.
func (s *source) target(ctx context.Context, afresh bool) (t target, done func(), err error) {
	if t, ok := s.known(); ok && !afresh {
		return t, func() {}, nil
	}
	select {
	case s.resolving <- struct{}{}:
	case <-ctx.Done():
		return target{}, nil, errors.Wrapf(ctx.Err(), "cannot read %s", s.object.Name)
	}
	done = func() { <-s.resolving }
	if t, ok := s.known(); ok && !afresh {
		done()
		return t, func() {}, nil
	}
	return s.origin(), done, nil
}

func (s *source) origin() target { return target{url: s.object.URL, host: hostOf(s.object.URL)} }

// known returns what to ask if that is known.
func (s *source) known() (target, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.link != nil && s.link.good(time.Now()):
		return target{url: s.link.url, host: s.link.host, link: s.link}, true
	case s.direct:
		return s.origin(), true
	}
	return target{}, false
}

func (s *source) askAt(ctx context.Context, t target, from, to int64) (*part, error) {
	if err := s.server.Throttle.Wait(ctx, t.host); err != nil {
		return nil, errors.Wrapf(err, "cannot read %s", s.object.Name)
	}
	rsp, err := s.send(ctx, t, from, to)
	if err != nil {
		return nil, err
	}
	p, err := s.accept(rsp, t, from, to)
	if err != nil {
		_ = rsp.Body.Close()
	}
	return p, err
}

// send returns the answer to a request, whose header has as much time as the
// body's bytes have.
func (s *source) send(ctx context.Context, t target, from, to int64) (*http.Response, error) {
	c, limit := s.server, s.server.Idle
	asking, cancel := context.WithCancelCause(ctx)
	req, err := s.request(asking, t)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if s.ranged(from, to) {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
		if etag := s.condition(t); etag != "" {
			req.Header.Set("If-Range", etag)
		}
	}
	if t.link == nil && s.object.Sign != nil {
		if err := s.object.Sign(req); err != nil {
			cancel(nil)
			return nil, err
		}
	}
	timer := time.AfterFunc(limit, func() { cancel(ErrStalled) })
	defer timer.Stop()
	rsp, err := c.Client.Do(req)
	if err == nil {
		rsp.Body = NewBody(asking, cancel, rsp.Body, limit, c.Name, s.object.Name)
		return rsp, nil
	}
	defer cancel(nil)
	if errors.Is(context.Cause(asking), ErrStalled) {
		return nil, outcome.Errorf(outcome.Unavailable, "%s did not answer for %s within %s; this may be transient", t.host, s.object.Name, limit).Because(ErrStalled)
	}
	return nil, c.Unreachable(ctx, err)
}

// request returns a request for the object, of which its headers go to its server only.
func (s *source) request(ctx context.Context, t target) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return nil, outcome.Errorf(outcome.Internal, "cannot make a request for %s", s.object.Name).Because(err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if s.server.UserAgent != "" {
		req.Header.Set("User-Agent", s.server.UserAgent)
	}
	if t.link == nil {
		maps.Copy(req.Header, s.object.Header.Clone())
	}
	return req, nil
}

// check returns an error if an answer is not of the object's own bytes, at the pinned
// version.
func (s *source) check(rsp *http.Response, t target) error {
	if !s.object.Encoded && rsp.Header.Get("Content-Encoding") != "" {
		return outcome.Errorf(outcome.Unavailable,
			"%s, or a proxy before it, sends %s encoded, where the bytes as they are were asked for", s.server.Name, s.object.Name)
	}
	if s.object.Accept == nil || t.link != nil || rsp.Request.Response != nil {
		return nil
	}
	return s.object.Accept(rsp)
}

// ranged reports whether this is less than the file.
func (s *source) ranged(from, to int64) bool { return from > 0 || to < s.size }

// condition returns the ETag to request a range with, so that it is of the same file
// as the other ranges (RFC 9110, section 13.1.5). Before the first answer of a host
// it is empty.
func (s *source) condition(t target) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noIfRange || s.whole || t.link == nil && !s.direct {
		return ""
	}
	return s.etags[t.host]
}

// accept returns what an answer brings.
func (s *source) accept(rsp *http.Response, t target, from, to int64) (*part, error) {
	switch status := rsp.StatusCode; {
	case status == http.StatusOK || status == http.StatusPartialContent:
		if err := s.check(rsp, t); err != nil {
			return nil, err
		}
		p, err := s.part(rsp, from, to)
		if err == nil {
			s.learn(rsp, t)
		}
		return p, err
	case status == http.StatusRequestedRangeNotSatisfiable && s.ranged(from, to):
		return nil, s.otherFile(rsp)
	case (t.link != nil || rsp.Request.Response != nil) && refusesLink(rsp):
		s.forget(t.link)
		return nil, outcome.Errorf(outcome.Unavailable, "%s refused the link to %s that %s gave; this may be transient", host(rsp), s.object.Name, s.server.Name).Because(errLinkRefused)
	}
	err := s.object.Refused(rsp)
	if d := outcome.RetryAfterOf(err); d > 0 && d <= s.server.Retry.MaxRetryAfter {
		s.server.Throttle.Hold(host(rsp), d)
	}
	return nil, err
}

// refusesLink tells how hosts of links say that one is not good, or not any
// more, from what a Hub says of a file, which has a code.
func refusesLink(rsp *http.Response) bool {
	switch rsp.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return rsp.Header.Get("X-Error-Code") == ""
	}
	return false
}

// part checks that a successful answer is about the requested range.
func (s *source) part(rsp *http.Response, from, to int64) (*part, error) {
	if s.changed(rsp) {
		return nil, s.otherVersion(rsp)
	}
	if rsp.StatusCode == http.StatusPartialContent {
		return s.partial(rsp, from, to)
	}
	if s.ranged(from, to) && rsp.Request.Header.Get("If-Range") != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.noIfRange = true
		return nil, errNoIfRange
	}
	if rsp.ContentLength >= 0 && rsp.ContentLength != s.size {
		return nil, s.otherFile(rsp)
	}
	return &part{body: rsp.Body, to: s.size, whole: s.ranged(from, to)}, nil
}

// partial accepts a part of the requested range, as a server may send it, and nothing
// else.
func (s *source) partial(rsp *http.Response, from, to int64) (*part, error) {
	first, last, size, ok := contentRange(rsp.Header.Get("Content-Range"))
	switch {
	case ok && size >= 0 && size != s.size:
		return nil, s.otherFile(rsp)
	case !ok, first != from, last >= to, rsp.ContentLength >= 0 && rsp.ContentLength != last-first+1:
		return nil, outcome.Errorf(outcome.Unavailable, "%s sent another part of %s than the requested one; this may be transient", host(rsp), s.object.Name)
	}
	return &part{body: rsp.Body, from: first, to: last + 1}, nil
}

// changed reports whether an answer is of another version of the file than the
// host's earlier ones.
func (s *source) changed(rsp *http.Response) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, tag := s.etags[host(rsp)], strongTag(rsp.Header)
	return known != "" && tag != "" && tag != known
}

// learn keeps what a success tells for later requests.
func (s *source) learn(rsp *http.Response, t target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if tag := strongTag(rsp.Header); tag != "" {
		if s.etags == nil {
			s.etags = map[string]string{}
		}
		s.etags[host(rsp)] = tag
	}
	if t.link == nil {
		s.link = linkOf(rsp, time.Now())
		s.direct = s.link == nil
	}
}

// forget gives a link up: the next to ask asks the server.
func (s *source) forget(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == l {
		s.link = nil
	}
}

// giveUpRanges has the file read in one stream from now on.
func (s *source) giveUpRanges() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole = true
}

func (s *source) isWhole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole
}

func (s *source) otherFile(rsp *http.Response) error {
	if s.object.Changed != nil {
		return s.object.Changed(host(rsp))
	}
	// Another link may lead to the file.
	return retry.Transient(outcome.Errorf(outcome.Mismatch,
		"%s has another size of %s than %s announced, which is %d bytes: a proxy, mirror or CDN may serve wrong content", host(rsp), s.object.Name, s.server.Name, s.size))
}

func (s *source) otherVersion(rsp *http.Response) error {
	if s.object.Changed != nil {
		return s.object.Changed(host(rsp))
	}
	return outcome.Errorf(outcome.Unavailable, "%s has changed at %s while it was read; this may be transient", s.object.Name, host(rsp))
}

// strongTag returns an answer's ETag if it is one for a file's very bytes (RFC
// 9110, section 8.8.3).
func strongTag(h http.Header) string {
	tag := strings.TrimSpace(h.Get("ETag"))
	if strings.HasPrefix(tag, "W/") {
		return ""
	}
	return tag
}

// contentRange reads the header Content-Range of an answer with one range of
// bytes (RFC 9110, section 14.4): the first and the last byte's place, and the
// size of the whole, or -1 if the server does not send it. It reports whether the
// value is valid.
func contentRange(value string) (first, last, size int64, ok bool) {
	unit, rest, spaced := strings.Cut(strings.TrimSpace(value), " ")
	places, total, slashed := strings.Cut(rest, "/")
	from, to, dashed := strings.Cut(places, "-")
	if !spaced || !slashed || !dashed || !strings.EqualFold(unit, "bytes") {
		return 0, 0, 0, false
	}
	first, firstOK := place(from)
	last, lastOK := place(to)
	size, sizeOK := place(total)
	if total == "*" {
		size, sizeOK = -1, true
	}
	if !firstOK || !lastOK || !sizeOK || last < first || size >= 0 && last >= size {
		return 0, 0, 0, false
	}
	return first, last, size, true
}

// place parses a number of digits only.
func place(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}

// host returns the host that gave an answer, after all redirects.
func host(rsp *http.Response) string { return rsp.Request.URL.Host }

// hostOf returns the host of a URL; empty if it has none.
func hostOf(u string) string {
	parsed, err := url.Parse(u)
	if err != nil {
		return ""
	}
	return parsed.Host
}
