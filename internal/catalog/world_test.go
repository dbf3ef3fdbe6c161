package catalog_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// What a registry is asked to write.
const (
	aRecord = "record" // A manifest that refers to another.
	aList   = "list"   // The fallback tag's.
	aLegacy = "legacy" // A legacy tag's.
	aTag    = "tag"
	aDelete = "delete"
)

// A watched registry notes what is written to it, and may refuse it, or have
// something happen afterwards. It is safe for concurrent use.
type watched struct {
	next http.Handler

	mu      sync.Mutex
	written []string
	refuse  func(*http.Request, string) int // A status, or 0.
	after   map[string]func()               // Once each.
}

func (h *watched) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what := writes(r)
	h.mu.Lock()
	refuse, after := h.refuse, h.after[what]
	if what != "" {
		h.written = append(h.written, what)
	}
	delete(h.after, what)
	h.mu.Unlock()
	if refuse != nil {
		if status := refuse(r, what); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	h.next.ServeHTTP(w, r)
	if after != nil {
		after()
	}
}

// writes returns what a request writes, empty for nothing.
func writes(r *http.Request) string {
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	switch {
	case r.Method == http.MethodDelete:
		return aDelete
	case r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/"):
		return ""
	case strings.HasPrefix(name, "sha256-") && strings.Contains(name, "."):
		return aLegacy
	case strings.HasPrefix(name, "sha256-"):
		return aList
	case !strings.HasPrefix(name, "sha256:"):
		return aTag
	}
	b, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(b))
	if bytes.Contains(b, []byte(`"subject"`)) {
		return aRecord
	}
	return ""
}

// take returns what was written since it was called last: of equal ones in a row the
// first, without the lists of fallback tags.
func (h *watched) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Compact(slices.DeleteFunc(h.written, func(what string) bool { return what == aList }))
	h.written = nil
	if len(out) == 0 {
		return nil
	}
	return out
}

// takeAll returns all that was written since it or take was called last.
func (h *watched) takeAll() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.written
	h.written = nil
	return out
}

const (
	repository = "models/model"
	runHash    = "03545e28e7930cc5"
)

var (
	owner = provenance.Owner{ID: "11111111-1111-1111-1111-111111111111", Namespace: "team-a", Name: "model"}
	other = provenance.Owner{ID: "22222222-2222-2222-2222-222222222222", Namespace: "team-b", Name: "model"}
)

// A world is a registry with what a run of owner has staged.
type world struct {
	*testing.T

	host    string
	watched *watched
	catalog catalog.Catalog
	staged  digest.Digest
}

// newWorld returns a world whose registry has a referrers API, or has not.
func newWorld(t *testing.T, api bool) *world {
	t.Helper()
	h := &watched{next: testregistry.InMemory(api), after: map[string]func(){}}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	w := &world{T: t, watched: h, host: strings.TrimPrefix(server.URL, "http://")}
	w.catalog = catalog.Catalog{
		Registry: w.client(), Repository: repository, Owner: owner, Name: w.host + "/" + repository, Keys: newKeys(t),
	}
	w.stage(owner)
	return w
}

// newKeys returns the keys of a provider.
func newKeys(t *testing.T) provenance.Keys {
	t.Helper()
	b, err := attest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := attest.ParsePrivateKey(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := attest.NewVerifier(key.PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	return provenance.Keys{Cluster: "33333333-3333-3333-3333-333333333333", Signer: key, Verifier: v}
}

// place is the repository with the keys of the world's provider.
func (w *world) place() provenance.Place {
	return provenance.Place{Keys: w.catalog.Keys, Repository: repository, Name: w.catalog.Name}
}

// push pushes a record as the provider of a place does.
func (w *world) push(p provenance.Place, subject ocispec.Descriptor, r provenance.Record) {
	w.Helper()
	if _, err := p.Push(w.Context(), w.catalog.Registry, subject, r); err != nil {
		w.Fatal(err)
	}
}

// client returns another client for the registry.
func (w *world) client() *registry.Client {
	w.Helper()
	c, err := registry.New(registry.Options{Host: w.host, PlainHTTP: true, SingleTry: true})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(c.Close)
	return c
}

// stage pushes a manifest as a run of an owner does.
func (w *world) stage(o provenance.Owner) {
	w.Helper()
	empty := ocispec.DescriptorEmptyJSON
	content, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: empty, Layers: []ocispec.Descriptor{empty}, Annotations: map[string]string{"content": "of a model"},
	})
	if err != nil {
		w.Fatal(err)
	}
	if err := w.catalog.Registry.PushBlob(w.Context(), repository, empty, bytes.NewReader(empty.Data)); err != nil {
		w.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(content), Size: int64(len(content))}
	if err := w.catalog.Registry.PushManifest(w.Context(), repository, d, content, provenance.StagingTag(o, runHash)); err != nil {
		w.Fatal(err)
	}
	w.staged = d.Digest
}

