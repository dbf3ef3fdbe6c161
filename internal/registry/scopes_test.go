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

// tokens is a token server beside a registry, which gives tokens named after the
// actions that it allows, as allow says for those that were asked for: none where
// that is empty.
func tokens(t *testing.T, allow func(asked string) string, show func(token string, r *http.Request) bool) (*Client, *[]string) {
	t.Helper()
	behind, mux := newRegistry(), http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	var asked []string
	mux.HandleFunc("/auth", func(w http.ResponseWriter, r *http.Request) {
		scope := strings.Join(r.URL.Query()["scope"], " ")
		asked = append(asked, scope)
		token := allow(scope)
		if token == "" {
			http.Error(w, `{"errors":[{"code":"DENIED"}]}`, http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": token})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if !show(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+server.URL+`/auth",service="quay",scope="repository:`+repository+`:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		behind.ServeHTTP(w, r)
	})
	host := strings.TrimPrefix(server.URL, "http://")
	c := newClient(t, Options{
		Host: host, PlainHTTP: true, Repository: repository, Pushes: true, SingleTry: true,
		DockerConfig: []byte(`{"auths":{"` + host + `":{"username":"u","password":"p"}}}`),
	})
	return c, &asked
}

// TestPushesAsksToPush reads what is not there yet, at registries that tell those
// who push more than those who pull, and at ones whose account may pull only.
func TestPushesAsksToPush(t *testing.T) {
	pushing := func(scope string) bool { return strings.Contains(scope, "push") }
	cases := map[string]struct {
		reason string
		allow  func(asked string) string
		show   func(token string, r *http.Request) bool
		want   func(error) bool
		tokens int
	}{
		"Quay": {
			reason: "Who asks to pull alone gets to see nothing, not even that there is nothing.",
			allow: func(asked string) string {
				if pushing(asked) {
					return "push"
				}
				return "none"
			},
			show: func(token string, _ *http.Request) bool { return token == "push" },
			want: IsNotFound, tokens: 1,
		},
		"Denied": {
			reason: "Who may not push gets no token for it, and one for reading.",
			allow: func(asked string) string {
				if pushing(asked) {
					return ""
				}
				return "pull"
			},
			show: func(token string, _ *http.Request) bool { return token == "pull" },
			want: IsNotFound, tokens: 2,
		},
		"Useless": {
			reason: "Or one that is good for nothing.",
			allow: func(asked string) string {
				if pushing(asked) {
					return "none"
				}
				return "pull"
			},
			show: func(token string, _ *http.Request) bool { return token == "pull" },
			want: IsNotFound, tokens: 2,
		},
		"Neither": {
			reason: "Who may not read is told so.",
			allow:  func(string) string { return "" },
			show:   func(string, *http.Request) bool { return false },
			want:   IsUnauthorized, tokens: 2,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, asked := tokens(t, tc.allow, tc.show)
			if _, err := c.Resolve(t.Context(), repository, "v1"); !tc.want(err) || len(*asked) != tc.tokens {
				t.Errorf("\n%s\nResolve(...): got %v, after %q", tc.reason, err, *asked)
			}
		})
	}
}
