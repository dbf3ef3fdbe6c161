package azure

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	fake "github.com/crossplane-contrib/provider-kitops/test/fakes/azureblob"
)

// A world is a container at a server with TLS, and the source that reads it.
type world struct {
	*fake.Server

	t      *testing.T
	source pipeline.Source
	secret string
	before atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool] // Reports whether it answered.
}

func newWorld(t *testing.T) *world {
	w := &world{Server: fake.New(), t: t, secret: t.TempDir()}
	s := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if f := w.before.Load(); f == nil || !(*f)(rw, r) {
			w.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	w.source = pipeline.Source{
		AzureBlob: &pipeline.AzureBlobSource{Account: fake.Account, Container: fake.Container, Prefix: "team/a", Endpoint: s.URL}, CAFile: ca, CredentialsFolder: w.secret,
	}
	w.write(keyAccess, fake.Key)
	w.write(identity.KeyHost, s.Listener.Addr().String())
	return w
}

// write writes a key of the Secret; an empty value removes it.
func (w *world) write(key, value string) {
	w.t.Helper()
	path := filepath.Join(w.secret, key)
	_ = os.Remove(path)
	if value == "" {
		return
	}
	if err := os.WriteFile(path, []byte(value+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// answer has requests answered by a function first.
func (w *world) answer(f func(rw http.ResponseWriter, r *http.Request) bool) { w.before.Store(&f) }

// folder returns the source's folder, which waits for nothing.
func (w *world) folder(o download.Options) *Folder {
	w.t.Helper()
	retries := retry.Policy{Tries: 4, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }, MaxRetryAfter: time.Minute}
	f, err := New(w.source, retries, o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(f.Close)
	return f
}

// read returns a file's bytes from one place to another, verified if that is all of them.
func read(t *testing.T, f *Folder, one file.File, from, to int64) ([]byte, error) {
	rc, err := f.Open(t.Context(), one, from, to)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }()
	b, err := io.ReadAll(rc)
	if err == nil && to-from == one.Size {
		v := one.NewVerifier()
		_, _ = v.Write(b)
		err = v.Verify()
	}
	return b, err
}

// TestFolder reads odd names in several pages, with each kind of credentials.
func TestFolder(t *testing.T) {
	want := map[string][]byte{
		"config.json": []byte("{}"), "a b+c%20d&e?.txt": []byte("odd"), "ü/ñ 模型.bin": bytes.Repeat([]byte("x"), 10_000), "empty": {}, "sub/deep/x": []byte("deep"),
	}
	cases := map[string]struct {
		reason string
		give   func(w *world)
	}{
		"SharedKey": {reason: "Each request should be signed with the account's key.", give: func(*world) {}},
		"SAS":       {reason: "Each request should have the signature.", give: func(w *world) { w.write(keyAccess, ""); w.write(keySAS, "?"+fake.SAS) }},
		"Anonymous": {reason: "A public container should need no account.", give: func(w *world) { w.Public, w.source.CredentialsFolder = true, "" }},
		"Versioned": {reason: "The latest version should be listed alone.", give: func(w *world) { w.Versioned = true }},
		"Hierarchical": {reason: "An account that knows no versions should be listed without, and directories be no files.", give: func(w *world) {
			w.Hierarchical = true
			w.MakeDirectory("team/a/sub")
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.give(w)
			w.PageSize = 3
			for name, content := range want {
				w.Put("team/a/"+name, []byte("an earlier version"))
				w.Put("team/a/"+name, content)
			}
			w.Put("team/ab/other", []byte("of another folder"))
			w.Put("team/a/", nil)
			f := w.folder(download.Options{})
			files, err := f.List(t.Context())
			if err != nil {
				t.Fatalf("\n%s\nList(...): %v", tc.reason, err)
			}
			got := map[string][]byte{}
			for _, one := range files {
				if w.Versioned != strings.HasPrefix(one.Version, pinVersion) || one.MD5 == "" {
					t.Errorf("\n%s\nwant a pin and an MD5, got %+v", tc.reason, one)
				}
				got[one.Path] = []byte{}
				if one.Size > 0 {
					if got[one.Path], err = read(t, f, one, 0, one.Size); err != nil {
						t.Errorf("\n%s\nOpen(...): %v", tc.reason, err)
					}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestRanges reads a large blob in ranges and from the middle, while the server drops,
// refuses for a while and asks to wait.
func TestRanges(t *testing.T) {
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(i * 7 >> 3)
	}
	for _, versioned := range []bool{false, true} {
		t.Run(fmt.Sprint(versioned), func(t *testing.T) {
			w := newWorld(t)
			w.Versioned = versioned
			w.Put("team/a/model.bin", content)
			f := w.folder(download.Options{Range: 256 << 10, Parallel: 4, Budget: download.NewBudget(4 << 20)})
			files, err := f.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var n atomic.Int64
			w.answer(func(rw http.ResponseWriter, r *http.Request) bool {
				switch n.Add(1) % 4 {
				case 1:
					rw.Header().Set("Retry-After", "1")
					refuseWith(rw, http.StatusServiceUnavailable, "ServerBusy")
					return true
				case 3:
					w.ServeHTTP(&cut{ResponseWriter: rw, left: 100_000}, r)
					return true
				}
				return false
			})
			got, err := read(t, f, files[0], 0, files[0].Size)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("Open(...): want the blob's bytes, got %d and error %v", len(got), err)
			}
			if got, err = read(t, f, files[0], 1<<20+1, 2<<20); err != nil || !bytes.Equal(got, content[1<<20+1:2<<20]) {
				t.Errorf("Open(...): want the blob's bytes from the middle, got %d and error %v", len(got), err)
			}
		})
	}
}

func refuseWith(w http.ResponseWriter, status int, code string) {
	w.Header().Set(headerCode, code)
	w.WriteHeader(status)
}

// A cut writer breaks the connection after some bytes.
type cut struct {
	http.ResponseWriter

	left int
}

// Write implements io.Writer.
func (c *cut) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		if f, ok := c.ResponseWriter.(http.Flusher); ok {
			_, _ = c.ResponseWriter.Write(p[:len(p)+c.left])
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// TestChanged replaces and deletes blobs between their listing and their reading.
func TestChanged(t *testing.T) {
	cases := map[string]struct {
		reason    string
		versioned bool
		change    func(w *world)
		want      outcome.Reason // Empty for the listed bytes.
	}{
		"Replaced":  {reason: "A blob that is another one now should not be read.", change: func(w *world) { w.Put("team/a/x", []byte("other")) }, want: outcome.Changed},
		"Deleted":   {reason: "A blob that is gone has changed.", change: func(w *world) { w.Delete("team/a/x") }, want: outcome.Changed},
		"Kept":      {reason: "A version should be read though there is a later one.", versioned: true, change: func(w *world) { w.Put("team/a/x", []byte("other")) }},
		"Forgotten": {reason: "A version that is gone has changed.", versioned: true, change: func(w *world) { w.Delete("team/a/x") }, want: outcome.Changed},
		"Ignored": {reason: "A server that ignores versions should be noticed.", versioned: true, want: outcome.Changed, change: func(w *world) {
			w.Put("team/a/x", []byte("other"))
			w.write(keyAccess, "")
			w.write(keySAS, fake.SAS)
			w.answer(func(_ http.ResponseWriter, r *http.Request) bool {
				q := r.URL.Query()
				q.Del("versionid")
				r.URL.RawQuery = q.Encode()
				return false
			})
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Versioned = tc.versioned
			w.Put("team/a/x", []byte("bytes"))
			f := w.folder(download.Options{})
			files, err := f.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			tc.change(w)
			got, err := read(t, f, files[0], 0, files[0].Size)
			if tc.want == "" && (err != nil || string(got) != "bytes") || tc.want != "" && outcome.ReasonOf(err) != tc.want {
				t.Errorf("\n%s\nOpen(...): want reason %q, got %q and %v", tc.reason, tc.want, got, err)
			}
		})
	}
}

// TestFalseMD5 reads a blob whose uploader said a false MD5, or none.
func TestFalseMD5(t *testing.T) {
	w := newWorld(t)
	w.PutBlocks("team/a/false", []byte("bytes"), base64.StdEncoding.EncodeToString(make([]byte, 16)), "")
	w.PutBlocks("team/a/gzip", []byte("as it is"), "", "gzip")
	f := w.folder(download.Options{})
	files, err := f.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, f, files[0], 0, 5); outcome.ReasonOf(err) != outcome.Mismatch || !strings.Contains(err.Error(), "uploaded") {
		t.Errorf("Verify(): want a mismatch that may be the uploader's, got %v", err)
	}
	if b, err := read(t, f, files[1], 0, 8); err != nil || string(b) != "as it is" {
		t.Errorf("Open(...): want the stored bytes of an encoded blob, got %q and %v", b, err)
	}
}

// TestRenewed has a signature expire in the middle of a read, while the Secret gets another.
func TestRenewed(t *testing.T) {
	w := newWorld(t)
	w.write(keyAccess, "")
	w.write(keySAS, fake.SAS)
	w.Put("team/a/x", []byte("bytes"))
	f := w.folder(download.Options{})
	files, err := f.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next := strings.Replace(fake.SAS, "c2lnb", "b3RoZ", 1)
	w.SetSAS(next)
	w.answer(func(http.ResponseWriter, *http.Request) bool { w.write(keySAS, next); return false })
	if b, err := read(t, f, files[0], 0, 5); err != nil || string(b) != "bytes" {
		t.Errorf("Open(...): want the bytes by the other signature, got %q and %v", b, err)
	}
}

// TestRefused checks the reasons of refusals, and that none repeats a secret.
func TestRefused(t *testing.T) {
	cases := map[string]struct {
		reason string
		give   func(w *world)
		want   outcome.Reason
		says   string
	}{
		"OtherKey":    {reason: "A key of another account should be refused.", give: func(w *world) { w.write(keyAccess, base64.StdEncoding.EncodeToString([]byte("other"))) }, want: outcome.Unauthorized, says: "has not expired"},
		"OtherSAS":    {reason: "A signature that expired should be refused.", give: func(w *world) { w.write(keyAccess, ""); w.write(keySAS, fake.SAS+"x") }, want: outcome.Unauthorized, says: "has not expired"},
		"NoAccount":   {reason: "A private container should name what it needs.", give: func(w *world) { w.source.CredentialsFolder = "" }, want: outcome.Unauthorized, says: "credentialsSecretRef"},
		"NoContainer": {reason: "A container that is not there should be named.", give: func(w *world) { w.source.AzureBlob.Container = "other" }, want: outcome.NotFound, says: "no container other"},
		"Firewall":    {reason: "A firewall should be told from missing rights.", give: func(w *world) { w.status(http.StatusForbidden, codeNetwork) }, want: outcome.Unauthorized, says: "firewall"},
		"Rights":      {reason: "Missing rights should be named.", give: func(w *world) { w.status(http.StatusForbidden, codeMismatch) }, want: outcome.Unauthorized, says: "Storage Blob Data Reader"},
		"Down":        {reason: "A service that fails is transient.", give: func(w *world) { w.status(http.StatusInternalServerError, "InternalError") }, want: outcome.Unavailable, says: "500"},
		"Redirect":    {reason: "No signature should follow a redirect.", give: func(w *world) { w.status(http.StatusTemporaryRedirect, "") }, want: outcome.Unsupported, says: "redirects"},
		"Truncated": {reason: "A listing that was cut is transient.", give: func(w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) bool {
				_, _ = io.WriteString(rw, `<EnumerationResults><Blobs><Blob><Name>team/a/x</Name>`)
				return true
			})
		}, want: outcome.Unavailable, says: "does not send"},
		"Endless": {reason: "A listing without an end should end.", give: func(w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) bool {
				_, _ = io.WriteString(rw, `<EnumerationResults><Blobs/><NextMarker>again</NextMarker></EnumerationResults>`)
				return true
			})
		}, want: outcome.Unsupported, says: "pages"},
		"Outside": {reason: "An object of another folder should be refused.", give: func(w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) bool {
				_, _ = io.WriteString(rw, `<EnumerationResults><Blobs><Blob><Name>other/x</Name><Properties><Content-Length>1</Content-Length><Etag>0x1</Etag></Properties></Blob></Blobs><NextMarker/></EnumerationResults>`)
				return true
			})
		}, want: outcome.Unsupported, says: "is not in"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Put("team/a/x", []byte("bytes"))
			tc.give(w)
			_, err := w.folder(download.Options{}).List(t.Context())
			if outcome.ReasonOf(err) != tc.want || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("\n%s\nList(...): want reason %s and %q, got %v", tc.reason, tc.want, tc.says, err)
			}
			if strings.Contains(fmt.Sprint(err), "sig=") || strings.Contains(fmt.Sprint(err), "c2lnb") {
				t.Errorf("\n%s\nList(...): the error has a signature: %v", tc.reason, err)
			}
		})
	}
}

