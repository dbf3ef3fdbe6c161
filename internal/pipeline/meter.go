package pipeline

import "sync"

// A Meter counts what a run has done and has to do. Its zero value is that of a
// run which has not begun, and a nil one counts nothing. It is safe for
// concurrent use.
type Meter struct {
	mu          sync.Mutex
	step        string
	done, total int64
}

// Step begins a step of the run, whose bytes are counted anew. The total is how
// many it has to move, 0 while that is not known.
func (m *Meter) Step(name string, total int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.step, m.done, m.total = name, 0, total
}

// Add counts bytes that were moved, or that need not be. A negative number
// takes back what has to be moved again.
func (m *Meter) Add(n int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
}
