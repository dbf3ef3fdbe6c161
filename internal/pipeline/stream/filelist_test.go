package stream

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	gcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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

// smallModel has files that git keeps, beside one that LFS keeps, and some that are not what
// their names say.
func smallModel() map[string]string {
	files := map[string]string{
		"model.safetensors": string(streamWeight), "other.safetensors": "PK\x03\x04 as torch.save writes it",
		"data/pickled.json": "\x80\x04\x95 as pickle writes it", "data/copy.json": "\x80\x04\x95 as pickle writes it",
	}
	for i := range 20 {
		files[fmt.Sprintf("data/%02d.json", i)] = fmt.Sprintf(`{"sample": %d}`, i)
	}
	return files
}

// TestVerifiedFiles has a run know the files of an earlier one by the list that it pushed.
func TestVerifiedFiles(t *testing.T) {
	const changed = "data/07.json"
	cases := map[string]struct {
		reason string
		list   func(t *testing.T, w *stagedWorld, list string) string
		change map[string]string
		lost   bool // Whether the registry has lost a small layer.
		read   bool // Whether layers are read back.
		most   int  // How many blobs are read if not; the list alone by default.
		says   string
	}{
		"Same":     {reason: "Nothing should be read back of files that an earlier run has verified."},
		"Changed":  {reason: "A file that has changed should be moved, and no other read back.", change: map[string]string{changed: `{"sample": 99}`}},
		"SameSize": {reason: "Another content of the same size should be moved.", change: map[string]string{changed: `{"sample": 8}`}, most: 2},
		"Lost":     {reason: "A layer that the registry has lost should be moved again.", lost: true},
		"NewCopy":  {reason: "A copy of a file at another path, of which nothing is known, should be verified.", change: map[string]string{"data/other.json": `{"sample": 5}`}, most: 2},
		"None":     {reason: "Without a list, layers should be read back.", list: func(*testing.T, *stagedWorld, string) string { return "" }, read: true},
		"Absent": {reason: "A list that is not there should fail no run.", read: true, says: "cannot read the list of files", list: func(*testing.T, *stagedWorld, string) string {
			return digest.FromString("absent").String()
		}},
		"NoList": {reason: "A blob that is no list should fail no run.", read: true, says: "cannot read the list of files", list: func(t *testing.T, w *stagedWorld, _ string) string {
			b := []byte("no list")
			d := ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}
			if err := w.registry.PushBlob(t.Context(), w.run.Target.Repository, d, bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			return d.Digest.String()
		}},
		"NoDigest": {reason: "What is no digest should fail no run.", read: true, says: "cannot read the list of files", list: func(*testing.T, *stagedWorld, string) string { return "../../x" }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			files := smallModel()
			w := &stagedWorld{watched: &watched{next: inMemory(), tags: map[string]bool{}}}
			w.streamWorld = newStreamWorld(t, files, w.watched)
			t.Cleanup(w.registry.Close)
			first, err := w.stream.Run(t.Context(), w.run)
			if err != nil {
				t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, w.log)
			}
			w.run.VerifiedFiles = first.FileList
			if tc.list != nil {
				w.run.VerifiedFiles = tc.list(t, w, first.FileList)
			}
			for name, content := range tc.change {
				files[name] = content
				if err := os.WriteFile(filepath.Join(w.dir, "models", streamModel, "main", name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if tc.lost {
				w.remove(t, "blobs", digest.FromString(files[changed]).String())
			}
			w.log.Reset()
			before := len(w.watched.reads())
			result, err := w.stream.Run(t.Context(), w.run)
			if err != nil {
				t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, w.log)
			}
			read := len(w.watched.reads()) - before
			if want := max(1, tc.most); !tc.read && read > want || tc.read && read < 20 {
				t.Errorf("\n%s\nblobs read from the registry: got %d\n%s", tc.reason, read, w.log)
			}
			if diff := cmp.Diff(files, w.pulled(t, stagingTag)); diff != "" {
				t.Errorf("\n%s\nfiles: -Hub, +registry:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(listed(files, func(string) bool { return false }), sumsOf(w.listOf(t, result.FileList))); diff != "" {
				t.Errorf("\n%s\nlist: -want, +got:\n%s", tc.reason, diff)
			}
			if tc.change == nil && result.FileList != first.FileList {
				t.Errorf("\n%s\nThe list of the same files should be the same: was %v, is %v", tc.reason, w.listOf(t, first.FileList), w.listOf(t, result.FileList))
			}
			if !strings.Contains(w.log.String(), tc.says) {
				t.Errorf("\n%s\nwant the log to say %q:\n%s", tc.reason, tc.says, w.log)
			}
		})
	}
}

// TestListedGitNames checks that the list has git's names of those files alone that were
// held against them.
func TestListedGitNames(t *testing.T) {
	for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatImage} {
		w := newStreamWorld(t, smallModel(), nil)
		w.run.Format = format
		r, err := w.stream.Run(t.Context(), w.run)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range w.listOf(t, r.FileList).Files {
			if has, want := f.GitSHA1 != "", f.Path != "model.safetensors"; has != want {
				t.Errorf("%s, %s: want git's name: %t, got %q", format, f.Path, want, f.GitSHA1)
			}
		}
	}
}
