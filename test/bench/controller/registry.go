package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// manifest is what every tag in the registry points to.
var manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[]}`,
	ocispec.MediaTypeImageManifest, ocispec.MediaTypeEmptyJSON, ocispec.DescriptorEmptyJSON.Digest)

// manifestDigest is the manifest's.
var manifestDigest = digest.FromBytes(manifest).String()

// A registry keeps what is pushed to it in memory, or has every tag of every
// repository, and counts what it is asked
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pull).
type registry struct {
	*httptest.Server

	store http.Handler

	heads  atomic.Int64
	others atomic.Int64

	mu           sync.Mutex
	repositories map[string]bool

	// perSecond has how many manifests were looked for in each second.
	perSecond map[int64]int

	// full means that it has every tag, and all that the manifest refers to.
	full atomic.Bool
}

// newRegistry starts a registry on the loopback interface.
func newRegistry() *registry {
	r := &registry{store: testregistry.InMemory(true), repositories: map[string]bool{}, perSecond: map[int64]int{}}
	r.Server = httptest.NewServer(r)
	return r
}

// host of the registry's references.
func (r *registry) host() string { return strings.TrimPrefix(r.URL, "http://") }

// forget forgets which manifests were looked for.
func (r *registry) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.repositories)
	clear(r.perSecond)
}

// seen returns how many manifests were looked for.
func (r *registry) seen() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.repositories)
}

// fullest returns how many manifests were looked for in the second that had the most.
func (r *registry) fullest() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	most := 0
	for _, n := range r.perSecond {
		most = max(most, n)
	}
	return most
}

// push stages what a run's worker is told to stage.
func (r *registry) push(args []string) error {
	flags := map[string]string{}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		flags[name] = value
	}
	req := httptest.NewRequest(http.MethodPut, "/v2/"+flags["--repository"]+"/manifests/"+flags["--staging-tag"], bytes.NewReader(manifest))
	req.Header.Set("Content-Type", ocispec.MediaTypeImageManifest)
	rsp := httptest.NewRecorder()
	if r.store.ServeHTTP(rsp, req); rsp.Code != http.StatusCreated {
		return fmt.Errorf("cannot stage a manifest: status %d: %s", rsp.Code, rsp.Body)
	}
	return nil
}

// ServeHTTP answers requests and counts them.
func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	isManifest := strings.Contains(req.URL.Path, "/manifests/")
	if isManifest && req.Method == http.MethodHead {
		r.heads.Add(1)
		r.mu.Lock()
		r.repositories[req.URL.Path] = true
		r.perSecond[time.Now().Unix()]++
		r.mu.Unlock()
	} else {
		r.others.Add(1)
	}
	isRead := req.Method == http.MethodHead || req.Method == http.MethodGet
	switch {
	case !r.full.Load() || !isRead:
		r.store.ServeHTTP(w, req)
	case isManifest:
		answer(w, ocispec.MediaTypeImageManifest, manifest)
	default:
		answer(w, "application/octet-stream", ocispec.DescriptorEmptyJSON.Data)
	}
}

// answer answers with content; of an answer to a HEAD request the server leaves the
// content out.
func answer(w http.ResponseWriter, mediaType string, content []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.Header().Set("Docker-Content-Digest", digest.FromBytes(content).String())
	_, _ = w.Write(content)
}
