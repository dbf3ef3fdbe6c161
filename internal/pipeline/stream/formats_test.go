package stream

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	"github.com/crossplane-contrib/provider-kitops/test/models"
	"github.com/crossplane-contrib/provider-kitops/test/pull"
)

// fetched returns the artifact under a tag, with the SHA-256 of its files.
func (w *streamWorld) fetched(t *testing.T, tag string) *pull.Artifact {
	t.Helper()
	repo, err := remote.NewRepository(w.run.Target.Registry + "/" + w.run.Target.Repository)
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	a, err := pull.Pull(t.Context(), repo, tag)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestStreamFormats makes artifacts of all formats of one model, twice each.
func TestStreamFormats(t *testing.T) {
	cases := map[string]struct {
		reason       string
		folder       string
		artifactType string
		configType   string
	}{
		pipeline.FormatModelPack: {
			reason:       "A ModelPack should have the files as they are.",
			artifactType: "application/vnd.cncf.model.manifest.v1+json", configType: "application/vnd.cncf.model.config.v1+json",
		},
		pipeline.FormatModelKit: {
			reason:       "A ModelKit should have the files in archives.",
			artifactType: "application/vnd.kitops.modelkit.manifest.v1+json", configType: "application/vnd.kitops.modelkit.config.v1+json",
		},
		pipeline.FormatImage: {
			reason: "An image should have the files under /models.", folder: "models/",
			configType: "application/vnd.oci.image.config.v1+json",
		},
	}
	for format, tc := range cases {
		t.Run(format, func(t *testing.T) {
			files := streamFiles()
			w := newStreamWorld(t, files, nil)
			// Those that are small take another way.
			w.stream.inMemory = 8000
			w.run.Format = format
			w.run.Annotations = map[string]string{"com.example.team": "search"}
			first, err := w.stream.Run(t.Context(), w.run)
			if err != nil {
				t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, w.log)
			}
			want := map[string]string{}
			for name, sum := range models.Packed(files) {
				want[tc.folder+name] = sum
			}
			a := w.fetched(t, stagingTag)
			if diff := cmp.Diff(want, a.Files); diff != "" {
				t.Errorf("\n%s\nfiles: -Hub, +registry:\n%s", tc.reason, diff)
			}
			if a.Manifest.ArtifactType != tc.artifactType || a.Manifest.Config.MediaType != tc.configType {
				t.Errorf("\n%s\ntypes: got %q, %q", tc.reason, a.Manifest.ArtifactType, a.Manifest.Config.MediaType)
			}
			if got := a.Manifest.Annotations["com.example.team"]; got != "search" {
				t.Errorf("\n%s\nannotation: got %q in %v", tc.reason, got, a.Manifest.Annotations)
			}
			if first.Digest != a.Descriptor.Digest.String() || first.Files != len(want) {
				t.Errorf("\n%s\nRun(...): got %+v for %s with %d files", tc.reason, first, a.Descriptor.Digest, len(want))
			}

			w.stream, w.run.Target.Repository = New(), "models/again"
			again, err := w.stream.Run(t.Context(), w.run)
			if diff := cmp.Diff(first, again); diff != "" || err != nil {
				t.Errorf("\n%s\nthe same commit gives another result: -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}

// largeFiles are a model of weights, of this many bytes each.
func largeFiles(count, size int) map[string]string {
	files := map[string]string{}
	for i := range count {
		b := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(b)
		files["model-"+strings.Repeat("x", i)+".safetensors"] = string(b)
	}
	return files
}

// TestStreamResumes checks that a second run resumes where the first one ended early.
func TestStreamResumes(t *testing.T) {
	for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage} {
		t.Run(format, func(t *testing.T) {
			const count, size = 6, 3 << 20
			files := largeFiles(count, size)
			w := newStreamWorld(t, files, nil)
			w.run.Format = format
			w.interrupt(t, files)

			sent := w.hub.Sent()
			if _, err := w.stream.Run(t.Context(), w.run); err != nil {
				t.Fatalf("Run(...): %v\n%s", err, w.log)
			}
			// What the others' beginnings say of the model is read again.
			if again := w.hub.Sent() - sent; again > size+(count-1)*(300<<10) {
				t.Errorf("want one file to be moved, of %d bytes, got %d from the Hub\n%s", size, again, w.log)
			}
			if got, want := len(w.fetched(t, stagingTag).Files), count; got != want {
				t.Errorf("want %d files, got %d", want, got)
			}
			tags, err := w.registry.Tags(t.Context(), w.run.Target.Repository)
			if err != nil {
				t.Fatal(err)
			}
			// Where a registry has no referrers API, a tag is the list of them.
			tags = slices.DeleteFunc(tags, func(tag string) bool { return strings.HasPrefix(tag, "sha256-") })
			slices.Sort(tags)
			want := []string{checkpointTag, stagingTag}
			if format == pipeline.FormatModelPack {
				want = want[1:] // The digests of its layers are known beforehand.
			}
			if diff := cmp.Diff(want, tags); diff != "" {
				t.Errorf("want a run to set its own tags, and to remove none: -want, +got:\n%s", diff)
			}
		})
	}
}

// commit returns the commit of the world's model.
func (w *streamWorld) commit(t *testing.T) string {
	t.Helper()
	c, err := hub.New(hub.Options{Endpoint: w.run.Source.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	revision, err := c.Resolve(t.Context(), streamModel, "main")
	if err != nil {
		t.Fatal(err)
	}
	return revision.Commit
}

// TestStreamOfADataset takes some of a dataset's files.
func TestStreamOfADataset(t *testing.T) {
	files := map[string]string{"README.md": "# Data\n", "data/a b.parquet": "aaa", "data/ü%#.parquet": "bbb", "raw/c.csv": "c"}
	w := newStreamWorld(t, nil, nil)
	if err := models.Write(w.dir, "../datasets/org/data", "main", files); err != nil {
		t.Fatal(err)
	}
	w.run.Source.Kind, w.run.Source.Model = hub.Dataset, "org/data"
	w.run.Source.Files = file.Filter{Include: []string{"*.md", "data/"}, Exclude: []string{"*a b*"}}
	if _, err := w.stream.Run(t.Context(), w.run); err != nil {
		t.Fatalf("Run(...): %v\n%s", err, w.log)
	}
	delete(files, "raw/c.csv")
	delete(files, "data/a b.parquet")
	if diff := cmp.Diff(models.Packed(files), w.fetched(t, stagingTag).Files); diff != "" {
		t.Errorf("files: -Hub, +registry:\n%s", diff)
	}
	if !bytes.Contains(w.log.Bytes(), []byte("2 of 4 files are left out")) {
		t.Errorf("want the log to tell what is left out:\n%s", w.log)
	}

	w.run.Source.Files = file.Filter{Include: []string{"*.gguf"}}
	_, err := w.stream.Run(t.Context(), w.run)
	if outcome.ReasonOf(err) != outcome.NotFound || !strings.Contains(err.Error(), "dataset org/data") {
		t.Errorf("want an error that says that none is left, got %v", err)
	}
}

// TestStreamOfManyFiles takes a model of ten pages of files in folders, with
// names that no URL has as they are.
func TestStreamOfManyFiles(t *testing.T) {
	const count = 10_000
	files := make(map[string]string, count)
	for i := range count {
		// Some have the same content, which is moved once.
		files[fmt.Sprintf("data %d/ü#%%/%05d.txt", i/1000, i)] = strconv.Itoa(i % 500)
	}
	w := newStreamWorld(t, files, nil, testhub.WithFrozenFiles())
	result, err := w.stream.Run(t.Context(), w.run)
	if err != nil {
		t.Fatalf("Run(...): %v\n%s", err, w.log)
	}
	_, b, err := w.registry.Manifest(t.Context(), w.run.Target.Repository, stagingTag)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := modelpack.ReadManifest(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := models.Packed(files)
	for _, l := range layers {
		if want[l.Path] != l.Digest.Encoded() {
			t.Fatalf("%q: the registry has %s, the Hub %s", l.Path, l.Digest.Encoded(), want[l.Path])
		}
	}
	if len(layers) != count || result.Files != count {
		t.Errorf("want %d files, got %d layers and %+v", count, len(layers), result)
	}
}
