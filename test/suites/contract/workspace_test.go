package contract

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// TestDroppedFiles: kit reads the first page of a folder only.
func TestDroppedFiles(t *testing.T) {
	files := map[string]string{"model.onnx": "weights"}
	for i := range pageSize + 5 {
		files[fmt.Sprintf("voices/%03d.bin", i)] = fmt.Sprintf("voice %d", i)
	}
	run := newRun(t, addModel(t, files), pipeline.FormatModelKit)
	_, _, err := runKit(t.Context(), t, run)
	wantReason(t, err, outcome.Mismatch)
	if err != nil && (!strings.Contains(err.Error(), "voices/0") || !strings.Contains(err.Error(), "Stream")) {
		t.Errorf("the error names neither a file nor the way out: %s", err)
	}
	entries, err := os.ReadDir(run.Workspace)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "import.json" {
			t.Error("the workspace says that it holds the model")
		}
	}
}

// TestKilledImport stops a run in the middle of a download.
func TestKilledImport(t *testing.T) {
	files := speechFiles(t)
	run := newRun(t, addModel(t, files), pipeline.FormatModelKit)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	harm(t, afterFirst(hub.On("/resolve/"), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done() // Until kit is gone.
		})
	}))
	begin := time.Now()
	if _, _, err := runKit(ctx, t, run); err == nil || ctx.Err() == nil {
		t.Fatalf("a run that was stopped ended with %v", err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("stopping took %s", took)
	}
	suite.world.hub.SetFault(nil)
	leftover := filepath.Join(run.Workspace, "kitops", "cache", "import", "kitops_import_killed", "model.onnx")
	if err := os.MkdirAll(filepath.Dir(leftover), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(leftover, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := runKit(t.Context(), t, run); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(leftover); !os.IsNotExist(err) {
		t.Error("what a killed import left is still there")
	}
	a := fetch(t, suite.world.plain, run.Target.Repository, stagingTag)
	if diff := cmp.Diff(models.Packed(files), a.Files); diff != "" {
		t.Errorf("files in the registry: -want, +got:\n%s", diff)
	}
}

// TestFinishedImport fails a push and tries again: the model is not downloaded
// again, unless what is there is damaged.
func TestFinishedImport(t *testing.T) {
	for _, format := range []string{pipeline.FormatModelKit, pipeline.FormatModelPack} {
		t.Run(format, func(t *testing.T) {
			if format == pipeline.FormatModelPack {
				needKit(t, "v1.10.0", "ModelPack")
			}
			files := speechFiles(t)
			run := newRun(t, addModel(t, files), format)
			refuse(t, suite.world.plain, onManifests(http.StatusForbidden))
			_, _, err := runKit(t.Context(), t, run)
			wantReason(t, err, outcome.Unauthorized)

			if n := downloads(t, run); n > 1 {
				t.Errorf("the second try downloaded %d files", n)
			}
			damage(t, run.Workspace, format)
			if n := downloads(t, run); n <= 1 {
				t.Error("a damaged import was used again")
			}
			suite.world.plain.refuseBy(nil)
			if _, _, err := runKit(t.Context(), t, run); err != nil {
				t.Fatal(err)
			}
			a := fetch(t, suite.world.plain, run.Target.Repository, stagingTag)
			if diff := cmp.Diff(models.Packed(files), a.Files); diff != "" {
				t.Errorf("files in the registry: -want, +got:\n%s", diff)
			}
		})
	}
}

// downloads counts the files that a run asks the Hub for. The pipeline itself
// asks for one.
func downloads(t *testing.T, run pipeline.Run) int {
	t.Helper()
	suite.world.hub.ResetRequests()
	_, _, err := runKit(t.Context(), t, run)
	wantReason(t, err, outcome.Unauthorized)
	n := 0
	for _, r := range suite.world.hub.Requests() {
		if strings.Contains(r.Path, "/resolve/") {
			n++
		}
	}
	return n
}

// damage changes a byte of the largest file that a workspace keeps a model in.
func damage(t *testing.T, workspace, format string) {
	t.Helper()
	root := filepath.Join(workspace, "kitops", "storage", "blobs")
	if format == pipeline.FormatModelPack {
		root = filepath.Join(workspace, "unpacked")
	}
	var largest string
	var size int64
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fi, err := d.Info()
		if err == nil && fi.Size() > size {
			largest, size = path, fi.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(largest, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(largest)
	if err != nil {
		t.Fatal(err)
	}
	b[size/2] ^= 0xff
	if err := os.WriteFile(largest, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
