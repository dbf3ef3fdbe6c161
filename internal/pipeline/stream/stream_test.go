package stream

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gcr "github.com/google/go-containerregistry/pkg/registry"
	modelspec "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

const (
	streamModel = "org/model"

	// The run's own tags.
	stagingTag    = "kitops-staging-0123456789abcdef"
	checkpointTag = "kitops-checkpoint-0123456789abcdef"
)

var streamWeight = bytes.Repeat([]byte("weight"), 200_000)

// streamFiles are the files of the model that most tests stream.
func streamFiles() map[string]string {
	return map[string]string{
		"README.md":             "---\nlicense: apache-2.0\n---\n# Model\n",
		"LICENSE":               "the licence",
		"config.json":           `{"a": 1}`,
		"empty.txt":             "",
		"model.safetensors":     string(streamWeight),
		"copy/same.safetensors": string(streamWeight),
		"onnx/a #1% ü.json":     "[]",
		"onnx/model.onnx":       strings.Repeat("o", 5000),
		"vocab.txt":             strings.Repeat("word\n", 5000),
	}
}

// whole has a registry in memory read what is pushed before it takes the request: it
// locks its blobs while it reads one, and a push may read from the same registry.
func whole(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut || r.Method == http.MethodPatch {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(b))
		}
		next.ServeHTTP(w, r)
	})
}

// A streamWorld is a Hub and a registry, and a run from the one to the other.
type streamWorld struct {
	dir      string // The Hub's folder.
	hub      *testhub.Handler
	stream   *Pipeline
	run      pipeline.Run
	log      *bytes.Buffer
	registry *registry.Client
}

func newStreamWorld(t testing.TB, files map[string]string, reg http.Handler, o ...testhub.Option) *streamWorld {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "models", streamModel, "main"), 0o750); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		name = filepath.Join(dir, "models", streamModel, "main", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := &streamWorld{dir: dir, hub: testhub.NewHandler(dir, append(o, testhub.WithCDN("localhost"))...), stream: New(), log: &bytes.Buffer{}}
	w.stream.retry.Sleep = func(context.Context, time.Duration) error { return nil }
	w.stream.uploads.Sleep = w.stream.retry.Sleep
	h := httptest.NewServer(w.hub)
	t.Cleanup(h.Close)
	if reg == nil {
		reg = whole(gcr.New(gcr.Logger(log.New(io.Discard, "", 0))))
	}
	r := httptest.NewServer(reg)
	t.Cleanup(r.Close)
	host := strings.TrimPrefix(r.URL, "http://")
	w.run = pipeline.Run{
		Source: pipeline.Source{Endpoint: h.URL, Model: streamModel, Revision: "main", TokenFile: tokenFile(t, "hf_token")},
		Target: pipeline.Target{Registry: host, Repository: "models/model", StagingTag: stagingTag, PlainHTTP: true},
		Format: pipeline.FormatModelPack,
		Log:    w.log,
	}
	var err error
	if w.registry, err = registry.New(registry.Options{Host: host, PlainHTTP: true}); err != nil {
		t.Fatal(err)
	}
	return w
}

