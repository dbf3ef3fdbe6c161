package runbooks

import (
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestFailures checks that each section of the page has all parts of a runbook, which are
// read as text without Markdown.
func TestFailures(t *testing.T) {
	runbooks := Failures()
	if len(runbooks) == 0 {
		t.Fatal("The page has no runbooks.")
	}
	for _, r := range runbooks {
		if !outcome.Reason(r.Reason).Known() {
			t.Errorf("%q is no reason", r.Reason)
		}
		for part, s := range map[string]string{"meaning": r.Means, "cure": r.Cure, "retries": r.Retried} {
			if s == "" || strings.ContainsAny(s, "`[\n") || strings.Contains(s, "](") {
				t.Errorf("%s: the %s are empty, or more than a line of text: %q", r.Reason, part, s)
			}
		}
		if !strings.HasPrefix(r.Causes, "- ") {
			t.Errorf("%s: the likely causes are no list: %q", r.Reason, r.Causes)
		}
		if !strings.Contains(r.Diagnosis, "kubectl ") {
			t.Errorf("%s: the diagnosis has no command: %q", r.Reason, r.Diagnosis)
		}
		if want := "failures.md#" + strings.ToLower(r.Reason); !strings.HasSuffix(r.URL(), want) {
			t.Errorf("%s: want an address that ends with %s, got %s", r.Reason, want, r.URL())
		}
	}
	if _, ok := Failure("Nonsense"); ok {
		t.Error("A word that is no reason has no runbook.")
	}
	if r, ok := Failure("Gated"); !ok || !strings.Contains(r.Cure, "Ask for access") {
		t.Errorf("A reason has its runbook; got %+v, %t", r, ok)
	}
}
