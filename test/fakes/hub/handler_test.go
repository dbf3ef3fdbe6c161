package hub

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var weight = bytes.Repeat([]byte("weight"), 1000)

// newHub serves a folder with a few models.
func newHub(t *testing.T, o ...Option) (*Handler, *httptest.Server) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "secret.txt", "outside")
	write(t, dir, "models/org/open/main/README.md", "---\nlicense: mit\ntags: [a]\n---\n# Open\n")
	write(t, dir, "models/org/open/main/config.json", "{}")
	write(t, dir, "models/org/open/main/model.safetensors", string(weight))
	write(t, dir, "models/org/open/main/onnx/fp16/a #1%.json", "[]")
	write(t, dir, "models/org/open/refs%2Fpr%2F1/config.json", `{"pr": 1}`)
	write(t, dir, "models/org/gated/hub.json", `{"gated": "manual", "tokens": ["hf_in"], "license": "llama3.1"}`)
	write(t, dir, "models/org/gated/main/config.json", "{}")
	write(t, dir, "models/org/gated/main/model.safetensors", string(weight))
	write(t, dir, "models/org/private/hub.json", `{"private": true, "tokens": ["hf_in"]}`)
	write(t, dir, "models/org/private/main/config.json", "{}")
	h := NewHandler(dir, o...)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return h, s
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// An answer is what a Hub said.
type answer struct {
	status int
	header http.Header
	url    string // That it came from, after redirects.
	body   string
}

func get(t *testing.T, url string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	b, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: rsp.StatusCode, header: rsp.Header, url: rsp.Request.URL.String(), body: string(b)}
}

func TestErrors(t *testing.T) {
	type want struct {
		status int
		code   string
	}
	cases := map[string]struct {
		reason string
		path   string
		token  string
		want   want
	}{
		"Info":                {reason: "Everybody may ask about an open model.", path: "/api/models/org/open/revision/main", want: want{status: 200}},
		"PullRequest":         {reason: "A revision may hold slashes.", path: "/api/models/org/open/revision/refs%2Fpr%2F1", want: want{status: 200}},
		"NoModelAnonymous":    {reason: "Who brings no token is told to bring one.", path: "/api/models/org/none/revision/main", want: want{status: 401, code: codeRepo}},
		"NoModel":             {reason: "Who has a token is told the truth.", path: "/api/models/org/none/revision/main", token: "hf_in", want: want{status: 404, code: codeRepo}},
		"BadToken":            {reason: "A token that is none is refused.", path: "/api/models/org/open/revision/main", token: "nonsense", want: want{status: 401}},
		"NoRevision":          {reason: "The revision is missing.", path: "/api/models/org/open/tree/v9", want: want{status: 404, code: codeRevision}},
		"NoFile":              {reason: "The file is missing.", path: "/org/open/resolve/main/none.json", want: want{status: 404, code: codeEntry}},
		"GatedAnonymous":      {reason: "A gated file wants a token.", path: "/org/gated/resolve/main/config.json", want: want{status: 401, code: codeGated}},
		"GatedRefused":        {reason: "A gated file wants one that is let in.", path: "/org/gated/resolve/main/config.json", token: "hf_out", want: want{status: 403, code: codeGated}},
		"GatedIn":             {reason: "Who is let in gets the file.", path: "/org/gated/resolve/main/config.json", token: "hf_in", want: want{status: 200}},
		"GatedTree":           {reason: "The tree of a gated model is open.", path: "/api/models/org/gated/tree/main", want: want{status: 200}},
		"PrivateAnonymous":    {reason: "A private model does not show.", path: "/api/models/org/private/revision/main", want: want{status: 401, code: codeRepo}},
		"PrivateOther":        {reason: "A private model does not show to others.", path: "/api/models/org/private/revision/main", token: "hf_out", want: want{status: 404, code: codeRepo}},
		"PrivateIn":           {reason: "Who is let in sees it.", path: "/org/private/resolve/main/config.json", token: "hf_in", want: want{status: 200}},
		"Escaped":             {reason: "Names may hold anything.", path: "/org/open/resolve/main/onnx/fp16/a%20%231%25.json", want: want{status: 200}},
		"TraversalFile":       {reason: "No file outside of the revision.", path: "/org/open/resolve/main/..%2F..%2F..%2F..%2Fsecret.txt", want: want{status: 404, code: codeEntry}},
		"TraversalRevision":   {reason: "No revision outside of the model.", path: "/org/open/resolve/..%2F..%2F..%2F/secret.txt", want: want{status: 404, code: codeRevision}},
		"TraversalModel":      {reason: "No model outside of the folder.", path: "/%2E%2E/open/resolve/main/secret.txt", want: want{status: 401, code: codeRepo}},
		"UnsignedCDN":         {reason: "No link without its signature.", path: "/cdn/abc?Path=secret.txt&Expires=9999999999&Signature=00", want: want{status: 403}},
		"SettingsAreNoBranch": {reason: "hub.json is no revision.", path: "/org/gated/resolve/hub.json/x", want: want{status: 404, code: codeRevision}},
	}
	_, s := newHub(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var header []string
			if tc.token != "" {
				header = []string{"Authorization", "Bearer " + tc.token}
			}
			a := get(t, s.URL+tc.path, header...)
			got := want{status: a.status, code: a.header.Get("X-Error-Code")}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nGET %s: -want, +got:\n%s", tc.reason, tc.path, diff)
			}
			if got.status >= 400 && !strings.Contains(a.body, `{"error":`) {
				t.Errorf("\n%s\nGET %s: want a JSON error, got %q", tc.reason, tc.path, a.body)
			}
		})
	}
}

