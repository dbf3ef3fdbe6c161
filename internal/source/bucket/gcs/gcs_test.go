package gcs

import (
	"bytes"
	"context"
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
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	fake "github.com/crossplane-contrib/provider-kitops/test/fakes/gcs"
)

// These tests are against fake-gcs-server, behind a proxy that enforces what it ignores.

// A world is a bucket at a server with TLS, and the source that reads it.
type world struct {
	*fake.Bucket

	t      *testing.T
	source pipeline.Source
	before atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool] // Reports whether it answered.
}

func newWorld(t *testing.T, versioned bool) *world {
	w := &world{Bucket: fake.NewBucket(t, versioned), t: t}
	w.serve(w.Bucket)
	return w
}

// serve has a handler answer the source's requests.
func (w *world) serve(h http.Handler) {
	w.t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if f := w.before.Load(); f == nil || !(*f)(rw, r) {
			h.ServeHTTP(rw, r)
		}
	}))
	w.t.Cleanup(s.Close)
	ca := filepath.Join(w.t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		w.t.Fatal(err)
	}
	name := "models"
	if w.Bucket != nil {
		name = w.Name
	}
	w.source = pipeline.Source{GCS: &pipeline.GCSSource{Bucket: name, Prefix: "team/a", Endpoint: s.URL}, CAFile: ca}
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

func list(t *testing.T, f *Folder) []file.File {
	t.Helper()
	files, err := f.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// read returns a file's bytes, verified.
func read(t *testing.T, f *Folder, one file.File) ([]byte, error) {
	if one.Size == 0 {
		return []byte{}, nil
	}
	rc, err := f.Open(t.Context(), one, 0, one.Size)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }()
	b, err := io.ReadAll(rc)
	if err == nil {
		v := one.NewVerifier()
		_, _ = v.Write(b)
		err = v.Verify()
	}
	return b, err
}

// tokens is an identity with a token.
type tokens string

// Token implements identity.Source.
func (s tokens) Token(context.Context) (username, password string, expires time.Time, err error) {
	return "", string(s), time.Now().Add(time.Hour), nil
}

// TestFolder reads odd names and more objects than a page has.
func TestFolder(t *testing.T) {
	w := newWorld(t, false)
	want := map[string][]byte{
		"config.json": []byte("{}"), "a b+c%20d&e?.txt": []byte("odd"), "ü/ñ 模型.bin": bytes.Repeat([]byte("x"), 10_000), "empty": {}, "sub/deep/x": []byte("deep"),
	}
	for i := range pageSize + 5 {
		want[fmt.Sprintf("many/%04d", i)] = []byte{}
	}
	for name, content := range want {
		w.Put("team/a/"+name, content)
	}
	w.Compose("team/a/composed", "team/a/config.json", "team/a/sub/deep/x")
	want["composed"] = []byte("{}deep")
	w.Put("team/ab/other", []byte("of another folder"))
	w.Put("team/a/", nil)
	f := w.folder(download.Options{})
	got := map[string][]byte{}
	for _, one := range list(t, f) {
		if one.CRC32C == "" || !strings.HasPrefix(one.Version, generation) {
			t.Errorf("want a CRC32C and a generation, got %+v", one)
		}
		var err error
		if got[one.Path], err = read(t, f, one); err != nil {
			t.Errorf("Open(...): %v", err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if f.Name() != "gs://"+w.Name+"/team/a" {
		t.Errorf("Name(): got %s", f.Name())
	}
}

// TestRanges reads a large object in ranges, while the server drops and asks to wait.
func TestRanges(t *testing.T) {
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(i * 7 >> 3)
	}
	w := newWorld(t, false)
	w.Put("team/a/model.bin", content)
	f := w.folder(download.Options{Range: 256 << 10, Parallel: 4, Budget: download.NewBudget(4 << 20)})
	files := list(t, f)
	var n atomic.Int64
	w.answer(func(rw http.ResponseWriter, r *http.Request) bool {
		switch n.Add(1) % 4 {
		case 1:
			rw.Header().Set("Retry-After", "1")
			fake.Refuse(rw, http.StatusServiceUnavailable, "backendError")
			return true
		case 3:
			w.ServeHTTP(&cut{ResponseWriter: rw, left: 100_000}, r)
			return true
		}
		return false
	})
	if got, err := read(t, f, files[0]); err != nil || !bytes.Equal(got, content) {
		t.Errorf("Open(...): want the object's bytes, got %d and error %v", len(got), err)
	}
}

// A cut writer breaks the connection after some bytes.
type cut struct {
	http.ResponseWriter

	left int
}

// Write implements io.Writer.
func (c *cut) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// TestChanged replaces and deletes objects between their listing and their reading.
func TestChanged(t *testing.T) {
	cases := map[string]struct {
		reason    string
		versioned bool
		change    func(w *world)
		want      outcome.Reason // Empty for the listed bytes.
	}{
		"Replaced": {reason: "An object that is another one now should not be read.", change: func(w *world) { w.Put("team/a/x", []byte("other")) }, want: outcome.Changed},
		"Deleted":  {reason: "An object that is gone has changed.", change: func(w *world) { w.Delete("team/a/x") }, want: outcome.Changed},
		"Kept":     {reason: "A generation should be read though there is a later one.", versioned: true, change: func(w *world) { w.Put("team/a/x", []byte("other")) }},
		"Ignored": {reason: "A server that ignores generations should be noticed.", change: func(w *world) {
			w.Put("team/a/x", []byte("other"))
			w.answer(func(_ http.ResponseWriter, r *http.Request) bool {
				q := r.URL.Query()
				q.Del("generation")
				q.Del("ifGenerationMatch")
				r.URL.RawQuery = q.Encode()
				return false
			})
		}, want: outcome.Changed},
		"Condition": {reason: "A server that knows the condition alone should refuse another generation.", change: func(w *world) {
			w.Put("team/a/x", []byte("other"))
			w.answer(func(_ http.ResponseWriter, r *http.Request) bool {
				q := r.URL.Query()
				q.Del("generation")
				r.URL.RawQuery = q.Encode()
				return false
			})
		}, want: outcome.Changed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.versioned)
			w.Put("team/a/x", []byte("bytes"))
			f := w.folder(download.Options{})
			files := list(t, f)
			tc.change(w)
			got, err := read(t, f, files[0])
			if tc.want == "" && (err != nil || string(got) != "bytes") || tc.want != "" && outcome.ReasonOf(err) != tc.want {
				t.Errorf("\n%s\nOpen(...): want reason %q, got %q and %v", tc.reason, tc.want, got, err)
			}
		})
	}
}

