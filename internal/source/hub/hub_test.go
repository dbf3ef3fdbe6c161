package hub

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

func TestCanonicalURL(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   pipeline.Source
		want   string
	}{
		"Model":    {reason: "A model should have its page on the Hub.", args: pipeline.Source{Model: "org/model"}, want: "https://huggingface.co/org/model"},
		"Endpoint": {reason: "A mirror should change nothing.", args: pipeline.Source{Endpoint: "https://hub.example.com/", Model: "org/model", Kind: hub.Model}, want: "https://huggingface.co/org/model"},
		"Dataset":  {reason: "A dataset's page should be below datasets.", args: pipeline.Source{Model: "org/data", Kind: hub.Dataset}, want: "https://huggingface.co/datasets/org/data"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := canonicalURL(tc.args); got != tc.want {
				t.Errorf("\n%s\ncanonicalURL(...): want %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

func TestWithoutGit(t *testing.T) {
	var all []file.File
	for _, name := range []string{"a.bin", ".gitattributes", "x/.gitignore", "x/b.bin"} {
		all = append(all, file.File{Path: name})
	}
	want := []file.File{{Path: "a.bin"}, {Path: "x/b.bin"}}
	if diff := cmp.Diff(want, hub.WithoutGit(all)); diff != "" {
		t.Errorf("Git's files should be left out in every folder.\nWithoutGit(...): -want, +got:\n%s", diff)
	}
}
