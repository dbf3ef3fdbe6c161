package hub

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// fuzzToken is the token of fuzzed clients. Where an answer holds tokenMark,
// the server repeats the token there.
const (
	fuzzToken = "hf_FuzzedTokenThatNobodyMaySee0123456789"
	tokenMark = "TOKEN"
)

// An answer is what a server says to every request.
type answer struct {
	status int
	header http.Header
	body   string
}

// RoundTrip implements http.RoundTripper.
func (a answer) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header.Clone(), Body: io.NopCloser(strings.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: req,
	}, nil
}

// asking returns a client to which a server always answers the same.
func asking(a answer) *Client {
	base := &url.URL{Scheme: "https", Host: "hub.example.com"}
	return &Client{
		kind: Model,
		base: base,
		http: &http.Client{
			Transport:     &tokenTransport{origin: base, token: func(context.Context) (string, error) { return fuzzToken, nil }, next: a},
			CheckRedirect: connection.CheckRedirect,
		},
		hasToken: true,
		stall:    time.Minute,
		retry:    retry.Policy{Tries: 1},
		streams:  retry.Policy{Tries: 1},
		idle:     time.Minute,
		throttle: &connection.Throttle{},
	}
}

// checkSaid checks that an error has a reason and shows no token.
func checkSaid(t *testing.T, err error) {
	t.Helper()
	var known *outcome.Error
	switch {
	case err == nil:
		return
	case !errors.As(err, &known):
		t.Errorf("want an outcome.Error, got %T: %v", err, err)
	case strings.Contains(err.Error(), fuzzToken):
		t.Errorf("the error shows the token: %v", err)
	}
}

// FuzzRefused checks that no refusal of a Hub gets its own words into an error,
// where it may repeat what it was asked with.
func FuzzRefused(f *testing.F) {
	f.Add(401, "", "Invalid credentials in Authorization header", "", "", `{"error":"Bearer TOKEN"}`)
	f.Add(403, "GatedRepo", "Access is restricted for TOKEN", "", "", "TOKEN")
	f.Add(404, "RepoNotFound", "TOKEN", "", "", "")
	f.Add(404, "RevisionNotFound", "", "", "", "")
	f.Add(404, "EntryNotFound", "", "", "", "")
	f.Add(403, "TOKEN", "Access to this resource is disabled.", "", "", "")
	f.Add(429, "", "", "", `"TOKEN";r=0;t=55`, "")
	f.Add(503, "", "", "", "120", "<html>TOKEN</html>")
	f.Add(302, "", "", "https://cdn.example.com/x?sig=TOKEN", "", "")
	f.Add(307, "", "", "http://hub.example.com/TOKEN", "", "")
	f.Add(301, "", "", "::TOKEN", "", "")
	f.Add(418, "", "", "", "", "TOKEN")
	f.Fuzz(func(t *testing.T, status int, code, message, location, limit, body string) {
		if status < 201 || status > 599 {
			return
		}
		repeat := func(s string) string { return strings.ReplaceAll(s, tokenMark, fuzzToken) }
		if u, err := url.Parse(location); err == nil && strings.Contains(u.Host, tokenMark) {
			// Where a server leads to is said.
			return
		}
		c := asking(answer{status: status, body: repeat(body), header: http.Header{
			"X-Error-Code": {repeat(code)}, "X-Error-Message": {repeat(message)}, "Location": {repeat(location)},
			"Ratelimit": {repeat(limit)}, "Retry-After": {repeat(limit)},
		}})
		_, err := c.Resolve(t.Context(), "org/model", "main")
		checkSaid(t, err)
		_, err = c.List(t.Context(), "org/model", strings.Repeat("a", 40))
		checkSaid(t, err)
		rc, err := c.Open(t.Context(), "org/model", strings.Repeat("a", 40), "a/b.bin")
		checkSaid(t, err)
		if err == nil {
			_ = rc.Close()
		}
		r, err := c.Download(t.Context(), "org/model", strings.Repeat("a", 40), file.File{Path: "a/b.bin", Size: 9}, 1, 9, download.Options{})
		checkSaid(t, err)
		if err == nil {
			_ = r.Close()
		}
	})
}