// pulled returns the artifact's files.
func (w *streamWorld) pulled(t *testing.T, reference string) map[string]string {
	t.Helper()
	_, b, err := w.registry.Manifest(t.Context(), "models/model", reference)
	if err != nil {
		t.Fatal(err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, l := range append(m.Layers, m.Config) {
		rc, err := w.registry.OpenBlob(t.Context(), "models/model", l)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		_ = rc.Close()
		switch {
		case l.MediaType == m.Config.MediaType:
		case strings.HasSuffix(l.MediaType, ".tar"):
			// An empty file is an archive of itself.
			h, err := tar.NewReader(bytes.NewReader(content)).Next()
			if err != nil || h.Name != l.Annotations[modelspec.AnnotationFilepath] || h.Size != 0 {
				t.Errorf("layer %s: want an archive of the empty file, got %v, %v", l.Annotations, h, err)
				continue
			}
			files[h.Name] = ""
		default:
			files[l.Annotations[ocispec.AnnotationTitle]] = string(content)
		}
	}
	return files
}

// asked counts the requests whose path contains part.
func (w *streamWorld) asked(part string) int {
	n := 0
	for _, r := range w.hub.Requests() {
		if strings.Contains(r.Path, part) {
			n++
		}
	}
	return n
}

func TestStream(t *testing.T) {
	files := streamFiles()
	files[".gitattributes"] = "*.bin filter=lfs"
	w := newStreamWorld(t, files, nil)
	result, err := w.stream.Run(t.Context(), w.run)
	if err != nil {
		t.Fatalf("Run(...): %v\n%s", err, w.log)
	}
	delete(files, ".gitattributes")
	if diff := cmp.Diff(files, w.pulled(t, result.Digest)); diff != "" {
		t.Errorf("Run(...): -want, +got files:\n%s", diff)
	}
	d, err := w.registry.Resolve(t.Context(), "models/model", stagingTag)
	if err != nil || d.Digest.String() != result.Digest {
		t.Errorf("want the staging tag to point to %s, got %s, %v", result.Digest, d.Digest, err)
	}
	total := int64(0)
	for _, content := range files {
		total += int64(len(content))
	}
	if result.Files != len(files) || result.License != "Apache-2.0" || len(result.Revision) != 40 || result.Size <= total || result.Size > total+4096 {
		t.Errorf("Run(...): unexpected result %+v", result)
	}
	if n := w.asked("/cdn/"); n != 2 {
		t.Errorf("want the two equal files to be moved once, so 2 downloads from the CDN, got %d", n)
	}
	for _, words := range []string{result.Revision, "9 files", "copy/same.safetensors: 1.1 MiB in ", "pushed " + w.run.Target.Reference() + "@" + result.Digest} {
		if !strings.Contains(w.log.String(), words) {
			t.Errorf("want %q in the log, got\n%s", words, w.log)
		}
	}
	if strings.Contains(w.log.String(), "hf_token") {
		t.Error("the token is in the log")
	}

	sent := w.hub.Sent()
	w.log.Reset()
	w.run.Target.StagingTag = "v2"
	again, err := w.stream.Run(t.Context(), w.run)
	if diff := cmp.Diff(result, again); diff != "" || err != nil {
		t.Errorf("want the same commit to give the same result: -want, +got:\n%s\n%v", diff, err)
	}
	// But what its beginnings say of the model is read.
	if sent := w.hub.Sent() - sent; sent > int64(len(streamWeight)) || !strings.Contains(w.log.String(), "in the registry already") {
		t.Errorf("want nothing large to be moved twice, got %d bytes\n%s", sent, w.log)
	}
}

func TestStreamLargeTextFile(t *testing.T) {
	w := newStreamWorld(t, streamFiles(), nil)
	w.stream.inMemory = 10
	result, err := w.stream.Run(t.Context(), w.run)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(streamFiles(), w.pulled(t, result.Digest)); diff != "" {
		t.Errorf("Run(...): -want, +got files:\n%s", diff)
	}
	if n := w.asked("vocab.txt"); n != 1 {
		t.Errorf("want the file to be read once, got %d", n)
	}
}

func TestStreamFaults(t *testing.T) {
	type want struct {
		reason outcome.Reason
		tagged bool
	}
	// Whatever is read beside it: several files are.
	ofWeights := testhub.On("/cdn/" + digest.FromBytes(streamWeight).Encoded())
	ofONNX := testhub.On("/cdn/" + digest.FromString(streamFiles()["onnx/model.onnx"]).Encoded())
	cases := map[string]struct {
		reason string
		fault  testhub.Fault
		want   want
	}{
		"Truncated":      {reason: "A download that breaks should be resumed.", fault: testhub.Times(3, ofWeights, testhub.Truncate(1000)), want: want{tagged: true}},
		"TruncatedSmall": {reason: "A download of a small file that breaks should be retried.", fault: testhub.Times(1, testhub.On("/config.json"), testhub.Truncate(2)), want: want{tagged: true}},
		"Corrupt":        {reason: "A wrong byte should fail the run.", fault: testhub.Times(1, ofWeights, testhub.Corrupt(1000)), want: want{reason: outcome.Mismatch}},
		"CorruptLast":    {reason: "A wrong last byte should fail the run.", fault: testhub.Times(1, ofONNX, testhub.Corrupt(4999)), want: want{reason: outcome.Mismatch}},
		"CorruptSmall":   {reason: "A small file should be verified by git's hash.", fault: testhub.Times(1, testhub.On("/config.json"), testhub.Corrupt(3)), want: want{reason: outcome.Mismatch}},
		"TooLong":        {reason: "More bytes than announced should be ignored.", fault: testhub.Times(1, ofWeights, body(append(slices.Clone(streamWeight), 'x'))), want: want{tagged: true}},
		"TooShort":       {reason: "Missing bytes should be requested again.", fault: testhub.Times(1, ofWeights, body(streamWeight[:1000])), want: want{tagged: true}},
		"LinkExpired":    {reason: "An expired link of the CDN should be renewed.", fault: testhub.Times(1, ofWeights, testhub.Status(403, nil)), want: want{tagged: true}},
		"Forbidden":      {reason: "A refusal of the Hub should fail the run.", fault: testhub.Times(1000, testhub.On("/resolve/"), testhub.Status(403, nil)), want: want{reason: outcome.Unauthorized}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newStreamWorld(t, streamFiles(), nil)
			w.hub.SetFault(tc.fault)
			_, err := w.stream.Run(t.Context(), w.run)
			var got want
			if err != nil {
				got.reason = outcome.ReasonOf(err)
			}
			_, rerr := w.registry.Resolve(t.Context(), "models/model", stagingTag)
			got.tagged = rerr == nil
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nRun(...): -want, +got:\n%s\n%v\n%s", tc.reason, diff, err, w.log)
			}
			if got.tagged {
				if diff := cmp.Diff(streamFiles(), w.pulled(t, stagingTag)); diff != "" {
					t.Errorf("\n%s\nRun(...): -want, +got files:\n%s", tc.reason, diff)
				}
			}
		})
	}
}

