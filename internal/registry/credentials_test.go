package registry

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func asOutcome(err error, e **outcome.Error) bool { return errors.As(err, e) }

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestCredentialFor(t *testing.T) {
	type want struct {
		credential auth.Credential
		account    account
		failed     bool
	}
	ada := auth.Credential{Username: "ada", Password: "pa:ss"}
	cases := map[string]struct {
		reason string
		host   string
		config string
		want   want
	}{
		"None":        {reason: "No config is anonymous.", host: "r.example.com"},
		"Auth":        {reason: "As docker writes it.", host: "r.example.com", config: `{"auths": {"r.example.com": {"auth": "` + b64("ada:pa:ss") + `"}}}`, want: want{ada, known, false}},
		"Unpadded":    {reason: "Some tools leave the padding out.", host: "r.example.com", config: `{"auths": {"r.example.com": {"auth": "` + strings.TrimRight(b64("ada:pa:ss"), "=") + `"}}}`, want: want{ada, known, false}},
		"Plain":       {reason: "As people write it.", host: "r.example.com", config: `{"auths": {"r.example.com": {"username": "ada", "password": "pa:ss"}}}`, want: want{ada, known, false}},
		"Token":       {reason: "As docker login with an identity token does.", host: "r.example.com", config: `{"auths": {"r.example.com": {"identitytoken": "t"}}}`, want: want{auth.Credential{RefreshToken: "t"}, known, false}},
		"Newline":     {reason: "What was read from files ends in newlines.", host: "r.example.com", config: `{"auths": {"r.example.com": {"username": "ada\n", "password": "pa:ss\r\n"}}}`, want: want{ada, known, false}},
		"AuthNewline": {reason: "So does what base64 was fed with.", host: "r.example.com", config: `{"auths": {"r.example.com": {"auth": "` + b64("ada:pa:ss\n") + `\n"}}}`, want: want{ada, known, false}},
		"TokenSpace":  {reason: "So do tokens.", host: "r.example.com", config: `{"auths": {"r.example.com": {"identitytoken": " t\n"}}}`, want: want{auth.Credential{RefreshToken: "t"}, known, false}},
		"Port":        {reason: "A port is part of the host.", host: "r.example.com:5000", config: `{"auths": {"r.example.com": {"username": "x", "password": "y"}, "r.example.com:5000": {"username": "ada", "password": "pa:ss"}}}`, want: want{ada, known, false}},
		"URL":         {reason: "The host may be given as a URL.", host: "r.example.com", config: `{"auths": {"https://r.example.com/": {"username": "ada", "password": "pa:ss"}}}`, want: want{ada, known, false}},
		"V1":          {reason: "With the API's version.", host: "r.example.com", config: `{"auths": {"https://r.example.com/v1/": {"username": "ada", "password": "pa:ss"}}}`, want: want{ada, known, false}},
		"PlainFirst":  {reason: "The plain host wins.", host: "r.example.com", config: `{"auths": {"https://r.example.com": {"username": "x", "password": "y"}, "r.example.com": {"username": "ada", "password": "pa:ss"}}}`, want: want{ada, known, false}},
		"DockerHub":   {reason: "Docker Hub's entry has another name.", host: "docker.io", config: `{"auths": {"https://index.docker.io/v1/": {"username": "ada", "password": "pa:ss"}}}`, want: want{ada, known, false}},
		"Other":       {reason: "Another host's entry is not ours.", host: "r.example.com", config: `{"auths": {"example.com": {"username": "x", "password": "y"}}}`, want: want{account: otherRegistry}},
		"OtherBroken": {reason: "What is wrong with another entry does not matter.", host: "r.example.com", config: `{"auths": {"x": {"auth": "%"}, "y": 7, "r.example.com": {"username": "ada", "password": "pa:ss"}}}`, want: want{ada, known, false}},
		"Helper":      {reason: "No helper is run.", host: "r.example.com", config: `{"credsStore": "evil", "credHelpers": {"r.example.com": "evil"}}`, want: want{account: otherRegistry}},
		"Empty":       {reason: "An empty entry is none.", host: "r.example.com", config: `{"auths": {"r.example.com": {}}}`, want: want{account: otherRegistry}},
		"NoBase64":    {reason: "A broken entry is an error.", host: "r.example.com", config: `{"auths": {"r.example.com": {"auth": "pa:ss"}}}`, want: want{account: otherRegistry, failed: true}},
		"NoColon":     {reason: "So is one without a password.", host: "r.example.com", config: `{"auths": {"r.example.com": {"auth": "` + b64("hunter2") + `"}}}`, want: want{account: otherRegistry, failed: true}},
		"NoJSON":      {reason: "So is what is no config.", host: "r.example.com", config: `pa:ss`, want: want{account: otherRegistry, failed: true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got want
			c, err := CredentialIn([]byte(tc.config), tc.host, "")
			got.credential, got.account, got.failed = c.oras(), c.account(), err != nil
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nCredentialIn(...): -want, +got:\n%s", tc.reason, diff)
			}
			if err != nil && (strings.Contains(err.Error(), "pa:ss") || strings.Contains(err.Error(), "hunter2") || reasonOf(err) != outcome.Unauthorized) {
				t.Errorf("\n%s\nCredentialIn(...): want Unauthorized without the password, got %q", tc.reason, err)
			}
		})
	}
}

