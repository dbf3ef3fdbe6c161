// Package runbooks holds the table of reasons in failures.md for programs, so that they
// show what the page says.
package runbooks

import (
	_ "embed"
	"regexp"
	"strings"
)

// FailuresURL is the address of the page with the table.
const FailuresURL = "https://github.com/crossplane-contrib/provider-kitops/blob/main/docs/runbooks/failures.md"

//go:embed failures.md
var failures string

// A Row is what the page says of a reason, as plain text.
type Row struct {
	Reason, Means, Cure string

	// Retried is no, waits, or a word that begins with yes.
	Retried string
}

// Failure returns the row of a reason, and reports whether there is one.
func Failure(reason string) (Row, bool) {
	for _, r := range Failures() {
		if r.Reason == reason {
			return r, true
		}
	}
	return Row{}, false
}

// Failures returns the rows of the table of reasons, in its order.
func Failures() []Row {
	var out []Row
	for line := range strings.Lines(failures) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 {
			continue
		}
		for i := range cells {
			cells[i] = plain(cells[i])
		}
		out = append(out, Row{Reason: cells[0], Means: cells[1], Cure: cells[2], Retried: cells[3]})
	}
	return out
}

// link is a link in Markdown, whose text is kept.
var link = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// plain returns Markdown as plain text.
func plain(s string) string {
	return strings.TrimSpace(strings.ReplaceAll(link.ReplaceAllString(s, "$1"), "`", ""))
}
