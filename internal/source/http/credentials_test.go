package http

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

func TestCredentials(t *testing.T) {
	cases := map[string]struct {
		reason string
		keys   map[string]string // Nil for no Secret.
		wants  string
		want   outcome.Reason
	}{
		"None":     {reason: "Files for everybody need no Secret."},
		"Missing":  {reason: "Without a Secret, one should be asked for.", wants: "Bearer x", want: outcome.Unauthorized},
		"Basic":    {reason: "A user and a password should be sent.", keys: map[string]string{"username": "u", "password": "p\n"}, wants: "Basic dTpw"},
		"Bearer":   {reason: "A token should be sent.", keys: map[string]string{"token": "\tabc\n"}, wants: "Bearer abc"},
		"Wrong":    {reason: "A wrong token should be named as the cause.", keys: map[string]string{"token": "abd"}, wants: "Bearer abc", want: outcome.Unauthorized},
		"Both":     {reason: "Two kinds of credentials are one too many.", keys: map[string]string{"token": "abc", "username": "u", "password": "p"}, want: outcome.ConfigInvalid},
		"Half":     {reason: "A user needs a password.", keys: map[string]string{"username": "u"}, want: outcome.ConfigInvalid},
		"Empty":    {reason: "A Secret should have credentials.", keys: map[string]string{}, want: outcome.ConfigInvalid},
		"Colon":    {reason: "A colon would end the name of the user.", keys: map[string]string{"username": "u:v", "password": "p"}, want: outcome.ConfigInvalid},
		"TwoLines": {reason: "A header has one line.", keys: map[string]string{"token": "a\nHost: x"}, want: outcome.ConfigInvalid},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := serve(t, map[string][]byte{"/m/x": []byte("abc")})
			server.wants = tc.wants
			s := server.source(t, "/m/x")
			if tc.keys != nil {
				s.CredentialsFolder = server.secret(t, tc.keys)
			}
			f, err := open(t, s)
			if err == nil {
				err = read(t.Context(), f, nil)
			}
			if reasonOf(err) != tc.want {
				t.Errorf("\n%s\nwant reason %q, got %v", tc.reason, tc.want, err)
			}
			for key, v := range tc.keys {
				if err != nil && len(v) > 2 && strings.Contains(err.Error(), v) {
					t.Errorf("\n%s\nwant no value of key %s in %v", tc.reason, key, err)
				}
			}
		})
	}
}

