package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
	"golang.org/x/text/width"
)

// Control sequences (ECMA-48, 8.3) that terminals on all platforms know.
const (
	cursorUp   = "\x1b[%dA" // CUU
	eraseLine  = "\x1b[K"   // EL: from the cursor on.
	eraseBelow = "\x1b[J"   // ED: from the cursor on.
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
)

// The size of a terminal that does not tell its own.
const (
	defaultColumns = 80
	defaultRows    = 24
)

// A Screen shows some lines on a terminal and replaces them in place. Nothing else may be
// written to the terminal before it is closed.
type Screen struct {
	file  *os.File
	shown int // Lines that are shown.
}

// NewScreen returns a screen on w; nil if w is no terminal, or one that has no cursor.
func NewScreen(w io.Writer) *Screen {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || os.Getenv("TERM") == "dumb" || enableSequences(file) != nil {
		return nil
	}
	return &Screen{file: file}
}

// Size returns the columns and rows of the terminal as they are now.
func (s *Screen) Size() (columns, rows int) {
	columns, rows, err := term.GetSize(int(s.file.Fd()))
	if err != nil || columns <= 0 || rows <= 0 {
		return defaultColumns, defaultRows
	}
	return columns, rows
}

// Draw replaces the lines that are shown. Each is escaped as Line does, and cut where the
// terminal ends; lines that it has no room for are left out.
func (s *Screen) Draw(lines []string) error {
	columns, rows := s.Size()
	// The cursor is below the last line.
	lines = lines[:min(len(lines), max(rows-1, 1))]
	var b strings.Builder
	if s.shown == 0 {
		b.WriteString(hideCursor)
	}
	s.up(&b, rows)
	for _, l := range lines {
		b.WriteString(Cut(Line(l), columns) + eraseLine + "\r\n")
	}
	b.WriteString(eraseBelow)
	s.shown = len(lines)
	_, err := io.WriteString(s.file, b.String())
	return err
}

// up moves the cursor to the first line that is shown. After the terminal has become
// smaller, lines above its first row are out of reach.
func (s *Screen) up(b *strings.Builder, rows int) {
	if n := min(s.shown, rows-1); n > 0 {
		_, _ = fmt.Fprintf(b, "\r"+cursorUp, n)
	}
}

// Close leaves what is shown, and the cursor below it.
func (s *Screen) Close() error {
	if s.shown == 0 {
		return nil
	}
	_, err := io.WriteString(s.file, showCursor)
	return err
}

// Clear removes what is shown.
func (s *Screen) Clear() error {
	if s.shown == 0 {
		return nil
	}
	_, rows := s.Size()
	var b strings.Builder
	s.up(&b, rows)
	b.WriteString(eraseBelow)
	s.shown = 0
	_, err := io.WriteString(s.file, b.String()+showCursor)
	return err
}

// Columns returns how many columns a text takes: wide characters, as of Chinese, take two
// (Unicode Standard Annex #11).
func Columns(s string) int {
	n := 0
	for _, r := range s {
		n += columnsOf(r)
	}
	return n
}

// columnsOf returns how many columns a character takes.
func columnsOf(r rune) int {
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	default:
		return 1
	}
}

// Cut returns a text of at most n columns, with … at its end if something is left out.
func Cut(s string, n int) string {
	if Columns(s) <= n {
		return s
	}
	var b strings.Builder
	used := 1
	for _, r := range s {
		if used += columnsOf(r); used > n {
			break
		}
		b.WriteRune(r)
	}
	return b.String() + "…"
}

// Bar returns a bar of some columns, of which a share from 0 to 1 is filled.
func Bar(share float64, columns int) string {
	// Eighths of a column (Unicode, Block Elements).
	const parts = "▏▎▍▌▋▊▉"
	eighths := int(min(max(share, 0), 1) * float64(columns) * 8)
	bar := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		bar += string([]rune(parts)[rest-1])
	}
	return bar + strings.Repeat("░", max(0, columns-Columns(bar)))
}
