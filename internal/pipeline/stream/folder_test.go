package stream

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/folder"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// from has the run read a folder, which tells versions of its files and no hashes.
func (w *streamWorld) from(files map[string]string) *folder.Folder {
	d := &folder.Folder{URL: "s3://models/tiny", Content: map[string][]byte{}, Versions: map[string]int{}}
	for name, content := range files {
		d.Content[name] = []byte(content)
	}
	w.run.Source = pipeline.Source{S3: &pipeline.S3Source{Bucket: "models", Prefix: "tiny"}}
	w.stream.folder = func(pipeline.Source, download.Options) (source.Folder, error) { return d, nil }
	return d
}

// refusing has a registry take no blob in parts, so that a blob's digest must be known
// before it is sent.
func refusing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

var allFormats = []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage}

// TestStreamFolderChanges has a file get other bytes of the same size while a run reads
// it twice, without its version telling so.
func TestStreamFolderChanges(t *testing.T) {
	for _, format := range allFormats {
		t.Run(format, func(t *testing.T) {
			w := newStreamWorld(t, nil, whole(refusing(inMemory())))
			d := w.from(largeFiles(1, 3<<20))
			w.run.Format = format
			var opened atomic.Int64
			d.Reading = func(f file.File, from int64, rc io.ReadCloser) (io.ReadCloser, error) {
				if from == 0 && opened.Add(1) > 1 {
					return io.NopCloser(bytes.NewReader(make([]byte, f.Size))), nil
				}
				return rc, nil
			}
			_, err := w.stream.Run(t.Context(), w.run)
			if outcome.ReasonOf(err) != outcome.Changed || !strings.Contains(err.Error(), d.URL) {
				t.Errorf("want reason Changed, got %v\n%s", err, w.log)
			}
			if _, err := w.registry.Resolve(t.Context(), w.run.Target.Repository, stagingTag); err == nil {
				t.Error("want nothing to be staged")
			}
		})
	}
}

// endSecondAfter has a context end once the registry has so many bytes of the second
// blob.
func endSecondAfter(n int64, end func()) testregistry.Fault {
	var uploads atomic.Int64
	return func(next http.Handler) http.Handler {
		second := endAfter(n, end)(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPatch && uploads.Add(1) == 1 {
				next.ServeHTTP(w, r)
				return
			}
			second.ServeHTTP(w, r)
		})
	}
}

// TestStreamFolderResumes ends a run in the middle of its second large file, and has
// another run go on.
func TestStreamFolderResumes(t *testing.T) {
	t.Parallel()
	const size, first = 12 << 20, 8 << 20
	r := testregistry.Start(t, testregistry.Options{})
	cases := map[string]struct {
		reason  string
		between func(d *folder.Folder)
		forge   bool // Somebody puts another upload in the place of the run's.
		most    int64
	}{
		"Kept":  {reason: "What was sent should not be sent again.", most: size - first + 1<<20},
		"Other": {reason: "What was sent of another folder should be sent again.", between: func(d *folder.Folder) { d.URL = "s3://models/other" }, most: 2*size + 1<<20},
		"Changed": {
			reason: "What was sent of another version should be sent again.",
			between: func(d *folder.Folder) {
				for name, b := range d.Content {
					d.Content[name], d.Versions[name] = bytes.Repeat([]byte(name[6:7]), len(b)), 1
				}
			},
			most: 2*size + 1<<20,
		},
		"Forged": {reason: "Another one's bytes should not be published.", forge: true, most: 3 * size},
	}
	for _, format := range allFormats {
		for name, tc := range cases {
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				front := r.Front(t)
				w := newStreamWorld(t, nil, nil)
				w.into(t, front)
				w.stream.large.Max = 1
				d := w.from(largeFiles(2, size))
				w.run.Format, w.run.Target.Repository = format, strings.ToLower("models/folder-"+format+"-"+name)
				w.run.Target.CheckpointTag = checkpointTag
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				front.SetFault(endSecondAfter(first, cancel))
				if _, err := w.stream.Run(ctx, w.run); err == nil {
					t.Fatalf("\n%s\nwant the first run to end early\n%s", tc.reason, w.log)
				}
				front.SetFault(nil)
				if tc.between != nil {
					tc.between(d)
				}
				w.tamper(t, false, tc.forge)

				var sent atomic.Int64
				front.SetFault(counting(&sent))
				if _, err := w.stream.Run(t.Context(), w.run); err != nil {
					t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, w.log)
				}
				front.SetFault(nil)
				files := map[string]string{}
				for name, b := range d.Content {
					files[name] = string(b)
				}
				if diff := cmp.Diff(wanted(format, files), w.fetched(t, stagingTag).Files); diff != "" {
					t.Errorf("\n%s\nfiles: -folder, +registry:\n%s", tc.reason, diff)
				}
				if n := sent.Load(); n > tc.most {
					t.Errorf("\n%s\nwant at most %d bytes to be sent, got %d\n%s", tc.reason, tc.most, n, w.log)
				}
			})
		}
	}
}

// TestStreamFolderForged has somebody who may push to the repository replace the layers of
// a folder's checkpoint, of which no hash is known, by others of the same size.
func TestStreamFolderForged(t *testing.T) {
	for _, format := range allFormats {
		t.Run(format, func(t *testing.T) {
			files := largeFiles(3, 3<<20)
			w := newStreamWorld(t, nil, nil)
			d := w.from(files)
			w.run.Format, w.run.Target.CheckpointTag, w.stream.large.Max = format, checkpointTag, 1
			var opened atomic.Int64
			d.Reading = func(_ file.File, _ int64, rc io.ReadCloser) (io.ReadCloser, error) {
				if opened.Add(1) > 2 {
					return nil, outcome.Errorf(outcome.Unauthorized, "no more")
				}
				return rc, nil
			}
			if _, err := w.stream.Run(t.Context(), w.run); outcome.ReasonOf(err) != outcome.Unauthorized {
				t.Fatalf("want the first run to fail at its last file, got %v", err)
			}
			d.Reading = nil
			w.forgeCheckpoint(t, func(b []byte) []byte {
				b[len(b)/2]++
				return b
			})
			if _, err := w.stream.Run(t.Context(), w.run); err != nil {
				t.Fatalf("Run(...): %v\n%s", err, w.log)
			}
			if diff := cmp.Diff(wanted(format, files), w.fetched(t, stagingTag).Files); diff != "" {
				t.Errorf("files: -folder, +registry:\n%s", diff)
			}
			if !strings.Contains(w.log.String(), "is not reused") {
				t.Errorf("want the log to say what is not reused:\n%s", w.log)
			}
		})
	}
}