// status has each request answered with a status.
func (w *world) status(status int, code string) {
	w.answer(func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.Header().Set("Location", "https://attacker.example.com/")
		refuseWith(rw, status, code)
		return true
	})
}

// TestNew refuses sources by which credentials would go elsewhere, and explains others.
func TestNew(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(w *world)
		says   string
	}{
		"Account":     {reason: "An account's name is a part of a host.", change: func(w *world) { w.source.AzureBlob.Account = "evil.example.com/" }, says: "account"},
		"Container":   {reason: "A container's name is a part of a path.", change: func(w *world) { w.source.AzureBlob.Container = "../x" }, says: "container"},
		"Prefix":      {reason: "A prefix is a path.", change: func(w *world) { w.source.AzureBlob.Prefix = "a/../b" }, says: "prefix"},
		"NoKeys":      {reason: "A Secret without keys should name them.", change: func(w *world) { w.write(keyAccess, "") }, says: keySAS},
		"BadKey":      {reason: "A key is in base64.", change: func(w *world) { w.write(keyAccess, "no key!") }, says: "base64"},
		"NoSignature": {reason: "A signature has a sig.", change: func(w *world) { w.write(keyAccess, ""); w.write(keySAS, "https://example.com") }, says: "sig="},
		"BadTenant":   {reason: "A tenant is a part of a path.", change: func(w *world) { w.write(keyAccess, ""); w.write(keySecret, "x"); w.write(keyTenant, "../x") }, says: keyTenant},
		"PlainSAS": {reason: "A signature should not be sent without TLS.", change: func(w *world) {
			w.write(keyAccess, "")
			w.write(keySAS, fake.SAS)
			w.source.AzureBlob.Endpoint = "http://example.com"
		}, says: "TLS"},
		"OtherHost":     {reason: "A Secret should not be used at a host that it does not list.", change: func(w *world) { w.write(identity.KeyHost, "models.example.com") }, says: "is not for 127.0.0.1:"},
		"NoHost":        {reason: "A Secret without hosts is for Azure alone.", change: func(w *world) { w.write(identity.KeyHost, "") }, says: "to its key host"},
		"NoHostOfSAS":   {reason: "So is a signature, which is sent.", change: func(w *world) { w.write(identity.KeyHost, ""); w.write(keyAccess, ""); w.write(keySAS, fake.SAS) }, says: "to its key host"},
		"HostOfOther":   {reason: "The host of another account is not the account's own.", change: func(w *world) { w.source.AzureBlob.Endpoint = "https://other.blob.core.windows.net" }, says: "is not for other.blob"},
		"OtherIdentity": {reason: "The run's token should go to Azure alone.", change: func(w *world) { w.source.CredentialsFolder = ""; w.source.AzureBlob.Identity = true }, says: "own host"},
		"OtherAccount": {reason: "The run's token should go to the named account.", change: func(w *world) {
			w.source.CredentialsFolder, w.source.AzureBlob.Identity, w.source.AzureBlob.Endpoint = "", true, "https://other.blob.core.windows.net"
		}, says: "own host"},
		"Endpoint": {reason: "An endpoint is a URL.", change: func(w *world) {
			w.source.AzureBlob.Endpoint = "https://user:pw@example.com"
			w.write(identity.KeyHost, "example.com")
		}, says: "endpoint"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.change(w)
			if _, err := New(w.source, retry.Policy{}, download.Options{}); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("\n%s\nNew(...): want an error that says %q, got %v", tc.reason, tc.says, err)
			}
		})
	}
}

