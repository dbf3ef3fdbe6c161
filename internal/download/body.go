package download

import (
	"context"
	"io"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// ErrStalled is the cause of the error of a server that sends nothing.
var ErrStalled = errors.New("no bytes came")

// leastBytes is how much of a body must arrive within its limit of time, so that a
// trickle counts as stalled, too.
const leastBytes = 16 << 10

// A Body is the body of an answer that returns an error when no bytes, or next to none,
// arrive for a while. It counts only the time that a Read waits, not the time that
// its reader takes.
type Body struct {
	io.ReadCloser

	ctx    context.Context //nolint:containedctx // Belongs to this one request.
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
	left   time.Duration // Of limit.
	came   int           // Bytes since left was all of limit.

	server, object string
}

// NewBody returns the Body of a server's answer about an object, which may send nothing
// for as long as the limit. Both are named as in messages. The context is the
// request's, and is cancelled when the Body is closed or its limit is over.
func NewBody(ctx context.Context, cancel context.CancelCauseFunc, rc io.ReadCloser, limit time.Duration, server, object string) *Body {
	timer := time.AfterFunc(limit, func() { cancel(ErrStalled) })
	timer.Stop()
	return &Body{ReadCloser: rc, ctx: ctx, cancel: cancel, timer: timer, limit: limit, left: limit, server: server, object: object}
}

// Read returns an outcome.Error for what the network does.
func (b *Body) Read(p []byte) (int, error) {
	start := time.Now()
	b.timer.Reset(b.left)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	b.left -= time.Since(start)
	if b.came += n; b.came >= leastBytes {
		b.came, b.left = 0, b.limit
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	switch {
	case errors.Is(context.Cause(b.ctx), ErrStalled):
		err = outcome.Errorf(outcome.Unavailable, "%s sent nothing of %s for %s; this may be transient", b.server, b.object, b.limit).Because(ErrStalled)
	case b.ctx.Err() != nil:
		err = errors.Wrapf(b.ctx.Err(), "cannot read %s", b.object)
	default:
		err = outcome.Errorf(outcome.Unavailable, "%s's stream of %s broke off; this may be transient", b.server, b.object).Because(err)
	}
	return n, err
}

// Close ends the request.
func (b *Body) Close() error {
	err := b.ReadCloser.Close()
	b.timer.Stop()
	b.cancel(nil)
	return err
}
