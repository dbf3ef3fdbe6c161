package terminal

import "sync"

// A Live screen shows some lines below a log. What is written to it is the log, which is
// escaped as Safe does. It is safe for concurrent use.
type Live struct {
	screen *Screen

	mu    sync.Mutex
	log   *Safe
	lines []string
}

// NewLive returns a live screen.
func NewLive(s *Screen) *Live { return &Live{screen: s, log: NewSafe(s.file)} }

// Columns returns how wide the terminal is.
func (l *Live) Columns() int {
	columns, _ := l.screen.Size()
	return columns
}

// Write implements io.Writer. What is written must end with a line's end.
func (l *Live) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.screen.Clear(); err != nil {
		return 0, err
	}
	if _, err := l.log.Write(b); err != nil {
		return 0, err
	}
	if len(l.lines) == 0 {
		return len(b), nil
	}
	return len(b), l.screen.Draw(l.lines)
}

// Draw replaces the lines below the log.
func (l *Live) Draw(lines []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = lines
	return l.screen.Draw(lines)
}

// Close removes the lines below the log.
func (l *Live) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = nil
	return l.screen.Clear()
}
