package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	oras "oras.land/oras-go/v2/registry"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// notes are the locations that uploads have noted.
type notes []string

func (n *notes) note(location string) { *n = append(*n, location) }

func (n notes) last() string {
	if len(n) == 0 {
		return ""
	}
	return n[len(n)-1]
}

// TestResumable ends an upload in its middle, and has another one resume it.
func TestResumable(t *testing.T) {
	t.Parallel()
	const size, first = 8 << 20, 5 << 20
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}})
	cases := map[string]struct {
		reason  string
		between func(t *testing.T, c *Client, location string) string // The location that is resumed.
		want    int64                                                 // Bytes that are sent then.
	}{
		"Kept":    {reason: "A session that the registry has should be resumed.", between: func(_ *testing.T, _ *Client, location string) string { return location }, want: size - first},
		"Gone":    {reason: "A session that the registry has forgotten should be begun anew.", between: cancelled, want: size},
		"Foreign": {reason: "A location that is no session's should be passed over.", between: func(*testing.T, *Client, string) string { return "/v2/other/blobs/uploads/1" }, want: size},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, content := contentOf("resumable"+name, size)
			source, front := &shelf{content: content}, r.Front(t)
			c := newClient(t, optionsFor(front))
			ctx, cancel := context.WithCancel(t.Context())
			front.SetFault(testregistry.Times(1, testregistry.On("PATCH", uploads), testregistry.Part(first, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					cancel()
					panic(http.ErrAbortHandler)
				})
			})))
			var noted notes
			err := c.Upload(ctx, repository, d, source.open, soon, Resumable("", noted.note))
			if !errors.Is(err, context.Canceled) || noted.last() == "" {
				t.Fatalf("\n%s\nUpload(...): want the context's error and a location, got %v, %v", tc.reason, err, noted)
			}
			if n := front.Count(http.MethodDelete, uploads); n > 0 {
				t.Errorf("\n%s\nUpload(...): want the session to be left at the registry", tc.reason)
			}

			location := tc.between(t, c, noted.last())
			sent := &scale{}
			front.SetFault(sent.before(func(next http.Handler) http.Handler { return next }))
			if err := c.Upload(t.Context(), repository, d, source.open, soon, Resumable(location, noted.note)); err != nil {
				t.Fatalf("\n%s\nUpload(...): %v", tc.reason, err)
			}
			if got := sent.bytes; got != tc.want {
				t.Errorf("\n%s\nUpload(...): want %d bytes to be sent, got %d", tc.reason, tc.want, got)
			}
			if has, err := c.HasBlob(t.Context(), repository, d); !has || err != nil {
				t.Errorf("\n%s\nHasBlob(...): got %t, %v", tc.reason, has, err)
			}
			if noted.last() != "" {
				t.Errorf("\n%s\nwant nothing to be resumed after success, got %q", tc.reason, noted.last())
			}
		})
	}
}

// cancelled has the registry forget a session.
func cancelled(t *testing.T, c *Client, location string) string {
	t.Helper()
	s := sessions{c, oras.Reference{Registry: c.host, Repository: repository}}
	u, ok := s.resumable(location)
	if !ok {
		t.Fatalf("resumable(%q): want a session", location)
	}
	known := &session{location: u}
	// It deletes a session only where it is told how much it has of it.
	if _, err := s.status(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	s.cancel(t.Context(), known)
	return location
}

// TestResumableForeignBytes resumes a session to which somebody else has sent other
// bytes.
func TestResumableForeignBytes(t *testing.T) {
	t.Parallel()
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}})
	c := newClient(t, optionsFor(r))
	d, content := contentOf("mine", 8<<20)
	_, foreign := contentOf("theirs", 8<<20)
	ctx, cancel := context.WithCancel(t.Context())
	var noted notes
	theirs := func(_ context.Context, offset int64) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(foreign[offset:5<<20]), waiting{ctx, cancel})), nil
	}
	if err := c.Upload(ctx, repository, d, theirs, soon, Resumable("", noted.note)); !errors.Is(err, context.Canceled) {
		t.Fatalf("Upload(...): want the context's error, got %v", err)
	}
	mine := &shelf{content: content}
	err := c.Upload(t.Context(), repository, d, mine.open, soon, Resumable(noted.last(), noted.note))
	if err != nil && outcome.ReasonOf(err) != outcome.Mismatch {
		t.Errorf("Upload(...): want the registry to find other bytes, got %v", err)
	}
	if err != nil {
		if noted.last() != "" {
			t.Errorf("want the session not to be resumed again, got %q", noted.last())
		}
		err = c.Upload(t.Context(), repository, d, mine.open, soon)
	}
	if has, herr := c.HasBlob(t.Context(), repository, d); !has || herr != nil || err != nil {
		t.Errorf("want the blob to be there in the end, got %t, %v, %v", has, herr, err)
	}
}

