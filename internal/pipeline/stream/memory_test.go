package stream

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// TestPlanRetainsLittle has the plan of 100,000 files retain no more memory than
// the limit that the worker sets itself (memoryLimit in cmd/worker).
func TestPlanRetainsLittle(t *testing.T) {
	const count, most = 100_000, 40 << 20
	w := newStreamWorld(t, nil, nil)
	w.run.Format = pipeline.FormatImage
	r, err := w.stream.start(w.run)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	runtime.GC()
	before := heap()
	files := make([]file.File, 0, count)
	for n := range count {
		files = append(files, file.File{Path: fmt.Sprintf("data/train/part-%03d/sample-%09d.json", n/1000, n), Size: 1000, GitSHA1: fmt.Sprintf("%040x", n)})
	}
	layout, err := r.layOut(files)
	if err != nil {
		t.Fatal(err)
	}
	r.checkpoint = r.newCheckpoint(t.Context())
	moves := r.plan(t.Context(), layout)
	runtime.GC()
	runtime.GC()
	retained := heap() - before
	if t.Logf("%d bytes a file", retained/count); retained > most {
		t.Errorf("want the plan of %d files to retain at most %d MiB, got %d", count, most>>20, retained>>20)
	}
	runtime.KeepAlive(files)
	runtime.KeepAlive(moves)
}
