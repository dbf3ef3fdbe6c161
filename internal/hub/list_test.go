package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

func TestList(t *testing.T) {
	h, c := serve(t, "", testhub.WithPageSize(2))
	files, err := c.List(t.Context(), "org/open", "main")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, 0, len(files))
	for _, f := range files {
		got = append(got, fmt.Sprintf("%s %d %t", f.Path, f.Size, f.SHA256 != ""))
	}
	want := []string{
		"README.md 28 false", "config.json 2 false", "empty.txt 0 false",
		fmt.Sprintf("model.safetensors %d true", len(weight)), odd + " 2 false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("List(...): -want, +got:\n%s", diff)
	}
	if n := len(h.Requests()); n != 3 {
		t.Errorf("want 3 pages, got %d", n)
	}
}

func TestListRefuses(t *testing.T) {
	const hash = `"size": 1, "oid": "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"`
	cases := map[string]struct {
		reason string
		tree   string
		want   outcome.Reason
	}{
		"Good":      {reason: "This is a file.", tree: `[{"type": "file", "path": "a/b", ` + hash + `}]`},
		"Parent":    {reason: "No path leaves the folder.", tree: `[{"type": "file", "path": "../b", ` + hash + `}]`, want: outcome.Unsupported},
		"Inside":    {reason: "Not in the middle either.", tree: `[{"type": "file", "path": "a/../../b", ` + hash + `}]`, want: outcome.Unsupported},
		"Windows":   {reason: "Not on another system either.", tree: `[{"type": "file", "path": "..\\b", ` + hash + `}]`, want: outcome.Unsupported},
		"Absolute":  {reason: "A path begins in the folder.", tree: `[{"type": "file", "path": "/etc/passwd", ` + hash + `}]`, want: outcome.Unsupported},
		"Empty":     {reason: "A file has a name.", tree: `[{"type": "file", "path": "", ` + hash + `}]`, want: outcome.Unsupported},
		"Newline":   {reason: "A name is one line.", tree: `[{"type": "file", "path": "a\nb", ` + hash + `}]`, want: outcome.Unsupported},
		"Twice":     {reason: "A path is there once.", tree: `[{"type": "file", "path": "a", ` + hash + `}, {"type": "file", "path": "a", ` + hash + `}]`, want: outcome.Unavailable},
		"NoHash":    {reason: "A file that cannot be checked is not taken.", tree: `[{"type": "file", "path": "a"}]`, want: outcome.Unsupported},
		"BadSHA256": {reason: "Nor with a hash that is none.", tree: `[{"type": "file", "path": "a", "lfs": {"oid": "x", "size": 1}}]`, want: outcome.Unsupported},
		"Negative":  {reason: "Nor with no size.", tree: `[{"type": "file", "path": "a", ` + hash + `, "size": -1}]`, want: outcome.Unsupported},
		"Link":      {reason: "Nothing is dropped in silence.", tree: `[{"type": "submodule", "path": "a", ` + hash + `}]`, want: outcome.Unsupported},
		"NoList":    {reason: "This is no tree.", tree: `{"type": "file"}`, want: outcome.Unavailable},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(tc.tree)) }))
			defer s.Close()
			_, err := newClient(t, Options{Endpoint: s.URL}).List(t.Context(), "org/open", "main")
			if diff := cmp.Diff(tc.want, reasonOf(err)); diff != "" {
				t.Errorf("\n%s\nList(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}

// A model may have ten thousand files, in pages of a thousand.
func TestListLarge(t *testing.T) {
	const count = 10_000
	dir := t.TempDir()
	name := func(i int) string { return fmt.Sprintf("folder %02d/ü%%%04d.txt", i/100, i) }
	for i := range count {
		first, linked := name(i/100*100), name(i)
		if first == linked {
			write(t, dir, "models/org/many/main/"+first, strconv.Itoa(i))
			continue
		}
		// Quicker than as many files of their own.
		main := filepath.Join(dir, "models/org/many/main")
		if err := os.Link(filepath.Join(main, first), filepath.Join(main, linked)); err != nil {
			t.Fatal(err)
		}
	}
	h, c := serveDir(t, dir, testhub.WithFrozenFiles())
	files, err := c.List(t.Context(), "org/many", "main")
	if err != nil || len(files) != count {
		t.Fatalf("want %d files, got %d, %v", count, len(files), err)
	}
	for i, f := range files {
		if want := name(i); f.Path != want {
			t.Fatalf("want file %d to be %q, got %q", i, want, f.Path)
		}
	}
	// A hundred folders are entries as well.
	if n := len(h.Requests()); n != 11 {
		t.Errorf("want eleven pages, got %d", n)
	}
}

func TestListEnds(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Link", `</x?cursor=again>; rel="next"`)
		_, _ = w.Write([]byte("[]"))
	}))
	defer s.Close()
	_, err := newClient(t, Options{Endpoint: s.URL}).List(t.Context(), "org/open", "main")
	if reasonOf(err) != outcome.Unsupported || asked != maxPages {
		t.Errorf("want an end after %d pages, got %d, %v", maxPages, asked, err)
	}
}