// TestToken reads a bucket that takes the run's token alone.
func TestToken(t *testing.T) {
	w := newWorld(t, false)
	w.Put("team/a/x", []byte("bytes"))
	w.Token = func(token string) bool { return token == "issued" }
	if _, err := w.folder(download.Options{}).List(t.Context()); outcome.ReasonOf(err) != outcome.Unauthorized || !strings.Contains(err.Error(), "credentialsSecretRef") {
		t.Errorf("List(...): want a refusal that names the Secret, got %v", err)
	}
	w.source.GCS.Identity, w.source.GCS.Tokens = true, tokens("issued")
	if _, err := New(w.source, retry.Policy{}, download.Options{}); err == nil || !strings.Contains(err.Error(), "Google's own hosts") {
		t.Errorf("New(...): want no token for a tenant's endpoint, got %v", err)
	}
	w.source.GCS.Identity, w.source.GCS.Tokens = false, nil
	f := w.folderWith("issued")
	if b, err := read(t, f, list(t, f)[0]); err != nil || string(b) != "bytes" {
		t.Errorf("Open(...): got %q and %v", b, err)
	}
	_, err := w.folderWith("other-token").List(t.Context())
	if outcome.ReasonOf(err) != outcome.Unauthorized || strings.Contains(err.Error(), "other-token") {
		t.Errorf("List(...): want a refusal without the token, got %v", err)
	}
}

// folderWith returns the folder of a source with a token, at its endpoint though that is
// not Google's.
func (w *world) folderWith(token string) *Folder {
	w.t.Helper()
	f := w.folder(download.Options{})
	next := f.client.HTTP.Transport
	f.client.HTTP.Transport = bearing{next, token}
	f.own = true
	return f
}

// A bearing transport adds a token.
type bearing struct {
	http.RoundTripper

	token string
}

// RoundTrip implements http.RoundTripper.
func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.RoundTripper.RoundTrip(r)
}

