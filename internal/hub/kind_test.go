package hub

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// oddNames are names that a URL, a proxy or a program could misread.
var oddNames = []string{
	"a b.txt", "a#b.txt", "a%20b.txt", "a%b.txt", "a&b=c.txt", "a+b.txt", "a:b@c.txt", "a;b.txt", "a?b.txt", `a"b.txt`, "a'b.txt", "a,b.txt",
	"a[1].txt", "~a$.txt", "ü/ñ 世界.txt", "x/.hidden", "x/…/e", "e.txt",
}

func TestDataset(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "datasets/org/data/main/README.md", "---\nlicense: cc-by-4.0\n---\n")
	write(t, dir, "datasets/org/data/main/data/train.bin", string(weight))
	write(t, dir, "datasets/org/gated/hub.json", `{"gated": "auto"}`)
	write(t, dir, "datasets/org/gated/main/a.txt", "a")
	write(t, dir, "models/org/data/main/config.json", "{}")
	h, c := serveDir(t, dir, testhub.WithCDN("localhost"))
	d := c.Of(Dataset)

	rev, err := d.Resolve(t.Context(), "org/data", "")
	if err != nil || rev.License != "CC-BY-4.0" || rev.LastModified.IsZero() {
		t.Fatalf("Resolve(...): want the dataset, got %+v, %v", rev, err)
	}
	head, err := d.Commit(t.Context(), "org/data", "main", "")
	if err != nil || head.Commit != rev.Commit {
		t.Errorf("Commit(...): want %s, got %+v, %v", rev.Commit, head, err)
	}
	files, err := d.List(t.Context(), "org/data", rev.Commit)
	if err != nil || len(files) != 2 || files[1].Path != "data/train.bin" || files[1].SHA256 == "" {
		t.Fatalf("List(...): want two files, got %+v, %v", files, err)
	}
	for name, open := range map[string]func() (io.ReadCloser, error){
		"Open": func() (io.ReadCloser, error) { return d.Open(t.Context(), "org/data", rev.Commit, files[1].Path) },
		"Download": func() (io.ReadCloser, error) {
			return d.Download(t.Context(), "org/data", rev.Commit, files[1], 0, files[1].Size, download.Options{})
		},
	} {
		v := files[1].NewVerifier()
		rc, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(v, rc); err != nil || v.Verify() != nil {
			t.Errorf("%s: want the file, got %v, %v", name, err, v.Verify())
		}
		_ = rc.Close()
	}
	for _, r := range h.Requests() {
		if !strings.Contains(r.Path, "/datasets/") && !strings.HasPrefix(r.Path, "/cdn/") {
			t.Errorf("want nothing to be asked of models, got %s", r.Path)
		}
	}
	if models, err := c.List(t.Context(), "org/data", "main"); err != nil || models[0].Path != "config.json" {
		t.Errorf("want the client to be for models still, got %+v, %v", models, err)
	}
}

func TestDatasetErrors(t *testing.T) {
	cases := map[string]struct {
		reason   string
		name     string
		revision string
		want     outcome.Reason
		message  string
	}{
		"NoName":     {reason: "A name is one of a dataset.", name: "a/b/c", want: outcome.NotFound, message: "is not a dataset's name"},
		"Missing":    {reason: "What is missing is a dataset.", name: "org/none", want: outcome.NotFound, message: "dataset org/none does not exist"},
		"NoRevision": {reason: "Its page is where datasets are.", name: "org/gated", revision: "v9", want: outcome.NotFound, message: "/datasets/org/gated has"},
		"Gated":      {reason: "Its terms too.", name: "org/gated", want: outcome.Gated, message: "/datasets/org/gated and name a Secret"},
	}
	dir := t.TempDir()
	write(t, dir, "datasets/org/gated/hub.json", `{"gated": "auto"}`)
	write(t, dir, "datasets/org/gated/main/a.txt", "a")
	_, c := serveDir(t, dir)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := c.Of(Dataset).Resolve(t.Context(), tc.name, tc.revision)
			if err == nil {
				_, err = c.Of(Dataset).Open(t.Context(), tc.name, "main", "a.txt")
			}
			if diff := cmp.Diff(tc.want, reasonOf(err)); diff != "" || !strings.Contains(err.Error(), tc.message) {
				t.Errorf("\n%s\nwant %q with %q, got %v", tc.reason, tc.want, tc.message, err)
			}
		})
	}
}

// Names are asked for as they are, whatever they hold, and empty files are
// files.
func TestOddNames(t *testing.T) {
	dir := t.TempDir()
	for _, n := range oddNames {
		write(t, dir, "models/org/odd/main/"+n, "content of "+n)
	}
	write(t, dir, "models/org/odd/main/empty", "")
	write(t, dir, "models/org/odd/main/a+b.safetensors", string(weight))
	_, c := serveDir(t, dir, testhub.WithCDN("localhost"), testhub.WithPageSize(3))
	files, err := c.List(t.Context(), "org/odd", "main")
	if err != nil || len(files) != len(oddNames)+2 {
		t.Fatalf("want %d files, got %d, %v", len(oddNames)+2, len(files), err)
	}
	for _, f := range files {
		v := f.NewVerifier()
		r, err := c.Download(t.Context(), "org/odd", "main", f, 0, f.Size, download.Options{Range: 100 << 10, Budget: download.NewBudget(1 << 20)})
		if err != nil {
			t.Errorf("%q: %v", f.Path, err)
			continue
		}
		if _, err := io.Copy(v, r); err != nil {
			t.Errorf("%q: %v", f.Path, err)
		}
		if err := v.Verify(); err != nil {
			t.Error(err)
		}
		_ = r.Close()
	}
}

func TestEscape(t *testing.T) {
	// As Python's urllib.parse.quote with no safe characters, which is what
	// huggingface_hub asks with.
	const in, want = "aZ0-_.~ +/?#%&=:@!$'()*,;[]\"ü", "aZ0-_.~%20%2B%2F%3F%23%25%26%3D%3A%40%21%24%27%28%29%2A%2C%3B%5B%5D%22%C3%BC"
	if diff := cmp.Diff(want, connection.Escape(in)); diff != "" {
		t.Errorf("Escape(...): -want, +got:\n%s", diff)
	}
}
