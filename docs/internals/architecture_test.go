package internals

import (
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/crossplane-contrib/provider-kitops/"

// listed matches a package in a table of the architecture page.
var listed = regexp.MustCompile("`((?:cmd|internal|apis|docs)(?:/[a-z0-9-]+)*)`")

// TestArchitecture checks that the page has each package of the two programs, or a
// folder that it is in, in one row, and that none of them imports one of a row above
// its own.
func TestArchitecture(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "architecture.md"), "| layer | packages |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := map[string]int{}
	for i, line := range slices.Collect(strings.Lines(table)) {
		for _, m := range listed.FindAllStringSubmatch(line, -1) {
			if _, ok := rows[m[1]]; ok {
				t.Errorf("%s is in two rows", m[1])
			}
			rows[m[1]] = i
		}
	}
	imports := importsOfPrograms(t)
	for r := range rows {
		within := func(p string) bool { return p == r || strings.HasPrefix(p, r+"/") }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(imports)), within) {
			t.Errorf("the page has %s, which is no package of the programs", r)
		}
	}
	for p, all := range imports {
		own, ok := rowOf(rows, p)
		if !ok {
			t.Errorf("the page lacks %s", p)
			continue
		}
		for _, i := range all {
			if other, ok := rowOf(rows, i); ok && other < own {
				t.Errorf("%s imports %s, which is above it", p, i)
			}
		}
	}
}

// rowOf returns the row of a package, or of the closest folder above it.
func rowOf(rows map[string]int, p string) (int, bool) {
	for ; p != "."; p = path.Dir(p) {
		if row, ok := rows[p]; ok {
			return row, true
		}
	}
	return 0, false
}

// importsOfPrograms returns the packages that the programs consist of, by their
// folders, and which of these each of them imports.
func importsOfPrograms(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for todo := []string{"cmd/provider", "cmd/worker", "cmd/kubectl-kitops"}; len(todo) > 0; todo = todo[1:] {
		if _, done := out[todo[0]]; done {
			continue
		}
		out[todo[0]] = importsOf(t, todo[0])
		todo = append(todo, out[todo[0]]...)
	}
	return out
}

// importsOf returns the folders of this module's packages that a package imports.
func importsOf(t *testing.T, folder string) []string {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(folder)))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".go" || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, folder, f.Name()), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if own, ok := strings.CutPrefix(imported, module); ok {
				found[own] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
