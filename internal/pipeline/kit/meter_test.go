package kit

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// newGaugedRun returns a run of a model of 1000 bytes in a workspace of its own.
func newGaugedRun(t *testing.T) *task {
	t.Helper()
	w, err := openWorkspace(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := &pipeline.Meter{}
	r := &task{
		kit: New(), log: newRunLog(nil, nil), workspace: w,
		run: pipeline.Run{Format: pipeline.FormatModelPack, Meter: m}, files: []file.File{{Path: "model.bin", Size: 1000}},
	}
	m.Plan(plan(r.run)...)
	return r
}

// grow writes a file of so many bytes in the workspace.
func (r *task) grow(t *testing.T, name string, size int) {
	t.Helper()
	path := filepath.Join(r.workspace.root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKitGauges(t *testing.T) {
	cases := map[string]struct {
		reason string
		gauge  func(*task) gauge
		before map[string]int
		grown  map[string]int
		want   outcome.Progress
	}{
		"Downloading": {
			reason: "Downloaded bytes should be measured in kit's cache.",
			gauge:  (*task).gaugeImport,
			grown:  map[string]int{"kitops/cache/import/kitops_import_1/model.bin": 300, "kitops/cache/import/kitops_import_1/x/b.bin": 100},
			want:   outcome.Progress{Step: "import", Percent: 6, BytesDone: 400, BytesTotal: 1000},
		},
		"Packing": {
			reason: "Packed bytes should begin the next step.",
			gauge:  (*task).gaugeImport,
			before: map[string]int{"kitops/cache/import/kitops_import_1/model.bin": 900},
			grown:  map[string]int{"kitops/cache/import/kitops_import_1/model.bin": 1000, "kitops/cache/pack/kitops_layer_1": 200, "kitops/storage/blobs/sha256/a": 100},
			want:   outcome.Progress{Step: "pack", Percent: 21, BytesDone: 300, BytesTotal: 1000},
		},
		"Unpacking": {
			reason: "Unpacked bytes should be measured in their folder.",
			gauge:  (*task).gaugeUnpack,
			grown:  map[string]int{"unpacked/model.bin": 500},
			want:   outcome.Progress{Step: "unpack", Percent: 41, BytesDone: 500, BytesTotal: 1000},
		},
		"Repacking": {
			reason: "Bytes that were in kit's storage before should not count.",
			gauge:  (*task).gaugeRepack,
			before: map[string]int{"kitops/storage/index.json": 50},
			grown:  map[string]int{"kitops/storage/blobs/sha256/a": 1000, "kitops/cache/pack/kitops_layer_1": 24},
			want:   outcome.Progress{Step: "repack", Percent: 66, BytesDone: 1000, BytesTotal: 1000},
		},
		"Pushing": {
			reason: "Without a process, no push should be measured.",
			gauge:  func(r *task) gauge { return r.gaugePush(2000) },
			want:   outcome.Progress{Step: "push", Percent: 83, BytesTotal: 2000},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := newGaugedRun(t)
			for path, size := range tc.before {
				r.grow(t, path, size)
			}
			gauge := tc.gauge(r)
			gauge()
			for path, size := range tc.grown {
				r.grow(t, path, size)
			}
			gauge()
			gauge()
			if diff := cmp.Diff(tc.want, r.run.Meter.Progress()); diff != "" {
				t.Errorf("\n%s\nProgress(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// A command of kit is looked at while it runs, and not after its end.
func TestWatchedKit(t *testing.T) {
	r := newGaugedRun(t)
	r.kit.gaugeEvery = time.Millisecond
	r.kit.path = filepath.Join(t.TempDir(), "kit")
	// It writes until somebody has seen what it wrote.
	script := "#!/bin/sh\nprintf %3000s\nwhile [ ! -e \"$1\" ]; do sleep 0.01; done\n"
	if err := os.WriteFile(r.kit.path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	seen := filepath.Join(r.workspace.root, "seen")
	looked := 0
	push := r.gaugePush(2000)
	err := r.watched(t.Context(), func() {
		push()
		if looked++; r.run.Meter.Progress().BytesDone == 2000 {
			r.grow(t, "seen", 0)
		}
	}, seen)
	if err != nil || looked == 0 {
		t.Fatalf("What kit writes is seen while it runs.\nwatched(...): looked %d times, %v", looked, err)
	}
	times := looked
	time.Sleep(20 * time.Millisecond) // That nothing happens can only be waited for.
	if looked != times {
		t.Error("Nobody looks after the end.\nwatched(...): somebody did")
	}
	if pid := r.pid.Load(); pid != 0 {
		t.Errorf("After the end there is no process.\nwatched(...): got process %d", pid)
	}
}

func TestSizeBelow(t *testing.T) {
	r := newGaugedRun(t)
	r.grow(t, "unpacked/a", 10)
	r.grow(t, "unpacked/x/b", 20)
	if err := os.Symlink("/", filepath.Join(r.workspace.unpacked, "link")); err != nil {
		t.Fatal(err)
	}
	got, ok := sizeBelow(r.workspace.unpacked, filepath.Join(r.workspace.root, "nowhere"))
	if got != 30 || !ok {
		t.Errorf("Files are counted, and neither links nor what is not there.\nsizeBelow(...): got %d, %t", got, ok)
	}
}
