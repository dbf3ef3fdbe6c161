package identity

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	fake "github.com/crossplane-contrib/provider-kitops/test/fakes/identity"
)

// storage returns the tokens for storage that a function gives with the world's options.
func (w *world) storage(f func(Environment, Options) (Source, error)) (Source, error) {
	return f(ReadEnvironment(func(name string) string { return w.env[name] }), Options{Now: w.time, Transport: w.Clouds})
}

// account returns the tokens of credentials in a Secret.
func (w *world) account(credentials []byte) (Source, error) {
	read := func(key string) ([]byte, error) { return os.ReadFile(filepath.Join(w.dir, key)) }
	return NewGCSAccount(credentials, w.dir, read, Options{Now: w.time, Transport: w.Clouds})
}

// TestStorage has each identity and each kind of credentials get tokens for storage, and
// renew them before they end.
func TestStorage(t *testing.T) {
	client := AzureClient{Tenant: fake.TenantID, ID: fake.ClientID, Secret: fake.ClientSecret, Domain: "example.blob.core.windows.net"}
	cases := map[string]func(w *world) (Source, error){
		"Metadata":      func(w *world) (Source, error) { return w.storage(NewGCS) },
		"Federated":     func(w *world) (Source, error) { w.federated(); return w.storage(NewGCS) },
		"Impersonating": func(w *world) (Source, error) { w.impersonating(); return w.storage(NewGCS) },
		"Key":           func(w *world) (Source, error) { return w.account(w.ServiceAccountKey()) },
		"ExternalAccount": func(w *world) (Source, error) {
			return w.account(w.external(func(map[string]any) {}))
		},
		"InMemory": func(w *world) (Source, error) {
			// What is there at that path in this program's own Pod must not be read.
			credentials := w.external(func(c map[string]any) {
				c["credential_source"] = map[string]any{"file": "/var/run/secrets/kubernetes.io/serviceaccount/token"}
			})
			read := func(key string) ([]byte, error) {
				if key != "token" {
					return nil, fs.ErrNotExist
				}
				return os.ReadFile(filepath.Join(w.dir, "google"))
			}
			return NewGCSAccount(credentials, "", read, Options{Now: w.time, Transport: w.Clouds})
		},
		"Azure": func(w *world) (Source, error) { w.azure(); return w.storage(NewBlob) },
		"AzureClient": func(w *world) (Source, error) {
			return NewBlobClient(client, Options{Now: w.time, Transport: w.Clouds})
		},
	}
	for name, give := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s, err := give(w)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for range 20 {
				_, token, _, err := s.Token(t.Context())
				if err != nil || !w.Accepts(token) {
					t.Fatalf("Token(...) at %s: want a token that storage accepts, got error %v", w.time(), err)
				}
				seen[token] = true
				w.pass(10 * time.Minute)
			}
			if len(seen) < 3 || len(seen) > 5 {
				t.Errorf("want a token to be kept for most of its life, got %d in 200 minutes", len(seen))
			}
		})
	}
}

// TestStorageAccount refuses credentials of a tenant by which secrets would go elsewhere,
// and names what is wrong with others.
func TestStorageAccount(t *testing.T) {
	change := func(b []byte, name string, value any) []byte {
		all := map[string]any{}
		if err := json.Unmarshal(b, &all); err != nil {
			t.Fatal(err)
		}
		all[name] = value
		b, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	cases := map[string]struct {
		reason      string
		credentials func(w *world) []byte
		says        string
	}{
		"NoJSON":    {reason: "What is no JSON should be explained.", credentials: func(*world) []byte { return []byte("key") }, says: "no JSON of credentials"},
		"OtherType": {reason: "A user's own credentials are not for programs.", credentials: func(*world) []byte { return []byte(`{"type":"authorized_user"}`) }, says: "another type"},
		"NoEmail":   {reason: "A key should be of an account.", credentials: func(*world) []byte { return []byte(`{"type":"service_account"}`) }, says: "no key of a service account"},
		"Metadata": {reason: "A key should not lead to a metadata service.", credentials: func(w *world) []byte {
			return change(w.ServiceAccountKey(), "token_uri", "http://169.254.169.254/token")
		}, says: "token_uri"},
		"OtherToken": {reason: "A signed request should go to Google alone.", credentials: func(w *world) []byte {
			return change(w.ServiceAccountKey(), "token_uri", "https://attacker.example.com/token")
		}, says: "token_uri"},
		"NoPEM": {reason: "A key that is cut should be explained.", credentials: func(w *world) []byte { return change(w.ServiceAccountKey(), "private_key", "x") }, says: "PEM"},
		"NoKey": {reason: "A key that is none should be explained.", credentials: func(w *world) []byte {
			return change(w.ServiceAccountKey(), "private_key", "-----BEGIN PRIVATE KEY-----\neHg=\n-----END PRIVATE KEY-----\n")
		}, says: "PKCS #8"},
		"OtherFile": {reason: "A tenant should not have another file of the Pod sent.", credentials: func(w *world) []byte {
			return w.external(func(c map[string]any) {
				c["credential_source"] = map[string]any{"file": "/credentials/target/config.json"}
			})
		}, says: "another file"},
		"OtherSTS": {reason: "A tenant's token should go to Google alone.", credentials: func(w *world) []byte {
			return w.external(func(c map[string]any) { c["token_url"] = "https://sts.example.com/v1/token" })
		}, says: "token_url"},
		"Executable": {reason: "A tenant should not have a program run.", credentials: func(w *world) []byte {
			return w.external(func(c map[string]any) {
				c["credential_source"] = map[string]any{"executable": map[string]any{"command": "/bin/sh"}}
			})
		}, says: "names no file"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, err := w.account(tc.credentials(w))
			if outcome.ReasonOf(err) != outcome.ConfigInvalid || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("\n%s\nNewGCSAccount(...): want an error that says %q, got %v", tc.reason, tc.says, err)
			}
		})
	}
}

