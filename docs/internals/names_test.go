package internals

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	// quoted matches a block of code, or code within a line.
	quoted = regexp.MustCompile("(?ms)^ *```\\w*\n.*?^ *```|`[^`\n]+`")

	// makes matches a command of make with its target.
	makes = regexp.MustCompile(`(?m)(?:^|[\x60;&] ?)make ([a-z][a-z.-]*)`)

	// inRepository matches a path of this repository.
	inRepository = regexp.MustCompile(`(?:^|[\s\x60=,'"])((?:\./)?(?:apis|cluster|cmd|docs|examples|hack|internal|package|test|\.ci)/[\w./-]*)`)
)

// TestNames checks that the targets of make and the paths which pages quote exist.
// The changelog names what was.
func TestNames(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages(t) {
		if filepath.Base(page) == "CHANGELOG.md" {
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range quoted.FindAllString(string(text), -1) {
			for _, m := range makes.FindAllStringSubmatch(code, -1) {
				if !strings.Contains(string(makefile), "\n"+m[1]+":") {
					t.Errorf("%s: the Makefile has no target %s", page, m[1])
				}
			}
			for _, m := range inRepository.FindAllStringSubmatch(code, -1) {
				if isTest := named.MatchString("`" + m[1] + "`"); isTest || strings.Contains(m[1], "...") {
					continue
				}
				if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
					t.Errorf("%s names %s: %v", page, m[1], err)
				}
			}
		}
	}
}
