package outcome

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkTail checks that the end of a log is bounded and consists of lines of text without
// credentials of well-known forms.
func checkTail(t *testing.T, lines []string) {
	t.Helper()
	size := 0
	for _, l := range lines {
		checkText(t, "A line of the log can be shown.", l)
		if l == "" || len(l) > maxTailLineBytes {
			t.Errorf("want lines of 1 to %d bytes, got %d", maxTailLineBytes, len(l))
		}
		if query.MatchString(l) {
			t.Errorf("line %q has an address with a query", l)
		}
		size += len(l) + 1
	}
	if len(lines) > maxTailLines || size > maxTailBytes {
		t.Errorf("want at most %d lines of %d bytes, got %d of %d", maxTailLines, maxTailBytes, len(lines), size)
	}
}

func TestTail(t *testing.T) {
	long := strings.Repeat("0123456789", 10)
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "line %d\n", i)
		}
		return b.String()
	}
	cases := map[string]struct {
		reason string
		args   []string // What is written, one after the other.
		want   []string
	}{
		"None":      {reason: "A log without lines has no end."},
		"Lines":     {reason: "Lines should be kept in their order.", args: []string{"one\ntwo\n", "three\n"}, want: []string{"one", "two", "three"}},
		"Parts":     {reason: "A line may be written in parts.", args: []string{"o", "ne\ntw", "o\n"}, want: []string{"one", "two"}},
		"Unended":   {reason: "A line that has not ended should not be shown: a secret may be half of it.", args: []string{"one\ntw"}, want: []string{"one"}},
		"Empty":     {reason: "Empty lines should be left out.", args: []string{"\n\none\n \t\n"}, want: []string{"one"}},
		"Many":      {reason: "Only the last lines should be kept.", args: []string{many(100)}, want: strings.Split(strings.TrimSpace(many(100)), "\n")[60:]},
		"Long":      {reason: "A long line should be shortened.", args: []string{strings.Repeat(long, 10), strings.Repeat(long, 1000), "\n"}, want: []string{strings.Repeat(long, 10)[:509] + "…"}},
		"Control":   {reason: "Control characters and those that change a line's direction should be left out.", args: []string{"\x1b[31mred\x00\u202etxt.exe\r\n"}, want: []string{"[31mred txt.exe"}},
		"NoUTF8":    {reason: "Invalid UTF-8 should be replaced.", args: []string{"a\xffb\n"}, want: []string{"a\uFFFDb"}},
		"Userinfo":  {reason: "Passwords of URLs should be left out.", args: []string{"proxy http://ada:secret@proxy:3128 failed\n"}, want: []string{"proxy http://***@proxy:3128 failed"}},
		"Signature": {reason: "Queries of URLs may be signatures.", args: []string{"GET https://cdn.example.com/a?X-Amz-Signature=abc: EOF\n"}, want: []string{"GET https://cdn.example.com/a EOF"}},
		"Header": {
			reason: "Authorizations of HTTP should be left out in any form.",
			args:   []string{"Authorization: Basic YWRhOnNlY3JldA==\n", `{"authorization":"Bearer abc.def"}` + "\n", "sent bearer 0123456789abcdef0123\n"},
			want:   []string{"Authorization: Basic ***", `{"authorization":"Bearer ***"}`, "sent bearer ***"},
		},
		"Token": {
			reason: "Tokens of well-known forms should be left out.",
			args:   []string{"got eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln\n", "and hf_abcdefghijklmnopqrstuvwxyz\n"},
			want:   []string{"got ***", "and ***"},
		},
		"Words": {reason: "Words should stay.", args: []string{"the bearer of a basic permission; hf_hub is a name\n"}, want: []string{"the bearer of a basic permission; hf_hub is a name"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tail := &Tail{}
			for _, s := range tc.args {
				if _, err := io.WriteString(tail, s); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tc.want, tail.Lines()); diff != "" {
				t.Errorf("\n%s\nLines(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestTailFits checks that the end of a log takes the room that the result leaves, and
// that the result is read also where the kubelet has cut the message off.
func TestTailFits(t *testing.T) {
	var lines []string
	for i := range maxTailLines {
		lines = append(lines, fmt.Sprintf("%02d %s", i, strings.Repeat(`"\<`, 100)))
	}
	r := Failed(Errorf(Gated, "%s", strings.Repeat(`"`, maxTextBytes)))
	r.Failure.LogTail = lines
	message := written(t, r)
	if room := maxTailBytes - len(message); room > len(lines[0]) {
		t.Errorf("want the last lines to take all room, got %d bytes left", room)
	}
	got, ok := Parse(message)
	if !ok || len(got.Failure.LogTail) == 0 {
		t.Fatalf("Parse(...): %t, %+v", ok, got.Failure)
	}
	if diff := cmp.Diff(lines[len(lines)-len(got.Failure.LogTail):], got.Failure.LogTail); diff != "" {
		t.Errorf("want the last lines of the log: -want, +got:\n%s", diff)
	}
	for _, n := range []int{3072, MaxMessageBytes} {
		cut, ok := Parse(message[:n])
		if !ok || cut.Failure.Message != got.Failure.Message {
			t.Errorf("a message of %d bytes: want the result, got %t, %+v", n, ok, cut)
		}
		checkTail(t, cut.Failure.LogTail)
	}
	success, ok := Parse(`{"digest":"` + testDigest + `"}` + "\nnothing")
	if !ok || success.Failure != nil {
		t.Errorf("Parse(...): want a success, got %t, %+v", ok, success)
	}
	if _, ok := Parse(`{"digest":"` + testDigest + `"} nothing`); ok {
		t.Error("Parse(...): want no result of a message that only begins with one")
	}
}
