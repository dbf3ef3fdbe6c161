package download

import (
	"context"
	"io"
	"sync"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/parallel"
)

// A segment is a range of a file that is read ahead. The goroutine that reads it
// ahead sends blocks, and closes the channel when it is done, at the latest when it
// is the segment's turn: the reader then reads the rest.
type segment struct {
	span *span
	full chan []byte   // Nil if nothing is read ahead.
	turn chan struct{} // Closed once everything before it was read.

	// waiting ends with proceed, at its turn: who waits for a slot needs none any more.
	waiting context.Context //nolint:containedctx // Of one segment.
	proceed context.CancelFunc
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

// An ahead reads several later segments of a file at the same time, beside the reader's
// own stream: as many as its limit has slots for, which others may share.
type ahead struct {
	reader  *Reader
	share   *share
	size    int64           // Of a segment.
	slots   *parallel.Limit // One is held while a segment's bytes come.
	shared  bool            // Other downloads have the same slots.
	ctx     context.Context //nolint:containedctx // Of all that is read ahead.
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	now   int   // The segments that are being read ahead.
	next  int64 // Where the next segment begins.
	queue []*segment
}

func newAhead(r *Reader, o Options) *ahead {
	a := &ahead{reader: r, share: o.Budget.join(), size: o.Range, slots: o.Ahead, shared: o.Ahead != nil}
	if !a.shared {
		a.slots = parallel.Fixed(o.Parallel - 1)
	}
	a.ctx, a.stop = context.WithCancel(r.ctx)
	return a
}

func (a *ahead) start(from int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next = from
	a.more()
}

// most returns how many segments are read at the same time: the download's part of the
// slots.
func (a *ahead) most() int {
	if !a.shared {
		return a.slots.Size()
	}
	users := max(1, a.share.budget.Users())
	return (a.slots.Size() + users - 1) / users
}

// more begins further segments. Some may be done while others are not: twice as many
// may wait for their turn as are read. The caller must hold the lock.
func (a *ahead) more() {
	most := a.most()
	for a.now < most && len(a.queue) <= 2*most && a.next < a.reader.end && a.ctx.Err() == nil && !a.reader.src.isWhole() {
		s := &segment{
			span: a.reader.span(a.next, min(a.next+a.size, a.reader.end)),
			full: make(chan []byte, a.size/blockSize+1),
			turn: make(chan struct{}),
		}
		s.waiting, s.proceed = context.WithCancel(a.ctx)
		s.span.ahead = true
		a.next = s.span.to
		a.queue = append(a.queue, s)
		a.now++
		a.running.Go(func() {
			defer s.proceed()
			read := a.read(s)
			a.mu.Lock()
			defer a.mu.Unlock()
			a.now--
			if read {
				a.more()
			}
		})
	}
}

// wait returns when nothing is read ahead any more.
func (a *ahead) wait() {
	// Not while more begins segments: none is added to those that are waited for.
	a.mu.Lock()
	a.stop()
	a.mu.Unlock()
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

// read reads a segment ahead, until it is its turn. It reports whether to go on
// with others.
func (a *ahead) read(s *segment) bool {
	defer close(s.full)
	if a.slots.Acquire(s.waiting) != nil {
		return a.ctx.Err() == nil
	}
	held := true
	defer func() {
		if held {
			a.slots.Release()
		}
	}()
	for s.span.at < s.span.to {
		block, _ := a.share.try()
		if block == nil {
			// What waits for memory needs no slot.
			a.slots.Release()
			held = false
			if block = a.share.get(a.ctx.Done(), s.turn); block == nil {
				break
			}
			if a.slots.Acquire(s.waiting) != nil {
				a.share.put(block)
				break
			}
			held = true
		}
		if !a.readBlock(s, block) {
			// The reader comes to it when it is its turn.
			return false
		}
		select {
		case <-s.turn:
			return true
		default:
		}
	}
	return true
}

// readBlock reads a block of a segment, and reports whether there was no error.
func (a *ahead) readBlock(s *segment, block []byte) bool {
	n, err := fill(a.ctx, s.span, block)
	a.slots.Add(int64(n))
	if n == 0 {
		a.share.put(block)
	} else {
		s.full <- block[:n]
	}
	return err == nil
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
		// Nothing has begun this segment, and nothing will.
		to := min(at+a.size, a.reader.end)
		a.next = to
		a.more()
		return &segment{span: a.reader.span(at, to)}
	}
	s := a.queue[0]
	a.queue = a.queue[1:]
	close(s.turn)
	s.proceed()
	a.more()
	return s
}
