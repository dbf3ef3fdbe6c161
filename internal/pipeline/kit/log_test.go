package kit

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

func TestKitLines(t *testing.T) {
	numbered := func(from, to int) []string {
		var out []string
		for i := from; i <= to; i++ {
			out = append(out, "line "+strconv.Itoa(i))
		}
		return out
	}
	type want struct {
		log  string
		last []string
	}
	cases := map[string]struct {
		reason string
		writes []string
		want   want
	}{
		"Pieces": {
			reason: "Lines should be joined from pieces, the last one without a newline.",
			writes: []string{"Downlo", "ading file a\nSaved", " b\n", "end"},
			want: want{
				log:  "  Downloading file a\n  Saved b\n  end\n",
				last: []string{"Downloading file a", "Saved b", "end"},
			},
		},
		"Secret": {
			reason: "A secret should be masked even where it came in pieces.",
			writes: []string{"token hf_se", "cret is bad\n"},
			want:   want{log: "  token *** is bad\n", last: []string{"token *** is bad"}},
		},
		"Many": {
			reason: "Only the last lines should be kept.",
			writes: []string{strings.Join(numbered(1, 100), "\n")},
			want: want{
				log:  "  " + strings.Join(numbered(1, 100), "\n  ") + "\n",
				last: numbered(100-maxLines+1, 100),
			},
		},
		"Long": {
			reason: "A line without an end should not fill the memory.",
			writes: []string{strings.Repeat("x", maxLine), strings.Repeat("x", maxLine), "\nnext\n"},
			want: want{
				log:  "  " + strings.Repeat("x", maxLine) + "\n  next\n",
				last: []string{strings.Repeat("x", maxLine), "next"},
			},
		},
		"Blank": {
			reason: "Blank lines and carriage returns should be dropped.",
			writes: []string{"\n\r\n  \na\r\n"},
			want:   want{log: "  a\n", last: []string{"a"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			log := &bytes.Buffer{}
			l := &outputLines{log: newRunLog(log, []string{"hf_secret"})}
			for _, w := range tc.writes {
				if n, err := io.WriteString(l, w); n != len(w) || err != nil {
					t.Fatalf("Write(...): %d, %v", n, err)
				}
			}
			l.end()
			if diff := cmp.Diff(tc.want, want{log.String(), l.last}, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nWrite(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestCutLine checks that a secret which a line is too long for is not shown in
// part.
func TestCutLine(t *testing.T) {
	const secret = "hf_RepeatedToken0123456789"
	lines := &outputLines{log: newRunLog(nil, []string{secret})}
	_, _ = io.WriteString(lines, strings.Repeat("x", maxLine-10)+secret+"\n")
	if len(lines.last) != 1 || !strings.HasSuffix(lines.last[0], "xxx"+pipeline.Redacted) {
		t.Errorf("got %q", lines.last)
	}
}