// TestHosts sends credentials to no server that their Secret does not list, also once it is
// replaced.
func TestHosts(t *testing.T) {
	cases := map[string]struct {
		reason string
		hosts  func(own string) string
		want   outcome.Reason
	}{
		"Own":     {reason: "A server that is listed should get them.", hosts: func(own string) string { return own }},
		"Several": {reason: "A Secret may be for several servers.", hosts: func(own string) string { return "a.example\r\n\n " + own + " \n" }},
		"None":    {reason: "A Secret that names no server is for something else.", hosts: func(string) string { return "" }, want: outcome.NotAllowed},
		"Other":   {reason: "A Secret for another server is not for this one.", hosts: func(string) string { return "models.example.com" }, want: outcome.NotAllowed},
		"Port":    {reason: "Another port is another server.", hosts: func(own string) string { return strings.Split(own, ":")[0] }, want: outcome.NotAllowed},
		"Part":    {reason: "A name that has the server's in it is another one.", hosts: func(own string) string { return "x" + own }, want: outcome.NotAllowed},
		"URL":     {reason: "A host is written without a scheme.", hosts: func(own string) string { return "https://" + own }, want: outcome.NotAllowed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := serve(t, map[string][]byte{"/m/x": []byte("abc")})
			server.wants = "Bearer abc"
			s := server.source(t, "/m/x")
			s.CredentialsFolder = secret(t, map[string]string{"token": "abc", identity.KeyHost: tc.hosts(server.Listener.Addr().String())})
			f, err := open(t, s)
			if err == nil {
				err = read(t.Context(), f, nil)
			}
			if reasonOf(err) != tc.want {
				t.Errorf("\n%s\nwant reason %q, got %v", tc.reason, tc.want, err)
			}
			if tc.want != "" && len(server.seen) > 0 {
				t.Errorf("\n%s\nwant nothing to be asked, got %d requests", tc.reason, len(server.seen))
			}
		})
	}

	server := serve(t, map[string][]byte{"/m/x": []byte("abc")})
	s := server.source(t, "/m/x")
	s.CredentialsFolder = server.secret(t, map[string]string{"token": "abc"})
	f, err := open(t, s)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"token": "for another server", identity.KeyHost: "models.example.com"} {
		if err := os.WriteFile(filepath.Join(s.CredentialsFolder, key), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := read(t.Context(), f, nil); reasonOf(err) != outcome.NotAllowed || len(server.seen) > 0 {
		t.Errorf("want a Secret that became one for another server not to be sent, got %d requests and %v", len(server.seen), err)
	}
}

// TestCredentialsAreRenewed checks that a Secret is read again when it changes.
func TestCredentialsAreRenewed(t *testing.T) {
	server := serve(t, map[string][]byte{"/m/x": []byte("abc"), "/m/y": []byte("def")})
	server.wants = "Bearer old"
	s := server.source(t, "/m/x", "/m/y")
	s.CredentialsFolder = server.secret(t, map[string]string{"token": "old"})
	f, err := open(t, s)
	if err != nil {
		t.Fatal(err)
	}
	changed := false
	err = read(t.Context(), f, func() {
		if changed {
			return
		}
		changed = true
		server.wants = "Bearer new"
		name := filepath.Join(s.CredentialsFolder, "token")
		if err := os.WriteFile(name+".new", []byte("new"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRedirects(t *testing.T) {
	content := noise(3 * rangeSize)
	cases := map[string]struct {
		reason string
		// To returns where the server leads the request with this number to.
		to   func(own, other string, n int) string
		want outcome.Reason
		asks int // How often the server itself is asked.
	}{
		"Other":  {reason: "A link should serve all ranges, without the credentials.", to: func(_, other string, _ int) string { return other + "/cdn/x" }, asks: 2},
		"Inside": {reason: "Another place of the same server should get the credentials.", to: func(own, _ string, _ int) string { return own + "/real/x" }, asks: 6},
		"Expired": {reason: "A link that expired should be asked for again.", to: func(_, other string, n int) string {
			return fmt.Sprintf("%s/%s/x", other, map[bool]string{true: "expired", false: "cdn"}[n == 2])
		}, asks: 3},
		"Downgrade": {reason: "A file should not be read without TLS if its URL has it.", to: func(_, other string, _ int) string { return "http" + strings.TrimPrefix(other, "https") + "/cdn/x" }, want: outcome.Untrusted, asks: 2},
		"Metadata":  {reason: "A server should not lead to a metadata service.", to: func(string, string, int) string { return "https://169.254.169.254/x" }, want: outcome.Untrusted, asks: 2},
		"Private":   {reason: "A server should not lead into a network that it is not in.", to: func(string, string, int) string { return "https://10.0.0.1/x" }, want: outcome.Untrusted, asks: 2},
		"Loop":      {reason: "Redirects should have an end.", to: func(own, _ string, _ int) string { return own + "/m/x" }, want: outcome.Unavailable, asks: -1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cdn := serve(t, map[string][]byte{"/cdn/x": content})
			cdn.fault = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Authorization") != "" {
						t.Errorf("\n%s\nwant no credentials at another host, got them for %s", tc.reason, r.URL)
					}
					if strings.HasPrefix(r.URL.Path, "/expired/") {
						w.WriteHeader(http.StatusForbidden)
						return
					}
					next.ServeHTTP(w, r)
				})
			}
			server := serve(t, map[string][]byte{"/m/x": content, "/real/x": content})
			server.wants = "Bearer abc"
			var asked atomic.Int32
			server.fault = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					n := int(asked.Add(1))
					if r.URL.Path == "/m/x" && r.Header.Get("Authorization") == server.wants {
						http.Redirect(w, r, tc.to(server.URL, cdn.URL, n), http.StatusFound)
						return
					}
					next.ServeHTTP(w, r)
				})
			}
			s := server.source(t, "/m/x")
			s.CredentialsFolder = server.secret(t, map[string]string{"token": "abc"})
			f, err := open(t, s)
			if err != nil {
				t.Fatal(err)
			}
			f.download.Parallel = 2
			if err := read(t.Context(), f, nil); reasonOf(err) != tc.want {
				t.Errorf("\n%s\nwant reason %q, got %v", tc.reason, tc.want, err)
			}
			if tc.asks >= 0 && int(asked.Load()) != tc.asks {
				t.Errorf("\n%s\nwant the server to be asked %d times, got %d", tc.reason, tc.asks, asked.Load())
			}
		})
	}
}

