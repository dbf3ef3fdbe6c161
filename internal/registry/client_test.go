package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const repository = "models/qwen3"

// quick is a policy that waits for nothing but the context.
var quick = retry.Policy{Tries: 5, FirstWait: time.Millisecond, MaxWait: time.Millisecond, MaxRetryAfter: time.Minute, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}

func newRegistry() http.Handler {
	return gcr.New(gcr.Logger(log.New(io.Discard, "", 0)))
}

// serve returns a client of a registry that wrap stands in front of.
func serve(t *testing.T, wrap func(http.Handler) http.Handler) *Client {
	t.Helper()
	h := newRegistry()
	if wrap != nil {
		h = wrap(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return newClient(t, Options{Host: strings.TrimPrefix(s.URL, "http://"), PlainHTTP: true})
}

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	if o.Retry.Tries == 0 {
		o.Retry = quick
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func describe(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

func reasonOf(err error) outcome.Reason {
	if err == nil {
		return ""
	}
	return outcome.ReasonOf(err)
}

// push pushes a small artifact, and returns its manifest's descriptor and
// content.
func push(t *testing.T, c *Client, tag string) (ocispec.Descriptor, []byte) {
	t.Helper()
	config := []byte("{}")
	d := describe("application/vnd.test.config.v1+json", config)
	if err := c.PushBlob(t.Context(), repository, d, bytes.NewReader(config)); err != nil {
		t.Fatal(err)
	}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest, Config: d, Layers: []ocispec.Descriptor{d},
	})
	if err != nil {
		t.Fatal(err)
	}
	md := describe(ocispec.MediaTypeImageManifest, manifest)
	if err := c.PushManifest(t.Context(), repository, md, manifest, tag); err != nil {
		t.Fatal(err)
	}
	return md, manifest
}

func TestRoundTrip(t *testing.T) {
	c := serve(t, nil)
	ctx := t.Context()
	if _, err := c.Resolve(ctx, repository, "v1"); !IsNotFound(err) {
		t.Errorf("want nothing there yet, got %v", err)
	}
	want, manifest := push(t, c, "v1")
	for _, reference := range []string{"v1", want.Digest.String()} {
		got, err := c.Resolve(ctx, repository, reference)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("Resolve(%q): -want, +got:\n%s\n%v", reference, diff, err)
		}
		got, b, err := c.Manifest(ctx, repository, reference)
		if diff := cmp.Diff(want, got); diff != "" || err != nil || !bytes.Equal(b, manifest) {
			t.Errorf("Manifest(%q): -want, +got:\n%s\n%v", reference, diff, err)
		}
	}
	if err := c.Untag(ctx, repository, "v1"); err != nil {
		t.Error(err)
	}
	if err := c.Untag(ctx, repository, "v1"); err != nil {
		t.Errorf("want no error for a tag that is gone, got %v", err)
	}
	if _, err := c.Resolve(ctx, repository, "v1"); !IsNotFound(err) {
		t.Errorf("want the tag gone, got %v", err)
	}
	if _, err := c.Resolve(ctx, repository, want.Digest.String()); err != nil {
		t.Errorf("want the manifest to stay, got %v", err)
	}
}

func TestBlobs(t *testing.T) {
	cases := map[string]struct {
		reason  string
		content []byte
	}{
		"Empty": {reason: "A model may hold empty files."},
		"Small": {reason: "A configuration.", content: []byte(`{"a": 1}`)},
		"Large": {reason: "A weight.", content: bytes.Repeat([]byte("weight"), 1<<20)},
	}
	c := serve(t, nil)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := describe("application/octet-stream", tc.content)
			if has, err := c.HasBlob(t.Context(), repository, d); has || err != nil {
				t.Errorf("\n%s\nHasBlob(...): want no blob yet, got %t, %v", tc.reason, has, err)
			}
			// A reader that can be nothing but read.
			if err := c.PushBlob(t.Context(), repository, d, io.MultiReader(bytes.NewReader(tc.content))); err != nil {
				t.Fatalf("\n%s\nPushBlob(...): %v", tc.reason, err)
			}
			if has, err := c.HasBlob(t.Context(), repository, d); !has || err != nil {
				t.Errorf("\n%s\nHasBlob(...): want the blob, got %t, %v", tc.reason, has, err)
			}
			rc, err := c.OpenBlob(t.Context(), repository, d)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(rc)
			if !bytes.Equal(got, tc.content) || err != nil {
				t.Errorf("\n%s\nOpenBlob(...): got %d bytes, %v", tc.reason, len(got), err)
			}
			_ = rc.Close()
		})
	}
}

func TestWrongBytes(t *testing.T) {
	c := serve(t, nil)
	d := describe("application/octet-stream", []byte("right"))
	if err := c.PushBlob(t.Context(), repository, d, strings.NewReader("wrong")); err == nil {
		t.Error("want the registry to refuse other bytes")
	}
	lying := serve(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "wrong") })
	})
	rc, err := lying.OpenBlob(t.Context(), repository, d)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if _, err := io.ReadAll(rc); reasonOf(err) != outcome.Mismatch {
		t.Errorf("want Mismatch, got %v", err)
	}
}