// TestOwnHosts needs no list of hosts for those of the account in Azure's clouds.
func TestOwnHosts(t *testing.T) {
	for _, endpoint := range []string{"", "https://" + fake.Account + ".blob.core.chinacloudapi.cn", "https://" + fake.Account + "-secondary.blob.core.windows.net"} {
		w := newWorld(t)
		w.write(identity.KeyHost, "")
		w.source.AzureBlob.Endpoint = endpoint
		w.folder(download.Options{})
	}
}

// TestGuard connects to no metadata service, whatever a tenant names.
func TestGuard(t *testing.T) {
	w := newWorld(t)
	for _, host := range []string{"https://169.254.169.254", "https://168.63.129.16", "https://[fd00:ec2::254]"} {
		w.source.AzureBlob.Endpoint = host
		w.write(identity.KeyHost, strings.TrimPrefix(host, "https://"))
		if _, err := w.folder(download.Options{}).List(t.Context()); outcome.ReasonOf(err) != outcome.Untrusted {
			t.Errorf("List(...) at %s: want it to be refused, got %v", host, err)
		}
	}
}

// FuzzPage reads pages of a foreign server: what is taken must be pinned and have a size.
func FuzzPage(f *testing.F) {
	s := fake.New()
	s.Versioned, s.Public = true, true
	s.Put("a", []byte("x"))
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/"+fake.Container+"?restype=container&comp=list&include=versions", nil)
	r.Header.Set(headerAPI, apiVersion)
	s.ServeHTTP(rec, r)
	f.Add(rec.Body.Bytes())
	f.Add([]byte(`<EnumerationResults><Blobs><Blob><Name Encoded="true">a%2</Name><Properties><Content-Length>-1</Content-Length></Properties></Blob></Blobs><NextMarker/></EnumerationResults>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePage(b)
		if err != nil {
			return
		}
		for _, e := range p.Blobs {
			if !e.wanted() {
				continue
			}
			if _, one, err := e.file(); err != nil || one.Size < 0 || !one.IsPinned() || strings.ContainsAny(one.Version, "\r\n\"") {
				t.Errorf("took %+v: %v", one, err)
			}
		}
	})
}