// body answers with these bytes, whatever was asked.
func body(b []byte) testhub.Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
	}
}

func TestStreamRegistryFaults(t *testing.T) {
	harmed := func(times int, method, part string, f testhub.Fault) http.Handler {
		match := func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, part) }
		return testhub.Times(times, match, f)(gcr.New(gcr.Logger(log.New(io.Discard, "", 0))))
	}
	cases := map[string]struct {
		reason   string
		registry http.Handler
		want     outcome.Reason
	}{
		"Forbidden":       {reason: "A forbidden push should fail the run.", registry: harmed(1000, http.MethodPost, "", testhub.Status(403, nil)), want: outcome.Unauthorized},
		"TooLarge":        {reason: "A proxy's limit should be NoSpace.", registry: harmed(1000, http.MethodPut, "/blobs/", testhub.Status(413, nil)), want: outcome.NoSpace},
		"PutFails":        {reason: "An upload that fails should be retried.", registry: harmed(2, http.MethodPut, "/blobs/", testhub.Status(502, nil))},
		"PutBreaks":       {reason: "An upload that breaks should be retried.", registry: harmed(2, http.MethodPut, "/blobs/", breaking)},
		"ManifestRefused": {reason: "A registry that refuses the manifest should fail the run.", registry: harmed(1000, http.MethodPut, "/manifests/", testhub.Status(400, nil)), want: outcome.Unsupported},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newStreamWorld(t, streamFiles(), tc.registry)
			_, err := w.stream.Run(t.Context(), w.run)
			got := outcome.Reason("")
			if err != nil {
				got = outcome.ReasonOf(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRun(...): -want, +got:\n%s\n%v\n%s", tc.reason, diff, err, w.log)
			}
		})
	}
}

// breaking reads some of a request and breaks the connection.
func breaking(http.Handler) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 100)
		panic(http.ErrAbortHandler)
	})
}
