package download

import (
	"context"
	"io"
	"os"
	"sync"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// A Reader reads one object. What is its turn it reads itself, which takes no
// memory; what comes later is read ahead by others, into blocks of the budget.
// Read is for one caller at a time; Close may come from another.
type Reader struct {
	ctx    context.Context //nolint:containedctx // Of all of the reading.
	cancel context.CancelFunc
	src    *source
	end    int64 // Where it stops.
	logf   func(format string, args ...any)
	ahead  *ahead // Nil for one stream.

	mu   sync.Mutex // Keeps Close from what is being read.
	at   int64      // The next byte's place.
	head *segment   // Where that is; nil between two of them.
	held []byte     // A block, of which rest is still to be read.
	rest []byte
	err  error
}

var _ io.ReadCloser = &Reader{}

func newReader(ctx context.Context, src *source, from, to int64, o Options) *Reader {
	r := &Reader{src: src, at: from, end: to, logf: o.Logf}
	r.ctx, r.cancel = context.WithCancel(ctx)
	if o.Range <= 0 {
		o.Range = DefaultRange
	}
	if o.Parallel <= 0 {
		o.Parallel = DefaultParallel
	}
	if o.Budget != nil && (o.Ahead != nil || o.Parallel > 1) && to-from >= 2*o.Range {
		r.ahead = newAhead(r, o)
	}
	return r
}

// start requests the first bytes. Reading ahead begins once the answer has shown
// the link to use, and that it supports ranges.
func (r *Reader) start() error {
	to := r.end
	if r.ahead != nil {
		to = r.at + r.ahead.size
	}
	r.head = &segment{span: r.span(r.at, to)}
	if err := r.head.span.open(r.ctx); err != nil {
		return err
	}
	if r.ahead != nil {
		r.ahead.start(to)
	}
	return nil
}

func (r *Reader) span(from, to int64) *span {
	s, policy := &span{src: r.src, at: from, to: to}, r.src.server.Retry
	if r.logf != nil {
		policy.Logf = func(format string, args ...any) {
			r.logf("from byte %d of "+format, append([]any{s.at}, args...)...)
		}
	}
	s.tries = policy.Start(r.src.object.Name)
	return s
}

// Read implements io.Reader. An error other than io.EOF is an outcome.Error or
// the context's, and is final.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.advance(); err != nil {
		return 0, err
	}
	if len(r.rest) == 0 {
		return r.readHead(p)
	}
	n := copy(p, r.rest)
	r.at += int64(n)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.release()
	}
	return n, nil
}

// advance returns once there are bytes in rest, or the head's span must be read.
func (r *Reader) advance() error {
	for r.err == nil && len(r.rest) == 0 {
		switch {
		case r.at == r.end:
			if r.ahead != nil {
				r.ahead.share.leave()
			}
			return io.EOF
		case r.head == nil:
			r.head = r.ahead.pop(r.at)
		case r.head.full != nil:
			r.err = r.await()
		case r.head.span.at == r.head.span.to:
			r.head = nil
		default:
			return nil
		}
	}
	return r.err
}

// await takes a block that was read ahead, or switches to reading the rest of the
// span.
func (r *Reader) await() error {
	select {
	case block, ok := <-r.head.full:
		r.held, r.rest = block, block
		if !ok {
			r.head.full = nil
			// Nothing before it is unread any more.
			r.head.span.ahead = false
		}
		return nil
	case <-r.ctx.Done():
		return errors.Wrapf(r.ctx.Err(), "cannot read %s", r.src.object.Name)
	}
}

func (r *Reader) readHead(p []byte) (int, error) {
	s := r.head.span
	// An answer may be the whole object.
	n, err := s.read(r.ctx, p[:min(int64(len(p)), r.end-r.at)])
	r.at += int64(n)
	if r.ahead != nil {
		r.ahead.slots.Add(int64(n))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
		return n, err
	}
	if s.whole && r.ahead != nil {
		// What others read ahead comes in this stream too.
		r.ahead.stop()
	}
	return n, nil
}

func (r *Reader) release() {
	if r.held != nil {
		r.ahead.share.put(r.held)
	}
	r.held, r.rest = nil, nil
}

// Close ends all requests at once, and returns when nothing is left of them.
func (r *Reader) Close() error {
	r.cancel()
	if r.ahead != nil {
		r.ahead.wait()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = errors.Wrapf(os.ErrClosed, "cannot read %s", r.src.object.Name)
	}
	r.release()
	if r.head != nil {
		r.head.drop(r.ahead)
		r.head = nil
	}
	if r.ahead != nil {
		r.ahead.drop()
		r.ahead.share.leave()
	}
	return nil
}
