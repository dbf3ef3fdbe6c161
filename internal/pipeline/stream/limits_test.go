package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

func TestStreamRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		files  map[string]string
		change func(*pipeline.Run)
		want   outcome.Reason
		words  string
	}{
		"NoFormat":    {reason: "The error of an unknown format should name the formats.", change: func(r *pipeline.Run) { r.Format = "Zip" }, want: outcome.Unsupported, words: "write ModelPack, ModelKit or Image"},
		"Empty":       {reason: "A model without files should be refused.", files: map[string]string{".gitattributes": "x"}, want: outcome.NotFound, words: "no files"},
		"NoModel":     {reason: "The error of a missing model should name it.", change: func(r *pipeline.Run) { r.Source.Model = "org/none" }, want: outcome.NotFound, words: "org/none"},
		"NoRevision":  {reason: "The error of a missing revision should name it.", change: func(r *pipeline.Run) { r.Source.Revision = "v9" }, want: outcome.NotFound, words: `"v9"`},
		"NoHub":       {reason: "An invalid endpoint should be refused.", change: func(r *pipeline.Run) { r.Source.Endpoint = "hub" }, want: outcome.Unsupported, words: "huggingFace.endpoint"},
		"NoRegistry":  {reason: "An invalid host should be refused.", change: func(r *pipeline.Run) { r.Target.Registry = "a b" }, want: outcome.Unsupported, words: "host"},
		"BadName":     {reason: "An invalid repository should be refused.", change: func(r *pipeline.Run) { r.Target.Repository = "Models/X" }, want: outcome.Unsupported, words: "lower case"},
		"NoConfig":    {reason: "A folder without a config.json should mean no credentials.", change: func(r *pipeline.Run) { r.Target.DockerConfig = "/nonexistent" }, want: ""},
		"ExpectsHTTP": {reason: "The error of a registry without TLS should name the cure.", change: func(r *pipeline.Run) { r.Target.PlainHTTP = false }, want: outcome.Untrusted, words: "plainHTTP"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			files := tc.files
			if files == nil {
				files = streamFiles()
			}
			w := newStreamWorld(t, files, nil)
			if tc.change != nil {
				tc.change(&w.run)
			}
			_, err := w.stream.Run(t.Context(), w.run)
			got := outcome.Reason("")
			if err != nil {
				got = outcome.ReasonOf(err)
			}
			if got != tc.want || (err != nil && !strings.Contains(err.Error(), tc.words)) {
				t.Errorf("\n%s\nRun(...): want %q with %q, got %q: %v", tc.reason, tc.want, tc.words, got, err)
			}
		})
	}
}

func TestStreamHonoursContext(t *testing.T) {
	w := newStreamWorld(t, streamFiles(), nil)
	w.hub.SetFault(testhub.Times(1000, testhub.On("/cdn/"), testhub.Truncate(1)))
	w.stream.retry = retry.Default()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := w.stream.Run(ctx, w.run); err == nil {
		t.Error("want an error")
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("want the context to end the run, took %s", d)
	}
}

// sink is a registry that takes blobs, checks their digests and forgets them.
func sink(taken *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodPost:
			w.Header().Set("Location", r.URL.Path+"1")
			w.WriteHeader(http.StatusAccepted)
		case strings.Contains(r.URL.Path, "/blobs/"):
			sum := sha256.New()
			n, _ := io.Copy(sum, r.Body)
			taken.Add(n)
			if "sha256:"+hex.EncodeToString(sum.Sum(nil)) != r.URL.Query().Get("digest") {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			w.WriteHeader(http.StatusCreated)
		default:
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
		}
	})
}

// The model is many times larger than what the run may use, with Hub and
// registry in the same process.
func TestStreamBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes hundreds of mebibytes")
	}
	const files, size, most = 4, 64 << 20, 48 << 20
	var taken atomic.Int64
	w := newStreamWorld(t, nil, sink(&taken))
	dir := t.TempDir()
	main := filepath.Join(dir, "models", streamModel, "main")
	if err := os.MkdirAll(main, 0o750); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		// Sparse: they take no room on the disk.
		name := filepath.Join(main, fmt.Sprintf("model-%d.safetensors", i))
		if err := os.WriteFile(name, []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(name, size); err != nil {
			t.Fatal(err)
		}
	}
	big := testhub.NewHandler(dir)
	w.hub.SetFault(func(http.Handler) http.Handler { return big })

	runtime.GC()
	before := heap()
	stop, peak := make(chan struct{}), make(chan uint64)
	go watchHeap(stop, peak)
	_, err := w.stream.Run(t.Context(), w.run)
	close(stop)
	highest := <-peak
	if err != nil {
		t.Fatal(err)
	}
	if taken.Load() < files*size {
		t.Errorf("want %d bytes to arrive, got %d", files*size, taken.Load())
	}
	if highest > before+most {
		t.Errorf("want at most %d MiB of memory for %d MiB of files, got %d", most>>20, files*size>>20, (highest-before)>>20)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// watchHeap sends the most memory in use until stop.
func watchHeap(stop <-chan struct{}, peak chan<- uint64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var highest uint64
	for {
		select {
		case <-stop:
			peak <- max(highest, heap())
			return
		case <-tick.C:
			highest = max(highest, heap())
		}
	}
}
