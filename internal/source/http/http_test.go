package http

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// rangeSize is how much tests ask for at a time.
const rangeSize = 256 << 10

// A files is a server with files, that may change and need credentials.
type files struct {
	*httptest.Server

	wants   string // The header Authorization; empty for none.
	noTag   bool   // The server sends no ETag.
	mu      sync.Mutex
	content map[string][]byte // By path of the URL.
	seen    []*http.Request
	fault   testhub.Fault
}

// serve returns a server with TLS.
func serve(t *testing.T, content map[string][]byte) *files {
	t.Helper()
	f := &files{content: content}
	f.Server = httptest.NewTLSServer(http.HandlerFunc(f.handle))
	t.Cleanup(f.Close)
	return f
}

func (f *files) handle(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.seen = append(f.seen, r.Clone(context.Background()))
	fault := f.fault
	f.mu.Unlock()
	var h http.Handler = http.HandlerFunc(f.answer)
	if fault != nil {
		h = fault(h)
	}
	h.ServeHTTP(w, r)
}

func (f *files) answer(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	b, ok := f.content[r.URL.Path]
	f.mu.Unlock()
	switch {
	case f.wants != "" && r.Header.Get("Authorization") != f.wants:
		w.WriteHeader(http.StatusUnauthorized)
		return
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if !f.noTag {
		w.Header().Set("ETag", `"`+digestOf(b)+`"`)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// change gives a file other content.
func (f *files) change(path string, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.content[path] = b
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// noise returns bytes of which no two places are alike.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// source returns a run's source with these files of a server.
func (f *files) source(t *testing.T, paths ...string) pipeline.Source {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := pipeline.Source{CAFile: ca, HTTP: &pipeline.HTTPSource{}}
	for _, p := range paths {
		s.HTTP.Items = append(s.HTTP.Items, pipeline.HTTPItem{URL: f.URL + p, Path: filepath.Base(p), SHA256: digestOf(f.content[p])})
	}
	return s
}

// secret returns a mounted Secret that is for the server.
func (f *files) secret(t *testing.T, keys map[string]string) string {
	t.Helper()
	dir := secret(t, keys)
	if err := os.WriteFile(filepath.Join(dir, identity.KeyHost), []byte("other.example.com\n"+f.Listener.Addr().String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// secret returns a mounted Secret.
func secret(t *testing.T, keys map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for k, v := range keys {
		if err := os.WriteFile(filepath.Join(dir, k), []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// open returns a source's folder, which waits for little.
func open(t *testing.T, s pipeline.Source) (*Folder, error) {
	t.Helper()
	policy := retry.Policy{Tries: 4, FirstWait: time.Millisecond, MaxWait: 4 * time.Millisecond, MaxRetryAfter: 5 * time.Second}
	f, err := New(s, policy, download.Options{Range: rangeSize, Budget: download.NewBudget(16 << 20)})
	if err != nil {
		return nil, err
	}
	t.Cleanup(f.Close)
	f.server.Retry, f.server.Idle = policy, 10*time.Second
	return f, nil
}

// read reads and verifies all files of a folder.
func read(ctx context.Context, f *Folder, midway func()) error {
	listed, err := f.List(ctx)
	if err != nil {
		return err
	}
	for _, one := range listed {
		if one.Size == 0 {
			continue
		}
		r, err := f.Open(ctx, one, 0, one.Size)
		if err != nil {
			return err
		}
		v := one.NewVerifier()
		_, err = io.CopyN(v, r, 1)
		if midway != nil {
			midway()
		}
		if err == nil {
			_, err = io.Copy(v, r)
		}
		_ = r.Close()
		if err == nil {
			err = v.Verify()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func reasonOf(err error) outcome.Reason {
	if err == nil {
		return ""
	}
	return outcome.ReasonOf(err)
}

func TestNew(t *testing.T) {
	sum := strings.Repeat("a", 64)
	item := func(url, path string) pipeline.HTTPItem { return pipeline.HTTPItem{URL: url, Path: path, SHA256: sum} }
	type want struct {
		Name   string
		Reason outcome.Reason
	}
	cases := map[string]struct {
		reason string
		items  []pipeline.HTTPItem
		secret bool
		want   want
	}{
		"One":       {reason: "One file should be its own name.", items: []pipeline.HTTPItem{item("https://a.example/m/x.gguf", "x")}, want: want{Name: "https://a.example/m/x.gguf"}},
		"Folder":    {reason: "Files of one folder should have its name.", items: []pipeline.HTTPItem{item("https://a.example/m/v1/x", "x"), item("https://a.example/m/v1/y", "y")}, want: want{Name: "https://a.example/m/v1/"}},
		"Prefix":    {reason: "A name that begins as another one is no folder.", items: []pipeline.HTTPItem{item("https://a.example/m/v1/x", "x"), item("https://a.example/m/v10/x", "y")}, want: want{Name: "https://a.example/m/"}},
		"Root":      {reason: "What files share may be the server alone.", items: []pipeline.HTTPItem{item("https://a.example/b/x", "x"), item("https://a.example/c/x", "y")}, want: want{Name: "https://a.example/"}},
		"Twice":     {reason: "One file may have two paths.", items: []pipeline.HTTPItem{item("https://a.example/b/x", "x"), item("https://A.example/b/x", "y")}, want: want{Name: "https://a.example/b/x"}},
		"Escaped":   {reason: "A folder above should not be named in disguise.", items: []pipeline.HTTPItem{item("https://a.example/m/%2e%2E/x", "x")}, want: want{Reason: outcome.Unsupported}},
		"Slash":     {reason: "Nor should a slash.", items: []pipeline.HTTPItem{item("https://a.example/m%2Fx", "x")}, want: want{Reason: outcome.Unsupported}},
		"Letter":    {reason: "Nor should a letter, by which a pattern would not match.", items: []pipeline.HTTPItem{item("https://a.example/%73ecret/x", "x")}, want: want{Reason: outcome.Unsupported}},
		"Parameter": {reason: "Some servers cut off parameters of a name.", items: []pipeline.HTTPItem{item("https://a.example/m/..;/x", "x")}, want: want{Reason: outcome.Unsupported}},
		"Port":      {reason: "A default port is another name of the same server.", items: []pipeline.HTTPItem{item("https://a.example:443/x", "x")}, want: want{Reason: outcome.Unsupported}},
		"Zeros":     {reason: "Zeros make another name of the same server.", items: []pipeline.HTTPItem{item("https://a.example:08443/x", "x")}, want: want{Reason: outcome.Unsupported}},
		"NoPort":    {reason: "So does a colon alone.", items: []pipeline.HTTPItem{item("https://a.example:/x", "x")}, want: want{Reason: outcome.Unsupported}},
		"Space":     {reason: "What must be escaped may be.", items: []pipeline.HTTPItem{item("https://a.example/a%20b", "x")}, want: want{Name: "https://a.example/a%20b"}},
		"None":      {reason: "A source should have files.", want: want{Reason: outcome.Unsupported}},
		"Servers":   {reason: "Credentials should be those of one server.", items: []pipeline.HTTPItem{item("https://a.example/x", "x"), item("https://b.example/x", "y")}, want: want{Reason: outcome.Unsupported}},
		"Ports":     {reason: "Another port is another server.", items: []pipeline.HTTPItem{item("https://a.example/x", "x"), item("https://a.example:8443/x", "y")}, want: want{Reason: outcome.Unsupported}},
		"SamePath":  {reason: "Two files cannot have one path.", items: []pipeline.HTTPItem{item("https://a.example/x", "x"), item("https://a.example/y", "x")}, want: want{Reason: outcome.Unsupported}},
		"Climb":     {reason: "A path should stay in the model.", items: []pipeline.HTTPItem{item("https://a.example/x", "../x")}, want: want{Reason: outcome.Unsupported}},
		"Query":     {reason: "A query may be a credential.", items: []pipeline.HTTPItem{item("https://a.example/x?sig=1", "x")}, want: want{Reason: outcome.Unsupported}},
		"User":      {reason: "A user is a credential.", items: []pipeline.HTTPItem{item("https://u:p@a.example/x", "x")}, want: want{Reason: outcome.Unsupported}},
		"Listing":   {reason: "A folder is no file.", items: []pipeline.HTTPItem{item("https://a.example/m/", "x")}, want: want{Reason: outcome.Unsupported}},
		"Scheme":    {reason: "Files of this machine are none of a server.", items: []pipeline.HTTPItem{item("file:///etc/passwd", "x")}, want: want{Reason: outcome.Unsupported}},
		"NoSHA256":  {reason: "A file should be pinned.", items: []pipeline.HTTPItem{{URL: "https://a.example/x", Path: "x"}}, want: want{Reason: outcome.Unsupported}},
		"PlainHTTP": {reason: "A server without TLS may have files for everybody.", items: []pipeline.HTTPItem{item("http://a.example/x", "x")}, want: want{Name: "http://a.example/x"}},
		"PlainKeys": {reason: "Credentials should not be sent without TLS.", items: []pipeline.HTTPItem{item("http://a.example/x", "x")}, secret: true, want: want{Reason: outcome.ConfigInvalid}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := pipeline.Source{HTTP: &pipeline.HTTPSource{Items: tc.items}}
			if tc.secret {
				s.CredentialsFolder = secret(t, map[string]string{"token": "t", identity.KeyHost: "a.example"})
			}
			f, err := open(t, s)
			got := want{Reason: reasonOf(err)}
			if err == nil {
				got.Name = f.Name()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nNew(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}

func TestList(t *testing.T) {
	content := []byte("0123456789")
	head := func(r *http.Request) bool { return r.Method == http.MethodHead }
	size := func(n int64) *int64 { return &n }
	type want struct {
		Size   int64
		Reason outcome.Reason
		Heads  int
		Gets   int
	}
	cases := map[string]struct {
		reason string
		fault  testhub.Fault
		size   *int64
		url    string
		want   want
	}{
		"Head":        {reason: "A HEAD should be enough.", want: want{Size: 10, Heads: 1}},
		"NoHead":      {reason: "A server may not answer HEAD.", fault: testhub.Times(9, head, testhub.Status(405, nil)), want: want{Size: 10, Heads: 1, Gets: 1}},
		"HeadRefused": {reason: "A link may be good for GET alone.", fault: testhub.Times(9, head, testhub.Status(403, nil)), want: want{Size: 10, Heads: 1, Gets: 1}},
		"NoSize":      {reason: "A file whose size nobody tells cannot be read.", fault: chunked, want: want{Heads: 1, Gets: 1, Reason: outcome.Unsupported}},
		"OwnSize":     {reason: "The item may tell the size.", fault: chunked, size: size(10), want: want{Size: 10, Heads: 1, Gets: 1}},
		"SameSize":    {reason: "Both may tell the same size.", size: size(10), want: want{Size: 10, Heads: 1}},
		"WrongSize":   {reason: "A file with another size is another file.", size: size(11), want: want{Heads: 1, Reason: outcome.Mismatch}},
		"Failing":     {reason: "A server that fails for a moment should be asked again.", fault: testhub.Times(2, head, testhub.Status(503, nil)), want: want{Size: 10, Heads: 3}},
		"Down":        {reason: "A server that fails should be asked a few times only.", fault: testhub.Status(503, nil), want: want{Heads: 4, Reason: outcome.Unavailable}},
		"Missing":     {reason: "A file that is missing should end the run early.", url: "/none", want: want{Heads: 1, Gets: 1, Reason: outcome.NotFound}},
		"Forbidden":   {reason: "A file that not everybody may read needs credentials.", fault: testhub.Status(403, nil), want: want{Heads: 1, Gets: 1, Reason: outcome.Unauthorized}},
		"Encoded":     {reason: "Encoded bytes have another size than the file.", fault: testhub.Header("Content-Encoding", "gzip"), want: want{Heads: 1, Gets: 1, Reason: outcome.Unsupported}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := serve(t, map[string][]byte{"/m/x": content})
			server.fault = tc.fault
			s := server.source(t, "/m/x")
			s.HTTP.Items[0].Size = tc.size
			if tc.url != "" {
				s.HTTP.Items[0].URL = server.URL + tc.url
			}
			f, err := open(t, s)
			if err != nil {
				t.Fatal(err)
			}
			listed, err := f.List(t.Context())
			got := want{Reason: reasonOf(err)}
			if err == nil {
				got.Size = listed[0].Size
				if diff := cmp.Diff([]file.File{{Path: "x", Size: tc.want.Size, SHA256: digestOf(content)}}, listed); diff != "" {
					t.Errorf("\n%s\nList(...): -want, +got:\n%s", tc.reason, diff)
				}
			}
			for _, r := range server.seen {
				if r.Method == http.MethodHead {
					got.Heads++
				} else {
					got.Gets++
				}
				if e := r.Header.Get("Accept-Encoding"); e != "identity" {
					t.Errorf("\n%s\nwant bytes as they are to be asked for, got %q", tc.reason, e)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nList(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}

// chunked answers without a size.
func chunked(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write([]byte("0123456789"))
		}
	})
}

func TestFaults(t *testing.T) {
	large := noise(10*rangeSize + 123)
	other := noise(10*rangeSize + 124)[1:]
	get := func(r *http.Request) bool { return r.Method == http.MethodGet }
	ranged := func(r *http.Request) bool { return r.Header.Get("Range") != "" }
	const always = 1 << 20
	cases := map[string]struct {
		reason string
		fault  testhub.Fault
		noTag  bool
		sha256 string
		idle   time.Duration
		midway []byte // What the file becomes.
		want   outcome.Reason
	}{
		"None":        {reason: "A file should be read in ranges."},
		"NoETag":      {reason: "A server need not send an ETag.", noTag: true},
		"Drop":        {reason: "Reading should resume where a connection broke.", fault: testhub.Times(5, get, testhub.Truncate(10_000))},
		"DropAlways":  {reason: "Reading should resume as long as bytes come.", fault: testhub.Times(always, get, testhub.Truncate(100_000))},
		"NoBytes":     {reason: "Reading should not resume for ever.", fault: testhub.Times(always, get, testhub.Truncate(0)), want: outcome.Unavailable},
		"Stall":       {reason: "A stream that stalls should be given up.", fault: testhub.Times(2, get, testhub.Stall(100)), idle: 200 * time.Millisecond},
		"Unavailable": {reason: "A server that fails for a moment should be asked again.", fault: testhub.Times(3, get, testhub.Status(503, nil))},
		"Asked":       {reason: "A server may ask to wait.", fault: testhub.Times(1, get, testhub.Status(429, http.Header{"Retry-After": {"1"}}))},
		"Forbidden":   {reason: "A refusal should be final.", fault: testhub.Times(always, get, testhub.Status(403, nil)), want: outcome.Unauthorized},
		"Gone":        {reason: "A file may be removed before it is read.", fault: testhub.Times(always, get, testhub.Status(410, nil)), want: outcome.NotFound},
		"NoRanges":    {reason: "A server that knows no ranges should be read in one stream.", fault: testhub.WithoutRanges()},
		"NoRangeDrop": {reason: "A whole file in place of a range should be read from its start.", fault: both(testhub.WithoutRanges(), testhub.Times(2, get, testhub.Truncate(500_000)))},
		"WrongRange":  {reason: "Another range than the one asked for should not be taken.", fault: testhub.Times(always, ranged, testhub.Header("Content-Range", "bytes 1-262144/2621563")), want: outcome.Unavailable},
		"Corrupt":     {reason: "A changed byte should be noticed.", fault: testhub.Times(1, get, testhub.Corrupt(77)), want: outcome.Mismatch},
		"WrongSHA256": {reason: "Another file should be noticed.", sha256: strings.Repeat("a", 64), want: outcome.Mismatch},
		"Changed":     {reason: "A file that changes should be noticed by its ETag.", midway: other, want: outcome.Changed},
		"ChangedSize": {reason: "A file that changes should be noticed by its size.", midway: other[1:], noTag: true, want: outcome.Changed},
		"ChangedOnly": {reason: "A file that changes should be noticed by its hash.", midway: other, noTag: true, want: outcome.Mismatch},
		"Encoded":     {reason: "Encoded bytes are not the file's.", fault: testhub.Times(always, get, testhub.Header("Content-Encoding", "gzip")), want: outcome.Unavailable},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, map[string][]byte{"/m/x": large})
			server.fault, server.noTag = tc.fault, tc.noTag
			s := server.source(t, "/m/x")
			if tc.sha256 != "" {
				s.HTTP.Items[0].SHA256 = tc.sha256
			}
			f, err := open(t, s)
			if err != nil {
				t.Fatal(err)
			}
			// What is read ahead would be of the file before it changed.
			f.download.Parallel = 2
			if tc.midway != nil {
				f.download.Budget = nil
				f.download.Parallel = 1
				server.fault = testhub.Times(1, get, testhub.Truncate(100_000))
			}
			if tc.idle != 0 {
				f.server.Idle = tc.idle
			}
			midway := func() {
				if tc.midway != nil {
					server.change("/m/x", tc.midway)
				}
			}
			if err := read(t.Context(), f, midway); reasonOf(err) != tc.want {
				t.Errorf("\n%s\nwant reason %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

// both has two faults happen.
func both(a, b testhub.Fault) testhub.Fault {
	return func(next http.Handler) http.Handler { return a(b(next)) }
}

// TestResumes checks that a range is asked for with the condition that the file is still
// the one that was read before.
func TestResumes(t *testing.T) {
	content := noise(rangeSize)
	server := serve(t, map[string][]byte{"/m/x": content})
	server.fault = testhub.Times(1, func(r *http.Request) bool { return r.Method == http.MethodGet }, testhub.Truncate(100_000))
	f, err := open(t, server.source(t, "/m/x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := read(t.Context(), f, nil); err != nil {
		t.Fatal(err)
	}
	got := [][2]string{}
	for _, r := range server.seen {
		got = append(got, [2]string{r.Header.Get("Range"), r.Header.Get("If-Range")})
	}
	want := [][2]string{{}, {}, {fmt.Sprintf("bytes=100000-%d", len(content)-1), `"` + digestOf(content) + `"`}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests: -want, +got:\n%s", diff)
	}
}
