package artifact

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// A blobRegistry has one manifest, and counts which blobs are looked for.
type blobRegistry struct {
	manifest []byte
	lost     digest.Digest

	mu    sync.Mutex
	asked map[digest.Digest]int
}

// ServeHTTP implements http.Handler.
func (r *blobRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if strings.Contains(req.URL.Path, "/manifests/") {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		_, _ = w.Write(r.manifest)
		return
	}
	d := digest.Digest(path.Base(req.URL.Path))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[d]++
	if d == r.lost {
		w.WriteHeader(http.StatusNotFound)
	}
}

// client returns a client of the registry.
func (r *blobRegistry) client(t *testing.T) *registry.Client {
	t.Helper()
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	c, err := registry.New(registry.Options{Host: strings.TrimPrefix(server.URL, "http://"), PlainHTTP: true, SingleTry: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// layersOf returns a manifest with so many layers, and their digests.
func layersOf(t *testing.T, n int) ([]byte, []digest.Digest) {
	t.Helper()
	m := ocispec.Manifest{Config: ocispec.Descriptor{MediaType: "config", Digest: digest.FromString("config")}}
	out := []digest.Digest{m.Config.Digest}
	for i := range n {
		d := digest.FromString(fmt.Sprint(i))
		m.Layers, out = append(m.Layers, ocispec.Descriptor{MediaType: "layer", Digest: d}), append(out, d)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > decode.MaxBytes {
		t.Fatalf("a manifest of %d bytes is too large", len(b))
	}
	return b, out
}

// blobArtifact returns an Artifact that has pushed a manifest.
func blobArtifact(uid int, manifest []byte) *modelv1alpha1.Artifact {
	a := &modelv1alpha1.Artifact{}
	a.SetUID(types.UID(fmt.Sprint(uid)))
	a.Spec.ForProvider.Target = &modelv1alpha1.Target{Repository: "models/m"}
	a.Status.AtProvider.Digest = digest.FromBytes(manifest).String()
	return a
}

// TestBlobCheck has each blob of an artifact looked for, some at a time.
func TestBlobCheck(t *testing.T) {
	manifest, digests := layersOf(t, 2*blobsPerLook)
	cases := map[string]struct {
		reason string
		lost   digest.Digest
		looks  int
		found  string
	}{
		"Whole": {reason: "All blobs are looked for, each once.", looks: 3},
		"First": {reason: "One that is lost ends the check.", lost: digests[0], looks: 1, found: digests[0].String()},
		"Last":  {reason: "The last one is looked for, too.", lost: digests[2*blobsPerLook], looks: 3, found: digests[2*blobsPerLook].String()},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := &blobRegistry{manifest: manifest, lost: tc.lost, asked: map[digest.Digest]int{}}
			now := time.Now()
			e := &external{registry: r.client(t), memory: newMemory(connection.NewHosts(), time.Hour, nil, nil), now: func() time.Time { return now }}
			a := blobArtifact(1, manifest)
			e.blobs.of(a, now).due = now
			looks, found := 0, ""
			for more := true; more && looks < 10; more = e.blobs.isUnderWay(a.GetUID()) {
				var err error
				if found, err = e.lostBlob(t.Context(), a); err != nil {
					t.Fatal(err)
				}
				looks++
			}
			if looks != tc.looks || found != tc.found {
				t.Errorf("\n%s\nlostBlob(...): want %q after %d looks, got %q after %d", tc.reason, tc.found, tc.looks, found, looks)
			}
			if tc.lost == "" && len(r.asked) != len(digests) {
				t.Errorf("\n%s\nlostBlob(...): want %d blobs to be looked for, got %d", tc.reason, len(digests), len(r.asked))
			}
			for d, n := range r.asked {
				if n != 1 {
					t.Errorf("\n%s\nlostBlob(...): %s was looked for %d times", tc.reason, d, n)
				}
			}
			// Until the next check is due, nothing is asked.
			if again, err := e.lostBlob(t.Context(), a); again != tc.found || err != nil {
				t.Errorf("\n%s\nlostBlob(...): want %q still, got %q, %v", tc.reason, tc.found, again, err)
			}
		})
	}
}

// TestBlobCheckMemory has many Artifacts at a registry whose manifests name as many
// blobs as they can.
func TestBlobCheckMemory(t *testing.T) {
	manifest, _ := layersOf(t, 19_000)
	r := &blobRegistry{manifest: manifest, asked: map[digest.Digest]int{}}
	now := time.Now()
	e := &external{registry: r.client(t), memory: newMemory(connection.NewHosts(), time.Hour, nil, nil), now: func() time.Time { return now }}
	const artifacts, most = 10, 4 << 20
	used := func() uint64 {
		e.registry.Close() // What connections keep does not count.
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	for i := range artifacts {
		a := blobArtifact(i, manifest)
		e.blobs.of(a, now).due = now
		if _, err := e.lostBlob(t.Context(), a); err != nil || !e.blobs.isUnderWay(a.GetUID()) {
			t.Fatalf("lostBlob(...): want the check to go on, got %v", err)
		}
	}
	if after := used(); after > before+most {
		t.Errorf("lostBlob(...): %d checks that go on keep %d bytes, more than %d", artifacts, after-before, most)
	}
	runtime.KeepAlive(e)
}
