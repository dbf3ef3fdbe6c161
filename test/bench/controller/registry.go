package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// manifest is what every tag in the registry points to.
var manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[]}`,
	ocispec.MediaTypeImageManifest, ocispec.MediaTypeEmptyJSON, ocispec.DescriptorEmptyJSON.Digest)

// manifestDigest is the manifest's.
var manifestDigest = digest.FromBytes(manifest).String()

// A registry has the tags that were pushed, or every tag of every repository, and
// counts what it is asked
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pull).
type registry struct {
	*httptest.Server

	heads  atomic.Int64
	others atomic.Int64

	// full says that it has every tag.
	full   atomic.Bool
	pushed sync.Map
}

// newRegistry starts a registry on the loopback interface.
func newRegistry() *registry {
	r := &registry{}
	r.Server = httptest.NewServer(r)
	return r
}

// host of the registry's references.
func (r *registry) host() string { return strings.TrimPrefix(r.URL, "http://") }

// push has what a run's worker is told to push.
func (r *registry) push(args []string) {
	flags := map[string]string{}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		flags[name] = value
	}
	r.pushed.Store("/v2/"+flags["--repository"]+"/manifests/"+flags["--staging-tag"], true)
}

// ServeHTTP answers for manifests.
func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodHead || !strings.Contains(req.URL.Path, "/manifests/") {
		r.others.Add(1)
		http.NotFound(w, req)
		return
	}
	r.heads.Add(1)
	if _, pushed := r.pushed.Load(req.URL.Path); !pushed && !r.full.Load() {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
	w.Header().Set("Content-Length", strconv.Itoa(len(manifest)))
	w.Header().Set("Docker-Content-Digest", manifestDigest)
}
