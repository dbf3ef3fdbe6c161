package connection

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const (
	// connectTimeout is for a connection, with the look-up of its name and TLS.
	connectTimeout = 5 * time.Second

	// answerTimeout is for the header of an answer to a request that reads.
	answerTimeout = 15 * time.Second

	// bodyTimeout is for what comes after it. What is read here is small.
	bodyTimeout = 30 * time.Second

	// quickAnswer is how long an answer of a quick host takes at most, from the
	// connection to the end of its body.
	quickAnswer = 2 * time.Second

	// openAfter is how many times in a row a host must not answer for its circuit
	// breaker to open.
	openAfter = 5

	// A breaker stays open from the one to the other, twice as long each time.
	firstOpen   = 30 * time.Second
	longestOpen = 5 * time.Minute

	// breakerRetention is how long a breaker counts as open whose host is not asked any
	// more.
	breakerRetention = time.Hour

	// maxHosts is how many hosts are remembered.
	maxHosts = 1000

	// maxHostBytes bounds what is remembered of each: a name has 255 bytes (RFC
	// 1035, section 2.3.4), and a port follows it.
	maxHostBytes = 300
)

// A noAnswerError is a timeout to all that ask what kind of error it is.
type noAnswerError struct{}

func (noAnswerError) Error() string   { return "no answer in time" }
func (noAnswerError) Timeout() bool   { return true }
func (noAnswerError) Temporary() bool { return true }
func (noAnswerError) Unwrap() error   { return os.ErrDeadlineExceeded }

var errNoAnswer noAnswerError

// An UnavailableError is about a request that was not made, since the host is left
// alone for a while.
type UnavailableError struct {
	// Host that was not asked.
	Host string

	// Until when it is not.
	Until time.Time

	// RateLimited reports whether the host asked to wait; otherwise it has not answered.
	RateLimited bool
}

// Error says why a host gets no request. It stays the same until the host's next
// request.
func (e *UnavailableError) Error() string {
	until := e.Until.UTC().Format(time.RFC3339)
	if e.RateLimited {
		return fmt.Sprintf("%s limits the rate of requests: asked again after %s", e.Host, until)
	}
	return fmt.Sprintf("%s has not answered %d times in a row: asked again after %s", e.Host, openAfter, until)
}

// Failure returns the outcome of a request that was not made.
func (e *UnavailableError) Failure() *outcome.Error {
	reason := outcome.Unavailable
	if e.RateLimited {
		reason = outcome.RateLimited
	}
	return outcome.Errorf(reason, "%s", e).After(time.Until(e.Until)).Because(e)
}

// Hosts know how hosts have answered the clients of this process that share
// them: each host has a circuit breaker, and the time that it asked to be left
// alone for. They are bounded, kept in memory, and safe for concurrent use.
type Hosts struct {
	now func() time.Time

	mu    sync.Mutex
	hosts map[string]*health
}

// health is how one host answers.
type health struct {
	used     time.Time
	quick    bool      // By its last answer.
	failures int       // In a row.
	opened   int       // How often the breaker opened since the last answer.
	until    time.Time // When the breaker lets a request through, or the host wants one.
	probing  bool      // That request is under way.
}

// NewHosts returns Hosts that know nothing.
func NewHosts() *Hosts { return &Hosts{now: time.Now, hosts: map[string]*health{}} }

// Quick reports whether an origin, as Transport was given it, answers quickly,
// by its last answer. One that was not asked yet is not known to.
func (h *Hosts) Quick(origin string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.hosts[origin]
	return ok && s.quick
}

// OpenBreakers returns how many hosts have an open circuit breaker, as far as somebody
// has asked for them in the last hour.
func (h *Hosts) OpenBreakers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	open, now := 0, h.now()
	for _, s := range h.hosts {
		if s.failures >= openAfter && now.Sub(s.used) < breakerRetention {
			open++
		}
	}
	return open
}

// Transport returns a transport for a client of an origin, which is a scheme and
// a host. It makes no request where a breaker is open or a host asked to be left
// alone: the error is an UnavailableError then. Otherwise it gives up where the host
// does not answer in time; only what writes may take as long as the context lets
// it, once there is a connection.
//
// Each account has its own waits that the origin asked for, since a server limits each.
// Hosts that the origin redirects to have their own breakers for this origin's clients, so that it cannot open those of another origin.
func (h *Hosts) Transport(origin, account string, next http.RoundTripper) http.RoundTripper {
	return &hostTransport{hosts: h, origin: origin, account: account, next: next}
}

