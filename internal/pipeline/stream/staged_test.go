package stream

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// alreadyStaged is in the log of a run that finds its artifact staged.
const alreadyStaged = "is staged already: there is nothing to push"

// What a registry is asked to keep.
const (
	aBlob     = "blob"
	aManifest = "manifest" // By its digest.
	aTag      = "tag"
	aList     = "list" // Of the files: the blob, and the manifest that refers to the artifact.
)

// A watched registry notes what is pushed to it, and which tags it is asked for. It
// is safe for concurrent use.
type watched struct {
	next http.Handler

	mu     sync.Mutex
	pushed []string
	read   []string // Blobs, by their digests.
	tags   map[string]bool
	refuse func(r *http.Request, what string) int // A status; 0 for no refusal.
}

func (h *watched) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what, name := pushedBy(r), r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	h.mu.Lock()
	if strings.Contains(r.URL.Path, "/manifests/") && !strings.HasPrefix(name, "sha256:") || r.Method == http.MethodDelete {
		h.tags[r.Method+" "+name] = true
	}
	if what != "" {
		h.pushed = append(h.pushed, what)
	}
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
		h.read = append(h.read, name)
	}
	status := 0
	if h.refuse != nil {
		status = h.refuse(r, what)
	}
	h.mu.Unlock()
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	h.next.ServeHTTP(w, r)
}

// pushedBy returns what a request pushes; empty for nothing.
func pushedBy(r *http.Request) string {
	switch {
	case isList(r):
		return aList
	case r.Method != http.MethodPut, r.URL.Query().Get("digest") == ocispec.DescriptorEmptyJSON.Digest.String():
		return "" // The empty blob may be anyone's.
	case !strings.Contains(r.URL.Path, "/manifests/"):
		return aBlob
	case strings.Contains(r.URL.Path, "/manifests/sha256:"):
		return aManifest
	}
	return aTag
}

// isList reports whether a request pushes a list of files.
func isList(r *http.Request) bool {
	if r.Method != http.MethodPut {
		return false
	}
	body := bufio.NewReader(r.Body)
	head, _ := body.Peek(1 << 10)
	r.Body = io.NopCloser(body)
	return bytes.HasPrefix(head, []byte(`{"files":[{"path"`)) || bytes.Contains(head, []byte(filelist.MediaType)) || strings.Contains(r.URL.Path, "/manifests/sha256-")
}

// reads returns the digests of the blobs that were read.
func (h *watched) reads() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.read)
}

// take returns what was pushed since the last call: of equal ones in a row the
// first.
func (h *watched) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Compact(h.pushed)
	h.pushed = nil
	return out
}

// A stagedWorld is a streamWorld with a registry that is watched.
type stagedWorld struct {
	*streamWorld

	watched *watched
}

func newStagedWorld(t *testing.T, format string) *stagedWorld {
	t.Helper()
	reg := &watched{next: inMemory(), tags: map[string]bool{}}
	w := &stagedWorld{streamWorld: newStreamWorld(t, streamFiles(), reg), watched: reg}
	w.run.Format = format
	t.Cleanup(w.registry.Close)
	return w
}

// remove deletes a blob, a manifest or a tag.
func (w *stagedWorld) remove(t *testing.T, kind, reference string) {
	t.Helper()
	send(t, http.MethodDelete, "http://"+w.run.Target.Registry+"/v2/"+w.run.Target.Repository+"/"+kind+"/"+reference, nil, http.StatusAccepted)
}