// answer is a registry that answers everything in one way.
func answer(status int, body string, header ...string) func(http.Handler) http.Handler {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
}

func TestErrors(t *testing.T) {
	type want struct {
		reason outcome.Reason
		after  time.Duration
	}
	cases := map[string]struct {
		reason  string
		wrap    func(http.Handler) http.Handler
		want    want
		message string
	}{
		"Anonymous":   {reason: "No credentials were given.", wrap: answer(401, "", "WWW-Authenticate", `Basic realm="x"`), want: want{reason: outcome.Unauthorized}, message: "registry.credentials"},
		"Forbidden":   {reason: "The repository is named.", wrap: answer(403, `{"errors": [{"code": "DENIED", "message": "secret word"}]}`), want: want{reason: outcome.Unauthorized}, message: repository},
		"NoSuch":      {reason: "Some registries want the repository first.", wrap: answer(404, `{"errors": [{"code": "NAME_UNKNOWN"}]}`), want: want{reason: outcome.NotFound}, message: "created first"},
		"TooLarge":    {reason: "A proxy has a limit.", wrap: answer(413, "<html>secret word</html>"), want: want{reason: outcome.NoSpace}, message: "limit"},
		"NoStorage":   {reason: "A storage is full.", wrap: answer(507, ""), want: want{reason: outcome.NoSpace}, message: "no room"},
		"Quota":       {reason: "Harbor denies what exceeds a quota.", wrap: answer(403, `{"errors": [{"code": "DENIED", "message": "adding 1 GiB will exceed the configured upper limit; secret word"}]}`), want: want{reason: outcome.NoSpace}, message: "quota"},
		"DiskFull":    {reason: "Distribution tells of its disk in a detail.", wrap: answer(500, `{"errors": [{"code": "UNKNOWN", "detail": {"Err": "write: no space left on device"}}]}`), want: want{reason: outcome.NoSpace}, message: "no room"},
		"QuayQuota":   {reason: "Quay too.", wrap: answer(403, `{"errors": [{"code": "DENIED", "message": "Quota has been exceeded on namespace"}]}`), want: want{reason: outcome.NoSpace}, message: "quota"},
		"Deadline":    {reason: "A deadline that is exceeded is no quota.", wrap: answer(500, `{"errors":[{"code":"UNKNOWN","message":"unknown: context deadline exceeded (Client.Timeout or context cancellation while reading body)"}]}`), want: want{reason: outcome.Unavailable}, message: "500"},
		"Driver":      {reason: "Nor what a storage says of one.", wrap: answer(503, `{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"DriverName":"s3aws","Enclosed":"net/http: request canceled (Client.Timeout exceeded while awaiting headers)"}}]}`), want: want{reason: outcome.Unavailable}, message: "503"},
		"Rate":        {reason: "Nor a rate.", wrap: answer(500, `{"errors":[{"code":"UNKNOWN","message":"Rate exceeded"}]}`), want: want{reason: outcome.Unavailable}, message: "500"},
		"RateQuota":   {reason: "A code tells more than words.", wrap: answer(403, `{"errors":[{"code":"TOOMANYREQUESTS","message":"storage quota of requests"}]}`), want: want{reason: outcome.Unauthorized}, message: repository},
		"RateLimited": {reason: "The registry says how long to wait.", wrap: answer(429, "", "Retry-After", "33"), want: want{reason: outcome.RateLimited, after: 33 * time.Second}, message: "rate"},
		"Failing":     {reason: "The status is named.", wrap: answer(503, "secret word"), want: want{reason: outcome.Unavailable}, message: "503"},
		"LostBlob":    {reason: "A garbage collector did not wait.", wrap: answer(404, `{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN"}]}`), want: want{reason: outcome.Unavailable}, message: "garbage collector"},
		"LostUpload":  {reason: "An upload that is forgotten is begun anew.", wrap: answer(404, `{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN"}]}`), want: want{reason: outcome.Unavailable}, message: "forgot an upload"},
		"Odd":         {reason: "The code is named.", wrap: answer(400, `{"errors": [{"code": "NAME_INVALID", "message": "secret word"}]}`), want: want{reason: outcome.Unsupported}, message: "NAME_INVALID"},
		"OddDigest":   {reason: "The registry got other bytes.", wrap: answer(400, `{"errors": [{"code": "DIGEST_INVALID"}]}`), want: want{reason: outcome.Mismatch}, message: "other bytes"},
		"NotV2":       {reason: "What is no registry says nothing known.", wrap: answer(200, "secret word"), want: want{reason: outcome.Unsupported}, message: "status 200"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := serve(t, tc.wrap)
			err := c.PushBlob(t.Context(), repository, describe("a/b", []byte("x")), strings.NewReader("x"))
			var e *outcome.Error
			got := want{reason: reasonOf(err)}
			if asOutcome(err, &e) {
				got.after = e.RetryAfter
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nPushBlob(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tc.message) || strings.Contains(err.Error(), "secret word")) {
				t.Errorf("\n%s\nPushBlob(...): want %q and not the server's words, got %q", tc.reason, tc.message, err)
			}
		})
	}
}