type hostTransport struct {
	hosts           *Hosts
	origin, account string
	next            http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *hostTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if len(req.URL.Host) > maxHostBytes {
		return nil, &BlockedError{Host: req.URL.Host, network: reserved}
	}
	place := t.origin
	if at := strings.ToLower(req.URL.Scheme + "://" + req.URL.Host); at != t.origin {
		place += " " + at
	}
	account := place + " of " + t.account
	if err := t.hosts.enter(place, account, req.URL.Host); err != nil {
		return nil, err
	}
	began := t.hosts.now()
	ctx, cancel := context.WithCancelCause(req.Context())
	rsp, err := t.answer(req.WithContext(ctx), cancel)
	if err != nil {
		cancel(nil)
		switch {
		case req.Context().Err() != nil && t.hosts.now().Sub(began) < answerTimeout, errors.As(err, new(*outcome.Error)):
			// The caller gave up early, or this program's settings are wrong.
			t.hosts.abandon(place)
		case hasAnswered(err):
			t.hosts.refused(place)
		default:
			t.hosts.failed(place)
		}
		return nil, err
	}
	t.hosts.answered(place, account, rsp, t.hosts.now().Sub(began))
	if rsp.Body == http.NoBody {
		cancel(nil)
		return rsp, nil
	}
	ended := func() {
		if t.hosts.now().Sub(began) > quickAnswer {
			t.hosts.slow(place)
		}
	}
	rsp.Body = &timedBody{ReadCloser: rsp.Body, ctx: ctx, cancel: cancel, ended: ended, timer: time.AfterFunc(bodyTimeout, func() {
		t.hosts.failed(place)
		cancel(errNoAnswer)
	})}
	return rsp, nil
}

// answer returns the answer to a request, or cancels the request if there is none in
// time.
func (t *hostTransport) answer(req *http.Request, cancel context.CancelCauseFunc) (*http.Response, error) {
	timer := time.AfterFunc(connectTimeout, func() { cancel(errNoAnswer) })
	reads := req.Method == http.MethodGet || req.Method == http.MethodHead || req.Method == http.MethodPost
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		if timer.Stop() && reads {
			timer.Reset(answerTimeout)
		}
	}})
	rsp, err := t.next.RoundTrip(req.WithContext(ctx))
	timer.Stop()
	if errors.Is(context.Cause(ctx), errNoAnswer) {
		if err == nil {
			_ = rsp.Body.Close()
		}
		return nil, errNoAnswer
	}
	return rsp, err
}

// CloseIdleConnections is what http.Client looks for.
func (t *hostTransport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// A timedBody is the body of an answer that has to come in time.
type timedBody struct {
	io.ReadCloser

	ctx    context.Context //nolint:containedctx // Belongs to this one request.
	cancel context.CancelCauseFunc
	ended  func()
	timer  *time.Timer
}

// Read implements io.Reader.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.timer.Stop()
		if errors.Is(context.Cause(b.ctx), errNoAnswer) {
			err = errNoAnswer
		}
	}
	return n, err
}

// Close ends the request.
func (b *timedBody) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	b.ended()
	return err
}

// enter returns an UnavailableError if a host must not be asked now. A breaker that was
// open for its time lets one request through.
func (h *Hosts) enter(place, account, host string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if a, ok := h.hosts[account]; ok && now.Before(a.until) {
		return &UnavailableError{Host: host, Until: a.until, RateLimited: true}
	}
	s := h.of(place, now)
	if s.failures < openAfter {
		return nil
	}
	if s.probing || now.Before(s.until) {
		return &UnavailableError{Host: host, Until: s.until}
	}
	s.probing = true
	return nil
}

// of returns what is known of a place. Where there are too many, the one that
// was asked longest ago is forgotten.
func (h *Hosts) of(place string, now time.Time) *health {
	s, ok := h.hosts[place]
	if !ok {
		if len(h.hosts) >= maxHosts {
			oldest := ""
			for p, o := range h.hosts {
				if oldest == "" || o.used.Before(h.hosts[oldest].used) {
					oldest = p
				}
			}
			delete(h.hosts, oldest)
		}
		s = &health{}
		h.hosts[place] = s
	}
	s.used = now
	return s
}

// abandon notes that nothing was learnt of a place.
func (h *Hosts) abandon(place string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(place, h.now()).probing = false
}

// hasAnswered reports whether a request failed though its host answered: it cannot
// be trusted, does not trust the client, or speaks TLS in another way. Errors of
// crypto/tls about what a server sent have no type.
func hasAnswered(err error) bool {
	if CauseOf(err) != None || errors.As(err, new(tls.RecordHeaderError)) || strings.HasPrefix(err.Error(), "tls: ") {
		return true
	}
	// An alert (RFC 8446, section 6), of either side.
	var alert *net.OpError
	return errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error")
}

// refused notes that a host answered, but not to the request.
func (h *Hosts) refused(place string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	*h.of(place, now) = health{used: now}
}

// failed notes that a host did not answer.
func (h *Hosts) failed(place string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	s := h.of(place, now)
	s.probing, s.quick = false, false
	if s.failures++; s.failures < openAfter || now.Before(s.until) {
		return
	}
	s.opened++
	s.until = now.Add(retry.Backoff(s.opened, firstOpen, longestOpen)).Truncate(time.Second)
}

// slow records that a host's answer took its time to end.
func (h *Hosts) slow(place string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(place, h.now()).quick = false
}

// answered notes how a host answered.
func (h *Hosts) answered(place, account string, rsp *http.Response, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	s := h.of(place, now)
	*s = health{used: now, quick: took <= quickAnswer}
	if rsp.StatusCode != http.StatusTooManyRequests && rsp.StatusCode != http.StatusServiceUnavailable {
		return
	}
	if wait, ok := RetryAfter(rsp.Header.Get("Retry-After"), now); ok && wait > 0 {
		h.of(account, now).until = now.Add(wait).Truncate(time.Second)
	}
}
