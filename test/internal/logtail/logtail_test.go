package logtail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFile(t *testing.T) {
	cases := map[string]struct {
		reason string
		log    string
		want   string
	}{
		"Short": {reason: "A short log is given whole.", log: "a\nb\n", want: "a\nb"},
		"Lines": {reason: "Of a log of many lines the last are given.", log: strings.Repeat("x\n", 100) + "end\n", want: strings.Repeat("x\n", 19) + "end"},
		"Bytes": {reason: "Of a log of long lines the last bytes are given.", log: strings.Repeat("y", 100_000), want: strings.Repeat("y", maxBytes)},
		"Empty": {reason: "An empty log is nothing."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(file, []byte(tc.log), 0o600); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, File(file, 20)); diff != "" {
				t.Errorf("\n%s\nFile(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
	if got := File(filepath.Join(t.TempDir(), "none"), 20); !strings.Contains(got, "no such file") {
		t.Errorf("File(...): want why it cannot be read, got %q", got)
	}
}
