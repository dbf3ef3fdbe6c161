package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAround(t *testing.T) {
	type want struct {
		before, after string
		fails         bool
	}
	cases := map[string]struct {
		reason string
		text   string
		want   want
	}{
		"BothMarkers": {
			reason: "What is between the markers should be what is replaced.",
			text:   "a\n" + markBegin + "\nold\n" + markEnd + "\nb\n",
			want:   want{before: "a\n", after: "b\n"},
		},
		"NoMarkers": {
			reason: "A file without a place for the table should be refused before anything is measured.",
			text:   "a\n",
			want:   want{fails: true},
		},
		"WrongOrder": {
			reason: "An end before the beginning should be refused.",
			text:   markEnd + "\n" + markBegin + "\n",
			want:   want{fails: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "page.md")
			if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			before, after, err := around(file)
			got := want{before: before, after: after, fails: err != nil}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\naround(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
