// Package terminaltest shows what programs write to a terminal.
package terminaltest

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
)

// A Screen is what is on a terminal that knows the control sequences of package terminal
// alone, and keeps all lines.
type Screen struct {
	mu     sync.Mutex
	lines  [][]rune
	row    int
	column int
	hidden bool
	wrong  []string
	rest   []byte
	onData func([]byte)
}

// sequence matches a control sequence (ECMA-48, 5.4).
var sequence = regexp.MustCompile(`^\x1b\[([0-9;?]*)([@-~])`)

// Write implements io.Writer.
func (s *Screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onData != nil {
		s.onData(b)
	}
	all := slices.Concat(s.rest, b)
	s.rest = nil
	for len(all) > 0 {
		n := s.step(all)
		if n == 0 {
			s.rest = append([]byte{}, all...)
			break
		}
		all = all[n:]
	}
	return len(b), nil
}

// step takes the next character or sequence, and returns its length; 0 if it is incomplete.
func (s *Screen) step(b []byte) int {
	if b[0] == 0x1b {
		m := sequence.FindSubmatch(b)
		if m == nil {
			if len(b) > 32 {
				s.wrong = append(s.wrong, strconv.Quote(string(b[:32])))
				return 1
			}
			return 0
		}
		s.control(string(m[1]), string(m[2]))
		return len(m[0])
	}
	if !utf8.FullRune(b) {
		return 0
	}
	r, n := utf8.DecodeRune(b)
	switch {
	case r == '\n':
		s.row++
		s.line()
	case r == '\r':
		s.column = 0
	case r < ' ' || r >= 0x7f && r < 0xa0:
		s.wrong = append(s.wrong, strconv.QuoteRune(r))
	default:
		s.put(r)
	}
	return n
}

// control obeys a control sequence.
func (s *Screen) control(parameter, final string) {
	switch parameter + final {
	case "K":
		s.lines[s.row] = s.line()[:min(s.column, len(s.line()))]
	case "J":
		s.line()
		s.lines = s.lines[:s.row+1]
		s.lines[s.row] = s.lines[s.row][:min(s.column, len(s.lines[s.row]))]
	case "?25l", "?25h":
		s.hidden = final == "l"
	default:
		n, err := strconv.Atoi(parameter)
		if final != "A" || err != nil || n > s.row {
			s.wrong = append(s.wrong, strconv.Quote("\x1b["+parameter+final))
			return
		}
		s.row -= n
	}
}

// line returns the line that the cursor is in.
func (s *Screen) line() []rune {
	for len(s.lines) <= s.row {
		s.lines = append(s.lines, nil)
	}
	return s.lines[s.row]
}

// put writes a character.
func (s *Screen) put(r rune) {
	line := s.line()
	for len(line) <= s.column {
		line = append(line, ' ')
	}
	line[s.column] = r
	s.lines[s.row] = line
	s.column++
}

// String returns what is on the screen.
func (s *Screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, l := range s.lines {
		out = append(out, strings.TrimRight(string(l), " "))
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n")
}

// Hidden reports whether the cursor is hidden.
func (s *Screen) Hidden() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hidden
}

// Wrong returns what was written that the screen does not obey.
func (s *Screen) Wrong() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wrong
}

// OnData calls f with all that is written from now on.
func (s *Screen) OnData(f func([]byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onData = f
}

// Open returns a terminal of a size, and what is shown on it. The function closes it, and
// returns when all that was written to it is shown.
func Open(columns, rows uint16) (tty *os.File, s *Screen, closed func(), err error) {
	master, tty, err := pty.Open()
	if err != nil {
		return nil, nil, nil, err
	}
	if err := pty.Setsize(tty, &pty.Winsize{Cols: columns, Rows: rows}); err != nil {
		return nil, nil, nil, err
	}
	s = &Screen{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Linux ends the reading with EIO once the terminal is closed.
		_, _ = io.Copy(s, master)
	}()
	return tty, s, func() { _ = tty.Close(); <-done; _ = master.Close() }, nil
}

// New returns a terminal of a size for a test. When the test ends, the terminal must
// have obeyed all that was written to it, and show its cursor.
func New(t testing.TB, columns, rows uint16) (*os.File, *Screen) {
	t.Helper()
	tty, s, closed, err := Open(columns, rows)
	if err != nil {
		t.Skipf("there are no terminals here: %s", err)
	}
	t.Setenv("TERM", "xterm")
	t.Cleanup(func() {
		closed()
		if wrong := s.Wrong(); len(wrong) > 0 {
			t.Errorf("The terminal got control sequences that package terminal does not use: %s", strings.Join(wrong, ", "))
		}
		if s.Hidden() {
			t.Error("The cursor stayed hidden.")
		}
	})
	return tty, s
}

// Wait waits until a screen is as it should be, and returns it.
func Wait(t testing.TB, s interface{ String() string }, what string, is func(string) bool) string {
	t.Helper()
	const patience = time.Minute
	for start := time.Now(); time.Since(start) < patience; time.Sleep(10 * time.Millisecond) {
		if text := s.String(); is(text) {
			return text
		}
	}
	t.Fatalf("%s: after %s there is\n%s", what, patience, s.String())
	return ""
}
