package license

import (
	"slices"
	"testing"
)

func TestSatisfies(t *testing.T) {
	cases := map[string]struct {
		reason     string
		expression string
		allowed    []string
		want       bool
	}{
		"One":          {reason: "A licence that is allowed should satisfy.", expression: "MIT", allowed: []string{"MIT"}, want: true},
		"Precedence":   {reason: "AND should bind tighter than OR.", expression: "MIT OR A AND B", allowed: []string{"MIT"}, want: true},
		"Parentheses":  {reason: "Parentheses should bind tightest.", expression: "(MIT OR A) AND B", allowed: []string{"MIT"}},
		"SmallLetters": {reason: "Operators should be known in small letters.", expression: "a or (b and c)", allowed: []string{"b", "c"}, want: true},
		"With":         {reason: "An exception should be ignored.", expression: "A WITH x AND B", allowed: []string{"A", "B"}, want: true},
		"Unclosed":     {reason: "What is no expression should be one licence.", expression: "(MIT", allowed: []string{"MIT"}},
		"Dangling":     {reason: "What is no expression should be one licence.", expression: "MIT OR", allowed: []string{"MIT"}},
		"Words":        {reason: "A text should be one licence.", expression: "MIT licence", allowed: []string{"MIT licence"}, want: true},
		"Empty":        {reason: "Nothing should be satisfied only if nothing is allowed.", expression: "", allowed: []string{"MIT"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Satisfies(tc.expression, func(id string) bool { return slices.Contains(tc.allowed, id) })
			if got != tc.want {
				t.Errorf("\n%s\nSatisfies(%q, %q): want %t", tc.reason, tc.expression, tc.allowed, tc.want)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	cases := map[string]struct {
		reason   string
		name, id string
		want     bool
	}{
		"Same":     {reason: "An identifier should match itself, whatever its case.", name: "apache-2.0", id: "Apache-2.0", want: true},
		"Word":     {reason: "The Hub's word should match its identifier.", name: "gpl-3.0", id: "GPL-3.0-only", want: true},
		"Later":    {reason: "A version should not match that or later ones.", name: "gpl-3.0", id: "GPL-3.0-or-later"},
		"Family":   {reason: "A family should match all its versions.", name: "gpl", id: "GPL-3.0-or-later", want: true},
		"Itself":   {reason: "A family should match a source that names only it.", name: "gpl", id: "LicenseRef-gpl", want: true},
		"Rail":     {reason: "A family should match licences that do not begin with its name.", name: "openrail", id: "LicenseRef-creativeml-openrail-m", want: true},
		"NoFamily": {reason: "The beginning of an identifier should be no family.", name: "apache", id: "Apache-2.0"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Matches(tc.name, tc.id); got != tc.want {
				t.Errorf("\n%s\nMatches(%q, %q): want %t", tc.reason, tc.name, tc.id, tc.want)
			}
		})
	}
}

// FuzzSatisfies checks that no expression is satisfied if nothing is allowed, and that
// every one is if everything is.
func FuzzSatisfies(f *testing.F) {
	for _, seed := range []string{"MIT", "(A OR B) AND C WITH d", "((((", "OR", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		if Satisfies(expression, func(string) bool { return false }) {
			t.Errorf("%q is satisfied by nothing", expression)
		}
		if !Satisfies(expression, func(string) bool { return true }) {
			t.Errorf("%q is not satisfied by everything", expression)
		}
	})
}
