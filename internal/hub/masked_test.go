package hub

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const (
	hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	hex40 = "0123456789abcdef0123456789abcdef01234567"
	stars = "****************************************************************"
)

// TestListMasked lists a gated model, whose hashes the Hub masks for a caller
// without access.
func TestListMasked(t *testing.T) {
	cases := map[string]struct {
		reason string
		token  string
		want   outcome.Reason
	}{
		"Anonymous": {reason: "Without a token there is no access.", want: outcome.Gated},
		"Other":     {reason: "Nor with the token of an account that was not granted any.", token: "hf_out", want: outcome.Gated},
		"Granted":   {reason: "With access, the Hub lists the hashes.", token: "hf_in"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "models/org/gated/hub.json", `{"gated": "auto", "tokens": ["hf_in"]}`)
			write(t, dir, "models/org/gated/main/config.json", "{}")
			write(t, dir, "models/org/gated/main/model.safetensors", string(weight))
			h, _ := serveDir(t, dir)
			s := httptest.NewServer(h)
			defer s.Close()
			files, err := newClient(t, Options{Endpoint: s.URL, Token: tc.token}).List(t.Context(), "org/gated", "main")
			if diff := cmp.Diff(tc.want, reasonOf(err)); diff != "" {
				t.Fatalf("\n%s\nList(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), "accept its terms") {
					t.Errorf("\n%s\nList(...): want the cure, got %v", tc.reason, err)
				}
				if n := len(h.Requests()); n != 2 {
					t.Errorf("\n%s\nList(...): want one page and one HEAD, got %d requests", tc.reason, n)
				}
			}
			for _, f := range files {
				if strings.Contains(fmt.Sprint(f), "*") {
					t.Errorf("\n%s\nList(...): the mask is in %+v", tc.reason, f)
				}
			}
		})
	}
}

// TestListReveals lists trees in which a Hub or a mirror hides hashes or sizes,
// and answers for each file.
func TestListReveals(t *testing.T) {
	redirect := func(etag, size string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(headerLinkedETag, etag)
			w.Header().Set(headerLinkedSize, size)
			w.Header().Set("Location", "https://cdn.invalid/x?Signature=hush")
			w.WriteHeader(http.StatusFound)
		}
	}
	status := func(status int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
		}
	}
	lfs := func(oid, xet string) string {
		return fmt.Sprintf(`[{"type": "file", "path": "a", "size": 7, "oid": %q, "xetHash": %q, "lfs": {"oid": %q, "size": 7}}]`, hex40, xet, oid)
	}
	type want struct {
		Files  []file.File
		Reason outcome.Reason
		Heads  int
	}
	found := []file.File{{Path: "a", Size: 7, SHA256: hex64}}
	cases := map[string]struct {
		reason string
		tree   string
		head   http.HandlerFunc
		token  string
		want   want
	}{
		"Shown":      {reason: "What is listed is not asked for.", tree: lfs(hex64, hex64), want: want{Files: found}},
		"Prefixed":   {reason: "Some mirrors write the hash's kind before it.", tree: lfs("sha256:"+hex64, ""), want: want{Files: found}},
		"Masked":     {reason: "A masked hash is asked for.", tree: lfs(stars, stars), head: redirect(`"`+hex64+`"`, "7"), want: want{Files: found, Heads: 2}},
		"MaskedXet":  {reason: "Xet's mask alone tells that access may be missing.", tree: lfs(hex64, stars), head: redirect(`"`+hex64+`"`, "7"), want: want{Files: found, Heads: 1}},
		"XetRefused": {reason: "And it may be.", tree: lfs(hex64, stars), head: status(403, "X-Error-Code", codeGated), want: want{Reason: outcome.Gated, Heads: 1}},
		"ShortMask":  {reason: "The mask may have another length.", tree: lfs("***", ""), head: status(401, "X-Error-Code", codeGated), want: want{Reason: outcome.Gated, Heads: 1}},
		"Missing":    {reason: "A mirror may leave the hash out.", tree: lfs("", ""), head: redirect("sha256:"+hex64, "7"), want: want{Files: found, Heads: 1}},
		"OtherSize":  {reason: "What is announced for the file counts.", tree: lfs(stars, stars), head: redirect(`W/"`+hex64+`"`, "9"), want: want{Files: []file.File{{Path: "a", Size: 9, SHA256: hex64}}, Heads: 2}},
		"GitMasked": {
			reason: "A small file's hash may be masked, too.",
			tree:   `[{"type": "file", "path": "a", "size": 7, "oid": "` + stars[:40] + `"}]`,
			head:   status(200, "ETag", `"`+hex40+`"`, "Content-Length", "7"),
			want:   want{Files: []file.File{{Path: "a", Size: 7, GitSHA1: hex40}}, Heads: 2},
		},
		"NoSize":       {reason: "A mirror may leave the size out.", tree: `[{"type": "file", "path": "a", "oid": "` + hex40 + `"}]`, head: redirect(hex64, "7"), want: want{Files: found, Heads: 1}},
		"StillMasked":  {reason: "The mask is no hash.", tree: lfs(stars, stars), head: redirect(`"`+stars+`"`, "7"), want: want{Reason: outcome.Unsupported, Heads: 2}},
		"NoCode":       {reason: "A mirror may drop the header that says why.", tree: lfs(stars, stars), head: status(403), token: "hf_x", want: want{Reason: outcome.Gated, Heads: 1}},
		"NoCodeNoAuth": {reason: "Also where there is no token.", tree: lfs(stars, stars), head: status(401), want: want{Reason: outcome.Gated, Heads: 1}},
		"BadToken":     {reason: "A token that is refused is another matter.", tree: lfs(stars, stars), head: status(401, "X-Error-Message", messageInvalid), token: "hf_x", want: want{Reason: outcome.Unauthorized, Heads: 1}},
		"NoHead":       {reason: "A mirror may know no HEAD.", tree: lfs(stars, stars), head: status(405), want: want{Reason: outcome.Unsupported, Heads: 1}},
		"Down":         {reason: "A failure of the server is retried.", tree: lfs(stars, stars), head: status(503), want: want{Reason: outcome.Unavailable, Heads: retry.Default().Tries}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			heads := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodHead {
					_, _ = w.Write([]byte(tc.tree))
					return
				}
				mu.Lock()
				heads++
				mu.Unlock()
				tc.head(w, r)
			}))
			defer s.Close()
			files, err := newClient(t, Options{Endpoint: s.URL, Token: tc.token}).List(t.Context(), "org/model", "main")
			got := want{Files: files, Reason: reasonOf(err), Heads: heads}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nList(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}

