package stream

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// interrupt has a run end at its last file, so that it leaves a checkpoint.
func (w *streamWorld) interrupt(t *testing.T, files map[string]string) {
	t.Helper()
	w.stream.large.Max = 1
	w.run.Target.CheckpointTag = checkpointTag
	last := slices.Max(slices.Collect(maps.Keys(files)))
	w.hub.SetFault(testhub.Times(1000, testhub.On("/resolve/"+w.commit(t)+"/"+last), testhub.Status(403, nil)))
	if _, err := w.stream.Run(t.Context(), w.run); outcome.ReasonOf(err) != outcome.Unauthorized {
		t.Fatalf("want the first run to fail at its last file, got %v\n%s", err, w.log)
	}
	w.hub.SetFault(nil)
	w.log.Reset()
}

// forgeCheckpoint replaces the layers that the checkpoint lists by what change
// makes of them.
func (w *streamWorld) forgeCheckpoint(t *testing.T, change func(b []byte) []byte) {
	t.Helper()
	repository := w.run.Target.Repository
	m, err := w.checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Layers) == 0 {
		t.Fatal("want the checkpoint to list layers")
	}
	for i, l := range m.Layers {
		rc, err := w.registry.OpenBlob(t.Context(), repository, l)
		if err != nil {
			t.Fatal(err)
		}
		var content bytes.Buffer
		if _, err := content.ReadFrom(rc); err != nil {
			t.Fatal(err)
		}
		forged := change(content.Bytes())
		m.Layers[i].Digest = digest.FromBytes(forged)
		if err := w.registry.PushBlob(t.Context(), repository, m.Layers[i], bytes.NewReader(forged)); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := w.registry.PushManifest(t.Context(), repository, d, b, checkpointTag); err != nil {
		t.Fatal(err)
	}
}

// TestStreamForgedCheckpoint has somebody who may push to the repository replace
// the layers of a checkpoint by others of the same size.
func TestStreamForgedCheckpoint(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(b []byte) []byte
	}{
		"Content": {reason: "Foreign bytes in a file should not be published.", change: func(b []byte) []byte {
			b[len(b)/2]++
			return b
		}},
		"Archive": {reason: "A foreign name in the archive should not be published.", change: func(b []byte) []byte {
			return bytes.Replace(b, []byte("model-"), []byte("evil!-"), 1)
		}},
	}
	for _, format := range []string{pipeline.FormatModelKit, pipeline.FormatImage} {
		for name, tc := range cases {
			t.Run(format+"/"+name, func(t *testing.T) {
				files := largeFiles(3, 3<<20)
				w := newStreamWorld(t, files, nil)
				w.run.Format = format
				w.interrupt(t, files)
				w.forgeCheckpoint(t, tc.change)
				if _, err := w.stream.Run(t.Context(), w.run); err != nil {
					t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, w.log)
				}
				want := map[string]string{}
				for path, sum := range models.Packed(files) {
					if format == pipeline.FormatImage {
						path = "models/" + path
					}
					want[path] = sum
				}
				if diff := cmp.Diff(want, w.fetched(t, stagingTag).Files); diff != "" {
					t.Errorf("\n%s\nfiles: -Hub, +registry:\n%s", tc.reason, diff)
				}
				if !strings.Contains(w.log.String(), "is not reused") {
					t.Errorf("\n%s\nwant the log to say what is not reused:\n%s", tc.reason, w.log)
				}
			})
		}
	}
}

// TestStreamPlanWithoutHashes plans files of which a source announced no hash.
func TestStreamPlanWithoutHashes(t *testing.T) {
	sum := strings.Repeat("a", 64)
	cases := map[string]struct {
		reason string
		a, b   file.File
		want   int
	}{
		"SHA256":   {reason: "Files of one SHA-256 should be moved once.", a: file.File{Path: "a.bin", Size: 9, SHA256: sum}, b: file.File{Path: "b.bin", Size: 9, SHA256: sum}, want: 1},
		"GitSHA1":  {reason: "Files of one git hash should be moved once.", a: file.File{Path: "a.bin", Size: 9, GitSHA1: sum[:40]}, b: file.File{Path: "b.bin", Size: 9, GitSHA1: sum[:40]}, want: 1},
		"Versions": {reason: "Files of one hash are one, whatever their versions.", a: file.File{Path: "a.bin", Size: 9, SHA256: sum, Version: "etag:a"}, b: file.File{Path: "b.bin", Size: 9, SHA256: sum, Version: "etag:b"}, want: 1},
		"Version":  {reason: "Files of one version and no hash should not be taken for one.", a: file.File{Path: "a.bin", Size: 9, Version: "mtime:1"}, b: file.File{Path: "b.bin", Size: 9, Version: "mtime:1"}, want: 2},
		"Checksum": {reason: "Nor should files of one checksum.", a: file.File{Path: "a.bin", Size: 9, CRC32C: "00000000", MD5: "m"}, b: file.File{Path: "b.bin", Size: 9, CRC32C: "00000000", MD5: "m"}, want: 2},
		"None":     {reason: "Files of one size and no hash should not be taken for one.", a: file.File{Path: "a.bin", Size: 9}, b: file.File{Path: "b.bin", Size: 9}, want: 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := &task{files: []file.File{tc.a, tc.b}}
			r.checkpoint = &checkpoint{run: r}
			layout, err := modelpack.NewLayout(modelpack.FormatModelPack, []modelpack.File{{Path: "a.bin", Size: 9}, {Path: "b.bin", Size: 9}})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(r.plan(t.Context(), layout)); got != tc.want {
				t.Errorf("\n%s\nplan(...): want %d layers to be moved, got %d", tc.reason, tc.want, got)
			}
		})
	}
}

// TestCheckpointKey checks that layers share a key only if their bytes are the same.
func TestCheckpointKey(t *testing.T) {
	keyOf := func(from string, f file.File) string {
		f.Path, f.Size = "a.bin", 9
		r := &task{files: []file.File{f, {Path: "b.bin", Size: 9, GitSHA1: strings.Repeat("a", 40)}}}
		r.contents.Facts.SourceURL = from
		return (&checkpoint{run: r}).key(modelpack.LayerPlan{Files: []modelpack.File{{Path: "b.bin", Size: 9}, {Path: "a.bin", Size: 9}}})
	}
	if key := keyOf("s3://a", file.File{}); key != "" {
		t.Errorf("key(...): want none without a hash or a version of each file, got %q", key)
	}
	seen := map[string]file.File{}
	for _, f := range []file.File{
		{SHA256: "x"}, {GitSHA1: "x"}, {MD5: "x"}, {CRC32C: "x"}, {CRC64NVME: "x"}, {Version: "x"}, {Version: "y"}, {MD5: "x", Version: "x"},
	} {
		key := keyOf("s3://a", f)
		if other, ok := seen[key]; key == "" || ok {
			t.Errorf("key(...): want one of its own for %+v, got %q, as for %+v", f, key, other)
		}
		seen[key] = f
		if same := key == keyOf("s3://b", f); same == (f.Version != "") {
			t.Errorf("key(...): want %+v to have the same key at another source: %t, got %t", f, f.Version == "", same)
		}
	}
}
