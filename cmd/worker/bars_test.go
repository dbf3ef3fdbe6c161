package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/pull"
	"github.com/crossplane-contrib/provider-kitops/internal/terminal/terminaltest"
)

// TestPullOnTerminal pulls from a registry that stops in the middle of a file until the
// terminal shows how far it is.
func TestPullOnTerminal(t *testing.T) {
	seen := make(chan struct{})
	inner := gcr.New(gcr.Logger(log.New(io.Discard, "", 0)))
	content := strings.Repeat("x", 1<<20)
	blob := digest.FromString(content).String()
	halve := false // Once it is pushed.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !halve || r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, blob) {
			inner.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Length", "1048576")
		_, _ = io.WriteString(w, content[:1<<19])
		w.(http.Flusher).Flush() //nolint:forcetypeassert // Servers of the standard library flush.
		<-seen
		_, _ = io.WriteString(w, content[1<<19:])
	}))
	t.Cleanup(s.Close)
	host := strings.TrimPrefix(s.URL, "http://")
	d := push(t, host, "model.safetensors", content)
	halve = true

	tty, shown := terminaltest.New(t, 120, 10)
	code := make(chan int, 1)
	go func() {
		code <- pullAndReport(pull.Options{Reference: host + "/models/m@" + d.String(), Dir: filepath.Join(t.TempDir(), "model"), Parallel: 4, PlainHTTP: true, Log: tty})
	}()
	terminaltest.Wait(t, shown, "A layer and the whole should have bars below the log.", func(s string) bool {
		return strings.HasPrefix(s, "pulling ") && strings.Contains(s, "\nmodel.safetensors                ██████████░░░░░░░░░░ 512.0 KiB of 1.0 MiB (50 %)\nall  ")
	})
	close(seen)
	if c := <-code; c != 0 {
		t.Errorf("want exit code 0, got %d", c)
	}
	terminaltest.Wait(t, shown, "The log should stay, and no bars.", func(s string) bool {
		return strings.Contains(s, "\ndone: "+d.String()) && !strings.Contains(s, "█") && strings.Contains(s, "\nmodel.safetensors: 1048576 bytes in ")
	})
}

func TestBars(t *testing.T) {
	now := time.Unix(0, 0)
	b := &barScreen{now: func() time.Time { return now }}
	p := pull.Progress{Total: 40 << 20, Layers: []pull.LayerProgress{{Name: "a/very/long/name/of/a/model-00001-of-00002.safetensors\x1b[2J", Done: 1 << 20, Size: 4 << 20}, {Name: "empty"}}}
	_ = b.lines(p)
	now, p.Done = now.Add(2*time.Second), 10<<20
	want := []string{
		"a/very/long/name/of/a/model-000… █████░░░░░░░░░░░░░░░ 1.0 MiB of 4.0 MiB (25 %)",
		"empty                            ████████████████████ 0 B",
		"all                              █████░░░░░░░░░░░░░░░ 10.0 MiB of 40.0 MiB (25 %), 5.0 MiB/s, 6s left",
	}
	if diff := cmp.Diff(want, b.lines(p)); diff != "" {
		t.Errorf("Each layer and the whole should have a bar: -want, +got:\n%s", diff)
	}
	now = now.Add(rateWindow + time.Second)
	if got := b.lines(p)[2]; strings.Contains(got, "/s") {
		t.Errorf("What happened long ago should not count for the rate: got %q", got)
	}
}
