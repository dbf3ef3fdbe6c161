package connection

import (
	"context"
	"sync"
	"time"
)

// slotWait is how long Take waits for a slot that is likely to be released soon.
const slotWait = 250 * time.Millisecond

// A Limit bounds how many hold a slot of a pool at a time.
type Limit struct {
	// Pool names what is bounded, such as one registry, or all that are slow.
	Pool string

	// Most is how many may hold a slot of the pool.
	Most int

	// Sharer, if not empty, is one of several that share the pool fairly: it gets
	// another slot only while more are free than it holds. So a single sharer gets
	// half of the pool, and n greedy ones get 1/(n+1) each and leave as much to the
	// next one (Choudhury and Hahne, "Dynamic Queue Length Thresholds for
	// Shared-Memory Packet Switches", 1998, with alpha = 1).
	Sharer string
}

// Slots bound how much is done at a time, by pools of slots that are kept as long
// as one is held. The zero value is ready to use. It is safe for concurrent use.
type Slots struct {
	mu      sync.Mutex
	held    map[slot]int
	latest  map[string]time.Time // When a slot of a pool was taken last.
	changed chan struct{}        // Closed when some are released.
}

// A slot is one of a pool; of all of its sharers where sharer is empty.
type slot struct{ pool, sharer string }

// Take takes a slot of each limit's pool, or none, and reports which. If a pool has
// none left, but its latest was taken just now, as where all answer quickly, it waits
// up to a quarter of a second for one.
func (s *Slots) Take(ctx context.Context, limits []Limit) bool {
	var timeout <-chan time.Time
	for {
		ok, wait, changed := s.try(limits)
		if ok || !wait {
			return ok
		}
		if timeout == nil {
			timer := time.NewTimer(slotWait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-changed:
		case <-timeout:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// TryTake takes a slot of each limit's pool, or none, and reports which.
func (s *Slots) TryTake(limits []Limit) bool {
	ok, _, _ := s.try(limits)
	return ok
}

// try takes a slot of each limit's pool; otherwise it reports whether waiting for a
// change is worthwhile.
func (s *Slots) try(limits []Limit) (ok, wait bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held, s.latest, s.changed = map[slot]int{}, map[string]time.Time{}, make(chan struct{})
	}
	now := time.Now()
	for _, l := range limits {
		free := l.Most - s.held[slot{pool: l.Pool}]
		if free <= 0 || l.Sharer != "" && s.held[slot{l.Pool, l.Sharer}] >= free {
			return false, now.Sub(s.latest[l.Pool]) < 2*slotWait, s.changed
		}
	}
	for _, l := range limits {
		s.held[slot{pool: l.Pool}]++
		if l.Sharer != "" {
			s.held[slot{l.Pool, l.Sharer}]++
		}
		s.latest[l.Pool] = now
	}
	return true, false, nil
}

// Release releases the slots that were taken with the same limits.
func (s *Slots) Release(limits []Limit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range limits {
		s.release(slot{pool: l.Pool})
		if l.Sharer != "" {
			s.release(slot{l.Pool, l.Sharer})
		}
		if s.held[slot{pool: l.Pool}] == 0 {
			delete(s.latest, l.Pool)
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Slots) release(key slot) {
	if s.held[key]--; s.held[key] == 0 {
		delete(s.held, key)
	}
}