// FuzzDownload checks that no answer to a request for a range makes a file that
// is longer than announced, or has bytes of another place.
func FuzzDownload(f *testing.F) {
	f.Add(206, "bytes 2-9/10", `"a"`, "23456789")
	f.Add(206, "bytes 2-5/10", "", "2345")
	f.Add(206, "bytes 0-9/10", "", "0123456789")
	f.Add(206, "bytes 2-9/*", "W/", "23456789+more")
	f.Add(200, "", `"a"`, "0123456789")
	f.Add(200, "bytes */10", "", "01")
	f.Add(416, "bytes */1", "", "")
	f.Add(403, "", "", "TOKEN")
	f.Fuzz(func(t *testing.T, status int, contentRange, etag, body string) {
		if status < 200 || status > 599 {
			return
		}
		const size, from = 10, 2
		c := asking(answer{status: status, body: body, header: http.Header{"Content-Range": {contentRange}, "Etag": {etag}}})
		r, err := c.Download(t.Context(), "org/model", strings.Repeat("a", 40), file.File{Path: "a.bin", Size: size}, from, size, download.Options{})
		checkSaid(t, err)
		if err != nil {
			return
		}
		defer func() { _ = r.Close() }()
		got, err := io.ReadAll(r)
		checkSaid(t, err)
		want := strings.TrimPrefix(body, body[:min(from, len(body))])
		if status == http.StatusPartialContent {
			want = body
		}
		if len(got) > size-from || !strings.HasPrefix(want, string(got)) || err == nil && len(got) < size-from {
			t.Errorf("Read(...): got %q, %v of %q", got, err, body)
		}
	})
}

// FuzzResolve checks what is taken from a Hub's answer about a revision.
func FuzzResolve(f *testing.F) {
	sha := strings.Repeat("0a", 20)
	f.Add(`{"sha":"` + sha + `","cardData":{"license":"mit"},"tags":["license:mit"]}`)
	f.Add(`{"sha":"` + sha + `","cardData":{"license":["a","b"]},"tags":null}`)
	f.Add(`[{"id":"` + sha + `","date":"2026-01-02T03:04:05.000Z"}]`)
	f.Add(`{"sha":"../../x"}`)
	f.Add(`{"sha":` + strings.Repeat("[", 100))
	f.Add("null")
	f.Fuzz(func(t *testing.T, body string) {
		r, err := asking(answer{status: http.StatusOK, body: body}).Resolve(t.Context(), "org/model", "main")
		checkSaid(t, err)
		if err == nil && (!commitPattern.MatchString(r.Commit) || r.License != "" && !expressionPattern.MatchString(r.License)) {
			t.Errorf("Resolve(...) = %+v", r)
		}
	})
}

// FuzzList checks that a listing ends, whatever its links say, and that a
// listing of files that could be written anywhere is refused.
func FuzzList(f *testing.F) {
	f.Add(`[{"type":"file","oid":"b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0","size":1,"path":"a/b"}]`, "")
	f.Add(`[{"type":"directory","path":"a"}]`, `<https://hub.example.com/?cursor=2>; rel="next"`)
	f.Add(`[{"type":"file","path":"C:\\a","size":1,"lfs":{"oid":"00","size":-1}}]`, `<?>; rel=next`)
	f.Add(`[{"type":"submodule","path":"a"},{}]`, `<://x?y>; rel="next"`)
	f.Fuzz(func(t *testing.T, body, link string) {
		c := asking(answer{status: http.StatusOK, body: body, header: http.Header{"Link": {link}}})
		if _, more := nextPage(http.Header{"Link": {link}}); more && json.Valid([]byte(body)) {
			// It would be asked for as often as pages are allowed.
			return
		}
		files, err := c.List(t.Context(), "org/model", strings.Repeat("a", 40))
		checkSaid(t, err)
		for i, f := range files {
			if !file.SafePath(f.Path) || f.Size < 0 || (f.SHA256 == "") == (f.GitSHA1 == "") || i > 0 && files[i-1].Path >= f.Path {
				t.Errorf("want no file like %+v", f)
			}
		}
	})
}

// FuzzNames checks that no model, revision or path leads a request away from
// the Hub's own part of the API.
func FuzzNames(f *testing.F) {
	f.Add("org/model", "main", "a/b.bin")
	f.Add("org/..", "refs/pr/1", "../../x")
	f.Add("model", "a?b#c", "%2e%2e/x")
	f.Add("//evil.example.com/x", "@", "\x00")
	f.Fuzz(func(t *testing.T, model, revision, path string) {
		if Model.check(model) != nil {
			return
		}
		c := asking(answer{})
		d := c.Of(Dataset)
		for _, raw := range []string{
			c.api(model, "revision", revision), c.fileURL(model, revision, path),
			d.api(model, "revision", revision), d.fileURL(model, revision, path),
		} {
			u, err := url.Parse(raw)
			if err != nil {
				t.Errorf("%q is no URL: %v", raw, err)
				continue
			}
			if u.Scheme != "https" || u.Host != "hub.example.com" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
				t.Errorf("model %q, revision %q, path %q: the request goes to %q", model, revision, path, raw)
			}
		}
	})
}
