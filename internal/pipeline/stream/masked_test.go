package stream

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// echo answers what matches with a body in which TOKEN is what the caller
// brought.
func echo(part, body string) testhub.Fault {
	return testhub.Times(1_000, testhub.On(part), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			_, _ = io.WriteString(w, strings.ReplaceAll(body, "TOKEN", token))
		})
	})
}

// TestMaskedShowsNoSecrets has servers repeat what they were asked with.
func TestMaskedShowsNoSecrets(t *testing.T) {
	const token, password = "hf_RepeatedToken0123456789", "REPEATEDPASSWORD"
	sha := strings.Repeat("0a", 20)
	refuse := func(status int, header, value, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, _, ok := r.BasicAuth(); !ok {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if r.Method == http.MethodHead && status != http.StatusOK {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set(header, value)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	cases := map[string]struct {
		reason   string
		settings string
		hub      testhub.Fault
		registry http.Handler
	}{
		"License": {
			reason:   "A secret in a licence, which is logged and reported, should be masked.",
			settings: `{"license":"` + token + `"}`,
		},
		"Path": {
			reason: "A secret in a file's name, which is in messages, should be masked.",
			hub:    echo("/tree/", `[{"type":"file","oid":"`+sha+`","size":1,"path":"../TOKEN"}]`),
		},
		"File": {
			reason: "A secret in a file's name, which is logged, should be masked.",
			hub:    echo("/tree/", `[{"type":"file","oid":"`+sha+`","size":1,"path":"TOKEN.json"}]`),
		},
		"Digest": {
			reason:   "A secret in an invalid header of a registry should not be shown.",
			registry: refuse(http.StatusOK, "Docker-Content-Digest", password, "{}"),
		},
		"Location": {
			reason:   "A secret in the location of an upload should not be shown.",
			registry: refuse(http.StatusAccepted, "Location", "http://"+password+".example.com/", ""),
		},
		"Code": {
			reason:   "A secret in an unknown error code should not be shown.",
			registry: refuse(http.StatusBadRequest, "X", "", `{"errors":[{"code":"`+password+`"}]}`),
		},
		"Basic": {
			reason:   "A password in base64 should be masked.",
			registry: refuse(http.StatusBadRequest, "X", "", `{"errors":[{"code":"DENIED","message":"`+base64.StdEncoding.EncodeToString([]byte("ada:"+password))+`"}]}`),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newStreamWorld(t, map[string]string{"config.json": "{}", "../hub.json": cmp.Or(tc.settings, "{}")}, tc.registry)
			w.hub.SetFault(tc.hub)
			w.run.Source.TokenFile = tokenFile(t, token)
			w.run.Target.DockerConfig = t.TempDir()
			config := `{"auths":{"` + w.run.Target.Registry + `":{"username":"ada","password":"` + password + `"}}}`
			if err := os.WriteFile(filepath.Join(w.run.Target.DockerConfig, "config.json"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			result, err := pipeline.Masked(w.stream).Run(t.Context(), w.run)
			said, merr := json.Marshal(result)
			if merr != nil {
				t.Fatal(merr)
			}
			text := string(said) + w.log.String()
			if err != nil {
				text += err.Error()
			}
			for _, secret := range []string{token, password, base64.RawStdEncoding.EncodeToString([]byte("ada:" + password))} {
				if strings.Contains(text, secret) {
					t.Errorf("%s\n%q is in:\n%s", tc.reason, secret, text)
				}
			}
			t.Logf("%s %v", said, err)
		})
	}
}
