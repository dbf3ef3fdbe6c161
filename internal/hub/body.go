package hub

import (
	"context"
	"io"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

var errStalled = errors.New("no bytes came")

// leastBytes is how much of a body must arrive within its limit of time, so that a
// trickle counts as stalled, too.
const leastBytes = 16 << 10

// A body is a stream of a Hub that returns an error when no bytes, or next to none,
// arrive for a while. It counts only the time that a Read waits, not the time that
// its reader takes.
type body struct {
	io.ReadCloser

	ctx     context.Context //nolint:containedctx // Belongs to this one request.
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	limit   time.Duration
	left    time.Duration // Of limit.
	came    int           // Bytes since left was all of limit.
	subject subject
}

func newBody(ctx context.Context, cancel context.CancelCauseFunc, rc io.ReadCloser, limit time.Duration, s subject) *body {
	timer := time.AfterFunc(limit, func() { cancel(errStalled) })
	timer.Stop()
	return &body{ReadCloser: rc, ctx: ctx, cancel: cancel, timer: timer, limit: limit, left: limit, subject: s}
}

// Read returns an outcome.Error for what the network does.
func (b *body) Read(p []byte) (int, error) {
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
	case errors.Is(context.Cause(b.ctx), errStalled):
		err = outcome.Errorf(outcome.Unavailable, "the Hub sent nothing of %s for %s; this may be transient", b.subject, b.limit).Because(errStalled)
	case b.ctx.Err() != nil:
		err = errors.Wrapf(b.ctx.Err(), "cannot read %s", b.subject)
	default:
		err = outcome.Errorf(outcome.Unavailable, "the Hub's stream of %s broke off; this may be transient", b.subject).Because(err)
	}
	return n, err
}

// Close ends the request.
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.timer.Stop()
	b.cancel(nil)
	return err
}