// TestStorageRefused has clouds refuse credentials, and no error repeat them.
func TestStorageRefused(t *testing.T) {
	cases := map[string]struct {
		reason string
		give   func(w *world) (Source, error)
		says   string
	}{
		"OldKey": {reason: "A key that another one replaced should be refused.", give: func(w *world) (Source, error) {
			old := w.ServiceAccountKey()
			w.ServiceAccountKey()
			return w.account(old)
		}, says: "invalid_grant"},
		"OtherSecret": {reason: "A wrong secret of an application should be refused.", give: func(w *world) (Source, error) {
			return NewBlobClient(AzureClient{Tenant: fake.TenantID, ID: fake.ClientID, Secret: "eyJ-other"}, Options{Now: w.time, Transport: w.Clouds})
		}, says: "AADSTS7000215"},
		"Redirect": {reason: "No secret should follow a redirect.", give: func(w *world) (Source, error) {
			w.Answer(fake.GoogleOAuthHost, func(rw http.ResponseWriter, r *http.Request) {
				http.Redirect(rw, r, "https://attacker.example.com", http.StatusTemporaryRedirect)
			})
			return w.account(w.ServiceAccountKey())
		}, says: "307"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s, err := tc.give(w)
			if err != nil {
				t.Fatal(err)
			}
			_, _, _, err = s.Token(t.Context())
			if outcome.ReasonOf(err) != outcome.Unauthorized || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "eyJ") {
				t.Errorf("\n%s\nToken(...): want an error that says %q and no secret, got %v", tc.reason, tc.says, err)
			}
		})
	}
}

// TestAuthorityOf has each of Azure's clouds asked at its own authority.
func TestAuthorityOf(t *testing.T) {
	for domain, want := range map[string]string{
		"a.blob.core.windows.net": publicAuthority, "a.blob.core.chinacloudapi.cn": "https://login.partner.microsoftonline.cn",
		"a.blob.core.usgovcloudapi.net": "https://login.microsoftonline.us", "127.0.0.1": publicAuthority,
	} {
		if got := authorityOf(domain); got != want || !authorities[got] {
			t.Errorf("authorityOf(%q): want %s, got %s", domain, want, got)
		}
	}
}

// FuzzGoogleAccount reads credentials of a tenant, which must name no other file than one
// beside them.
func FuzzGoogleAccount(f *testing.F) {
	for _, seed := range []string{
		`{"type":"service_account","client_email":"a","private_key":"-----BEGIN PRIVATE KEY-----\neHg=\n-----END PRIVATE KEY-----\n"}`,
		`{"type":"external_account","audience":"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b","subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":"https://sts.googleapis.com/v1/token","credential_source":{"file":"/s/token"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := newGoogleAccount(b, "/s", os.ReadFile, Options{}.client())
		fed, ok := i.(*federated)
		if err != nil || !ok {
			return
		}
		c, err := fed.config()
		if err != nil || !strings.HasPrefix(c.Source.File, "/s/") || strings.Contains(c.Source.File, "/../") || bytes.ContainsRune([]byte(c.TokenURL), '@') {
			t.Errorf("accepted %+v, %v", c, err)
		}
	})
}
