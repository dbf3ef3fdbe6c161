package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestLinks checks that the worker links no client of Kubernetes, which would be a third
// of it: nodes pull its image for each run.
func TestLinks(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for p := range strings.Lines(string(out)) {
		for _, not := range []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "github.com/crossplane-contrib/provider-kitops/apis"} {
			if p = strings.TrimSpace(p); strings.HasPrefix(p, not) {
				t.Errorf("The worker should not link %s: who imports it? Errors are wrapped with internal/errors in what the worker shares.", p)
			}
		}
	}
}