// commit is what commits what was staged.
func (w *world) commit() catalog.Commit {
	return catalog.Commit{Digest: w.staged, Tags: []string{"v1"}, Record: provenance.Record{RunHash: runHash, Run: 2, Files: 3}}
}

// foreign pushes a small artifact under a tag.
func (w *world) foreign(tag string) ocispec.Descriptor {
	w.Helper()
	return testregistry.PushForeign(w, w.catalog.Registry, repository, tag)
}

// variant pushes a manifest like another, which has another digest, under a tag.
func (w *world) variant(of ocispec.Descriptor, tag string) ocispec.Descriptor {
	w.Helper()
	_, b, err := w.catalog.Registry.Manifest(w.Context(), repository, of.Digest.String())
	if err != nil {
		w.Fatal(err)
	}
	b = append(b, '\n')
	d := ocispec.Descriptor{MediaType: of.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := w.catalog.Registry.PushManifest(w.Context(), repository, d, b, tag); err != nil {
		w.Fatal(err)
	}
	return d
}

// record pushes a record of a first run about an artifact.
func (w *world) record(subject ocispec.Descriptor, o provenance.Owner) {
	w.Helper()
	r := provenance.Record{Owner: o, RunHash: runHash, Run: 1}
	w.push(w.place(), subject, r)
}

// tagged returns the digest that a tag points to, empty for none.
func (w *world) tagged(tag string) string {
	w.Helper()
	d, err := w.catalog.Registry.Resolve(w.Context(), repository, tag)
	if err != nil && !registry.IsNotFound(err) {
		w.Fatal(err)
	}
	return d.Digest.String()
}

// records returns how many records of an owner there are about a manifest.
func (w *world) records(d digest.Digest, o provenance.Owner) int {
	w.Helper()
	found, _, err := w.place().Of(w.Context(), w.catalog.Registry, d, o)
	if err != nil {
		w.Fatal(err)
	}
	return len(found)
}

// bundle returns what the provider of a place signs of a record about a manifest.
func (w *world) bundle(p provenance.Place, subject digest.Digest, r provenance.Record) []byte {
	w.Helper()
	statement, err := attest.Provenance{
		Repository: p.Name, Digest: subject, Run: r.Run, RunHash: r.RunHash,
		Owner: attest.Owner{Cluster: p.Cluster, ID: r.Owner.ID, Namespace: r.Owner.Namespace, Name: r.Owner.Name},
	}.Statement()
	if err != nil {
		w.Fatal(err)
	}
	b, err := p.Signer.Sign(w.Context(), attest.PayloadType, statement)
	if err != nil {
		w.Fatal(err)
	}
	return b
}

// replay pushes a bundle as one about a manifest, as anyone may who can push.
func (w *world) replay(subject ocispec.Descriptor, bundle []byte) {
	w.Helper()
	layer := ocispec.Descriptor{MediaType: attest.BundleType, Digest: digest.FromBytes(bundle), Size: int64(len(bundle))}
	config := ocispec.DescriptorEmptyJSON
	config.Data = nil
	content, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: attest.BundleType, Config: config, Layers: []ocispec.Descriptor{layer},
		Subject: &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	})
	if err == nil {
		err = w.catalog.Registry.PushBlob(w.Context(), repository, layer, bytes.NewReader(bundle))
	}
	if err == nil {
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(content), Size: int64(len(content))}
		err = w.catalog.Registry.PushManifest(w.Context(), repository, d, content, d.Digest.String())
	}
	if err != nil {
		w.Fatal(err)
	}
}
