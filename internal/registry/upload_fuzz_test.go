package registry

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	oras "oras.land/oras-go/v2/registry"

	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// FuzzUploaded checks that a Range is read as its own words say, or not at all.
func FuzzUploaded(f *testing.F) {
	for _, s := range []string{"0-0", "0-1023", "bytes=0-5", " 0-7 ", "1-5", "0-", "0--1", "0-18446744073709551615", "bytes 0-3/9", "0-01"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		n, ok := uploaded(header)
		if !ok {
			if n != 0 {
				t.Errorf("uploaded(%q): want nothing, got %d", header, n)
			}
			return
		}
		if n < 1 || !strings.Contains(header, "0-") {
			t.Errorf("uploaded(%q) = %d", header, n)
		}
	})
}

// FuzzLocate checks that an upload never goes on without TLS, nor with
// credentials at a host that is not the registry's.
func FuzzLocate(f *testing.F) {
	for _, s := range []string{
		"", "/v2/x/blobs/uploads/1?_state=a%2Fb", "1?x", "//other.example.com/x", "https://registry.example.com:443/u", "http://registry.example.com/u",
		"https://registry.example.com@evil.example.com/", "https://REGISTRY.example.com./x", "https://[::1]/x", "https://127.0.0.1/x", "mailto:x", "https:///x", "#x",
		"https://registry.example.com%2eevil.example.com/", "https://registry.example.com\\@evil.example.com/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, location string) {
		c := asking(sameAnswer{})
		s := sessions{c, oras.Reference{Registry: c.host, Repository: repository}}
		asked, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.endpoint(), nil)
		if err != nil {
			t.Fatal(err)
		}
		asked.Header.Set("Authorization", fuzzPassword)
		of := &session{}
		if err := s.follow(t.Context(), of, &http.Response{Request: asked, Header: http.Header{"Location": {location}}}); err != nil {
			checkSaid(t, "follow", err)
			return
		}
		u := of.location
		if u.Scheme != "https" || u.Host == "" || u.User != nil {
			t.Errorf("locate(%q) = %q", location, u)
		}
		if got := of.authorization != ""; got != (u.Host == fuzzHost) {
			t.Errorf("locate(%q) = %q, with credentials: %t", location, u, got)
		}
		if d, _ := contentOf("x", 1); !strings.HasSuffix(withDigest(u, d.Digest), "digest=sha256%3A"+d.Digest.Encoded()) {
			t.Errorf("withDigest(%q) = %q", u, withDigest(u, d.Digest))
		}
	})
}

// FuzzUpload checks that whatever a registry answers, an upload ends, and its
// error repeats nothing of that.
func FuzzUpload(f *testing.F) {
	f.Add(202, "", "", "", "/v2/x/blobs/uploads/1", "")
	f.Add(202, "", "", "0-100", "https://registry.example.com/v2/x/blobs/uploads/1?_state=PASSWORD", "")
	f.Add(202, "", "", "0-0", "https://other.example.com/PASSWORD", "")
	f.Add(201, "", "", "", "https://PASSWORD/x", "")
	f.Add(204, "", "", "0-5000000", "https://169.254.169.254/", "")
	f.Add(401, `Bearer realm="https://auth.example.com/token?a=PASSWORD",service="PASSWORD"`, "", "", "", "{}")
	f.Add(404, "", "", "", "", `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"PASSWORD"}]}`)
	f.Add(416, "", "", "0-9", "", `{"errors":[{"code":"PASSWORD"}]}`)
	f.Add(429, "", "3600", "", "", "")
	f.Add(500, "", "", "", "PASSWORD", "quota PASSWORD")
	f.Fuzz(func(t *testing.T, status int, challenge, after, span, location, body string) {
		if status < 200 || status > 599 {
			return
		}
		repeat := func(s string) string { return strings.ReplaceAll(s, passwordMark, fuzzPassword) }
		c := asking(sameAnswer{status: status, body: repeat(body), header: http.Header{
			"Www-Authenticate": {repeat(challenge)}, "Retry-After": {after}, "Range": {repeat(span)}, "Location": {repeat(location)},
		}})
		retries := retry.Policy{Tries: 3, FirstWait: time.Second, MaxWait: time.Second, Sleep: func(context.Context, time.Duration) error { return nil }}
		for _, size := range []int64{0, 1, int64(large)} {
			d, _ := contentOf("x", 1)
			d.Size = size
			open := func(_ context.Context, offset int64) (io.ReadCloser, error) {
				if offset < 0 || offset >= size {
					t.Errorf("Upload(...) opens its source at %d of %d", offset, size)
				}
				return io.NopCloser(strings.NewReader("")), nil
			}
			checkSaid(t, "Upload", c.Upload(t.Context(), repository, d, open, retries))
		}
		d, _ := contentOf("x", 1)
		_, err := c.Mount(t.Context(), repository, "models/other", d)
		checkSaid(t, "Mount", err)
	})
}
