package stream

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	gcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// A quay behaves as Quay does for an account that may create repositories: of one
// that is not there yet nothing is shown to who asks to pull only; who asks to
// push too has it created.
type quay struct {
	next    http.Handler
	created atomic.Bool
}

// ServeHTTP implements http.Handler.
func (q *quay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/auth" {
		token := "none"
		switch {
		case strings.Contains(strings.Join(r.URL.Query()["scope"], " "), "push"):
			q.created.Store(true)
			token = "push"
		case q.created.Load():
			token = "pull"
		}
		_, _ = fmt.Fprintf(w, `{"token": %q}`, token)
		return
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == "push" || token == "pull" && reads {
		q.next.ServeHTTP(w, r)
		return
	}
	scope := "pull,push"
	if reads {
		scope = "pull"
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/auth",service="quay",scope="repository:models/model:%s"`, r.Host, scope))
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"access to the requested resource is not authorized"}]}`)
}

func inMemory() http.Handler { return gcr.New(gcr.Logger(log.New(io.Discard, "", 0))) }

// TestStreamRegistries has whole runs, and then others that find the tag, at
// registries that do what the distribution specification lets them do.
func TestStreamRegistries(t *testing.T) {
	cases := map[string]struct {
		reason   string
		registry func(next http.Handler) http.Handler
		want     outcome.Reason
	}{
		"NewRepository": {
			reason:   "Reads before the first push should request the scope of a push.",
			registry: func(next http.Handler) http.Handler { return &quay{next: next} },
		},
		"HeadWithoutDigest": {
			reason: "A digest that a HEAD does not return should be read by a GET.",
			registry: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/manifests/") {
						w = &headless{w}
					}
					next.ServeHTTP(w, r)
				})
			},
		},
		"KnownTypesOnly": {
			reason: "A registry that refuses media types should be Unsupported.", want: outcome.Unsupported,
			registry: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
						w.WriteHeader(http.StatusBadRequest)
						_, _ = io.WriteString(w, `{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid","detail":"unknown media type"}]}`)
						return
					}
					next.ServeHTTP(w, r)
				})
			},
		},
	}
	for name, tc := range cases {
		for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage} {
			t.Run(name+format, func(t *testing.T) {
				w := newStreamWorld(t, streamFiles(), tc.registry(inMemory()))
				w.run.Format = format
				w.run.Target.CheckpointTag = checkpointTag
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"auths":{"`+w.run.Target.Registry+`":{"username":"org+robot","password":"p"}}}`), 0o600); err != nil {
					t.Fatal(err)
				}
				w.run.Target.DockerConfig = dir
				for n := range 2 {
					_, err := w.stream.Run(t.Context(), w.run)
					if err == nil && tc.want != "" || err != nil && outcome.ReasonOf(err) != tc.want {
						t.Errorf("\n%s\nRun(...): run %d: want %q, got %v\n%s", tc.reason, n+1, tc.want, err, w.log)
					}
				}
			})
		}
	}
}

// A headless writer leaves the digest out of an answer's header.
type headless struct{ http.ResponseWriter }

func (h *headless) WriteHeader(status int) {
	h.Header().Del("Docker-Content-Digest")
	h.ResponseWriter.WriteHeader(status)
}