func FuzzCredentialIn(f *testing.F) {
	f.Add("r.example.com", []byte(`{"auths": {"r.example.com": {"auth": "`+b64("ada:pass")+`"}}}`))
	f.Add("docker.io", []byte(`{"auths": {"https://index.docker.io/v1/": null}}`))
	f.Add("", []byte(`{"auths": {"": {"auth": ":"}}}`))
	f.Fuzz(func(t *testing.T, host string, config []byte) {
		c, err := CredentialIn(config, host, repository)
		if acc := c.account(); (acc == known) != (c.oras() != auth.EmptyCredential) || (err != nil && acc == known) {
			t.Errorf("CredentialIn(%q, %q): account %d, %v", config, host, acc, err)
		}
	})
}

// tokenRegistry stands in front of a registry and wants a bearer token, which
// it gives out itself to ada.
func tokenRegistry(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			if user, password, _ := r.BasicAuth(); user != "ada" || password != "pass" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]string{"token": "t-" + r.URL.Query().Get("scope")})
			return
		}
		scope := "repository:" + repository + ":pull"
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			scope += ",push"
		}
		if r.Method == http.MethodDelete {
			scope = "repository:" + repository + ":delete"
		}
		if !strings.Contains(r.Header.Get("Authorization"), "Bearer t-"+scope) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x",scope=%q`, r.Host, scope))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func TestTokens(t *testing.T) {
	cases := map[string]struct {
		reason string
		config string
		want   outcome.Reason
		words  string
	}{
		"Known":     {reason: "The token is asked for with the password.", config: `{"auths": {"HOST": {"username": "ada", "password": "pass"}}}`},
		"Wrong":     {reason: "A wrong password is told.", config: `{"auths": {"HOST": {"username": "ada", "password": "wrong"}}}`, want: outcome.Unauthorized, words: "refused the credentials"},
		"NoEntry":   {reason: "An error of a config without an entry for the registry must say so.", config: `{"auths": {"other": {"username": "ada", "password": "pass"}}}`, want: outcome.Unauthorized, words: "no entry for"},
		"Anonymous": {reason: "That there is no Secret is told.", want: outcome.Unauthorized, words: "kubernetes.io/dockerconfigjson"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(tokenRegistry(newRegistry()))
			defer s.Close()
			host := strings.TrimPrefix(s.URL, "http://")
			c := newClient(t, Options{Host: host, PlainHTTP: true, DockerConfig: []byte(strings.ReplaceAll(tc.config, "HOST", host))})
			start := time.Now()
			err := c.PushBlob(t.Context(), repository, describe("a/b", []byte("x")), strings.NewReader("x"))
			if reasonOf(err) != tc.want || (err != nil && !strings.Contains(err.Error(), tc.words)) {
				t.Errorf("\n%s\nPushBlob(...): want %q with %q, got %v", tc.reason, tc.want, tc.words, err)
			}
			if time.Since(start) > 5*time.Second {
				t.Errorf("\n%s\nPushBlob(...): refused credentials must not be tried for long", tc.reason)
			}
			if tc.want != "" {
				return
			}
			push(t, c, "v1")
			if _, err := c.Resolve(t.Context(), repository, "v1"); err != nil {
				t.Error(err)
			}
			if err := c.Untag(t.Context(), repository, "v1"); err != nil {
				t.Error(err)
			}
		})
	}
}
