// Package runbooks holds the reasons in failures.md for programs, so that they show what
// the page says.
package runbooks

import (
	_ "embed"
	"regexp"
	"strings"
)

// failuresURL is the address of the page with a section for each reason.
const failuresURL = "https://github.com/crossplane-contrib/provider-kitops/blob/main/docs/runbooks/failures.md"

//go:embed failures.md
var failures string

// A Runbook is the section of the page about a reason, as plain text.
type Runbook struct {
	Reason, Means, Causes, Diagnosis, Cure string

	// Retried is no, waits, or a word that begins with yes.
	Retried string
}

// URL returns the address of the section.
func (r Runbook) URL() string { return failuresURL + "#" + strings.ToLower(r.Reason) }

// Failure returns the runbook of a reason, and reports whether there is one.
func Failure(reason string) (Runbook, bool) {
	for _, r := range Failures() {
		if r.Reason == reason {
			return r, true
		}
	}
	return Runbook{}, false
}

// Failures returns the runbooks of all reasons, in the page's order.
func Failures() []Runbook {
	_, sections, _ := strings.Cut(failures, "\n## Reasons\n")
	sections, _, _ = strings.Cut(sections, "\n## ")
	var out []Runbook
	for _, section := range strings.Split(sections, "\n### ")[1:] {
		reason, text, _ := strings.Cut(section, "\n")
		r := Runbook{Reason: reason}
		// A part goes on to the next one.
		parts := bold.FindAllStringSubmatchIndex(text, -1)
		for i, m := range parts {
			end := len(text)
			if i+1 < len(parts) {
				end = parts[i+1][0]
			}
			if into := r.part(text[m[2]:m[3]]); into != nil {
				*into = plain(text[m[1]:end])
			}
		}
		out = append(out, r)
	}
	return out
}

// part returns the field for the part of a section with this title; nil if there is none.
func (r *Runbook) part(title string) *string {
	return map[string]*string{
		"Meaning.": &r.Means, "Likely causes": &r.Causes, "Diagnosis": &r.Diagnosis, "Cure.": &r.Cure, "Retried:": &r.Retried,
	}[title]
}

var (
	// bold begins a part of a section.
	bold = regexp.MustCompile(`(?m)^\*\*([A-Z][^*]*)\*\*`)

	// link is a link in Markdown, whose text is kept.
	link = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// plain returns Markdown as plain text.
func plain(s string) string {
	return strings.TrimSpace(strings.ReplaceAll(link.ReplaceAllString(s, "$1"), "`", ""))
}
