package license

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFromHub(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"None":      {reason: "No word is no licence."},
		"Known":     {reason: "A word that SPDX has an identifier for is that.", args: []string{"apache-2.0"}, want: "Apache-2.0"},
		"Case":      {reason: "Whatever its case.", args: []string{"MIT"}, want: "MIT"},
		"Family":    {reason: "A family of licences has none.", args: []string{"gfdl"}, want: "LicenseRef-gfdl"},
		"Version":   {reason: "A version of the GPL does not allow later ones.", args: []string{"gpl-3.0"}, want: "GPL-3.0-only"},
		"Own":       {reason: "Nor has a model's own.", args: []string{"llama3.1"}, want: "LicenseRef-llama3.1"},
		"Plus":      {reason: "What an identifier may not have is replaced.", args: []string{"openrail++"}, want: "LicenseRef-openrail--"},
		"Several":   {reason: "All of several hold.", args: []string{"cc-by-sa-3.0", "gfdl"}, want: "CC-BY-SA-3.0 AND LicenseRef-gfdl"},
		"Twice":     {reason: "One that is there twice is one.", args: []string{"mit", "MIT"}, want: "MIT"},
		"NoWord":    {reason: "What is no word is left out.", args: []string{"<script>", "", "mit", "a\nb", strings.Repeat("a", 65)}, want: "MIT"},
		"Operators": {reason: "A word cannot be an expression.", args: []string{"MIT OR x"}, want: "LicenseRef-MIT-OR-x"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, FromHub(tc.args...)); diff != "" {
				t.Errorf("\n%s\nFromHub(%q): -want, +got:\n%s", tc.reason, tc.args, diff)
			}
		})
	}
}

func TestJoin(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		want   string
		split  []string
	}{
		"None":  {reason: "Nothing is no expression.", args: []string{"", " "}},
		"One":   {reason: "One is itself.", args: []string{"MIT"}, want: "MIT", split: []string{"MIT"}},
		"Word":  {reason: "A word of the Hub's becomes its identifier.", args: []string{"apache-2.0", "mit"}, want: "Apache-2.0 AND MIT", split: []string{"Apache-2.0", "MIT"}},
		"Or":    {reason: "A choice keeps its meaning.", args: []string{"MIT OR Apache-2.0", "Zlib"}, want: "(MIT OR Apache-2.0) AND Zlib", split: []string{"(MIT OR Apache-2.0) AND Zlib"}},
		"Other": {reason: "What is no identifier stays as it is.", args: []string{"See the file LICENSE"}, want: "See the file LICENSE", split: []string{"See the file LICENSE"}},
		"And":   {reason: "A joined one is taken apart.", args: []string{"MIT AND Zlib", "MIT"}, want: "MIT AND Zlib", split: []string{"MIT", "Zlib"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Join(tc.args)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nJoin(%q): -want, +got:\n%s", tc.reason, tc.args, diff)
			}
			if diff := cmp.Diff(tc.split, Split(got)); diff != "" {
				t.Errorf("\n%s\nSplit(%q): -want, +got:\n%s", tc.reason, got, diff)
			}
		})
	}
	many := make([]string, 0, 50)
	for i := range 50 {
		many = append(many, "LicenseRef-"+strings.Repeat("a", i))
	}
	if got := Join(many); len(got) > MaxBytes || !strings.HasSuffix(got, " AND LicenseRef-others") {
		t.Errorf("Join(...): want those of too many to be named together, got %q", got)
	}
}

func FuzzJoin(f *testing.F) {
	f.Add("MIT OR x", "apache-2.0")
	f.Add("(a", " AND ")
	f.Fuzz(func(t *testing.T, a, b string) {
		joined := Join([]string{a, b})
		if len(joined) > MaxBytes && len(Split(joined)) > 1 {
			t.Errorf("Join(%q, %q) has %d bytes", a, b, len(joined))
		}
		if slices.Contains(Split(joined), "") {
			t.Errorf("Split(%q) has an empty part", joined)
		}
	})
}