func TestNextPage(t *testing.T) {
	type want struct {
		query string
		ok    bool
	}
	cases := map[string]struct {
		reason string
		link   []string
		want   want
	}{
		"None":      {reason: "The last page has no link."},
		"Hub":       {reason: "As the Hub writes it.", link: []string{`<https://huggingface.co/api/models/a/b/tree/main?cursor=abc%3D&limit=10>; rel="next"`}, want: want{"cursor=abc%3D&limit=10", true}},
		"Relative":  {reason: "A link may be relative.", link: []string{`</x?cursor=1>; rel=next`}, want: want{"cursor=1", true}},
		"Second":    {reason: "Other links may come first.", link: []string{`<https://h/?a=1>; rel="prev"; title="x, y", <https://h/?a=2>; rel="next"`}, want: want{"a=2", true}},
		"Lines":     {reason: "In lines of their own too.", link: []string{`<https://h/?a=1>; rel="xet-auth"`, `<https://h/?a=2>;rel="next"`}, want: want{"a=2", true}},
		"NoQuery":   {reason: "A link to nowhere ends the list.", link: []string{`<https://h/>; rel="next"`}},
		"Malformed": {reason: "What cannot be read is no link.", link: []string{`https://h/?a=2; rel="next"`, "<", ">", `<https://h/?a=2`}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got want
			got.query, got.ok = nextPage(http.Header{"Link": tc.link})
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nnextPage(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func FuzzNextPage(f *testing.F) {
	f.Add(`<https://h/?a=1>; rel="prev", <https://h/?a=2>; rel="next"`)
	f.Add(`<<>>;;,,rel="next`)
	f.Fuzz(func(t *testing.T, link string) {
		query, ok := nextPage(http.Header{"Link": {link}})
		if ok == (query == "") {
			t.Errorf("nextPage(%q) = %q, %t", link, query, ok)
		}
	})
}

func FuzzTree(f *testing.F) {
	f.Add([]byte(`[{"type":"file","oid":"b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0","size":1,"path":"a/b"}]`))
	f.Add([]byte(`[{"type":"file","size":1,"path":"../b","lfs":{"oid":"x","size":-1}}]`))
	f.Add([]byte(`[{"type":"directory","path":"a"},null,{}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := &listing{subject: subject{model: "m"}}
		if l.read(bytes.NewReader(b)) != nil {
			return
		}
		for _, file := range l.files {
			if file.Path == "" || strings.HasPrefix(file.Path, "/") || strings.Contains("/"+file.Path+"/", "/../") {
				t.Errorf("want no file like %+v", file)
			}
			if strings.Contains(file.SHA256+file.GitSHA1, "*") || !file.hidden && file.Size < 0 {
				t.Errorf("want no announcement like %+v", file)
			}
		}
	})
}

// expressionPattern is how what the Hub names looks as an SPDX expression.
var expressionPattern = regexp.MustCompile(`^[A-Za-z0-9.-]+( AND [A-Za-z0-9.-]+)*$`)

func FuzzLicense(f *testing.F) {
	f.Add([]byte(`{"license":"mit"}`), "license:mit")
	f.Add([]byte(`{"license":["mit"]}`), "license:\n")
	f.Add([]byte(`null`), "")
	f.Fuzz(func(t *testing.T, card []byte, tag string) {
		told := info{Tags: licenseTags{tag}}
		_ = json.Unmarshal(card, &told.Card)
		if l := licenseOf(told); l != "" && !expressionPattern.MatchString(l) {
			t.Errorf("licenseOf(%q, %q) = %q", card, tag, l)
		}
	})
}
