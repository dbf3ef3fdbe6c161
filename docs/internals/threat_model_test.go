// Package internals holds what maintainers read. Its tests check that it is
// true as far as a test can.
package internals

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// named matches a test that the page names: its package and its name.
var named = regexp.MustCompile("`([a-z0-9/_-]+)\\.((?:Test|Fuzz)\\w+)`")

// TestThreatModelNamesTests checks that each test which the page names exists,
// and that each thing that is prevented names one.
func TestThreatModelNamesTests(t *testing.T) {
	page, err := os.ReadFile("threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := named.FindAllStringSubmatch(string(page), -1)
	if len(tests) == 0 {
		t.Fatal("The page names no test")
	}
	sources := map[string]string{}
	for _, m := range tests {
		folder, name := m[1], m[2]
		if _, ok := sources[folder]; !ok {
			sources[folder] = testsOf(t, folder)
		}
		if !strings.Contains(sources[folder], "func "+name+"(") {
			t.Errorf("%s has no %s", folder, name)
		}
	}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) == 3 && strings.HasPrefix(strings.TrimSpace(cells[2]), "`") && !named.MatchString(cells[2]) {
			t.Errorf("No test is named: %s", line)
		}
	}
}

// testsOf returns the tests of a package, by its folder in the repository.
func testsOf(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(folder), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	return out.String()
}
