package hub

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
)

// serveSparse returns a client for a Hub, behind a line, with a file that takes
// no room on the disk.
func serveSparse(tb testing.TB, line *testhub.Line, size int64) (*testhub.Handler, *Client, file.File) {
	tb.Helper()
	dir := tb.TempDir()
	name := filepath.Join(dir, "models", "org", "large", "main", "model.safetensors")
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(name, noise(1<<20), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		tb.Fatal(err)
	}
	h := testhub.NewHandler(dir, testhub.WithFrozenFiles())
	inner, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &httptest.Server{Listener: line.Listen(inner), Config: &http.Server{Handler: h}}
	s.Start()
	tb.Cleanup(s.Close)
	c, err := New(Options{Endpoint: s.URL})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	files, err := c.List(tb.Context(), "org/large", "main")
	if err != nil || len(files) != 1 {
		tb.Fatalf("want one file, got %v, %v", files, err)
	}
	return h, c, files[0]
}

// A way to read a file.
type way func(ctx context.Context, c *Client, f file.File) (io.ReadCloser, error)

func inOneStream(ctx context.Context, c *Client, f file.File) (io.ReadCloser, error) {
	return c.Open(ctx, "org/large", "main", f.Path)
}

func inRanges(b *download.Budget) way {
	return func(ctx context.Context, c *Client, f file.File) (io.ReadCloser, error) {
		return c.Download(ctx, "org/large", "main", f, 0, f.Size, download.Options{Budget: b})
	}
}

// BenchmarkDownload compares a Download to one stream: on loopback, and where
// each connection has 16 MiB a second and 40 ms from question to answer.
func BenchmarkDownload(b *testing.B) {
	for name, bc := range map[string]struct {
		line *testhub.Line
		size int64
	}{
		"Loopback": {line: &testhub.Line{}, size: 1 << 30},
		"Slow":     {line: &testhub.Line{PerConnection: 16 << 20, RoundTrip: 40 * time.Millisecond}, size: 256 << 20},
	} {
		b.Run(name, func(b *testing.B) {
			_, c, f := serveSparse(b, bc.line, bc.size)
			budget := download.NewBudget(64 << 20)
			for way, open := range map[string]way{"Stream": inOneStream, "Ranges": inRanges(budget)} {
				b.Run(way, func(b *testing.B) {
					b.SetBytes(bc.size)
					for b.Loop() {
						readAll(b, c, f, open)
					}
					b.ReportMetric(float64(budget.Peak())/(1<<20), "MiB-peak")
				})
			}
		})
	}
}

func readAll(tb testing.TB, c *Client, f file.File, open way) {
	tb.Helper()
	rc, err := open(tb.Context(), c, f)
	if err != nil {
		tb.Fatal(err)
	}
	defer rc.Close()
	if n, err := io.Copy(io.Discard, rc); n != f.Size || err != nil {
		tb.Fatalf("want %d bytes, got %d, %v", f.Size, n, err)
	}
}
