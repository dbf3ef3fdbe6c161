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
		"None":      {reason: "No words should yield an empty expression."},
		"Known":     {reason: "A word with an SPDX identifier should become that identifier.", args: []string{"apache-2.0"}, want: "Apache-2.0"},
		"Case":      {reason: "The case of a word should not matter.", args: []string{"MIT"}, want: "MIT"},
		"Family":    {reason: "A word for a family of licences should become a LicenseRef.", args: []string{"gfdl"}, want: "LicenseRef-gfdl"},
		"Version":   {reason: "A version of the GPL should not allow later versions.", args: []string{"gpl-3.0"}, want: "GPL-3.0-only"},
		"Own":       {reason: "A model's own licence should become a LicenseRef.", args: []string{"llama3.1"}, want: "LicenseRef-llama3.1"},
		"Plus":      {reason: "Characters that an identifier may not have should be replaced.", args: []string{"openrail++"}, want: "LicenseRef-openrail--"},
		"Several":   {reason: "Several words should be joined with AND.", args: []string{"cc-by-sa-3.0", "gfdl"}, want: "CC-BY-SA-3.0 AND LicenseRef-gfdl"},
		"Twice":     {reason: "Equal words should be joined once.", args: []string{"mit", "MIT"}, want: "MIT"},
		"NoWord":    {reason: "Anything but words should be omitted.", args: []string{"<script>", "", "mit", "a\nb", strings.Repeat("a", 65)}, want: "MIT"},
		"Operators": {reason: "A word should not become an operator of an expression.", args: []string{"MIT OR x"}, want: "LicenseRef-MIT-OR-x"},
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
		"None":  {reason: "No expressions should yield an empty expression.", args: []string{"", " "}},
		"One":   {reason: "One expression should stay as it is.", args: []string{"MIT"}, want: "MIT", split: []string{"MIT"}},
		"Word":  {reason: "A word of the Hub should become its identifier.", args: []string{"apache-2.0", "mit"}, want: "Apache-2.0 AND MIT", split: []string{"Apache-2.0", "MIT"}},
		"Or":    {reason: "A choice should be put in parentheses.", args: []string{"MIT OR Apache-2.0", "Zlib"}, want: "(MIT OR Apache-2.0) AND Zlib", split: []string{"(MIT OR Apache-2.0) AND Zlib"}},
		"Other": {reason: "Other text should stay as it is.", args: []string{"See the file LICENSE"}, want: "See the file LICENSE", split: []string{"See the file LICENSE"}},
		"And":   {reason: "A joined expression should be split first.", args: []string{"MIT AND Zlib", "MIT"}, want: "MIT AND Zlib", split: []string{"MIT", "Zlib"}},
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

func TestIsIdentifier(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   string
		want   bool
	}{
		"Identifier": {reason: "An SPDX identifier should be known.", args: "Apache-2.0", want: true},
		"Case":       {reason: "The case of an identifier matters in documents.", args: "apache-2.0"},
		"Renamed":    {reason: "An identifier that the Hub spells differently should be known.", args: "GPL-3.0-only", want: true},
		"Ref":        {reason: "A LicenseRef is in no list.", args: "LicenseRef-gfdl"},
		"Expression": {reason: "An expression is no identifier.", args: "MIT AND Apache-2.0"},
		"None":       {reason: "Nothing is no identifier."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := IsIdentifier(tc.args); got != tc.want {
				t.Errorf("\n%s\nIsIdentifier(%q): want %t, got %t", tc.reason, tc.args, tc.want, got)
			}
		})
	}
}