// manifest returns the manifest that has the layers of what is staged.
func (w *stagedWorld) manifest(t *testing.T) ocispec.Manifest {
	t.Helper()
	_, top, err := w.registry.Manifest(t.Context(), w.run.Target.Repository, stagingTag)
	if err != nil {
		t.Fatal(err)
	}
	all, err := modelpack.ReadManifests(t.Context(), w.registry, w.run.Target.Repository, top)
	if err != nil {
		t.Fatal(err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(all.Main(), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// push pushes a manifest or an index under a reference, which is its digest where
// it is empty, and returns its digest.
func (w *stagedWorld) push(t *testing.T, mediaType string, manifest any, reference string) digest.Digest {
	t.Helper()
	b, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if reference == "" {
		reference = d.Digest.String()
	}
	if err := w.registry.PushManifest(t.Context(), w.run.Target.Repository, d, b, reference); err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

// forge replaces what is staged by what change makes of its manifest, as anyone may
// who may push to the repository.
func (w *stagedWorld) forge(t *testing.T, change func(t *testing.T, w *stagedWorld, m *ocispec.Manifest)) {
	t.Helper()
	_, top, err := w.registry.Manifest(t.Context(), w.run.Target.Repository, stagingTag)
	if err != nil {
		t.Fatal(err)
	}
	m := w.manifest(t)
	change(t, w, &m)
	if w.run.Format != pipeline.FormatImage {
		w.push(t, m.MediaType, m, stagingTag)
		return
	}
	var index ocispec.Index
	if err := json.Unmarshal(top, &index); err != nil {
		t.Fatal(err)
	}
	for i := range index.Manifests {
		index.Manifests[i].Digest = w.push(t, m.MediaType, m, "")
		b, _ := json.Marshal(m)
		index.Manifests[i].Size = int64(len(b))
	}
	w.push(t, index.MediaType, index, stagingTag)
}

// forgeBlob pushes another blob of the same size, and puts it in a blob's place.
func (w *stagedWorld) forgeBlob(t *testing.T, d *ocispec.Descriptor) {
	t.Helper()
	content := []byte(strings.Repeat("!", int(d.Size)))
	d.Digest = digest.FromBytes(content)
	if err := w.registry.PushBlob(t.Context(), w.run.Target.Repository, *d, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

// forgeLayer replaces the layer whose size is nearest to a number of bytes.
func forgeLayer(size int64) func(t *testing.T, w *stagedWorld, m *ocispec.Manifest) {
	return func(t *testing.T, w *stagedWorld, m *ocispec.Manifest) {
		t.Helper()
		nearest := 0
		for i, l := range m.Layers {
			if abs(l.Size-size) < abs(m.Layers[nearest].Size-size) {
				nearest = i
			}
		}
		w.forgeBlob(t, &m.Layers[nearest])
	}
}

func abs(n int64) int64 { return max(n, -n) }

func TestStreamStages(t *testing.T) {
	type want struct {
		Reason outcome.Reason
		Pushed []string
		Tagged bool   // Whether the staging tag points to the result.
		Log    string // Words in the log.
	}
	onStaging := func(method string, status int) func(*http.Request, string) int {
		return func(r *http.Request, _ string) int {
			if r.Method == method && strings.HasSuffix(r.URL.Path, "/manifests/"+stagingTag) {
				return status
			}
			return 0
		}
	}
	cases := map[string]struct {
		reason string
		refuse func(r *http.Request, what string) int
		want   want
	}{
		"Whole": {
			reason: "The manifest should be pushed last, under the staging tag.",
			want:   want{Pushed: []string{aBlob, aTag, aList}, Tagged: true},
		},
		"NotShown": {
			reason: "A registry that does not show what does not exist yet should fail no run.",
			refuse: onStaging(http.MethodGet, http.StatusForbidden),
			want:   want{Pushed: []string{aBlob, aTag, aList}, Tagged: true},
		},
		"NotRead": {
			reason: "A registry that cannot tell what is staged should fail no run.",
			refuse: onStaging(http.MethodGet, http.StatusBadRequest),
			want:   want{Pushed: []string{aBlob, aTag, aList}, Tagged: true, Log: "cannot read what an earlier try has staged"},
		},
		"TagInvalid": {
			reason: "A manifest whose tag the registry refuses should be staged by its digest.",
			refuse: onStaging(http.MethodPut, http.StatusBadRequest),
			want:   want{Pushed: []string{aBlob, aTag, aManifest, aList}, Log: "staged without a tag"},
		},
		"TagForbidden": {
			reason: "A manifest whose tag this account may not set should be staged by its digest.",
			refuse: onStaging(http.MethodPut, http.StatusForbidden),
			want:   want{Pushed: []string{aBlob, aTag, aManifest, aList}, Log: "staged without a tag"},
		},
		"Unavailable": {
			reason: "A transient error should fail the run, which is retried.",
			refuse: onStaging(http.MethodPut, http.StatusServiceUnavailable),
			want:   want{Reason: outcome.Unavailable, Pushed: []string{aBlob, aTag}},
		},
		"ManifestRefused": {
			reason: "A registry that accepts no such manifest should fail the run.",
			refuse: func(_ *http.Request, what string) int {
				if what == aTag || what == aManifest {
					return http.StatusBadRequest
				}
				return 0
			},
			want: want{Reason: outcome.Unsupported, Pushed: []string{aBlob, aTag, aManifest}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newStagedWorld(t, pipeline.FormatModelPack)
			testregistry.PushForeign(t, w.registry, w.run.Target.Repository, "v1")
			w.run.Target.CheckpointTag = checkpointTag
			w.watched.take()
			clear(w.watched.tags)
			w.watched.refuse = tc.refuse
			result, err := w.stream.Run(t.Context(), w.run)
			w.watched.refuse = nil
			got := want{Pushed: w.watched.take()}
			if err != nil {
				got.Reason = outcome.ReasonOf(err)
			}
			for request := range w.watched.tags {
				// Where a registry has no referrers API, a tag is the list of them.
				list := "sha256-" + strings.TrimPrefix(result.Digest, "sha256:")
				if method, tag, _ := strings.Cut(request, " "); method == http.MethodDelete || tag != stagingTag && tag != checkpointTag && tag != list {
					t.Errorf("\n%s\nRun(...): want no other tag to be read and nothing to be deleted, got %s", tc.reason, request)
				}
			}
			d, rerr := w.registry.Resolve(t.Context(), w.run.Target.Repository, stagingTag)
			got.Tagged = err == nil && rerr == nil && d.Digest.String() == result.Digest
			if strings.Contains(w.log.String(), tc.want.Log) {
				got.Log = tc.want.Log
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRun(...): -want, +got:\n%s\n%v\n%s", tc.reason, diff, err, w.log)
			}
			if err == nil {
				if diff := cmp.Diff(streamFiles(), w.pulled(t, result.Digest)); diff != "" {
					t.Errorf("\n%s\nRun(...): -want, +got files:\n%s", tc.reason, diff)
				}
			}
		})
	}
}

// TestStreamReusesStaged runs twice, and has something happen in between.
func TestStreamReusesStaged(t *testing.T) {
	type want struct {
		Pushed []string
		Other  bool // Whether the result is another one than that of the first run.
		Log    string
	}
	all := []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage}
	cases := map[string]struct {
		reason  string
		formats []string
		between func(t *testing.T, w *stagedWorld, digest string)
		want    want
	}{
		"Nothing": {
			reason:  "What is staged and verified should not be pushed again.",
			formats: all,
			between: func(*testing.T, *stagedWorld, string) {},
			want:    want{Log: alreadyStaged},
		},
		"Untagged": {
			reason:  "A staging tag that is gone should be set again.",
			formats: []string{pipeline.FormatModelPack},
			between: func(t *testing.T, w *stagedWorld, _ string) { w.remove(t, "manifests", stagingTag) },
			want:    want{Pushed: []string{aTag}, Log: "in the registry already"},
		},
		"LayerLost": {
			reason:  "A layer that is gone should be pushed again.",
			formats: all,
			between: func(t *testing.T, w *stagedWorld, _ string) {
				w.remove(t, "blobs", w.manifest(t).Layers[0].Digest.String())
			},
			want: want{Pushed: []string{aBlob}, Log: alreadyStaged},
		},
		"ConfigLost": {
			reason:  "A config that is gone should be pushed again.",
			formats: all,
			between: func(t *testing.T, w *stagedWorld, _ string) {
				w.remove(t, "blobs", w.manifest(t).Config.Digest.String())
			},
			want: want{Pushed: []string{aBlob}, Log: alreadyStaged},
		},
		"ManifestLost": {
			reason:  "A manifest that is gone should be pushed again.",
			formats: []string{pipeline.FormatModelPack},
			between: func(t *testing.T, w *stagedWorld, d string) {
				w.remove(t, "manifests", stagingTag)
				w.remove(t, "manifests", d)
			},
			want: want{Pushed: []string{aTag}, Log: "in the registry already"},
		},
		"ForgedLarge": {
			reason:  "Other bytes of a large file should not be published.",
			formats: []string{pipeline.FormatModelPack},
			between: func(t *testing.T, w *stagedWorld, _ string) { w.forge(t, forgeLayer(int64(len(streamWeight)))) },
			want:    want{Pushed: []string{aTag}, Log: "pushed"},
		},
		"ForgedSmall": {
			reason:  "Other bytes of a small file, whose SHA-256 the Hub does not announce, should not be published.",
			formats: []string{pipeline.FormatModelPack},
			between: func(t *testing.T, w *stagedWorld, _ string) { w.forge(t, forgeLayer(int64(len(`{"a": 1}`)))) },
			want:    want{Pushed: []string{aTag}, Log: "that an earlier try has pushed is not reused"},
		},
		"ForgedArchive": {
			reason:  "Other bytes of an archive should not be published.",
			formats: []string{pipeline.FormatModelKit, pipeline.FormatImage},
			between: func(t *testing.T, w *stagedWorld, _ string) { w.forge(t, forgeLayer(int64(len(streamWeight)))) },
			want:    want{Log: "that an earlier try has pushed is not reused"},
		},
		"ForgedConfig": {
			reason:  "A config that this run would not make should not be published.",
			formats: []string{pipeline.FormatModelPack},
			between: func(t *testing.T, w *stagedWorld, _ string) {
				w.forge(t, func(t *testing.T, w *stagedWorld, m *ocispec.Manifest) {
					t.Helper()
					w.forgeBlob(t, &m.Config)
				})
			},
			want: want{Pushed: []string{aTag}, Log: "pushed"},
		},
		"ForgedAnnotations": {
			reason:  "Annotations that this run would not make should not be published.",
			formats: []string{pipeline.FormatModelPack},
			between: func(t *testing.T, w *stagedWorld, _ string) {
				w.forge(t, func(t *testing.T, _ *stagedWorld, m *ocispec.Manifest) {
					t.Helper()
					m.Annotations[ocispec.AnnotationLicenses] = "MIT"
				})
			},
			want: want{Pushed: []string{aTag}, Log: "pushed"},
		},
		"Foreign": {
			reason:  "What is not this artifact should not be published.",
			formats: []string{pipeline.FormatModelPack},
			between: func(t *testing.T, w *stagedWorld, _ string) {
				testregistry.PushForeign(t, w.registry, w.run.Target.Repository, stagingTag)
			},
			want: want{Pushed: []string{aTag}, Log: "pushed"},
		},
		"OtherCommit": {
			reason:  "A branch that has moved should give another artifact.",
			formats: []string{pipeline.FormatModelPack},
			between: func(t *testing.T, w *stagedWorld, _ string) {
				t.Helper()
				file := filepath.Join(w.dir, "models", streamModel, "main", "config.json")
				if err := os.WriteFile(file, []byte(`{"a": 2, "b": 3}`), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			want: want{Pushed: []string{aBlob, aTag, aList}, Other: true, Log: "pushed"},
		},
	}
	for name, tc := range cases {
		for _, format := range tc.formats {
			t.Run(name+"/"+format, func(t *testing.T) {
				w := newStagedWorld(t, format)
				first, err := w.stream.Run(t.Context(), w.run)
				if err != nil {
					t.Fatal(err)
				}
				tc.between(t, w, first.Digest)
				w.watched.take()
				w.log.Reset()
				w.hub.ResetRequests()

				second, err := w.stream.Run(t.Context(), w.run)
				got := want{Pushed: w.watched.take(), Other: second != first}
				if strings.Contains(w.log.String(), tc.want.Log) {
					got.Log = tc.want.Log
				}
				if name == "ForgedArchive" {
					got.Pushed = nil // It differs between the formats.
				}
				if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
					t.Errorf("\n%s\nRun(...): -want, +got:\n%s\n%v\n%s", tc.reason, diff, err, w.log)
				}
				if n := w.asked("/vocab.txt"); tc.want.Log == alreadyStaged && n > 0 {
					t.Errorf("\n%s\nRun(...): want no file to be read from the Hub but what tells of the model, got %d requests", tc.reason, n)
				}
				d, err := w.registry.Resolve(t.Context(), w.run.Target.Repository, stagingTag)
				if err != nil || d.Digest.String() != second.Digest {
					t.Errorf("\n%s\nRun(...): want the staging tag to point to %s, got %s, %v", tc.reason, second.Digest, d.Digest, err)
				}
			})
		}
	}
}

// TestStreamStagesAtDistribution stages twice at a real registry.
func TestStreamStagesAtDistribution(t *testing.T) {
	cases := map[string]struct {
		reason  string
		options testregistry.Options
	}{
		"Open":     {reason: "A registry without accounts should do."},
		"NoDelete": {reason: "A registry that deletes nothing, as by default, should do.", options: testregistry.Options{NoDelete: true}},
		"Password": {reason: "A registry with passwords should do.", options: testregistry.Options{Users: []testregistry.User{{Name: "ada", Password: "secret"}}}},
		"Tokens": {
			reason: "An account that may not delete should do, with short-lived tokens.",
			options: testregistry.Options{TokenLife: time.Second, Users: []testregistry.User{
				{Name: "ada", Password: "secret", Actions: []string{"pull", "push"}},
			}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			reg := testregistry.Start(t, tc.options)
			w := newStreamWorld(t, streamFiles(), nil)
			w.run.Target.Registry, w.run.Target.CheckpointTag = reg.Host(), checkpointTag
			options := registry.Options{Host: reg.Host(), PlainHTTP: true}
			if len(tc.options.Users) > 0 {
				pair := base64.StdEncoding.EncodeToString([]byte(tc.options.Users[0].Name + ":" + tc.options.Users[0].Password))
				options.DockerConfig = fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, reg.Host(), pair)
				w.run.Target.DockerConfig = t.TempDir()
				if err := os.WriteFile(filepath.Join(w.run.Target.DockerConfig, "config.json"), options.DockerConfig, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c, err := registry.New(options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			first, err := w.stream.Run(t.Context(), w.run)
			if err != nil {
				t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, w.log)
			}
			if d, err := c.Resolve(t.Context(), w.run.Target.Repository, stagingTag); err != nil || d.Digest.String() != first.Digest {
				t.Errorf("\n%s\nRun(...): want the staging tag to point to %s, got %s, %v", tc.reason, first.Digest, d.Digest, err)
			}
			reg.ResetRequests()
			second, err := w.stream.Run(t.Context(), w.run)
			if diff := cmp.Diff(first, second); diff != "" || err != nil {
				t.Errorf("\n%s\nRun(...): -first, +second:\n%s\n%v", tc.reason, diff, err)
			}
			if n := reg.Count(http.MethodPut, "") + reg.Count(http.MethodDelete, ""); n != 0 {
				t.Errorf("\n%s\nRun(...): want nothing to be pushed again, and nothing to be deleted, got %d requests\n%s", tc.reason, n, w.log)
			}
		})
	}
}

// TestStreamLimit checks that the largest file is compared with what the registry
// accepts before anything is moved.
func TestStreamLimit(t *testing.T) {
	w := newStagedWorld(t, pipeline.FormatModelPack)
	w.stream.limit = func(string) (int64, string, bool) {
		return int64(len(streamWeight)) - 1, "https://docs.example.com", true
	}
	_, err := w.stream.Run(t.Context(), w.run)
	if outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), "safetensors has 1.1 MiB") {
		t.Errorf("want the largest file to be refused, got %v", err)
	}
	if pushed := w.watched.take(); len(pushed) > 0 || w.asked("/cdn/") > 0 {
		t.Errorf("want nothing to be moved, got %q", pushed)
	}
}
