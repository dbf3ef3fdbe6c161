package artifact

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// testUserAgent is the test's own, whose requests go past all faults.
const testUserAgent = "test"

// requests counts and refuses what the controllers ask of a registry.
type requests struct {
	mu     sync.Mutex
	refuse func(*http.Request) int // A status, 0 for none; nil for no refusals.
	made   []string                // Method and path.
}

// refuseWith has requests answered with what a function says.
func (r *requests) refuseWith(f func(*http.Request) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = f
}

// status refuses every request of these methods with a status.
func status(status int, methods ...string) func(*http.Request) int {
	return func(r *http.Request) int {
		for _, m := range methods {
			if r.Method == m {
				return status
			}
		}
		return 0
	}
}

// take returns what was asked since the last call.
func (r *requests) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.made
	r.made = nil
	return out
}

// before puts itself before a registry.
func (r *requests) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.UserAgent() == testUserAgent {
			next.ServeHTTP(w, req)
			return
		}
		r.mu.Lock()
		refuse := r.refuse
		r.made = append(r.made, req.Method+" "+req.URL.Path)
		r.mu.Unlock()
		if refuse != nil {
			if status := refuse(req); status != 0 {
				w.WriteHeader(status)
				return
			}
		}
		next.ServeHTTP(w, req)
	})
}

// loseBlobs has the registry find no blob of a repository any more.
func (w *world) loseBlobs(repository string) {
	w.requests.refuseWith(func(r *http.Request) int {
		if strings.HasPrefix(r.URL.Path, "/v2/"+repository+"/blobs/sha256:") {
			return http.StatusNotFound
		}
		return 0
	})
}

// startRegistry starts the world's registry.
func (w *world) startRegistry() {
	w.t.Helper()
	server := httptest.NewServer(w.requests.before(testregistry.InMemory(false)))
	w.t.Cleanup(server.Close)
	w.host = strings.TrimPrefix(server.URL, "http://")
	r, err := registry.New(registry.Options{Host: w.host, PlainHTTP: true, UserAgent: testUserAgent})
	if err != nil {
		w.t.Fatal(err)
	}
	w.registry, w.stopRegistry = r, server.Close
}

// push pushes an artifact, as a run would, and returns its digest.
func (w *world) push(repository, tag, content string) string {
	w.t.Helper()
	config := []byte("{}")
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeEmptyJSON, Digest: digest.FromBytes(config), Size: int64(len(config))}
	if err := w.registry.PushBlob(w.t.Context(), repository, d, strings.NewReader(string(config))); err != nil {
		w.t.Fatal(err)
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[],"annotations":{"content":%q}}`,
		ocispec.MediaTypeImageManifest, d.MediaType, d.Digest, content)
	if platforms, ok := strings.CutPrefix(content, "index "); ok {
		return w.pushIndex(repository, tag, strings.Fields(platforms)...)
	}
	return w.pushManifest(repository, tag, ocispec.MediaTypeImageManifest, manifest).Digest.String()
}

func (w *world) pushManifest(repository, tag, mediaType string, manifest []byte) ocispec.Descriptor {
	w.t.Helper()
	m := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
	if tag == "" {
		tag = m.Digest.String()
	}
	if err := w.registry.PushManifest(w.t.Context(), repository, m, manifest, tag); err != nil {
		w.t.Fatal(err)
	}
	return m
}

// imageFor returns the manifest of an image that differs by its platform alone.
func imageFor(platform string) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},`+
		`"layers":[{"mediaType":%q,"digest":%[3]q,"size":2,"annotations":{"org.cncf.model.filepath":"config.json"}}],"annotations":{"platform":%[5]q}}`,
		ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, digest.FromString("{}"), ocispec.MediaTypeImageLayer, platform)
}

// pushIndex pushes an index of images for these platforms.
func (w *world) pushIndex(repository, tag string, platforms ...string) string {
	w.t.Helper()
	var of []string
	for _, p := range platforms {
		d := w.pushManifest(repository, "", ocispec.MediaTypeImageManifest, imageFor(p))
		of = append(of, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, d.MediaType, d.Digest, d.Size))
	}
	index := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ocispec.MediaTypeImageIndex, strings.Join(of, ","))
	return w.pushManifest(repository, tag, ocispec.MediaTypeImageIndex, index).Digest.String()
}

// stageFor stages an artifact, as the worker in a run's Pod would, and returns its
// digest.
func (w *world) stageFor(pod corev1.PodSpec, repository, content string) string {
	w.t.Helper()
	for _, arg := range pod.Containers[0].Args {
		if tag, ok := strings.CutPrefix(arg, "--staging-tag="); ok {
			return w.push(repository, tag, content)
		}
	}
	w.t.Fatal("the run has no staging tag")
	return ""
}

// lose has the registry lose a tag, and what it stands for.
func (w *world) lose(repository, tag string) {
	w.t.Helper()
	d, err := w.registry.Resolve(w.t.Context(), repository, tag)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.registry.Untag(w.t.Context(), repository, tag); err != nil {
		w.t.Fatal(err)
	}
	if err := w.registry.DeleteManifest(w.t.Context(), repository, d); err != nil {
		w.t.Fatal(err)
	}
}
