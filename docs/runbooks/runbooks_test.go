package runbooks

import (
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestFailures checks that each row of the page is read, as text without Markdown.
func TestFailures(t *testing.T) {
	rows := Failures()
	if want := strings.Count(failures, "\n| `"); len(rows) != want {
		t.Errorf("The page has %d rows, and %d are read.", want, len(rows))
	}
	for _, r := range rows {
		if !outcome.Reason(r.Reason).Known() {
			t.Errorf("%q is no reason", r.Reason)
		}
		for _, s := range []string{r.Means, r.Cure, r.Retried} {
			if s == "" || strings.ContainsAny(s, "`[") || strings.Contains(s, "](") {
				t.Errorf("%s: %q is empty or Markdown", r.Reason, s)
			}
		}
	}
	if _, ok := Failure("Nonsense"); ok {
		t.Error("A word that is no reason has no row.")
	}
	if r, ok := Failure("Gated"); !ok || !strings.Contains(r.Cure, "Ask for access") {
		t.Errorf("A reason has its row; got %+v, %t", r, ok)
	}
}