// TestListRevealsMany checks that few files are asked for at the same time, and
// that a renamed repository's redirects are followed.
func TestListRevealsMany(t *testing.T) {
	const files = 100
	var tree []string
	for i := range files {
		tree = append(tree, fmt.Sprintf(`{"type": "file", "path": "%03d", "size": 7, "lfs": {"oid": %q, "size": 7}}`, i, stars))
	}
	var mu sync.Mutex
	now, most := 0, 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			_, _ = w.Write([]byte("[" + strings.Join(tree, ",") + "]"))
			return
		}
		if rest, ok := strings.CutPrefix(r.URL.Path, "/org/old/"); ok {
			http.Redirect(w, r, "/org/new/"+rest, http.StatusTemporaryRedirect)
			return
		}
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		<-time.After(5 * time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
		w.Header().Set(headerLinkedETag, hex64)
		w.Header().Set(headerLinkedSize, "7")
		http.Redirect(w, r, "/cdn/x", http.StatusFound)
	}))
	defer s.Close()
	got, err := newClient(t, Options{Endpoint: s.URL}).List(t.Context(), "org/old", "main")
	if err != nil || len(got) != files || most > announcing {
		t.Errorf("List(...): want %d files and up to %d requests at the same time, got %d, %d, %v", files, announcing, len(got), most, err)
	}
	for _, f := range got {
		if f.SHA256 != hex64 || f.Size != 7 {
			t.Fatalf("List(...): want what was announced, got %+v", f)
		}
	}
}

// TestListBytes lists what would take more memory than a listing may.
func TestListBytes(t *testing.T) {
	entry := func(path string) string {
		return fmt.Sprintf(`{"type": "file", "path": %q, "size": 1, "oid": %q}`, path, hex40)
	}
	long := strings.Repeat(strings.Repeat("a", 99)+"/", 11) + "x"
	cases := map[string]struct {
		reason string
		first  string
		again  string // Sent until nobody reads any more.
		want   string
	}{
		"LongPath": {reason: "No filesystem holds such a path.", first: "[" + entry(long) + "]", want: "not safe"},
		"LongName": {reason: "Nor such a name.", first: "[" + entry(strings.Repeat("a", 256)) + "]", want: "not safe"},
		"Fits":     {reason: "It holds a shorter one.", first: "[" + entry(strings.Repeat("a", 255)) + "]"},
		"Empty":    {reason: "An entry of nothing is none.", first: "[{}", again: ",{}", want: "not safe"},
		"Folders":  {reason: "Folders are counted.", first: `[{"type":"directory"}`, again: `,{"type":"directory"}`, want: "files and folders"},
		"OneFile":  {reason: "One entry may not be endless.", first: `[{"path":"`, again: strings.Repeat("a", 1<<16), want: "larger than"},
		"Unknown":  {reason: "Nor may what is not read.", first: `[{"x":[0`, again: strings.Repeat(",0", 1<<15), want: "larger than"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, err := w.Write([]byte(tc.first))
				for err == nil && tc.again != "" {
					_, err = w.Write([]byte(tc.again))
				}
			}))
			defer s.Close()
			_, err := newClient(t, Options{Endpoint: s.URL}).List(t.Context(), "org/model", "main")
			switch {
			case tc.want == "" && err == nil:
			case tc.want == "" || reasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), tc.want):
				t.Errorf("\n%s\nList(...): want Unsupported with %q, got %s: %v", tc.reason, tc.want, reasonOf(err), err)
			}
		})
	}
}

// TestListAllPagesBytes lists pages that are each small enough.
func TestListAllPagesBytes(t *testing.T) {
	page := []byte(`[{"type":"directory","path":"` + strings.Repeat("a", 1<<20) + `"}]`)
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Link", `</x?cursor=again>; rel="next"`)
		_, _ = w.Write(page)
	}))
	defer s.Close()
	_, err := newClient(t, Options{Endpoint: s.URL}).List(t.Context(), "org/model", "main")
	if reasonOf(err) != outcome.Unsupported || asked > maxListingBytes/len(page)+1 {
		t.Errorf("List(...): want an end after %d bytes, got %d pages, %v", maxListingBytes, asked, err)
	}
}
