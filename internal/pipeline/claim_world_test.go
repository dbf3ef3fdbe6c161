package pipeline

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	gcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// What a registry is asked to keep.
const (
	aBlob     = "blob"
	aManifest = "manifest" // By its digest.
	aRecord   = "record"   // A manifest that refers to another.
	aList     = "list"     // The fallback tag's.
	aTag      = "tag"
)

// A watched registry notes what is pushed to it, and may have something happen
// before or after that. It is safe for concurrent use.
type watched struct {
	next http.Handler

	mu     sync.Mutex
	pushed []string
	before func(w http.ResponseWriter, r *http.Request, what string) bool // Whether it has answered.
	after  map[string]func()                                              // Once each.
}

// newWatched returns a registry in memory, with a referrers API or without.
func newWatched(api bool) *watched {
	return &watched{next: gcr.New(gcr.Logger(log.New(io.Discard, "", 0)), gcr.WithReferrersSupport(api)), after: map[string]func(){}}
}

func (h *watched) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what := pushedBy(r)
	h.mu.Lock()
	before, after := h.before, h.after[what]
	if what != "" {
		h.pushed = append(h.pushed, what)
	}
	delete(h.after, what)
	h.mu.Unlock()
	if before != nil && before(w, r, what) {
		return
	}
	h.next.ServeHTTP(w, r)
	if after != nil {
		after()
	}
}

// pushedBy says what a request pushes, if it does.
func pushedBy(r *http.Request) string {
	if r.Method != http.MethodPut {
		return ""
	}
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	switch {
	case r.URL.Query().Get("digest") == ocispec.DescriptorEmptyJSON.Digest.String():
		return "" // Anybody's.
	case !strings.Contains(r.URL.Path, "/manifests/"):
		return aBlob
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
	return aManifest
}

// take returns what was pushed since it was called last: of equal ones in a row
// the first.
func (h *watched) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Compact(h.pushed)
	h.pushed = nil
	return out
}

// refuse has the registry answer requests by this method for what is pushed, or
// what the path contains, with a status, n times.
func (h *watched) refuse(n, status int, method, part string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = func(w http.ResponseWriter, r *http.Request, what string) bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		if n <= 0 || r.Method != method || what != part && !strings.Contains(r.URL.Path, part) {
			return false
		}
		n--
		w.WriteHeader(status)
		return true
	}
}

// A claimWorld is a streamWorld with a registry that is watched, and a run of an
// Artifact's.
type claimWorld struct {
	*streamWorld

	watched *watched
}

const (
	claimHash = "03545e28e7930cc5"
	claimID   = "11111111-1111-1111-1111-111111111111"
)

var (
	claimOwner = provenance.Owner{ID: claimID, Namespace: "team-a", Name: "model"}
	otherOwner = provenance.Owner{ID: "22222222-2222-2222-2222-222222222222", Namespace: "team-b", Name: "model"}
)

func newClaimWorld(t *testing.T, api bool) *claimWorld {
	t.Helper()
	reg := newWatched(api)
	w := &claimWorld{streamWorld: newStreamWorld(t, streamFiles(), reg), watched: reg}
	w.run.Owner, w.run.RunHash, w.run.Number = claimOwner, claimHash, 1
	t.Cleanup(w.registry.Close)
	return w
}

// foreign pushes a small artifact of somebody else's under a tag, and returns
// its descriptor.
func (w *claimWorld) foreign(t *testing.T, tag string) ocispec.Descriptor {
	t.Helper()
	return testregistry.PushForeign(t, w.registry, w.run.Target.Repository, tag)
}

// record pushes a record about an artifact.
func (w *claimWorld) record(t *testing.T, subject ocispec.Descriptor, owner provenance.Owner, run int64) {
	t.Helper()
	r := provenance.Record{Owner: owner, RunHash: "0000000000000000", Run: run}
	if err := provenance.Push(t.Context(), w.registry, w.run.Target.Repository, subject, r); err != nil {
		t.Fatal(err)
	}
}

// tagged returns what the run's tag stands for, "" for nothing.
func (w *claimWorld) tagged(t *testing.T) string {
	t.Helper()
	d, err := w.registry.Resolve(t.Context(), w.run.Target.Repository, w.run.Target.Tag)
	if err != nil {
		return ""
	}
	return d.Digest.String()
}

// records returns an owner's records about the artifact of this digest.
func (w *claimWorld) records(t *testing.T, d string, owner provenance.Owner) []provenance.Record {
	t.Helper()
	found, err := provenance.Of(t.Context(), w.registry, w.run.Target.Repository, digest.Digest(d), owner)
	if err != nil {
		t.Fatal(err)
	}
	var out []provenance.Record
	for _, f := range found {
		out = append(out, f.Record)
	}
	return out
}

// remove deletes a blob, a manifest or a tag.
func (w *claimWorld) remove(t *testing.T, kind, reference string) {
	t.Helper()
	u := "http://" + w.run.Target.Registry + "/v2/" + w.run.Target.Repository + "/" + kind + "/" + reference
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = rsp.Body.Close()
	if rsp.StatusCode != http.StatusAccepted {
		t.Fatalf("DELETE %s: %s", u, rsp.Status)
	}
}

// change writes one of the model's files anew, as a commit does.
func (w *claimWorld) change(t *testing.T, name, content string) {
	t.Helper()
	file := filepath.Join(w.dir, "models", streamModel, "main", name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