// TestGzip reads an object that is stored with gzip, from a server that sends it so, and
// from one that decodes it.
func TestGzip(t *testing.T) {
	stored := []byte("\x1f\x8b stored bytes")
	serve := func(header http.Header) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("alt") != "media" {
				_, _ = fmt.Fprintf(rw, `{"kind":"storage#objects","items":[{"name":"team/a/x.json","size":"%d","generation":"7","crc32c":"","contentEncoding":"gzip"}]}`, len(stored))
				return
			}
			if r.Header.Get("Accept-Encoding") != gzip {
				rw.WriteHeader(http.StatusBadRequest)
				return
			}
			for k, v := range header {
				rw.Header()[k] = v
			}
			_, _ = rw.Write(stored)
		})
	}
	w := &world{t: t}
	w.serve(serve(http.Header{"X-Goog-Generation": {"7"}, "X-Goog-Stored-Content-Encoding": {gzip}, "Content-Encoding": {gzip}}))
	f := w.folder(download.Options{})
	if b, err := read(t, f, list(t, f)[0]); err != nil || !bytes.Equal(b, stored) {
		t.Errorf("Open(...): want the stored bytes, got %q and %v", b, err)
	}
	w.serve(serve(http.Header{"X-Goog-Generation": {"7"}, "X-Goog-Stored-Content-Encoding": {gzip}}))
	f = w.folder(download.Options{})
	if _, err := read(t, f, list(t, f)[0]); outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), "without the gzip") {
		t.Errorf("Open(...): want decoded bytes to be refused, got %v", err)
	}
	w.serve(serve(http.Header{"Content-Encoding": {gzip}}))
	f = w.folder(download.Options{})
	if _, err := read(t, f, list(t, f)[0]); outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), "which generation") {
		t.Errorf("Open(...): want bytes of no generation to be refused, got %v", err)
	}
}

// TestRefused checks the reasons of refusals of a listing.
func TestRefused(t *testing.T) {
	refuse := func(status int, reason string) func(http.ResponseWriter, *http.Request) {
		return func(rw http.ResponseWriter, _ *http.Request) { fake.Refuse(rw, status, reason) }
	}
	say := func(text string) func(http.ResponseWriter, *http.Request) {
		return func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, text) }
	}
	cases := map[string]struct {
		reason string
		answer func(http.ResponseWriter, *http.Request)
		want   outcome.Reason
		says   string
	}{
		"NoBucket":  {reason: "A bucket that is not there should be named.", answer: refuse(http.StatusNotFound, "notFound"), want: outcome.NotFound, says: "no bucket models"},
		"Requester": {reason: "A bucket whose requesters pay should name the field.", answer: refuse(http.StatusBadRequest, reasonProject), want: outcome.Unauthorized, says: "userProject"},
		"RateLimit": {reason: "A rate limit may have another status.", answer: refuse(http.StatusForbidden, reasonRate), want: outcome.RateLimited, says: "429"},
		"Forbidden": {reason: "Missing rights should name the Secret.", answer: refuse(http.StatusForbidden, "forbidden"), want: outcome.Unauthorized, says: "credentialsSecretRef"},
		"Down":      {reason: "A service that fails is transient.", answer: refuse(http.StatusServiceUnavailable, "backendError"), want: outcome.Unavailable, says: "503"},
		"Redirect": {reason: "A redirect is followed nowhere.", answer: func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://attacker.example.com", http.StatusFound)
		}, want: outcome.Unsupported, says: "redirects"},
		"Truncated": {reason: "A listing that was cut is transient.", answer: say(`{"kind":"storage#objects","items":[{"name":"team/a/x"`), want: outcome.Unavailable, says: "does not send"},
		"OtherKind": {reason: "What is no listing should not be taken for an empty one.", answer: say(`{}`), want: outcome.Unavailable, says: "does not send"},
		"Endless":   {reason: "A listing without an end should end.", answer: say(`{"kind":"storage#objects","nextPageToken":"again"}`), want: outcome.Unsupported, says: "pages"},
		"Outside":   {reason: "An object of another folder should be refused.", answer: say(`{"kind":"storage#objects","items":[{"name":"other/x","size":"1","generation":"1"}]}`), want: outcome.Unsupported, says: "is not in"},
		"Unsafe":    {reason: "A key that is no path should be refused.", answer: say(`{"kind":"storage#objects","items":[{"name":"team/a/../x","size":"1","generation":"1"}]}`), want: outcome.Unsupported, says: "no path of a file"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t}
			w.serve(http.HandlerFunc(tc.answer))
			_, err := w.folder(download.Options{}).List(t.Context())
			if outcome.ReasonOf(err) != tc.want || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("\n%s\nList(...): want reason %s and %q, got %v", tc.reason, tc.want, tc.says, err)
			}
		})
	}
}

