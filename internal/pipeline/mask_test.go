package pipeline

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
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
			reason:   "A licence goes into the log and into the Artifact's status.",
			settings: `{"license":"` + token + `"}`,
		},
		"Path": {
			reason: "The name of a file goes into messages.",
			hub:    echo("/tree/", `[{"type":"file","oid":"`+sha+`","size":1,"path":"../TOKEN"}]`),
		},
		"File": {
			reason: "The name of a file goes into the log.",
			hub:    echo("/tree/", `[{"type":"file","oid":"`+sha+`","size":1,"path":"TOKEN.json"}]`),
		},
		"Digest": {
			reason:   "What is odd about a registry's answer is told, not the answer.",
			registry: refuse(http.StatusOK, "Docker-Content-Digest", password, "{}"),
		},
		"Location": {
			reason:   "So with the place where an upload goes on.",
			registry: refuse(http.StatusAccepted, "Location", "http://"+password+".example.com/", ""),
		},
		"Code": {
			reason:   "A code that no specification has is not told.",
			registry: refuse(http.StatusBadRequest, "X", "", `{"errors":[{"code":"`+password+`"}]}`),
		},
		"Basic": {
			reason:   "The base64 that HTTP sends tells the password too.",
			registry: refuse(http.StatusBadRequest, "X", "", `{"errors":[{"code":"DENIED","message":"`+base64.StdEncoding.EncodeToString([]byte("ada:"+password))+`"}]}`),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newStreamWorld(t, map[string]string{"config.json": "{}", "../hub.json": cmp.Or(tc.settings, "{}")}, tc.registry)
			w.hub.SetFault(tc.hub)
			w.run.Source.Token = token
			w.run.Target.DockerConfig = t.TempDir()
			config := `{"auths":{"` + w.run.Target.Registry + `":{"username":"ada","password":"` + password + `"}}}`
			if err := os.WriteFile(filepath.Join(w.run.Target.DockerConfig, "config.json"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			result, err := Masked(w.stream).Run(t.Context(), w.run)
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

func TestMask(t *testing.T) {
	const secret = `p"a s/s+w=ö`
	m := newMask([]string{secret})
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{
		secret, strings.Trim(string(quoted), `"`), url.QueryEscape(secret), url.PathEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte(secret)),
	} {
		if got := strings.TrimRight(m.replace("<"+form+">"), "=>"); got != "<"+masked {
			t.Errorf("%q is shown as %q", form, got)
		}
	}
}

// TestCutLine checks that a secret which a line is too long for is not shown in
// part.
// TestMaskProxy has a log and errors repeat the address of a proxy.
func TestMaskProxy(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "")
	}
	t.Setenv("https_proxy", "http://account:s3cret%2Fword@proxy.example.com:3128")
	t.Setenv("ALL_PROXY", "account:0ther/w@rd@proxy.example.com")
	secrets, err := secretsOf(Run{})
	if err != nil {
		t.Fatal(err)
	}
	log := &strings.Builder{}
	l := newKitLog(log, secrets)
	sent := base64.StdEncoding.EncodeToString([]byte("account:s3cret/word"))
	for _, line := range []string{
		`invalid proxy address "http://account:s3cret%2Fword@proxy.example.com:3128"`,
		"Proxy-Authorization: Basic " + sent,
		"dial account:0ther/w@rd@proxy.example.com",
		"password s3cret/word",
		"GET https://any:t0pSecret@hub.example.com/a@b",
	} {
		l.printf("%s", line)
	}
	for _, secret := range []string{"s3cret", "0ther", "w@rd", "t0pSecret", strings.TrimRight(sent, "=")} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, log)
		}
	}
	if !strings.Contains(log.String(), "***@proxy.example.com:3128") || !strings.Contains(log.String(), "@hub.example.com/a@b") {
		t.Errorf("want the log to name the hosts:\n%s", log)
	}
}

func TestCutLine(t *testing.T) {
	const secret = "hf_RepeatedToken0123456789"
	lines := &kitLines{log: newKitLog(nil, []string{secret})}
	_, _ = io.WriteString(lines, strings.Repeat("x", maxKitLine-10)+secret+"\n")
	if len(lines.last) != 1 || !strings.HasSuffix(lines.last[0], "xxx"+masked) {
		t.Errorf("got %q", lines.last)
	}
}

// TestMaskKey has a server repeat a private key, as a file and line by line.
func TestMaskKey(t *testing.T) {
	_, key := testregistry.Start(t, testregistry.Options{TLS: true}).ClientCertificate()
	file := filepath.Join(t.TempDir(), "tls.key")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	secrets, err := secretsOf(Run{Target: Target{KeyFile: file}})
	if err != nil {
		t.Fatal(err)
	}
	m := newMask(secrets)
	quoted, err := json.Marshal(string(key))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(key)), "\n")
	for name, said := range map[string]string{"Whole": string(key), "Quoted": string(quoted), "Line": "x " + lines[1] + " y"} {
		got := m.replace(said)
		for _, l := range lines[1 : len(lines)-2] {
			if strings.Contains(got, l) {
				t.Errorf("%s: the key is shown: %s", name, got)
			}
		}
	}
	if got := m.replace(lines[0] + " PRIVATE KEY"); got != lines[0]+" PRIVATE KEY" {
		t.Errorf("what says that it is a key is none: %s", got)
	}
	if _, err := secretsOf(Run{Target: Target{KeyFile: "/nowhere/tls.key"}}); err == nil {
		t.Error("want a file that is not there to be told")
	}
}