func TestInfo(t *testing.T) {
	h, s := newHub(t)
	body := get(t, s.URL+"/api/models/org/open/revision/main?blobs=true").body
	var info modelInfo
	if err := json.Unmarshal([]byte(body), &info); err != nil {
		t.Fatal(err)
	}
	if len(info.SHA) != 40 || info.CardData["license"] != "mit" || len(info.Siblings) != 4 {
		t.Errorf("want a commit, the licence mit and 4 files, got %s", body)
	}
	again := get(t, s.URL+"/api/models/org/open/revision/"+info.SHA).body
	if !strings.Contains(again, info.SHA) {
		t.Errorf("want the same by its commit, got %s", again)
	}

	write(t, h.dir, "models/org/open/main/config.json", `{"new": true}`)
	changed := get(t, s.URL+"/api/models/org/open/revision/main").body
	if strings.Contains(changed, info.SHA) {
		t.Error("want another commit once a file has changed")
	}
	if a := get(t, s.URL+"/api/models/org/open/revision/"+info.SHA); a.status != http.StatusNotFound {
		t.Errorf("want 404 for a commit whose files are gone, got %d", a.status)
	}
}

// TestMask checks that an account that may list a gated model, but not read it, sees no
// hash of its LFS files.
func TestMask(t *testing.T) {
	_, s := newHub(t)
	sum := sha256.Sum256(weight)
	hash := hex.EncodeToString(sum[:])
	for _, path := range []string{"/tree/main?recursive=true", "/revision/main?blobs=true"} {
		if body := get(t, s.URL+"/api/models/org/gated"+path).body; strings.Contains(body, hash) || !strings.Contains(body, hashMask) {
			t.Errorf("%s: want masks in place of hashes, got %s", path, body)
		}
		body := get(t, s.URL+"/api/models/org/gated"+path, "Authorization", "Bearer hf_in").body
		if !strings.Contains(body, hash) || strings.Contains(body, hashMask) {
			t.Errorf("%s: want hashes for who has access, got %s", path, body)
		}
	}
}

