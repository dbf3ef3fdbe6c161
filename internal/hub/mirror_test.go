package hub

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// A quirk is how a mirror of a Hub differs from it.
type quirk func(next http.Handler) http.Handler

// answering has a mirror answer requests that match with a status alone.
func answering(status int, match func(*http.Request) bool) quirk {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) {
				w.WriteHeader(status)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// ignoring has a mirror not look at a parameter.
func ignoring(parameter string) quirk {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			q.Del(parameter)
			r.URL.RawQuery = q.Encode()
			next.ServeHTTP(w, r)
		})
	}
}

// without has a mirror leave headers out of its answers.
func without(headers ...string) quirk {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			recorder := httptest.NewRecorder()
			next.ServeHTTP(recorder, r)
			for name, values := range recorder.Header() {
				if !slices.Contains(headers, name) {
					w.Header()[name] = values
				}
			}
			w.WriteHeader(recorder.Code)
			_, _ = w.Write(recorder.Body.Bytes())
		})
	}
}

// rewriting has a mirror change the text of its answers.
func rewriting(from, to string) quirk {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "/api/") {
				next.ServeHTTP(w, r)
				return
			}
			recorder := httptest.NewRecorder()
			next.ServeHTTP(recorder, r)
			for name, values := range recorder.Header() {
				w.Header()[name] = values
			}
			w.WriteHeader(recorder.Code)
			_, _ = io.WriteString(w, strings.ReplaceAll(recorder.Body.String(), from, to))
		})
	}
}

func has(parameter string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.URL.Query().Has(parameter) }
}

func at(part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.Contains(r.URL.Path, part) }
}

func isHead(r *http.Request) bool { return r.Method == http.MethodHead }

