package source_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/folder"
)

// aModel returns a folder with a model.
func aModel() *folder.Folder {
	return &folder.Folder{URL: "s3://models/team/tiny", Content: map[string][]byte{
		"README.md":         []byte("---\nlicense: apache-2.0\npipeline_tag: text-generation\n---\n# Tiny\n"),
		"config.json":       []byte(`{"model_type":"qwen3","architectures":["Qwen3ForCausalLM"]}`),
		"model.safetensors": []byte("weights"),
		"sub/empty":         {},
	}}
}

func list(t *testing.T, d *folder.Folder) []file.File {
	t.Helper()
	files, err := d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestFromFolder(t *testing.T) {
	whole := source.RevisionOf(list(t, aModel()))
	model := filelist.Model{Task: "text-generation", ModelType: "qwen3", Architectures: []string{"Qwen3ForCausalLM"}, Licenses: []string{"apache-2.0"}}
	contents := func(revision, license string, m filelist.Model) source.Contents {
		return source.Contents{
			Facts:    modelpack.Facts{Name: "tiny", SourceURL: "s3://models/team/tiny", Revision: revision, License: license},
			Revision: revision, License: license, Declared: true, Model: m, Names: []string{"s3://models/team/tiny"},
		}
	}
	type want struct {
		contents source.Contents
		paths    []string
		reason   outcome.Reason
	}
	cases := map[string]struct {
		reason string
		change func(d *folder.Folder)
		source pipeline.Source
		want   want
	}{
		"Whole": {
			reason: "All files should be listed, and what they say of the model be known.",
			want:   want{contents: contents(whole, "Apache-2.0", model), paths: []string{"README.md", "config.json", "model.safetensors", "sub/empty"}},
		},
		"Pinned": {
			reason: "Files of the recorded revision should be taken.",
			source: pipeline.Source{Revision: whole},
			want:   want{contents: contents(whole, "Apache-2.0", model), paths: []string{"README.md", "config.json", "model.safetensors", "sub/empty"}},
		},
		"Changed": {
			reason: "Files of another revision should be refused.",
			change: func(d *folder.Folder) { d.Versions = map[string]int{"model.safetensors": 1} },
			source: pipeline.Source{Revision: whole},
			want:   want{reason: outcome.Changed},
		},
		"LeftOut": {
			reason: "A file that is not wanted should neither be listed nor be in the revision.",
			change: func(d *folder.Folder) { d.Versions = map[string]int{"model.safetensors": 1} },
			source: pipeline.Source{Files: file.Filter{Include: []string{"config.json"}}},
			want: want{
				contents: contents(source.RevisionOf([]file.File{{Path: "config.json", Size: 59, Version: "version:0"}}), "",
					filelist.Model{ModelType: "qwen3", Architectures: []string{"Qwen3ForCausalLM"}}),
				paths: []string{"config.json"},
			},
		},
		"Declared": {
			reason: "The Artifact's own word for the licence should win.",
			source: pipeline.Source{License: "MIT"},
			want: want{
				contents: contents(whole, "MIT", filelist.Model{Task: "text-generation", ModelType: "qwen3", Architectures: []string{"Qwen3ForCausalLM"}, Licenses: []string{"MIT"}}),
				paths:    []string{"README.md", "config.json", "model.safetensors", "sub/empty"},
			},
		},
		"NoMatch": {
			reason: "Patterns that select nothing should be named.",
			source: pipeline.Source{Files: file.Filter{Include: []string{"*.gguf"}}},
			want:   want{reason: outcome.NotFound},
		},
		"Nothing": {reason: "A folder without files is not there.", change: func(d *folder.Folder) { d.Content = nil }, want: want{reason: outcome.NotFound}},
		"Unsafe": {
			reason: "A path that leads out of the folder should be refused.",
			change: func(d *folder.Folder) { d.Content["../x"] = nil },
			want:   want{reason: outcome.Unsupported},
		},
		"Unpinned": {
			reason: "A file that may change without notice should be refused.",
			change: func(d *folder.Folder) { d.Listed = func(f file.File) file.File { f.Version = ""; return f } },
			want:   want{reason: outcome.Unsupported},
		},
		"NoHash": {
			reason: "What has not the form of a hash should be refused.",
			change: func(d *folder.Folder) {
				d.Listed = func(f file.File) file.File { f.SHA256 = "a composite-2"; return f }
			},
			want: want{reason: outcome.Unsupported},
		},
		"ManyFiles": {
			reason: "The number of files should be bounded.",
			change: func(d *folder.Folder) {
				for i := range source.MaxFiles {
					d.Content[fmt.Sprint(i)] = nil
				}
			},
			want: want{reason: outcome.Unsupported},
		},
		"OtherReadme": {
			reason: "A README that is not what the folder announced should be refused.",
			change: func(d *folder.Folder) {
				d.Listed = func(f file.File) file.File { f.MD5 = strings.Repeat("0", 32); return f }
			},
			want: want{reason: outcome.Mismatch},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := aModel()
			if tc.change != nil {
				tc.change(d)
			}
			s := source.FromFolder(tc.source, d, t.Logf)
			var got want
			var err error
			if got.contents, err = s.Resolve(t.Context()); err != nil {
				got.reason = outcome.ReasonOf(err)
			} else {
				got.paths = paths(t, s)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{}), cmp.Transformer("nil", func(all []string) []string { return append([]string(nil), all...) })); diff != "" {
				t.Errorf("\n%s\nResolve(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}

func paths(t *testing.T, s source.Source) []string {
	t.Helper()
	files, err := s.List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		out = append(out, f.Path)
	}
	return out
}

// TestFolderOpen checks that a file is read from any offset, and that no empty range is
// asked for.
func TestFolderOpen(t *testing.T) {
	d := aModel()
	d.Reading = func(f file.File, from int64, rc io.ReadCloser) (io.ReadCloser, error) {
		if from >= f.Size {
			t.Errorf("want no empty range of %s to be opened", f.Path)
		}
		return rc, nil
	}
	s := source.FromFolder(pipeline.Source{}, d, t.Logf)
	for _, f := range list(t, d) {
		for from := range f.Size + 1 {
			if got := read(t, func(ctx context.Context) (io.ReadCloser, error) { return s.Open(ctx, f, from) }); got != string(d.Content[f.Path][from:]) {
				t.Errorf("Open(%s, %d): got %q", f.Path, from, got)
			}
			if got := read(t, func(ctx context.Context) (io.ReadCloser, error) { return s.Head(ctx, f, from) }); got != string(d.Content[f.Path][:from]) {
				t.Errorf("Head(%s, %d): got %q", f.Path, from, got)
			}
		}
	}
}

func read(t *testing.T, open func(ctx context.Context) (io.ReadCloser, error)) string {
	t.Helper()
	rc, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rc.Close() }()
	b, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRevisionOf(t *testing.T) {
	base := []file.File{{Path: "a", Size: 1, Version: "etag:x"}, {Path: "b", Size: 2, SHA256: "s"}}
	cases := map[string]struct {
		reason string
		files  []file.File
		same   bool
	}{
		"Order":     {reason: "The order of a listing says nothing.", files: []file.File{base[1], base[0]}, same: true},
		"Rewritten": {reason: "The same content is the same, whatever its version.", files: []file.File{base[0], {Path: "b", Size: 2, SHA256: "s", Version: "etag:y"}}, same: true},
		"Version":   {reason: "Another version may be another content.", files: []file.File{{Path: "a", Size: 1, Version: "etag:y"}, base[1]}},
		"Size":      {reason: "Another size is another content.", files: []file.File{{Path: "a", Size: 3, Version: "etag:x"}, base[1]}},
		"Moved":     {reason: "A file that is moved is another.", files: []file.File{{Path: "c", Size: 1, Version: "etag:x"}, base[1]}},
		"Fewer":     {reason: "A file that is gone makes another revision.", files: base[:1]},
		"Checksums": {reason: "Without both, checksums count.", files: []file.File{{Path: "a", Size: 1, MD5: "m"}, base[1]}},
		"Newlines":  {reason: "No path reads as two files.", files: []file.File{{Path: "a\" 1 \"etag:x\"\n\"b", Size: 2, SHA256: "s"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := source.RevisionOf(slices.Clone(tc.files)) == source.RevisionOf(base); got != tc.same {
				t.Errorf("\n%s\nwant the same revision: %t, got %t", tc.reason, tc.same, got)
			}
		})
	}
}

// TestExample reads a folder by the example of the page on how to add a source.
func TestExample(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"model_type":"qwen3"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := source.FromFolder(pipeline.Source{}, disk{root}, t.Logf)
	defer s.Close()
	c, err := s.Resolve(t.Context())
	if err != nil || c.Model.ModelType != "qwen3" {
		t.Fatalf("Resolve(...): got %+v, %v", c.Model, err)
	}
	files, err := s.List(t.Context(), nil)
	if err != nil || len(files) != 1 {
		t.Fatalf("List(...): got %v, %v", files, err)
	}
	if got := read(t, func(ctx context.Context) (io.ReadCloser, error) { return s.Open(ctx, files[0], 1) }); got != `"model_type":"qwen3"}` {
		t.Errorf("Open(...): got %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	rc, err := s.Open(t.Context(), files[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rc.Close() }()
	if _, err := io.ReadAll(rc); outcome.ReasonOf(err) != outcome.Changed {
		t.Errorf("want a changed file to be Changed, got %v", err)
	}
}
