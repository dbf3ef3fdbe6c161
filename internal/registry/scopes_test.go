package registry

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// TestDeleteIsLeftToTheChallenge deletes at a registry that gives no token for
// the action delete, as Quay does (endpoints/v2/v2auth.py).
func TestDeleteIsLeftToTheChallenge(t *testing.T) {
	allowed := regexp.MustCompile(`^repository:models/x:(?:push|pull|\*)(?:,(?:push|pull|\*))*$`)
	behind := newRegistry()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("/auth", func(w http.ResponseWriter, r *http.Request) {
		for _, scope := range r.URL.Query()["scope"] {
			if !allowed.MatchString(scope) {
				http.Error(w, "Unable to decode repository and actions", http.StatusBadRequest)
				return
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": "a-token"})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer a-token" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+server.URL+`/auth",service="quay",scope="repository:models/x:pull,push"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		behind.ServeHTTP(w, r)
	})
	host := strings.TrimPrefix(server.URL, "http://")
	c, err := New(Options{Host: host, PlainHTTP: true, DockerConfig: []byte(`{"auths":{"` + host + `":{"username":"u","password":"p"}}}`), SingleTry: true})
	if err != nil {
		t.Fatal(err)
	}
	content := []byte("x")
	blob := describe("application/octet-stream", content)
	if err := c.PushBlob(t.Context(), "models/x", blob, strings.NewReader(string(content))); err != nil {
		t.Fatal(err)
	}
	subject, manifest := manifestOf(t, blob, nil)
	if err := c.PushManifest(t.Context(), "models/x", subject, manifest, "v1"); err != nil {
		t.Fatal(err)
	}
	record, manifest := manifestOf(t, blob, &subject)
	if err := c.PushManifest(t.Context(), "models/x", record, manifest, record.Digest.String()); err != nil {
		t.Fatal(err)
	}
	if err := c.Untag(t.Context(), "models/x", "v1"); err != nil {
		t.Errorf("Untag: %v", err)
	}
	if err := c.DeleteManifest(t.Context(), "models/x", record); err != nil {
		t.Errorf("DeleteManifest: %v", err)
	}
	if _, err := c.Resolve(t.Context(), "models/x", record.Digest.String()); !IsNotFound(err) {
		t.Errorf("the record is still there: %v", err)
	}
}
