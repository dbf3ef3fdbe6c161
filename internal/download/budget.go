package download

import "sync"

// blockSize is how much memory a Budget gives at a time: what a range is read
// into ahead of its turn.
const blockSize = 256 << 10

// A Budget is the memory for what downloads read ahead. It bounds all downloads that
// share it, each to an equal share; when it is used up, a download continues with
// its own stream, which needs none. A Budget is safe for concurrent use, and keeps its
// memory for later downloads.
type Budget struct {
	limit int // In blocks, as all here.

	mu    sync.Mutex
	free  [][]byte
	used  int
	peak  int
	users int
	given chan struct{} // Closed when there may be blocks again.
}

// NewBudget returns a Budget of so many bytes, rounded down to 256 KiB.
func NewBudget(bytes int64) *Budget {
	return &Budget{limit: int(max(0, bytes/blockSize)), given: make(chan struct{})}
}

// SetLimit changes how many bytes the budget has. If these are fewer, what is in use
// beyond them is given back as it is read.
func (b *Budget) SetLimit(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = int(max(0, bytes/blockSize))
	keep := min(len(b.free), max(0, b.limit-b.used))
	clear(b.free[keep:])
	b.free = b.free[:keep]
	b.wake()
}

// Users returns how many downloads share the budget now.
func (b *Budget) Users() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.users
}

// Used returns how many bytes are in use now.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(b.used) * blockSize
}

// Peak returns the most bytes that were in use at a time so far.
func (b *Budget) Peak() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(b.peak) * blockSize
}

// A share is what one download has of a budget.
type share struct {
	budget *Budget
	used   int
	gone   bool
}

// join returns a share of the budget, beside all others.
func (b *Budget) join() *share {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users++
	return &share{budget: b}
}

// leave makes the other shares larger. Blocks in use must still be put back.
func (s *share) leave() {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.gone {
		return
	}
	s.gone = true
	b.users--
	b.wake()
}

// get returns a block, or nil if done or turn ends before there is one.
func (s *share) get(done, turn <-chan struct{}) []byte {
	for {
		select {
		case <-done:
			return nil
		case <-turn:
			return nil
		default:
		}
		block, given := s.try()
		if block != nil {
			return block
		}
		select {
		case <-given:
		case <-done:
		case <-turn:
		}
	}
}

// try returns a block, or what tells that it is time for another try.
func (s *share) try() ([]byte, <-chan struct{}) {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used >= b.limit || s.used > 0 && s.used >= b.limit/max(1, b.users) {
		return nil, b.given
	}
	b.used++
	s.used++
	b.peak = max(b.peak, b.used)
	if n := len(b.free); n > 0 {
		block := b.free[n-1]
		b.free = b.free[:n-1]
		return block, nil
	}
	return make([]byte, blockSize), nil
}

// put takes back a block, or what is left of it at its front.
func (s *share) put(block []byte) {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used--
	s.used--
	if b.used+len(b.free) < b.limit {
		b.free = append(b.free, block[:blockSize])
	}
	b.wake()
}

func (b *Budget) wake() {
	close(b.given)
	b.given = make(chan struct{})
}
