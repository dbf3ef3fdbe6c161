package terminal

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	cases := map[string]struct {
		reason, args, want string
	}{
		"Plain":     {reason: "Text should be shown as it is.", args: "qwen3 – 模型, 40 %", want: "qwen3 – 模型, 40 %"},
		"Escape":    {reason: "An escape sequence should be visible, and have no effect.", args: "\x1b[2J\x1b]0;title\x07", want: `\x1b[2J\x1b]0;title\x07`},
		"C1":        {reason: "The control sequence introducer is one character, too.", args: "\u009b2J", want: `\u009b2J`},
		"Raw":       {reason: "A byte that is no UTF-8 may be a control character of an 8-bit terminal.", args: "\x9b2J", want: `\x9b2J`},
		"Lines":     {reason: "A line should not look like several.", args: "a\r\nb\tc", want: `a\r\nb\tc`},
		"Direction": {reason: "A character that reverses others should be visible.", args: "abc\u202etxt.exe", want: `abc\u202etxt.exe`},
		"NoShape":   {reason: "What cannot be seen should not tell two names apart.", args: "a\u200bb\U000e0041", want: `a\u200bb\U000e0041`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Line(tc.args); got != tc.want {
				t.Errorf("\n%s\nLine(%q): want %q, got %q", tc.reason, tc.args, tc.want, got)
			}
		})
	}
}

func TestSafe(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"Lines":     {reason: "Lines and tabs should be kept.", args: []string{"a\tb\n", "c\r\n"}, want: "a\tb\nc\n"},
		"Overwrite": {reason: "What follows a carriage return should not overwrite what is before it.", args: []string{"10%\r20%\n"}, want: "10%\n20%\n"},
		"Split":     {reason: "A character that comes in parts should be one.", args: []string{"a\xe2\x80", "\x93b", "\r", "\n"}, want: "a–b\n"},
		"Torn":      {reason: "The beginning of a character at the end should be escaped.", args: []string{"a\xe2\x80"}, want: `a\xe2\x80`},
		"Escape":    {reason: "An escape sequence should have no effect, also if it comes in parts.", args: []string{"\x1b", "[2J"}, want: `\x1b[2J`},
		"Return":    {reason: "A carriage return at the end should end the line.", args: []string{"a\r"}, want: "a\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			s := NewSafe(&b)
			for _, a := range tc.args {
				if n, err := s.Write([]byte(a)); n != len(a) || err != nil {
					t.Errorf("\n%s\nWrite(%q): got %d, %v", tc.reason, a, n, err)
				}
			}
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			if got := b.String(); got != tc.want {
				t.Errorf("\n%s\nwant %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

// FuzzSafe checks that nothing that a terminal obeys passes, however it is divided.
func FuzzSafe(f *testing.F) {
	f.Add([]byte("a\x1b[2J\r\n\u202e\x9b"), 2)
	f.Add([]byte("\xe2\x80\x93"), 1)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		at = min(max(at, 0), len(b))
		var out bytes.Buffer
		s := NewSafe(&out)
		_, _ = s.Write(b[:at])
		_, _ = s.Write(b[at:])
		_ = s.Flush()
		if !utf8.Valid(out.Bytes()) {
			t.Errorf("%q has other bytes than UTF-8", out.Bytes())
		}
		obeyed := func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsGraphic(r) }
		if i := strings.IndexFunc(out.String(), obeyed); i >= 0 {
			t.Errorf("%q has a control character at %d", out.Bytes(), i)
		}
		if line := Line(string(b)); strings.ContainsAny(line, "\n\r\t\x1b") {
			t.Errorf("%q has a control character", line)
		}
	})
}

func TestCut(t *testing.T) {
	cases := map[string]struct {
		reason, args string
		n            int
		want         string
	}{
		"Short": {reason: "What fits should be kept.", args: "qwen3", n: 5, want: "qwen3"},
		"Long":  {reason: "What does not fit should be cut, and say so.", args: "qwen3-instruct", n: 6, want: "qwen3…"},
		"Wide":  {reason: "Wide characters should take two columns.", args: "模型模型", n: 6, want: "模型…"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Cut(tc.args, tc.n)
			if got != tc.want || Columns(got) > tc.n {
				t.Errorf("\n%s\nCut(%q, %d): want %q, got %q of %d columns", tc.reason, tc.args, tc.n, tc.want, got, Columns(got))
			}
		})
	}
}

func TestBar(t *testing.T) {
	cases := map[string]struct {
		reason string
		share  float64
		want   string
	}{
		"None":    {reason: "Nothing is done.", share: 0, want: "░░░░"},
		"Some":    {reason: "A part of a column should show.", share: 0.3, want: "█▏░░"},
		"All":     {reason: "All is done.", share: 1, want: "████"},
		"TooMuch": {reason: "No more than all can be done.", share: 7, want: "████"},
		"Less":    {reason: "No less than nothing can be done.", share: -1, want: "░░░░"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Bar(tc.share, 4); got != tc.want {
				t.Errorf("\n%s\nBar(%v, 4): want %q, got %q", tc.reason, tc.share, tc.want, got)
			}
		})
	}
}
