package registry

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	gcr "github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// InMemory returns a registry that keeps all in memory, with a referrers API or
// without. A manifest that is deleted by its digest loses its tags, as it does in
// registries and not in go-containerregistry's.
func InMemory(referrers bool) http.Handler {
	next := gcr.New(gcr.Logger(log.New(io.Discard, "", 0)), gcr.WithReferrersSupport(referrers))
	ask := func(method, path string) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, httptest.NewRequest(method, path, nil))
		return answer
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		repository, deleted, _ := strings.Cut(req.URL.Path, "/manifests/")
		if req.Method == http.MethodDelete && strings.Contains(deleted, ":") {
			var list struct {
				Tags []string `json:"tags"`
			}
			_ = json.Unmarshal(ask(http.MethodGet, repository+"/tags/list").Body.Bytes(), &list)
			for _, tag := range list.Tags {
				if path := repository + "/manifests/" + tag; ask(http.MethodHead, path).Header().Get("Docker-Content-Digest") == deleted {
					ask(http.MethodDelete, path)
				}
			}
		}
		if referrers && req.Method == http.MethodPut && deleted != "" {
			acknowledge(w, req)
		}
		next.ServeHTTP(w, req)
	})
}

// acknowledge tells a client that pushes a manifest with a subject that the registry
// lists it (distribution-spec 1.1, "Pushing Manifests with Subject"), so that the client
// keeps no list under a fallback tag.
func acknowledge(w http.ResponseWriter, req *http.Request) {
	content, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	req.Body = io.NopCloser(bytes.NewReader(content))
	var m ocispec.Manifest
	if json.Unmarshal(content, &m) == nil && m.Subject != nil {
		w.Header().Set("OCI-Subject", m.Subject.Digest.String())
	}
}