// TestMirrors reads a model through mirrors that leave out, or do not know, what
// is optional. What the Hub itself says must come out.
func TestMirrors(t *testing.T) {
	const path = "/artifactory/api/huggingfaceml/hf"
	type want struct {
		Reason outcome.Reason // Of Resolve and Commit, then of List.
		List   outcome.Reason
	}
	cases := map[string]struct {
		reason string
		quirks []quirk
		want   want
	}{
		"None":         {reason: "The Hub itself, below a path."},
		"NoExpand":     {reason: "Artifactory answers 404 to a parameter that it does not know.", quirks: []quirk{answering(404, has("expand"))}},
		"BadExpand":    {reason: "Nexus answers 400 to what it has no route for.", quirks: []quirk{answering(400, has("expand"))}},
		"NoCommits":    {reason: "The commit's date is optional.", quirks: []quirk{answering(400, at("/commits/"))}},
		"NoRepoCommit": {reason: "X-Repo-Commit is optional.", quirks: []quirk{without("X-Repo-Commit")}},
		"NoLinked":     {reason: "So is what a redirect announces.", quirks: []quirk{without("X-Repo-Commit", "X-Linked-Etag", "X-Linked-Size", "Etag")}},
		"NoHead":       {reason: "So are HEAD requests, where the list has all hashes.", quirks: []quirk{answering(405, isHead)}},
		"NoTree":       {reason: "The files are in the revision's information, too.", quirks: []quirk{answering(404, at("/tree/"))}},
		"BadTree":      {reason: "A route may be missing in another way.", quirks: []quirk{answering(501, at("/tree/"))}},
		"NotRecursive": {reason: "A mirror that lists the top folder alone must not lose files.", quirks: []quirk{ignoring("recursive")}},
		"NoBlobs":      {reason: "Hashes that no list has are asked for.", quirks: []quirk{answering(404, at("/tree/")), ignoring("blobs")}},
		"BlobsUnknown": {reason: "Also where the parameter is refused.", quirks: []quirk{answering(404, at("/tree/")), answering(404, has("blobs"))}},
		"Nothing": {
			reason: "What no answer tells cannot be verified.",
			quirks: []quirk{answering(404, at("/tree/")), ignoring("blobs"), without("X-Linked-Etag", "X-Linked-Size", "Etag")},
			want:   want{List: outcome.Unsupported},
		},
		"NothingAsked": {
			reason: "Nor where HEAD is not known.",
			quirks: []quirk{answering(404, at("/tree/")), ignoring("blobs"), answering(405, isHead)},
			want:   want{List: outcome.Unsupported},
		},
		"Prefixed":  {reason: "A hash may have its kind before it.", quirks: []quirk{rewriting(`"lfs":{"oid":"`, `"lfs":{"oid":"sha256:`)}},
		"NoLFS":     {reason: "A hash may be missing.", quirks: []quirk{rewriting(`"lfs":{"oid":`, `"lfs":{"x":`)}},
		"OtherHost": {reason: "A next page's link may name the Hub's host.", quirks: []quirk{withLinksTo("https://huggingface.co")}},
		"NoModels":  {reason: "What has no routes of a Hub is none.", quirks: []quirk{answering(404, at("/api/models"))}, want: want{Reason: outcome.NotFound, List: outcome.NotFound}},
		"NoMethods": {reason: "What refuses them is none, and is not this program's fault.", quirks: []quirk{answering(405, at("/api/models"))}, want: want{Reason: outcome.Unsupported, List: outcome.Unsupported}},
	}
	h, direct := serve(t, "", testhub.WithPageSize(2))
	wantHead, err := direct.Resolve(t.Context(), "org/open", "main")
	if err != nil {
		t.Fatal(err)
	}
	wantFiles, err := direct.List(t.Context(), "org/open", wantHead.Commit)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var mirror http.Handler = h
			for _, q := range tc.quirks {
				mirror = q(mirror)
			}
			mux := http.NewServeMux()
			mux.Handle(path+"/", http.StripPrefix(path, mirror))
			mux.Handle("/cdn/", h)
			s := httptest.NewServer(mux)
			defer s.Close()
			c := newClient(t, Options{Endpoint: s.URL + path})
			rev, err := c.Resolve(t.Context(), "org/open", "main")
			head, herr := c.Commit(t.Context(), "org/open", "main", "")
			got := want{Reason: reasonOf(err)}
			if err == nil && (rev.Commit != wantHead.Commit || rev.License != wantHead.License) || herr == nil && head.Commit != wantHead.Commit {
				t.Errorf("\n%s\nwant %+v, got %+v and %+v", tc.reason, wantHead, rev, head)
			}
			if reasonOf(herr) != reasonOf(err) {
				t.Errorf("\n%s\nCommit(...): want as Resolve(...): %v, got %v", tc.reason, err, herr)
			}
			files, err := c.List(t.Context(), "org/open", wantHead.Commit)
			got.List = reasonOf(err)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(wantFiles, files); diff != "" {
				t.Errorf("\n%s\nList(...): -want, +got:\n%s", tc.reason, diff)
			}
			for _, f := range files {
				r, err := c.Download(t.Context(), "org/open", wantHead.Commit, f, 0, f.Size, download.Options{})
				if err != nil {
					t.Fatal(err)
				}
				v := f.NewVerifier()
				_, err = io.Copy(v, r)
				if verr := v.Verify(); err != nil || verr != nil {
					t.Errorf("\n%s\n%s: %v, %v", tc.reason, f.Path, err, verr)
				}
				_ = r.Close()
			}
		})
	}
}

// withLinksTo has a mirror pass links on that name another host.
func withLinksTo(host string) quirk {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			recorder := httptest.NewRecorder()
			next.ServeHTTP(recorder, r)
			for name, values := range recorder.Header() {
				w.Header()[name] = values
			}
			if link := w.Header().Get("Link"); link != "" {
				_, rest, _ := strings.Cut(link, "/api/")
				w.Header().Set("Link", "<"+host+"/api/"+rest)
			}
			w.WriteHeader(recorder.Code)
			_, _ = w.Write(recorder.Body.Bytes())
		})
	}
}

func FuzzSiblings(f *testing.F) {
	f.Add([]byte(`{"sha":"x","siblings":[{"rfilename":"a/b","size":1,"blobId":"` + hex40 + `","lfs":{"sha256":"` + hex64 + `","size":1}}]}`))
	f.Add([]byte(`{"siblings":[{"rfilename":"../b"},null,{}],"siblings":[]}`))
	f.Add([]byte(`{"siblings":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := &listing{subject: subject{model: "m"}}
		if l.readSiblings(json.NewDecoder(strings.NewReader(string(b)))) != nil {
			return
		}
		for _, f := range l.files {
			if !file.SafePath(f.Path) || strings.Contains(f.SHA256+f.GitSHA1, "*") || !f.hidden && f.Size < 0 {
				t.Errorf("want no file like %+v", f)
			}
		}
	})
}
