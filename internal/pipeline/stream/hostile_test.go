package stream

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	gcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// atUploads has a handler see what goes to a registry's uploads first. It says
// whether it has answered.
func atUploads(first func(w http.ResponseWriter, r *http.Request) bool) http.Handler {
	inner := gcr.New(gcr.Logger(log.New(io.Discard, "", 0)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/blobs/uploads/") || !first(w, r) {
			inner.ServeHTTP(w, r)
		}
	})
}

// TestStreamToOneThatHasTooMuch goes on at a registry that says of an upload
// which broke that it has more than it was sent.
func TestStreamToOneThatHasTooMuch(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 1<<19)
	var broke atomic.Bool
	w := newStreamWorld(t, map[string]string{"model.safetensors": content}, atUploads(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Method == http.MethodPatch && broke.CompareAndSwap(false, true):
			_, _ = io.CopyN(io.Discard, r.Body, 2<<20)
			panic(http.ErrAbortHandler)
		case r.Method == http.MethodGet:
			w.Header().Set("Location", r.URL.Path)
			w.Header().Set("Range", fmt.Sprintf("0-%d", len(content)-1000))
			w.WriteHeader(http.StatusNoContent)
			return true
		}
		return false
	}))
	if _, err := w.stream.Run(t.Context(), w.run); err != nil {
		t.Fatalf("Run(...): %v\n%s", err, w.log)
	}
	if diff := cmp.Diff(content, w.pulled(t, stagingTag)["model.safetensors"]); diff != "" {
		t.Error("the file is another one")
	}
}

// TestStreamBesideAnother has another run bring a blob while this one's upload
// breaks.
func TestStreamBesideAnother(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 1<<17)
	var (
		w     *streamWorld
		broke atomic.Bool
	)
	w = newStreamWorld(t, map[string]string{"model.safetensors": content}, atUploads(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || r.ContentLength != int64(len(content)) || !broke.CompareAndSwap(false, true) {
			return false
		}
		_, _ = io.CopyN(io.Discard, r.Body, 100<<10)
		d := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromString(content), Size: int64(len(content))}
		if err := w.registry.PushBlob(r.Context(), w.run.Target.Repository, d, bytes.NewReader([]byte(content))); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	}))
	if _, err := w.stream.Run(t.Context(), w.run); err != nil {
		t.Fatalf("Run(...): %v\n%s", err, w.log)
	}
}
