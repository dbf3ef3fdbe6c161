package stream

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// writeMany writes so many small files of a model to the Hub of a world.
func writeMany(tb testing.TB, w *streamWorld, count int) {
	tb.Helper()
	root := filepath.Join(w.dir, "models", streamModel, "main")
	for i := range count {
		folder := filepath.Join(root, fmt.Sprintf("part-%03d", i/1000))
		if i%1000 == 0 {
			if err := os.MkdirAll(folder, 0o750); err != nil {
				tb.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("sample-%06d.json", i)), []byte(strings.Repeat(fmt.Sprintf("%06d ", i), 400)), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkManyFiles packs many small files of a Hub as an image.
func BenchmarkManyFiles(b *testing.B) {
	const count = 20_000
	w := newStreamWorld(b, nil, nil, testhub.WithFrozenFiles())
	writeMany(b, w, count)
	reg := testregistry.Start(b, testregistry.Options{})
	w.run.Target.Registry, w.run.Format = reg.Host(), pipeline.FormatImage
	for i := 0; b.Loop(); i++ {
		w.run.Target.Repository = fmt.Sprintf("models/many-%d", i)
		if _, err := w.stream.Run(b.Context(), w.run); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}