func TestTree(t *testing.T) {
	type entry struct{ Type, Path string }
	cases := map[string]struct {
		reason string
		path   string
		want   []entry
	}{
		"Recursive": {
			reason: "All folders and files, over pages.",
			path:   "/api/models/org/open/tree/main?recursive=true",
			want: []entry{
				{"file", "README.md"}, {"file", "config.json"}, {"file", "model.safetensors"},
				{"directory", "onnx"}, {"directory", "onnx/fp16"}, {"file", "onnx/fp16/a #1%.json"},
			},
		},
		"Top": {
			reason: "Without recursive, what a folder holds itself.",
			path:   "/api/models/org/open/tree/main",
			want:   []entry{{"file", "README.md"}, {"file", "config.json"}, {"file", "model.safetensors"}, {"directory", "onnx"}},
		},
		"Folder": {
			reason: "Paths are whole in a folder too.",
			path:   "/api/models/org/open/tree/main/onnx?expand=true",
			want:   []entry{{"directory", "onnx/fp16"}},
		},
	}
	_, s := newHub(t, WithPageSize(2))
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []entry
			for next := s.URL + tc.path; next != ""; {
				a := get(t, next)
				var page []entry
				if err := json.Unmarshal([]byte(a.body), &page); err != nil {
					t.Fatal(err)
				}
				if len(page) > 2 {
					t.Errorf("want pages of 2, got %d", len(page))
				}
				got = append(got, page...)
				next, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nGET %s: -want, +got:\n%s", tc.reason, tc.path, diff)
			}
		})
	}
}

func TestLFS(t *testing.T) {
	h, s := newHub(t, WithCDN("localhost"))
	url := s.URL + "/org/open/resolve/main/model.safetensors"
	a := get(t, url, "Range", "bytes=6-11", "Authorization", "Bearer hf_any")
	if a.status != http.StatusPartialContent || a.body != "weight" {
		t.Errorf("want a range from the CDN, got %d %q", a.status, a.body)
	}
	asked := h.Requests()
	if len(asked) != 2 || !asked[0].Authorization || asked[1].Authorization || !strings.HasPrefix(asked[1].Host, "localhost:") {
		t.Errorf("want the token for the Hub and not for the CDN, got %+v", asked)
	}
	if a := get(t, a.url, "Authorization", "Bearer hf_any"); a.status != http.StatusBadRequest {
		t.Errorf("want 400 for a token on the CDN, got %d", a.status)
	}

	noFollow := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	head, err := noFollow.Head(url) //nolint:noctx // A test's one question.
	if err != nil {
		t.Fatal(err)
	}
	_ = head.Body.Close()
	sum := sha256.Sum256(weight)
	got := []string{head.Status[:3], head.Header.Get("X-Linked-Etag"), head.Header.Get("X-Linked-Size")}
	if diff := cmp.Diff([]string{"302", `"` + hex.EncodeToString(sum[:]) + `"`, "6000"}, got); diff != "" {
		t.Errorf("HEAD %s: -want, +got:\n%s", url, diff)
	}
}

func TestFaults(t *testing.T) {
	h, s := newHub(t)
	url := s.URL + "/org/open/resolve/main/model.safetensors"

	h.SetFault(Times(1, On("/resolve/"), Status(429, http.Header{"Retry-After": {"7"}})))
	if a := get(t, url); a.status != 429 || a.header.Get("Retry-After") != "7" {
		t.Errorf("want 429 with Retry-After, got %d", a.status)
	}
	if a := get(t, url); a.status != 200 || a.body != string(weight) {
		t.Errorf("want the second request to succeed, got %d", a.status)
	}

	h.SetFault(Times(1, On("/cdn/"), Corrupt(3000)))
	body := get(t, url).body
	if len(body) != len(weight) || body == string(weight) || body[:3000] != string(weight[:3000]) {
		t.Error("want one changed byte")
	}

	h.SetFault(Truncate(100))
	rsp, err := http.Get(url) //nolint:noctx // A test's one question.
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	if b, err := io.ReadAll(rsp.Body); err == nil || len(b) != 100 {
		t.Errorf("want the body to break after 100 bytes, got %d, %v", len(b), err)
	}
}
