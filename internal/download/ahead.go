package download

import (
	"context"
	"io"
	"sync"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// A segment is a range of a file that is read ahead. The goroutine that reads it
// ahead sends blocks, and closes the channel when it is done, at the latest when it
// is the segment's turn: the reader then reads the rest.
type segment struct {
	span *span
	full chan []byte   // Nil if nothing is read ahead.
	turn chan struct{} // Closed once everything before it was read.
}

// drop returns the memory of blocks that will not be read. Reading ahead must have
// ended.
func (s *segment) drop(a *ahead) {
	s.span.close()
	if s.full == nil {
		return
	}
	for block := range s.full {
		a.share.put(block)
	}
}

// An ahead reads several later segments of a file at the same time. With the reader's
// own stream, there are as many requests as the caller allows.
type ahead struct {
	reader  *Reader
	share   *share
	size    int64 // Of a segment.
	others  int
	slots   chan struct{}   // One for each segment from when it is begun to its turn.
	ctx     context.Context //nolint:containedctx // Of all that is read ahead.
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	next  int64 // Where the next segment begins.
	queue []*segment
}

func newAhead(r *Reader, b *Budget, size int64, parallel int) *ahead {
	// Some may be done while others are not: twice as many may wait for their
	// turn as are read.
	a := &ahead{reader: r, share: b.join(), size: size, others: parallel - 1, slots: make(chan struct{}, 2*parallel-1)}
	a.ctx, a.stop = context.WithCancel(r.ctx)
	return a
}

func (a *ahead) start(from int64) {
	a.next = from
	for range a.others {
		a.running.Go(a.work)
	}
}

// wait returns when nothing is read ahead any more.
func (a *ahead) wait() {
	a.stop()
	a.running.Wait()
}

// drop gives back what was read ahead and will not be read.
func (a *ahead) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.queue {
		s.drop(a)
	}
	a.queue = nil
}

// work reads one segment after another.
func (a *ahead) work() {
	for s := a.begin(); s != nil; s = a.begin() {
		if !a.read(s) {
			return
		}
	}
}

// begin returns the next segment, or nil if there is none or reading ahead has
// ended.
func (a *ahead) begin() *segment {
	select {
	case a.slots <- struct{}{}:
	case <-a.ctx.Done():
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	src := a.reader.src
	if a.ctx.Err() != nil || a.next >= a.reader.end || src.isWhole() {
		<-a.slots
		return nil
	}
	s := &segment{
		span: a.reader.span(a.next, min(a.next+a.size, a.reader.end)),
		full: make(chan []byte, a.size/blockSize+1),
		turn: make(chan struct{}),
	}
	s.span.ahead = true
	a.next = s.span.to
	a.queue = append(a.queue, s)
	return s
}

// read reads a segment ahead, until it is its turn. It reports whether to go on
// with others.
func (a *ahead) read(s *segment) bool {
	defer close(s.full)
	for s.span.at < s.span.to {
		block := a.share.get(a.ctx.Done(), s.turn)
		if block == nil {
			break
		}
		n, err := fill(a.ctx, s.span, block)
		if n == 0 {
			a.share.put(block)
		} else {
			s.full <- block[:n]
		}
		if err != nil {
			// The reader comes to it when it is its turn.
			return false
		}
	}
	return true
}

// fill reads as much of a span as there is room for.
func fill(ctx context.Context, s *span, block []byte) (int, error) {
	n := 0
	for n < len(block) {
		m, err := s.read(ctx, block[n:])
		n += m
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// pop returns the segment that begins at a place, whose turn it is now.
func (a *ahead) pop(at int64) *segment {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 {
		// No goroutine has begun this segment, and none will.
		to := min(at+a.size, a.reader.end)
		a.next = to
		return &segment{span: a.reader.span(at, to)}
	}
	s := a.queue[0]
	a.queue = a.queue[1:]
	close(s.turn)
	<-a.slots
	return s
}