// FuzzURL checks that no URL hides a credential, or names another server than it seems to,
// and that the folder of two is a prefix of both.
func FuzzURL(f *testing.F) {
	f.Add("https://a.example/m/x", "https://a.example/m/y")
	f.Add("https://u:p@a.example/m/x?sig=1#f", "http://[::1]:80/x")
	f.Add("https://a.example/%2e%2e/x", "https://a.example//x")
	f.Fuzz(func(t *testing.T, a, b string) {
		folder := &Folder{urls: map[string]*url.URL{}}
		sum := strings.Repeat("a", 64)
		folder.items = []pipeline.HTTPItem{{URL: a, Path: "a", SHA256: sum}, {URL: b, Path: "b", SHA256: sum}}
		base, err := folder.parse()
		if err != nil {
			if outcome.ReasonOf(err) != outcome.Unsupported || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("want an error of one line, got %q", err)
			}
			return
		}
		for _, u := range folder.urls {
			if u.Host != base.Host || u.Scheme != base.Scheme || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
				t.Errorf("%q and %q: want URLs of one server, got %q", a, b, u)
			}
			if !strings.HasPrefix(u.String(), folder.name) || !strings.HasPrefix(folder.name, base.Scheme+"://"+base.Host+"/") {
				t.Errorf("%q and %q: %q is not in %q", a, b, u, folder.name)
			}
		}
	})
}

// FuzzAnswers checks that an answer is a size, or an error that is explained.
func FuzzAnswers(f *testing.F) {
	f.Add(200, "10", "")
	f.Add(200, "-1", "gzip")
	f.Add(503, "0", "99999999999999999999")
	f.Fuzz(func(t *testing.T, status int, length, after string) {
		if status < 200 || status > 999 {
			return
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", length)
			w.Header().Set("Retry-After", after)
			w.WriteHeader(status)
		}))
		defer server.Close()
		folder, err := open(t, pipeline.Source{HTTP: &pipeline.HTTPSource{Items: []pipeline.HTTPItem{{URL: server.URL + "/x", Path: "x", SHA256: strings.Repeat("a", 64)}}}})
		if err != nil {
			t.Fatal(err)
		}
		folder.retries.Tries = 1
		files, err := folder.List(t.Context())
		if err == nil && files[0].Size < 0 {
			t.Errorf("status %d, length %q: got size %d", status, length, files[0].Size)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("status %d, length %q: want one line, got %q", status, length, err)
		}
	})
}

func TestUntrusted(t *testing.T) {
	server := serve(t, map[string][]byte{"/m/x": []byte("abc")})
	s := server.source(t, "/m/x")
	s.CAFile = ""
	f, err := open(t, s)
	if err == nil {
		err = read(t.Context(), f, nil)
	}
	if diff := cmp.Diff(outcome.Untrusted, reasonOf(err)); diff != "" || !strings.Contains(err.Error(), "certSecretRef") {
		t.Errorf("want the certificate to be refused with the cure, got %v", err)
	}
}
