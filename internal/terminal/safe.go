// Package terminal writes for people: on a terminal, and where there is none. What comes
// from a cluster, a Hub or a log cannot control the terminal.
package terminal

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns a text as one line that has no effect on a terminal but to be shown:
// control characters, escape sequences with them, characters that change the direction of
// others or have no shape, and bytes that are no UTF-8, are escaped as in Go.
func Line(s string) string { return escape(s, func(rune) bool { return false }) }

// escape escapes a text but for the control characters that are kept.
func escape(s string, keep func(rune) bool) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			_, _ = fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsGraphic(r), keep(r):
			b.WriteRune(r)
		default:
			b.WriteString(escaped(r))
		}
		i += size
	}
	return b.String()
}

// escaped returns a character as Go escapes it.
func escaped(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < utf8.RuneSelf:
		return fmt.Sprintf(`\x%02x`, r)
	case r > 0xffff:
		return fmt.Sprintf(`\U%08x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// A Safe writer escapes what is written to it as Line does, but for tabs and the ends of
// lines. A carriage return, which could overwrite what is shown, ends a line, too.
type Safe struct {
	w    io.Writer
	rest []byte // The beginning of a character, or a carriage return.
}

// NewSafe returns a writer that escapes what it passes to w.
func NewSafe(w io.Writer) *Safe { return &Safe{w: w} }

// Write implements io.Writer. The beginning of a character at the end of b is written
// with the rest of it.
func (s *Safe) Write(b []byte) (int, error) {
	all := slices.Concat(s.rest, b)
	s.rest = nil
	if n := incomplete(all); n > 0 {
		all, s.rest = all[:len(all)-n], bytes.Clone(all[len(all)-n:])
	}
	text := strings.ReplaceAll(strings.ReplaceAll(string(all), "\r\n", "\n"), "\r", "\n")
	if _, err := io.WriteString(s.w, escape(text, func(r rune) bool { return r == '\n' || r == '\t' })); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Flush writes what is left of a character that was never complete.
func (s *Safe) Flush() error {
	if len(s.rest) == 0 {
		return nil
	}
	rest := strings.ReplaceAll(string(s.rest), "\r", "\n")
	s.rest = nil
	_, err := io.WriteString(s.w, escape(rest, func(r rune) bool { return r == '\n' }))
	return err
}

// incomplete returns how many bytes at the end of b may be the beginning of a character,
// or of the end of a line.
func incomplete(b []byte) int {
	if len(b) > 0 && b[len(b)-1] == '\r' {
		return 1
	}
	for n := 1; n <= min(len(b), utf8.UTFMax-1); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if tail[0] >= utf8.RuneSelf && !utf8.FullRune(tail) {
				return n
			}
			return 0
		}
	}
	return 0
}
