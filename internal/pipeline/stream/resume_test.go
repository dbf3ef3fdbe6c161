package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// counting counts the bytes that are sent with uploads.
func counting(n *atomic.Int64) testregistry.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blobs/uploads/") {
				r.Body = &countedBody{r.Body, n}
			}
			next.ServeHTTP(w, r)
		})
	}
}

type countedBody struct {
	io.ReadCloser

	n *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// endAfter has a context end once the registry has so many bytes of a large blob.
func endAfter(n int64, end func()) testregistry.Fault {
	return testregistry.Times(1, testregistry.On(http.MethodPatch, "/blobs/uploads/"), testregistry.Part(n, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			end()
			panic(http.ErrAbortHandler)
		})
	}))
}

// wanted are the files that an artifact of a format has.
func wanted(format string, files map[string]string) map[string]string {
	want := map[string]string{}
	for name, sum := range models.Packed(files) {
		if format == pipeline.FormatImage {
			name = "models/" + name
		}
		want[name] = sum
	}
	return want
}

// TestStreamResumesUpload ends a run in the middle of its one large file, as where
// its Pod goes, and has another run resume the upload.
func TestStreamResumesUpload(t *testing.T) {
	t.Parallel()
	const size, first = 12 << 20, 8 << 20
	r := testregistry.Start(t, testregistry.Options{})
	cases := map[string]struct {
		reason  string
		restart bool // The registry forgets the upload.
		forge   bool // Somebody puts another upload in its place.
		most    int64
	}{
		"Kept":   {reason: "What was sent should not be sent again.", most: size - first + 1<<20},
		"Gone":   {reason: "An upload that the registry forgot should begin anew.", restart: true, most: size + 1<<20},
		"Forged": {reason: "Another one's bytes should not be published.", forge: true, most: 3 * size},
	}
	for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage} {
		for name, tc := range cases {
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				files, front := largeFiles(1, size), r.Front(t)
				w := newStreamWorld(t, files, nil)
				w.into(t, front)
				w.run.Format, w.run.Target.Repository = format, strings.ToLower("models/"+format+"-"+name)
				w.run.Target.CheckpointTag = checkpointTag
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				front.SetFault(endAfter(first, cancel))
				if _, err := w.stream.Run(ctx, w.run); err == nil {
					t.Fatalf("\n%s\nwant the first run to end early\n%s", tc.reason, w.log)
				}
				if n := front.Count(http.MethodDelete, "/blobs/uploads/"); n > 0 {
					t.Errorf("\n%s\nwant the upload to be left at the registry", tc.reason)
				}
				front.SetFault(nil)
				w.tamper(t, tc.restart, tc.forge)

				var sent atomic.Int64
				front.SetFault(counting(&sent))
				again := newStreamWorld(t, nil, nil).stream
				if _, err := again.Run(t.Context(), w.run); err != nil {
					t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, w.log)
				}
				front.SetFault(nil)
				if diff := cmp.Diff(wanted(format, files), w.fetched(t, stagingTag).Files); diff != "" {
					t.Errorf("\n%s\nfiles: -Hub, +registry:\n%s", tc.reason, diff)
				}
				if n := sent.Load(); n > tc.most {
					t.Errorf("\n%s\nwant at most %d bytes to be sent, got %d\n%s", tc.reason, tc.most, n, w.log)
				}
				if strings.Contains(w.log.String(), "/blobs/uploads/") {
					t.Errorf("\n%s\nwant no log of where the upload is:\n%s", tc.reason, w.log)
				}
			})
		}
	}
}

// checkpoint returns the manifest that the checkpoint's tag points to.
func (w *streamWorld) checkpoint(ctx context.Context) (ocispec.Manifest, error) {
	var m ocispec.Manifest
	_, b, err := w.registry.Manifest(ctx, w.run.Target.Repository, checkpointTag)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, err
}

