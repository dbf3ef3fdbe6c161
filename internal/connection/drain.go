package connection

import (
	"context"
	"io"
	"net/http"
	"time"
)

const (
	// drainBytes is how much of a body that was closed early is read, so that
	// its connection can be used again. More than that costs more than another
	// connection.
	drainBytes = 64 << 10

	// drainTime bounds how long that may take.
	drainTime = 100 * time.Millisecond
)

// Draining returns a transport whose bodies, when they are closed before their
// end, are read to it first if little is left: net/http reuses a connection only
// after the whole body was read (https://pkg.go.dev/net/http#Response). They tell
// WithOverload's function of answers that ask for fewer requests.
func Draining(next http.RoundTripper) http.RoundTripper { return drainer{next} }

type drainer struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (d drainer) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	rsp, err := d.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return rsp, err
	}
	noteOverload(req, rsp)
	// What the caller sees is the request that it made.
	rsp.Request = req
	rsp.Body = &drainedBody{ReadCloser: rsp.Body, left: rsp.ContentLength, cancel: cancel}
	return rsp, nil
}

// CloseIdleConnections is what http.Client looks for.
func (d drainer) CloseIdleConnections() {
	if next, ok := d.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// A drainedBody is a body that is drained when it is closed.
type drainedBody struct {
	io.ReadCloser

	left   int64 // Bytes that are left; negative if that is not known.
	ended  bool
	cancel context.CancelFunc
}

// Read implements io.Reader.
func (b *drainedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left >= 0 {
		b.left = max(b.left-int64(n), 0)
	}
	b.ended = b.ended || err != nil
	return n, err
}

// Close reads what is left if that is little, and closes the body.
func (b *drainedBody) Close() error {
	defer b.cancel()
	if !b.ended && b.left <= drainBytes {
		timer := time.AfterFunc(drainTime, b.cancel)
		_, _ = io.CopyN(io.Discard, b, drainBytes+1)
		timer.Stop()
	}
	return b.ReadCloser.Close()
}
