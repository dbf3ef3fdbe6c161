package kit

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

func filesOf(paths ...string) []file.File {
	var out []file.File
	for i, p := range paths {
		out = append(out, file.File{Path: p, Size: int64(i)})
	}
	return out
}

func TestPackable(t *testing.T) {
	type want struct {
		files  []file.File
		reason outcome.Reason
	}
	cases := map[string]struct {
		reason string
		all    []file.File
		want   want
	}{
		"LeftOut": {
			reason: "Kit's own files should be left out in the top folder only.",
			all:    filesOf("a.bin", "Kitfile", ".kitignore", "x/Kitfile", "b c.bin"),
			want:   want{files: []file.File{{Path: "a.bin"}, {Path: "x/Kitfile", Size: 3}, {Path: "b c.bin", Size: 4}}},
		},
		"Query": {
			reason: "A name that breaks kit's URLs should be refused.",
			all:    filesOf("a?b.bin"),
			want:   want{reason: outcome.Unsupported},
		},
		"Reference": {
			reason: "A name that kit could take for a reference should be refused.",
			all:    filesOf("registry.example.com/other:v1.bin"),
			want:   want{reason: outcome.Unsupported},
		},
		"Empty": {
			reason: "A model of nothing but kit's own files should be refused.",
			all:    filesOf("Kitfile"),
			want:   want{reason: outcome.NotFound},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			files, err := packable(tc.all)
			got := want{files: files}
			if err != nil {
				got.reason = outcome.ReasonOf(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\npackable(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestNewKitfile(t *testing.T) {
	meta := modelpack.KitPackage{Name: "m", License: "mit", Authors: []string{"o"}}
	entries := func(paths ...string) []modelpack.KitEntry {
		var out []modelpack.KitEntry
		for _, p := range paths {
			out = append(out, modelpack.KitEntry{Path: p})
		}
		return out
	}
	cases := map[string]struct {
		reason string
		files  []file.File
		want   *modelpack.Kitfile
	}{
		"Model": {
			reason: "The largest file should be the model, all that belongs to it its parts, and each file be there once.",
			files: filesOf("onnx/model.onnx", "model-1.safetensors", "config.json", "tokenizer.model", "README.md", "LICENSE.txt",
				"data/x.parquet", "run.py", "img/a.PNG", "model-2.safetensors", "onnx/model.onnx_data"),
			want: &modelpack.Kitfile{
				ManifestVersion: "1.0.0", Package: meta,
				Model: &modelpack.KitModel{Name: "m", KitEntry: modelpack.KitEntry{Path: "onnx/model.onnx_data"},
					Parts: entries("onnx/model.onnx", "model-1.safetensors", "model-2.safetensors", "config.json", "tokenizer.model")},
				Code:     entries("run.py"),
				DataSets: entries("data/x.parquet"),
				Docs:     entries("README.md", "LICENSE.txt", "img/a.PNG"),
			},
		},
		"NoWeights": {
			reason: "Without weights there should be no model entry.",
			files:  filesOf("config.json", "README.md"),
			want:   &modelpack.Kitfile{ManifestVersion: "1.0.0", Package: meta, DataSets: entries("config.json"), Docs: entries("README.md")},
		},
		"Equals": {
			reason: "Of files of one size, the first should be the model.",
			files:  []file.File{{Path: "a.gguf", Size: 5}, {Path: "b.gguf", Size: 5}},
			want: &modelpack.Kitfile{ManifestVersion: "1.0.0", Package: meta,
				Model: &modelpack.KitModel{Name: "m", KitEntry: modelpack.KitEntry{Path: "a.gguf"}, Parts: entries("b.gguf")}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := newKitfile("o", "m", "mit", tc.files)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nnewKitfile(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestKitCanServe(t *testing.T) {
	good := pipeline.Run{
		Source:    pipeline.Source{Endpoint: "https://huggingface.co/", Model: "o/m"},
		Target:    pipeline.Target{Registry: "registry:5000", Repository: "m", StagingTag: stagingTag},
		Format:    pipeline.FormatModelKit,
		Workspace: "/workspace",
	}
	cases := map[string]struct {
		reason string
		change func(*pipeline.Run)
		want   outcome.Reason
	}{
		"Good":      {reason: "What kit can do should be done."},
		"Default":   {reason: "An empty endpoint should mean the public Hub.", change: func(r *pipeline.Run) { r.Source.Endpoint = "" }},
		"Mirror":    {reason: "Another Hub should be refused.", change: func(r *pipeline.Run) { r.Source.Endpoint = "https://hf.example.com" }, want: outcome.Unsupported},
		"BareModel": {reason: "A model without an organisation should be refused.", change: func(r *pipeline.Run) { r.Source.Model = "gpt2" }, want: outcome.Unsupported},
		"BareHost":  {reason: "A registry without a dot or a port should be refused.", change: func(r *pipeline.Run) { r.Target.Registry = "registry" }, want: outcome.Unsupported},
		"Format":    {reason: "An unknown format should be refused.", change: func(r *pipeline.Run) { r.Format = "Zip" }, want: outcome.Unsupported},
		"Workspace": {reason: "A run without a workspace should be refused.", change: func(r *pipeline.Run) { r.Workspace = "" }, want: outcome.Internal},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run := good
			if tc.change != nil {
				tc.change(&run)
			}
			var got outcome.Reason
			if err := canServe(run); err != nil {
				got = outcome.ReasonOf(err)
			}
			if got != tc.want {
				t.Errorf("\n%s\nkitCanServe(...): want reason %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}
