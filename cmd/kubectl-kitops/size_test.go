package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// maxSize is how large the plugin may be: 20 MB.
const maxSize = 20_000_000

// TestSize builds the plugin as make plugin does, and checks its size.
func TestSize(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program, which -short leaves out")
	}
	path := filepath.Join(t.TempDir(), "kubectl-kitops")
	cmd := exec.CommandContext(t.Context(), "make", "-s", "-C", filepath.Join("..", ".."), "plugin", "PLUGIN="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s\n%s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() >= maxSize {
		t.Errorf("want less than %d bytes, got %d: something that it imports brings controller-runtime's client or crossplane-runtime", maxSize, info.Size())
	}
}
