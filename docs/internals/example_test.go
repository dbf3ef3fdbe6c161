package internals

import (
	"os"
	"strings"
	"testing"
)

// TestExample checks that the page on how to add a source shows the code that is compiled
// and tested.
func TestExample(t *testing.T) {
	const path = "../../internal/source/example_folder_test.go"
	example, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("add-a-source.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(example), "\n)\n\n")
	if code == "" || !strings.Contains(string(page), "```go\n"+code+"```\n") {
		t.Errorf("add-a-source.md does not show what follows the imports of %s", path)
	}
}