// TestImmutableTag pushes to a tag that may not be moved, as Quay and Harbor say
// it.
func TestImmutableTag(t *testing.T) {
	for _, status := range []int{http.StatusConflict, http.StatusPreconditionFailed} {
		c := serve(t, answer(status, ""))
		b := []byte("{}")
		err := c.PushManifest(t.Context(), repository, describe(ocispec.MediaTypeImageManifest, b), b, "v1")
		if !IsUnsupported(err) || !strings.Contains(err.Error(), "does not let the tag be moved") {
			t.Errorf("status %d: got %v", status, err)
		}
	}
}

func TestUntagUnsupported(t *testing.T) {
	cases := map[string]struct {
		reason string
		wrap   func(http.Handler) http.Handler
		want   bool
	}{
		"Disabled":   {reason: "Deletion is switched off.", wrap: answer(405, `{"errors": [{"code": "UNSUPPORTED"}]}`), want: true},
		"DigestOnly": {reason: "Only digests can be deleted.", wrap: answer(400, `{"errors": [{"code": "DIGEST_INVALID"}]}`), want: true},
		"Forbidden":  {reason: "A permission can be granted.", wrap: answer(403, "")},
		"Failing":    {reason: "A failure passes.", wrap: answer(500, "")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := serve(t, tc.wrap).Untag(t.Context(), repository, "v1")
			if got := IsUnsupported(err); got != tc.want || err == nil {
				t.Errorf("\n%s\nUntag(...): want unsupported %t, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

func TestInvalidNames(t *testing.T) {
	c := serve(t, nil)
	for _, n := range [][2]string{{"Models/X", "v1"}, {"../x", "v1"}, {"x", ""}, {"x", "a/b"}, {"x", "y@sha256:1"}, {"x", "sha256:1"}} {
		if _, err := c.Resolve(t.Context(), n[0], n[1]); !IsUnsupported(err) {
			t.Errorf("Resolve(%q, %q): want Unsupported, got %v", n[0], n[1], err)
		}
	}
	if _, err := New(Options{Host: "a b"}); !IsUnsupported(err) {
		t.Errorf("New(...): want Unsupported, got %v", err)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(newRegistry())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "https://")
	plain := httptest.NewServer(newRegistry())
	defer plain.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	cases := map[string]struct {
		reason  string
		options Options
		want    outcome.Reason
		message string
	}{
		"Known":   {reason: "With the CA, the registry answers.", options: Options{Host: host, CA: ca}, want: outcome.NotFound, message: "has no"},
		"Unknown": {reason: "The cure is a CA.", options: Options{Host: host}, want: outcome.Untrusted, message: "certSecretRef"},
		"NoTLS":   {reason: "The cure is plainHTTP.", options: Options{Host: strings.TrimPrefix(plain.URL, "http://")}, want: outcome.Untrusted, message: "plainHTTP"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := newClient(t, tc.options).Resolve(t.Context(), repository, "v1")
			if reasonOf(err) != tc.want || err == nil || !strings.Contains(err.Error(), tc.message) {
				t.Errorf("\n%s\nResolve(...): want %s with %q, got %v", tc.reason, tc.want, tc.message, err)
			}
		})
	}
	if _, err := New(Options{Host: host, CA: []byte("none")}); !IsUnsupported(err) {
		t.Errorf("want a CA that is none to be refused, got %v", err)
	}
}

func TestObserve(t *testing.T) {
	type operation struct {
		Name   string
		Failed bool
	}
	s := httptest.NewServer(newRegistry())
	t.Cleanup(s.Close)
	var got []operation
	c, err := New(Options{Host: strings.TrimPrefix(s.URL, "http://"), PlainHTTP: true, SingleTry: true, Observe: func(name string, err error) {
		got = append(got, operation{Name: name, Failed: err != nil})
	}})
	if err != nil {
		t.Fatal(err)
	}
	blob := []byte("blob")
	d := ocispec.Descriptor{MediaType: "text/plain", Digest: digest.FromBytes(blob), Size: int64(len(blob))}
	_, _ = c.Resolve(t.Context(), "models/m", "v1")
	_ = c.PushBlob(t.Context(), "models/m", d, bytes.NewReader(blob))
	_, _ = c.HasBlob(t.Context(), "models/m", d)
	_, _ = c.Resolve(t.Context(), "models/m", "not/a/tag")
	want := []operation{{"Resolve", true}, {"PushBlob", false}, {"HasBlob", false}, {"Resolve", true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Observe should be called once for each operation, with its error: -want, +got:\n%s", diff)
	}
}
