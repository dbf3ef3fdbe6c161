package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
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

// manySmall has the run read so many small files, with their hashes, from a folder that
// counts how many of them are opened.
func (w *streamWorld) manySmall(count int) *atomic.Int64 {
	files := make(map[string]string, count)
	for i := range count {
		files[fmt.Sprintf("part-%03d/sample-%06d.json", i/1000, i)] = strings.Repeat(fmt.Sprintf("%06d ", i), 100+i%100)
	}
	d, opened := w.from(files), &atomic.Int64{}
	d.Listed = func(f file.File) file.File {
		sum := sha256.Sum256(d.Content[f.Path])
		f.SHA256, f.Version = hex.EncodeToString(sum[:]), ""
		return f
	}
	d.Reading = func(_ file.File, _ int64, rc io.ReadCloser) (io.ReadCloser, error) {
		opened.Add(1)
		return rc, nil
	}
	w.run.Format = pipeline.FormatImage
	return opened
}

// TestStreamImageOf100000Files packs as many files as a list of files may have.
func TestStreamImageOf100000Files(t *testing.T) {
	if testing.Short() {
		t.Skip("It takes some seconds.")
	}
	const count = filelist.MaxFiles
	w := newStreamWorld(t, nil, nil)
	w.into(t, testregistry.Start(t, testregistry.Options{}))
	opened := w.manySmall(count)
	result, err := w.stream.Run(t.Context(), w.run)
	if err != nil {
		t.Fatalf("%v\n%s", err, w.log)
	}
	if result.Files != count || opened.Load() != count {
		t.Errorf("want %d files, each opened once, got %d, and %d opened", count, result.Files, opened.Load())
	}
	_, index, err := w.registry.Manifest(t.Context(), w.run.Target.Repository, stagingTag)
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := modelpack.ReadManifests(t.Context(), w.registry, w.run.Target.Repository, index)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(manifests.Main()); n > 100<<10 {
		t.Errorf("want a manifest far below the 4 MiB that registries take, got %d bytes", n)
	}
	if result.FileList == "" {
		t.Errorf("want a list of the files\n%s", w.log)
	}
}

// TestStreamResumesArchive ends a run within an archive of many files, and has another one
// resume it without reading again what was sent.
func TestStreamResumesArchive(t *testing.T) {
	t.Parallel()
	const count, first = 10_000, 6 << 20
	r := testregistry.Start(t, testregistry.Options{})
	front := r.Front(t)
	w := newStreamWorld(t, nil, nil)
	w.into(t, front)
	w.run.Target.CheckpointTag = checkpointTag
	opened := w.manySmall(count)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	front.SetFault(endAfter(first, cancel))
	if _, err := w.stream.Run(ctx, w.run); err == nil {
		t.Fatalf("want the first run to end early\n%s", w.log)
	}
	before := opened.Swap(0)
	if before == count {
		t.Fatalf("want the first run to end before it has read all files\n%s", w.log)
	}
	front.SetFault(nil)
	got, err := w.stream.Run(t.Context(), w.run)
	if err != nil {
		t.Fatalf("%v\n%s", err, w.log)
	}
	// What was read and not sent is read again: what was read ahead, and some that was on
	// its way.
	if again := before + opened.Load() - count; again > before/2 {
		t.Errorf("want files that were sent not to be read again, got %d\n%s", again, w.log)
	}

	w.run.Target.Repository += "-whole"
	want, err := w.stream.Run(t.Context(), w.run)
	if err != nil {
		t.Fatalf("%v\n%s", err, w.log)
	}
	if got.Digest != want.Digest {
		t.Errorf("want the digest of a run that was not interrupted, %s, got %s", want.Digest, got.Digest)
	}
}
