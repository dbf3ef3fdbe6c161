package kit

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// stagingTag is the run's own.
const stagingTag = "kitops-staging-0123456789abcdef"

// Kit packs each file into an archive of its own.
func TestKitFits(t *testing.T) {
	const limit = 10 << 30
	for size, want := range map[int64]bool{limit - pipeline.TarSlack: true, limit - pipeline.TarSlack + 1: false} {
		r := &task{run: pipeline.Run{Target: pipeline.Target{Registry: "ghcr.io"}}, files: []file.File{{Path: "big.gguf", Size: size}}}
		if err := r.fits(t.Context()); (err == nil) != want {
			t.Errorf("A file of %d bytes: want it to fit %t, got %v", size, want, err)
		}
	}
}

// TestGated reads a gated model before kit is started.
func TestGated(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"config.json": "{}", "model.safetensors": strings.Repeat("weight", 200_000)}
	if err := models.Write(dir, "org/model", "main", files); err != nil {
		t.Fatal(err)
	}
	settings := filepath.Join(dir, "models", "org", "model", "hub.json")
	if err := os.WriteFile(settings, []byte(`{"gated": "manual", "tokens": ["hf_granted"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(testhub.NewHandler(dir))
	t.Cleanup(server.Close)
	r := scripted(t, "exit 1", &bytes.Buffer{})
	r.run.Source = pipeline.Source{Endpoint: server.URL, Model: "org/model", Revision: "main", TokenFile: tokenFile(t, "hf_token")}
	if err := r.resolve(t.Context()); outcome.ReasonOf(err) != outcome.Gated {
		t.Errorf("resolve(...): want Gated, got %v", err)
	}
	r.run.Source.TokenFile = tokenFile(t, "hf_granted")
	if err := r.resolve(t.Context()); err != nil {
		t.Errorf("resolve(...): with access: %v", err)
	}
}

// tokenFile returns a file with a token, as a run has it; none for an empty one.
func tokenFile(t *testing.T, token string) string {
	t.Helper()
	if token == "" {
		return ""
	}
	path := filepath.Join(t.TempDir(), "hub-token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
