package outcome

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/docs/runbooks"
)

// TestFailuresPage checks that the page for users lists all reasons, in the order
// of the code, and tells for each whether it is retried as the code does it.
func TestFailuresPage(t *testing.T) {
	var documented []string
	for _, r := range runbooks.Failures() {
		documented = append(documented, r.Reason)
	}
	if diff := cmp.Diff(declaredReasons(t), documented); diff != "" {
		t.Errorf("docs/runbooks/failures.md: -reason.go, +page:\n%s", diff)
	}

	// A Job that does not exist yet is no failure of a run: it is created next.
	again := map[bool][]string{true: {"yes"}, false: {"no", "waits", "yes, at once"}}
	for _, r := range runbooks.Failures() {
		if transient := Reason(r.Reason).Transient(); !slices.Contains(again[transient], r.Retried) {
			t.Errorf("%s: the page says %q of retries, and Transient() is %t", r.Reason, r.Retried, transient)
		}
	}
}

// TestStalls checks that tools hear of a reason what the page for users says of it.
func TestStalls(t *testing.T) {
	// The cluster would go on, but what is in the way belongs to somebody else.
	conflicts := []Reason{WorkspaceConflict, TagConflict}
	for _, d := range runbooks.Failures() {
		r := Reason(d.Reason)
		if want := d.Retried == "no" || slices.Contains(conflicts, r); r.Stalls() != want {
			t.Errorf("%s: the page says %q of retries: got Stalls() %t, want %t", r, d.Retried, r.Stalls(), want)
		}
		if r.Stalls() && r.Transient() {
			t.Errorf("%s waits for a person and is retried", r)
		}
	}
	if Reason("OfAnotherVersion").Stalls() {
		t.Error("A reason that is not known should not have tools stop waiting.")
	}
}

// TestTransientReasonsAreDeclared checks that transient holds only constants.
func TestTransientReasonsAreDeclared(t *testing.T) {
	declared := declaredReasons(t)
	for r := range maps.Keys(transient) {
		if !slices.Contains(declared, string(r)) {
			t.Errorf("%s is transient and is none of the constants", r)
		}
	}
}

// TestVocabularyIsDeclared checks that the vocabulary is the set of the constants.
func TestVocabularyIsDeclared(t *testing.T) {
	declared := declaredReasons(t)
	for _, r := range declared {
		if !Reason(r).Known() {
			t.Errorf("%s is a constant and not known", r)
		}
	}
	if len(vocabulary) != len(declared) {
		t.Errorf("want %d reasons to be known, got %d", len(declared), len(vocabulary))
	}
}

// declaredReasons returns the values of the constants of type Reason.
func declaredReasons(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Reason" {
			return true
		}
		for _, v := range spec.Values {
			literal, ok := v.(*ast.BasicLit)
			if !ok {
				t.Fatalf("%s is no literal", spec.Names[0].Name)
			}
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			if value != spec.Names[0].Name {
				t.Errorf("%s has another name in conditions: %q", spec.Names[0].Name, value)
			}
			out = append(out, value)
		}
		return true
	})
	if len(out) == 0 {
		t.Fatal("reason.go has no reasons")
	}
	return out
}