// tamper has the upload of a checkpoint be forgotten by the registry, or replaced
// by another one, to which foreign bytes were sent.
func (w *streamWorld) tamper(t *testing.T, forget, forge bool) {
	t.Helper()
	repository := w.run.Target.Repository
	m, err := w.checkpoint(t.Context())
	if err != nil {
		t.Fatalf("want a checkpoint: %v\n%s", err, w.log)
	}
	var uploads []uploadRecord
	if err := json.Unmarshal([]byte(m.Annotations[annotationUploads]), &uploads); err != nil || len(uploads) != 1 {
		t.Fatalf("want one upload in the checkpoint, got %q, %v", m.Annotations[annotationUploads], err)
	}
	host := "http://" + w.run.Target.Registry
	if forget {
		// It deletes an upload only where it is told how much it has of it.
		now := send(t, http.MethodGet, host+uploads[0].Location, nil, http.StatusNoContent)
		send(t, http.MethodDelete, now.String(), nil, http.StatusNoContent)
	}
	if !forge {
		return
	}
	foreign := bytes.Repeat([]byte("foreign!"), 1<<20)
	begun := send(t, http.MethodPost, host+"/v2/"+repository+"/blobs/uploads/", nil, http.StatusAccepted)
	sent := send(t, http.MethodPatch, begun.String(), foreign, http.StatusAccepted)
	uploads[0].Location = sent.RequestURI()
	if uploads[0].Read > 0 {
		sum := sha256.New()
		_, _ = sum.Write(foreign)
		uploads[0].Read = int64(len(foreign))
		if uploads[0].State, err = sum.(encoding.BinaryMarshaler).MarshalBinary(); err != nil { //nolint:forcetypeassert // It is one.
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(uploads)
	if err != nil {
		t.Fatal(err)
	}
	m.Annotations[annotationUploads] = string(b)
	if b, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := w.registry.PushManifest(t.Context(), repository, d, b, checkpointTag); err != nil {
		t.Fatal(err)
	}
}

// send makes a request and returns the Location of its answer.
func send(t *testing.T, method, to string, body []byte, want int) *url.URL {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, to, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	if rsp.StatusCode != want {
		t.Fatalf("%s: want status %d, got %d", method, want, rsp.StatusCode)
	}
	at, _ := rsp.Location()
	return at
}

// TestStreamRecordsUploads has a run that ends without a moment's notice leave
// its upload in the checkpoint.
func TestStreamRecordsUploads(t *testing.T) {
	t.Parallel()
	const size = 12 << 20
	r := testregistry.Start(t, testregistry.Options{})
	for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			front := r.Front(t)
			w := newStreamWorld(t, largeFiles(1, size), nil)
			w.into(t, front)
			w.stream.checkpointEvery = 10 * time.Millisecond
			w.run.Format, w.run.Target.Repository = format, strings.ToLower("models/records-"+format)
			w.run.Target.CheckpointTag = checkpointTag
			var seen atomic.Bool
			// The upload goes on once the checkpoint is there.
			front.SetFault(testregistry.Times(1, testregistry.On(http.MethodPatch, "/blobs/uploads/"), func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && !seen.Load(); time.Sleep(10 * time.Millisecond) {
						m, err := w.checkpoint(r.Context())
						seen.Store(err == nil && len(readUploads(m.Annotations[annotationUploads])) == 1)
					}
					next.ServeHTTP(rw, r)
				})
			}))
			if _, err := w.stream.Run(t.Context(), w.run); err != nil {
				t.Fatalf("Run(...): %v\n%s", err, w.log)
			}
			if !seen.Load() {
				t.Error("want the upload to be in the checkpoint while it is in progress")
			}
		})
	}
}

// TestStreamOutlastsRegistry has the registry be away for a while once layers are
// moved.
func TestStreamOutlastsRegistry(t *testing.T) {
	t.Parallel()
	for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			var away, begun, cancelled atomic.Int64
			inner := gcr.New(gcr.Logger(log.New(io.Discard, "", 0)))
			w := newStreamWorld(t, largeFiles(3, 3<<20), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost && begun.Add(1) == 1 {
					away.Store(15)
				}
				if r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/blobs/uploads/") {
					cancelled.Add(1)
				}
				if away.Add(-1) >= 0 {
					panic(http.ErrAbortHandler)
				}
				inner.ServeHTTP(w, r)
			}))
			w.run.Format = format
			if _, err := w.stream.Run(t.Context(), w.run); err != nil {
				t.Fatalf("want the run to outlast the registry's restart, got %v\n%s", err, w.log)
			}
			if away.Load() >= 0 {
				t.Error("want the registry to have been away")
			}
			if n := cancelled.Load(); n > 0 {
				t.Errorf("want no upload to be cancelled, got %d", n)
			}
		})
	}
}

func TestReadUploads(t *testing.T) {
	many, err := json.Marshal(make([]uploadRecord, 10*maxUploads))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason     string
		annotation string
		want       map[string]uploadRecord
	}{
		"None":     {reason: "A checkpoint without uploads should be read."},
		"One":      {reason: "An upload should be read.", annotation: `[{"key":"a","location":"/l","read":1,"state":"eA=="}]`, want: map[string]uploadRecord{"a": {Key: "a", Location: "/l", Read: 1, State: []byte("x")}}},
		"Nonsense": {reason: "What is no list should be none.", annotation: `{"key":"a"}`},
		"Many":     {reason: "There should be a bound.", annotation: string(many), want: map[string]uploadRecord{"": {}}},
		"Large":    {reason: "There should be a bound.", annotation: `[{"key":"` + strings.Repeat("a", maxUploadsBytes) + `"}]`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, readUploads(tc.annotation)); diff != "" {
				t.Errorf("\n%s\nreadUploads(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// FuzzReadUploads has somebody make up a checkpoint: a layer's sum may be another
// one, and covers no more bytes than the layer has.
func FuzzReadUploads(f *testing.F) {
	state, err := sha256.New().(encoding.BinaryMarshaler).MarshalBinary() //nolint:forcetypeassert // It is one.
	if err != nil {
		f.Fatal(err)
	}
	b, err := json.Marshal([]uploadRecord{{Key: "a", Location: "/l", Read: 1, State: state}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(`[{"key":"a","read":-1,"state":"eA=="}]`)
	f.Fuzz(func(t *testing.T, annotation string) {
		all := readUploads(annotation)
		if len(all) > maxUploads {
			t.Errorf("want at most %d uploads, got %d", maxUploads, len(all))
		}
		for _, r := range all {
			s := &layerStream{plan: modelpack.LayerPlan{Size: 1000}, sum: newLayerHash(nil)}
			s.restore(r)
			if s.read < 0 || s.read > 1000 {
				t.Errorf("restore(%+v): want at most the layer's bytes, got %d", r, s.read)
			}
		}
	})
}
