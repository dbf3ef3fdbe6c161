package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

type waitKey struct{}

// noteWaits makes notedWait work for requests with the returned context: the
// errors of oras-go do not tell what an answer's headers said.
func noteWaits(ctx context.Context) context.Context {
	return context.WithValue(ctx, waitKey{}, new(atomic.Int64))
}

// notedWait returns how long the registry's last answer asked to wait.
func notedWait(ctx context.Context) time.Duration {
	if n, ok := ctx.Value(waitKey{}).(*atomic.Int64); ok {
		return time.Duration(n.Load())
	}
	return 0
}

// A waitNoter notes what Retry-After says, and has all requests of the run wait
// that use the registry.
type waitNoter struct {
	next     http.RoundTripper
	host     string
	throttle *connection.Throttle
}

func (w waitNoter) RoundTrip(req *http.Request) (*http.Response, error) {
	rsp, err := w.next.RoundTrip(req)
	if err != nil {
		return rsp, err
	}
	asked, _ := connection.RetryAfter(rsp.Header.Get("Retry-After"), time.Now())
	if rsp.StatusCode == http.StatusTooManyRequests || rsp.StatusCode >= http.StatusInternalServerError {
		w.throttle.Hold(w.host, asked)
	}
	if n, ok := req.Context().Value(waitKey{}).(*atomic.Int64); ok {
		n.Store(int64(asked))
	}
	return rsp, nil
}

// An upload is the body of a blob's push. It cancels the push when the
// registry stalls: takes no bytes for a while, or has them all and answers
// nothing. How long the source of the bytes takes does not count.
type upload struct {
	size   int64
	stall  time.Duration
	commit time.Duration
	timer  *time.Timer

	mu     sync.Mutex // Held while the source is read.
	source io.Reader  // Nil once the push is over.
	read   int64
	broken error
}

func newUpload(r io.Reader, size int64, stall, commit time.Duration, cancel context.CancelCauseFunc) *upload {
	return &upload{
		source: r, size: size, stall: stall, commit: commit,
		timer: time.AfterFunc(stall, func() { cancel(errStalled) }),
	}
}

var errOver = errors.New("the push is over")

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.source == nil {
		return 0, errOver
	}
	u.timer.Stop()
	n, err := u.source.Read(p)
	u.read += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		u.broken = err
	}
	if u.read >= u.size || err != nil {
		u.timer.Reset(u.commit)
		return n, err
	}
	u.timer.Reset(u.stall)
	return n, err
}

// end returns the source's error, if any. The source is not read any more once
// it has returned, which net/http alone does not promise: it may still be
// reading when an answer has come early.
func (u *upload) end() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.timer.Stop()
	u.source = nil
	return u.broken
}

// A download is a blob's body. It gives up when no bytes come for a while.
type download struct {
	io.ReadCloser

	ctx    context.Context //nolint:containedctx // Belongs to this one request.
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
	verify func() error
	failed func(error) error
}

// Read returns io.EOF only after bytes with the blob's digest.
func (d *download) Read(p []byte) (int, error) {
	d.timer.Reset(d.stall)
	n, err := d.ReadCloser.Read(p)
	d.timer.Stop()
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return n, d.failed(err)
	}
	if verr := d.verify(); verr != nil {
		return n, verr
	}
	return n, io.EOF
}

// Close ends the request.
func (d *download) Close() error {
	err := d.ReadCloser.Close()
	d.timer.Stop()
	d.cancel(nil)
	return err
}

// An ownTransport shows a client certificate to the registry, and to no other
// host that the registry redirects to: the certificate would disclose the client's
// identity, and let that host relay its authentication.
type ownTransport struct {
	host        string // As in URLs.
	own, others *http.Transport
}

// newOwnTransport returns a transport for a client of a registry, which goes where the guard
// lets it.
func newOwnTransport(host string, guard *connection.Guard, pool *x509.CertPool, certificates []tls.Certificate) *ownTransport {
	fresh := func() *http.Transport {
		out := connection.NewTransport(pool, guard)
		out.WriteBufferSize = 64 << 10
		return out
	}
	t := &ownTransport{host: host, own: fresh()}
	if t.others = t.own; len(certificates) > 0 {
		t.others = fresh()
		t.own.TLSClientConfig.Certificates = certificates
	}
	return t
}

// RoundTrip implements http.RoundTripper.
func (t *ownTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if bareHost(req.URL.Host, req.URL.Scheme) == bareHost(t.host, req.URL.Scheme) {
		return t.own.RoundTrip(req)
	}
	return t.others.RoundTrip(req)
}

// CloseIdleConnections closes connections that no request uses.
func (t *ownTransport) CloseIdleConnections() {
	t.own.CloseIdleConnections()
	t.others.CloseIdleConnections()
}

// bareHost returns a host in lower case and without the port that its scheme
// has anyway.
func bareHost(host, scheme string) string {
	return strings.TrimSuffix(strings.ToLower(host), map[string]string{"https": ":443", "http": ":80"}[scheme])
}
