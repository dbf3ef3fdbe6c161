//go:build linux

package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDownRefusesForeignDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "thesis.tex")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "not a cluster's") {
		t.Errorf("Down(...): want it to refuse, got %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("Down(...): it removed a foreign file: %v", err)
	}
}