// TestUserProject has each request say who pays.
func TestUserProject(t *testing.T) {
	w := newWorld(t, false)
	w.Put("team/a/x", []byte("bytes"))
	w.source.GCS.UserProject = "example-project"
	w.answer(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("userProject") != "example-project" {
			fake.Refuse(rw, http.StatusBadRequest, reasonProject)
			return true
		}
		return false
	})
	f := w.folder(download.Options{})
	if b, err := read(t, f, list(t, f)[0]); err != nil || string(b) != "bytes" {
		t.Errorf("Open(...): got %q and %v", b, err)
	}
}

// TestNew refuses sources and Secrets that cannot be used.
func TestNew(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(s *pipeline.Source)
		secret string // The value of the key; empty for none.
		says   string
	}{
		"Bucket":    {reason: "A bucket's name is a part of a path.", change: func(s *pipeline.Source) { s.GCS.Bucket = "../x" }, says: "bucket"},
		"Prefix":    {reason: "A prefix is a path.", change: func(s *pipeline.Source) { s.GCS.Prefix = "a//b" }, says: "prefix"},
		"Project":   {reason: "A project has an ID.", change: func(s *pipeline.Source) { s.GCS.UserProject = "a b" }, says: "userProject"},
		"PlainHTTP": {reason: "A token should not be sent without TLS.", change: func(s *pipeline.Source) { s.CredentialsFolder, s.GCS.Endpoint = t.TempDir(), "http://example.com" }, says: "TLS"},
		"NoKey":     {reason: "A Secret without the key should name it.", change: func(s *pipeline.Source) { s.CredentialsFolder = t.TempDir() }, says: credentialsKey},
		"BadKey":    {reason: "Credentials are JSON.", change: func(*pipeline.Source) {}, secret: "key", says: "no JSON of credentials"},
		"Metadata": {reason: "A tenant's key should lead to no metadata service.", change: func(*pipeline.Source) {},
			secret: `{"type":"service_account","client_email":"a","private_key":"x","token_uri":"http://169.254.169.254/token"}`, says: "token_uri"},
		"OtherHost": {reason: "A token should not be sent to a host that the Secret does not list.", change: func(s *pipeline.Source) { s.GCS.Endpoint = "https://googleapis.com.example.com" },
			secret: "{}", says: "is not for googleapis.com.example.com: if its credentials may be sent there, add the line"},
		"ListedHost": {reason: "A listed host should be the next thing to matter.", change: func(s *pipeline.Source) {
			s.GCS.Endpoint = "https://storage.example.com/gcs"
			if err := os.WriteFile(filepath.Join(s.CredentialsFolder, "host"), []byte("storage.example.com"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, secret: "key", says: "no JSON of credentials"},
		"Google": {reason: "Google's own hosts should need no list.", change: func(s *pipeline.Source) { s.GCS.Endpoint = "https://storage.europe-west3.rep.googleapis.com" }, secret: "key", says: "no JSON of credentials"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := pipeline.Source{GCS: &pipeline.GCSSource{Bucket: "models"}}
			if tc.secret != "" {
				s.CredentialsFolder = t.TempDir()
				if err := os.WriteFile(filepath.Join(s.CredentialsFolder, credentialsKey), []byte(tc.secret), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			tc.change(&s)
			if _, err := New(s, retry.Policy{}, download.Options{}); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("\n%s\nNew(...): want an error that says %q, got %v", tc.reason, tc.says, err)
			}
		})
	}
}

// FuzzPage reads pages of a foreign server: what is taken must be pinned and have a size.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		`{"kind":"storage#objects","nextPageToken":"x","items":[{"name":"a","size":"1","generation":"1","crc32c":"AAAAAA==","md5Hash":"1B2M2Y8AsgTpgAmY7PhCfg=="}]}`,
		`{"kind":"storage#objects","items":[{"name":"a","size":"-1","generation":"0","crc32c":"AA=="}]}`, `{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePage(b)
		if err != nil {
			return
		}
		for _, i := range p.Items {
			if one, err := i.file(); err != nil || one.Size < 0 || !one.IsPinned() || len(one.CRC32C)%8 != 0 || len(one.MD5)%32 != 0 {
				t.Errorf("took %+v: %v", one, err)
			}
		}
	})
}