// TestResumableLocation tries locations that somebody has made up.
func TestResumableLocation(t *testing.T) {
	const here = "/v2/" + repository + "/blobs/uploads/"
	c := newClient(t, Options{Host: "registry.example.com"})
	s := sessions{c, oras.Reference{Registry: c.host, Repository: repository}}
	cases := map[string]struct {
		reason   string
		location string
		want     string
	}{
		"Session":   {reason: "A session of the repository should be resumed.", location: here + "0a-b_c?_state=x%3D~", want: "https://registry.example.com" + here + "0a-b_c?_state=x%3D~"},
		"Empty":     {reason: "No location is no session."},
		"Absolute":  {reason: "A host should not be taken from a location.", location: "https://evil.example.com" + here + "1"},
		"NoScheme":  {reason: "A host should not be taken from a location.", location: "//evil.example.com" + here + "1"},
		"Elsewhere": {reason: "Another repository should not be reached.", location: "/v2/models/other/blobs/uploads/1"},
		"Dots":      {reason: "A path should not lead out of the uploads.", location: here + ".."},
		"Path":      {reason: "A path should not lead on.", location: here + "1/../../../manifests/v1"},
		"Escaped":   {reason: "An escaped path should not lead on.", location: here + "..%2F..%2Fmanifests%2Fv1"},
		"Digest":    {reason: "A location should not choose what is committed.", location: here + "1?digest=sha256:x"},
		"Mount":     {reason: "A location should not choose what is mounted.", location: here + "?mount=sha256:x&from=y"},
		"Fragment":  {reason: "A fragment should not hide a digest.", location: here + "1?a=b#"},
		"Space":     {reason: "What is no URL should not become one.", location: here + "1 HTTP/1.1"},
		"Line":      {reason: "Lines should not get into a request.", location: here + "1?a=b\r\nX: y"},
		"Long":      {reason: "A location should be bounded.", location: here + strings.Repeat("1", maxLocation)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ""
			u, ok := s.resumable(tc.location)
			if ok {
				got = u.String()
				if back := s.location(&session{location: u}); back != tc.location {
					t.Errorf("\n%s\nlocation(...): want %q, got %q", tc.reason, tc.location, back)
				}
			}
			if got != tc.want {
				t.Errorf("\n%s\nresumable(%q): want %q, got %q", tc.reason, tc.location, tc.want, got)
			}
		})
	}
}

// FuzzResumable has every location lead to the repository's own uploads, or
// nowhere.
func FuzzResumable(f *testing.F) {
	const here = "/v2/" + repository + "/blobs/uploads/"
	for _, seed := range []string{here + "1?_state=x", here + "..", here + "1?digest=x", "//x/", here + "%2e%2e/x"} {
		f.Add(seed)
	}
	c, err := New(Options{Host: "registry.example.com"})
	if err != nil {
		f.Fatal(err)
	}
	s := sessions{c, oras.Reference{Registry: c.host, Repository: repository}}
	f.Fuzz(func(t *testing.T, location string) {
		u, ok := s.resumable(location)
		if !ok {
			return
		}
		req, err := http.NewRequest(http.MethodGet, u.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		id, under := strings.CutPrefix(req.URL.EscapedPath(), here)
		if req.URL.Host != "registry.example.com" || !under || strings.ContainsAny(id, "/%") || id == ".." || id == "." || req.URL.Query().Has("digest") {
			t.Errorf("resumable(%q): leads to %q", location, req.URL)
		}
	})
}
