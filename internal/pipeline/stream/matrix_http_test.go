package stream

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// fromHTTP has a run read the files from an HTTP server.
func fromHTTP(t *testing.T, w *streamWorld, files map[string]string) servedSource {
	t.Helper()
	f := &httpFiles{content: map[string][]byte{}}
	for name, content := range files {
		f.content[name] = []byte(content)
	}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	w.run.Source = pipeline.Source{HTTP: &pipeline.HTTPSource{}}
	for name, content := range f.content {
		u := url.URL{Path: "/" + name}
		w.run.Source.HTTP.Items = append(w.run.Source.HTTP.Items, pipeline.HTTPItem{URL: server.URL + u.EscapedPath(), Path: name, SHA256: digest.FromBytes(content).Encoded()})
	}
	return servedSource{
		setFault: f.setFault,
		sends:    func(r *http.Request) bool { return r.Method == http.MethodGet },
		change: func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.content = otherBytes(files)
		},
	}
}

// httpFiles is a handler that has files.
type httpFiles struct {
	mu      sync.Mutex
	content map[string][]byte
	fault   testhub.Fault
}

func (f *httpFiles) setFault(fault testhub.Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// ServeHTTP implements http.Handler.
func (f *httpFiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	fault := f.fault
	f.mu.Unlock()
	var h http.Handler = http.HandlerFunc(f.answer)
	if fault != nil {
		h = fault(h)
	}
	h.ServeHTTP(w, r)
}

func (f *httpFiles) answer(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	content, ok := f.content[strings.TrimPrefix(r.URL.Path, "/")]
	f.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("ETag", `"`+digest.FromBytes(content).Encoded()+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}
