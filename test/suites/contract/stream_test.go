package contract

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline/stream"
	"github.com/crossplane-contrib/provider-kitops/test/models"
	"github.com/crossplane-contrib/provider-kitops/test/pull"
)

// runStream runs the other pipeline.
func runStream(t *testing.T, run pipeline.Run) outcome.Result {
	t.Helper()
	log := &bytes.Buffer{}
	run.Log = log
	got, err := stream.New().Run(t.Context(), run)
	t.Logf("log of the run:\n%s", log)
	if err != nil {
		t.Fatalf("Run(...): %v", err)
	}
	return got
}

// TestStreamedModelKit has kit pull and unpack a ModelKit that no kit has made,
// and compares its layers with those of one that kit has.
func TestStreamedModelKit(t *testing.T) {
	files := speechFiles(t)
	model := addModel(t, files)
	run := newRun(t, model, pipeline.FormatModelKit)
	got := runStream(t, run)
	a := fetch(t, suite.world.plain, run.Target.Repository, stagingTag)
	if diff := cmp.Diff(models.Packed(files), a.Files); diff != "" {
		t.Errorf("files in the registry: -want, +got:\n%s", diff)
	}
	if got.Digest != a.Descriptor.Digest.String() || got.Files != len(models.Packed(files)) {
		t.Errorf("result %+v does not describe what is at the registry, %s", got, a.Descriptor.Digest)
	}

	s := newShell(t)
	reference := run.Target.Reference()
	s.kit(t, false, "pull", reference, "--plain-http")
	s.kit(t, false, "unpack", reference, "--dir", filepath.Join(s.dir, "unpacked"))
	if diff := cmp.Diff(models.Packed(files), unpacked(t, filepath.Join(s.dir, "unpacked"))); diff != "" {
		t.Errorf("unpacked files: -want, +got:\n%s", diff)
	}

	run.Target.StagingTag = "kit"
	if _, _, err := runKit(t.Context(), t, run); err != nil {
		t.Fatalf("Run(...): %v", err)
	}
	if diff := cmp.Diff(layersOf(fetch(t, suite.world.plain, run.Target.Repository, "kit")), layersOf(a)); diff != "" {
		t.Errorf("layers: -kit's, +streamed:\n%s", diff)
	}
}

// unpacked returns the files that kit has unpacked, but for its own, with the
// SHA-256 of each.
func unpacked(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || name == "Kitfile" {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		files[name] = digest.FromBytes(b).Encoded()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// layersOf returns an artifact's layers, by their digests.
func layersOf(a *pull.Artifact) []digest.Digest {
	var out []digest.Digest
	for _, l := range a.Manifest.Layers {
		out = append(out, l.Digest)
	}
	slices.Sort(out)
	return out
}
