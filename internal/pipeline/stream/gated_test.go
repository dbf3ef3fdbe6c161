package stream

import (
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	gcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// gate makes a world's model one that needs a grant.
func (w *streamWorld) gate(t *testing.T) {
	t.Helper()
	settings := filepath.Join(w.dir, "models", streamModel, "hub.json")
	if err := os.WriteFile(settings, []byte(`{"gated": "manual", "tokens": ["hf_granted"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestGatedStream has a run read a model that its token gives no access to: the
// Hub lists it, with masks for hashes.
func TestGatedStream(t *testing.T) {
	var uploads atomic.Int64
	inner := gcr.New(gcr.Logger(log.New(io.Discard, "", 0)))
	w := newStreamWorld(t, streamFiles(), http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			uploads.Add(1)
		}
		inner.ServeHTTP(rw, r)
	}))
	w.gate(t)
	for _, token := range []string{"", "hf_token"} {
		w.run.Source.TokenFile = tokenFile(t, token)
		_, err := w.stream.Run(t.Context(), w.run)
		if outcome.ReasonOf(err) != outcome.Gated || !strings.Contains(err.Error(), "accept its terms") {
			t.Errorf("token %q: want Gated with the cure, got %v", token, err)
		}
	}
	if n := uploads.Load(); n != 0 {
		t.Errorf("want nothing to be moved, got %d requests that change the registry", n)
	}
	w.run.Source.TokenFile = tokenFile(t, "hf_granted")
	result, err := w.stream.Run(t.Context(), w.run)
	if err != nil {
		t.Fatalf("with access: %v", err)
	}
	if diff := len(w.pulled(t, result.Digest)) - len(streamFiles()); diff != 0 {
		t.Errorf("with access: want all files, got %d more", diff)
	}
}
