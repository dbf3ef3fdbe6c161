package terminal_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/crossplane-contrib/provider-kitops/internal/terminal"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal/terminaltest"
)

// TestScreen draws on a terminal, and looks at what it shows.
func TestScreen(t *testing.T) {
	tty, shown := terminaltest.New(t, 20, 6)
	s := terminal.NewScreen(tty)
	if s == nil {
		t.Fatal("A terminal should be taken for one.")
	}
	steps := []struct {
		reason string
		lines  []string
		want   string
	}{
		{reason: "Lines should be shown.", lines: []string{"one", "two", "three"}, want: "one\ntwo\nthree"},
		{reason: "Lines should be replaced, also by shorter ones and by fewer.", lines: []string{"1", "zwei"}, want: "1\nzwei"},
		{reason: "A line should be cut where the terminal ends, so that it does not take two.", lines: []string{strings.Repeat("x", 30), "end"}, want: strings.Repeat("x", 19) + "…\nend"},
		{reason: "A control sequence in a line should be shown, and have no effect.", lines: []string{"\x1b[2Ja\nb"}, want: `\x1b[2Ja\nb`},
		{reason: "Lines that the terminal has no room for should be left out.", lines: strings.Split("1 2 3 4 5 6 7 8", " "), want: "1\n2\n3\n4\n5"},
		{reason: "Few lines should follow many.", lines: []string{"last"}, want: "last"},
	}
	for _, step := range steps {
		if err := s.Draw(step.lines); err != nil {
			t.Fatal(err)
		}
		terminaltest.Wait(t, shown, step.reason, func(got string) bool { return got == step.want })
	}
	if !shown.Hidden() {
		t.Error("The cursor should be hidden while the screen is drawn.")
	}
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	terminaltest.Wait(t, shown, "A screen that is cleared should be empty.", func(got string) bool { return got == "" })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(tty, &pty.Winsize{Cols: 40, Rows: 10}); err != nil {
		t.Fatal(err)
	}
	if columns, rows := s.Size(); columns != 40 || rows != 10 {
		t.Errorf("The size should be what it is now: got %d columns, %d rows", columns, rows)
	}
}

// TestNewScreen checks that only a terminal gets control sequences.
func TestNewScreen(t *testing.T) {
	if terminal.NewScreen(&bytes.Buffer{}) != nil {
		t.Error("A buffer is no terminal.")
	}
	tty, _ := terminaltest.New(t, 20, 6)
	t.Setenv("TERM", "dumb")
	if terminal.NewScreen(tty) != nil {
		t.Error("A terminal without a cursor that can be moved should get lines.")
	}
}
