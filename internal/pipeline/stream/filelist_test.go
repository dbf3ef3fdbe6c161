package stream

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	gcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// listOf reads the list of files that a run reports.
func (w *streamWorld) listOf(t *testing.T, fileList string) filelist.List {
	t.Helper()
	b, err := w.registry.Blob(t.Context(), w.run.Target.Repository, digest.Digest(fileList), filelist.MaxBytes)
	if err != nil {
		t.Fatal(err)
	}
	l, err := filelist.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// listed is what the list of files should have.
func listed(files map[string]string, omit func(string) bool) map[string]string {
	want := map[string]string{}
	for name, content := range files {
		if !omit(name) {
			sum := sha256.Sum256([]byte(content))
			want[name] = hex.EncodeToString(sum[:])
		}
	}
	return want
}

// sumsOf returns the hashes in a list.
func sumsOf(l filelist.List) map[string]string {
	got := map[string]string{}
	for _, f := range l.Files {
		got[f.Path] = f.SHA256
	}
	return got
}

// TestFileList checks the list of files of each format, of a run that moves all, of one
// that finds all of it in the registry, and of one whose layers were pushed by an
// earlier try.
func TestFileList(t *testing.T) {
	for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage} {
		t.Run(format, func(t *testing.T) {
			files := streamFiles()
			files["weights.bin"] = "PK\x03\x04 as torch.save writes it"
			w := newStreamWorld(t, files, nil)
			w.stream.inMemory = 8000
			w.run.Format = format
			first, err := w.stream.Run(t.Context(), w.run)
			if err != nil {
				t.Fatalf("Run(...): %v\n%s", err, w.log)
			}
			l := w.listOf(t, first.FileList)
			want := listed(files, func(name string) bool { return format == pipeline.FormatModelKit && modelpack.KitLeavesOut(name) })
			if diff := cmp.Diff(want, sumsOf(l)); diff != "" {
				t.Errorf("The list should have the files of the artifact with their hashes: -want, +got:\n%s", diff)
			}
			formats := map[string]string{}
			for _, f := range l.Files {
				formats[f.Path] = f.Format
				if f.Size != int64(len(files[f.Path])) {
					t.Errorf("%s: want %d bytes, got %d", f.Path, len(files[f.Path]), f.Size)
				}
			}
			if formats["weights.bin"] != "pickle" || formats["model.safetensors"] != "safetensors" || formats["config.json"] != "data" {
				t.Errorf("The list should have the formats by names and first bytes, got %v", formats)
			}
			referrers, err := w.registry.Referrers(t.Context(), w.run.Target.Repository, digest.Digest(first.Digest), filelist.MediaType)
			if err != nil || len(referrers) != 1 {
				t.Errorf("The list should refer to the staged manifest, got %v, %v", referrers, err)
			}
			again, err := w.stream.Run(t.Context(), w.run)
			if diff := cmp.Diff(first, again); diff != "" || err != nil {
				t.Errorf("A run that finds all in the registry should report the same: -want, +got:\n%s\n%v", diff, err)
			}
		})
	}
}

// TestFileListOfArtifacts checks the list of files of artifacts that come from a
// registry.
func TestFileListOfArtifacts(t *testing.T) {
	formats := []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage}
	for _, from := range formats {
		for _, to := range formats {
			t.Run(from+"To"+to, func(t *testing.T) {
				w := newStreamWorld(t, streamFiles(), nil)
				w.run.Format = from
				packed, err := w.stream.Run(t.Context(), w.run)
				if err != nil {
					t.Fatal(err)
				}
				want := sumsOf(w.listOf(t, packed.FileList))
				w.run.Source = pipeline.Source{Artifact: &pipeline.ArtifactSource{Reference: w.run.Target.Registry + "/models/model:" + stagingTag, PlainHTTP: true}}
				w.run.Target.Repository, w.run.Format = "models/copy", to
				copied, err := w.stream.Run(t.Context(), w.run)
				if err != nil {
					t.Fatal(err)
				}
				if from == to && from != pipeline.FormatModelPack {
					if copied.FileList != "" || !strings.Contains(w.log.String(), "no list of its files") {
						t.Errorf("A copy whose files are in archives should have no list, got %q\n%s", copied.FileList, w.log)
					}
					return
				}
				if diff := cmp.Diff(want, sumsOf(w.listOf(t, copied.FileList))); diff != "" {
					t.Errorf("The list should have the files of the artifact with their hashes: -want, +got:\n%s", diff)
				}
			})
		}
	}
}

// TestFileListRefused checks that a registry which takes no manifests that refer to
// others gets the artifact without a list.
func TestFileListRefused(t *testing.T) {
	w := newStreamWorld(t, streamFiles(), nil)
	inner := gcr.New(gcr.Logger(log.New(io.Discard, "", 0)))
	refusing := newStreamWorld(t, streamFiles(), http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256:") {
			http.Error(rw, `{"errors":[{"code":"MANIFEST_INVALID"}]}`, http.StatusBadRequest)
			return
		}
		inner.ServeHTTP(rw, r)
	}))
	want, err := w.stream.Run(t.Context(), w.run)
	if err != nil {
		t.Fatal(err)
	}
	want.FileList = ""
	got, err := refusing.stream.Run(t.Context(), refusing.run)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Run(...): -want, +got:\n%s\n%v", diff, err)
	}
	if !strings.Contains(refusing.log.String(), "no list of its files") {
		t.Errorf("The log should say that there is no list, got:\n%s", refusing.log)
	}
}
