package modelpack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelpack/model-spec/schema"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestMediaType(t *testing.T) {
	const prefix, suffix = "application/vnd.cncf.model.", ".v1.raw"
	cases := map[string]struct {
		reason string
		names  []string
		want   string
	}{
		"Weights": {
			reason: "Every part of the weights should be a weight.",
			names: []string{
				"model.safetensors", "model-00002-of-00003.safetensors", "pytorch_model.bin", "onnx/model.onnx", "q4/Model.GGUF",
				"a.pt", "a.pth", "a.ckpt", "tf_model.h5", "flax_model.msgpack", "a.tflite", "model.onnx_data",
			},
			want: "weight",
		},
		"Docs": {
			reason: "The licence and the readme should be documents, among which consumers look for them.",
			names:  []string{"README.md", "readme", "LICENSE", "LICENSE.txt", "NOTICE", "docs/use.md", "LICENSE-APACHE", "card.png"},
			want:   "doc",
		},
		"Code":     {reason: "Programs should be code.", names: []string{"modeling_x.py", "x.ipynb", "run.sh", "chat_template.jinja"}, want: "code"},
		"Datasets": {reason: "Files of data should be datasets.", names: []string{"data/train.parquet", "labels.csv"}, want: "dataset"},
		"Config": {
			reason: "All other files should be configurations of the weights.",
			names: []string{
				"config.json", "tokenizer.json", "tokenizer.model", "merges.txt", "vocab.txt", "model.safetensors.index.json",
				"license_map.json", "spiece", "safetensors",
			},
			want: "weight.config",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, n := range tc.names {
				got := LayerFor(n, 1, "sha256:x")
				want := ocispec.Descriptor{
					MediaType: prefix + tc.want + suffix, Size: 1, Digest: "sha256:x",
					Annotations: map[string]string{"org.opencontainers.image.title": n, "org.cncf.model.filepath": n},
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("\n%s\nLayerFor(%q): -want, +got:\n%s", tc.reason, n, diff)
				}
			}
		})
	}
}

func layers(names ...string) []ocispec.Descriptor {
	out := make([]ocispec.Descriptor, 0, len(names))
	for i, n := range names {
		out = append(out, LayerFor(n, int64(i+1), digest.FromString(n)))
	}
	return out
}

var full = Facts{
	Name: "Qwen3-0.6B", SourceURL: "https://huggingface.co/Qwen/Qwen3-0.6B",
	Revision: "0123456789012345678901234567890123456789", License: "Apache-2.0",
	CommittedAt: time.Date(2025, 7, 26, 3, 46, 27, 0, time.FixedZone("", 7200)),
}

func TestNew(t *testing.T) {
	type want struct {
		digest      digest.Digest
		format      string
		annotations map[string]string
		reason      outcome.Reason
	}
	many := make([]string, 20_000)
	for i := range many {
		many[i] = fmt.Sprintf("data/%06d.json", i)
	}
	cases := map[string]struct {
		reason string
		facts  Facts
		layers []ocispec.Descriptor
		want   want
	}{
		"Full": {
			reason: "The digest of the same model should never change.",
			facts:  full,
			layers: layers("config.json", "model.safetensors"),
			want: want{
				digest: "sha256:c2463cf67ae49aa915e59fa61905055fbad2666ffdc34d0affdfeec029639fe5",
				format: "safetensors",
				annotations: map[string]string{
					"org.opencontainers.image.source":   "https://huggingface.co/Qwen/Qwen3-0.6B",
					"org.opencontainers.image.revision": "0123456789012345678901234567890123456789",
					"org.opencontainers.image.licenses": "Apache-2.0",
					"org.opencontainers.image.created":  "2025-07-26T01:46:27Z",
				},
			},
		},
		"Annotated": {
			reason: "Annotations that a spec asks for should be added, without replacing a fact.",
			facts:  Facts{Name: "x", License: "MIT", Annotations: map[string]string{"com.example.team": "search", "org.opencontainers.image.licenses": "none"}},
			layers: layers("config.json"),
			want: want{
				digest:      "sha256:3e7926b8ead01b6b769ddc9f8e29d7da790f6a5f31f8b047ef29c949fa3cb598",
				annotations: map[string]string{"com.example.team": "search", "org.opencontainers.image.licenses": "MIT"},
			},
		},
		"Bare": {
			reason: "Unknown facts should be omitted.",
			facts:  Facts{Name: "x"},
			layers: layers("config.json"),
			want:   want{digest: "sha256:37da4fe1b6501ca824d0c323b7c9b8ef1ba4375e34015abb5ec302d97386c32a"},
		},
		"TwoFormats": {
			reason: "The format should be that of most bytes.",
			facts:  Facts{Name: "x"},
			layers: layers("onnx/model.onnx", "model.safetensors", "pytorch_model.bin"),
			want:   want{digest: "sha256:f37f22f0814dbe35a9fd3f34acba56b4df18e2f61efa0d866a27b24382b79c6a", format: "pytorch"},
		},
		"Empty": {
			reason: "An error should be returned for a model without files, since the specification requires a layer.",
			facts:  full,
			want:   want{reason: outcome.Unsupported},
		},
		"TooMany": {
			reason: "An error should be returned if registries would refuse the manifest.",
			facts:  full,
			layers: layers(many...),
			want:   want{reason: outcome.Unsupported},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, err := New(tc.facts, tc.layers)
			if err != nil {
				if got := outcome.ReasonOf(err); got != tc.want.reason {
					t.Errorf("\n%s\nNew(...): want %q, got %v", tc.reason, tc.want.reason, err)
				}
				return
			}
			format, annotations := read(t, a)
			got := want{digest: a.Descriptor.Digest, format: format, annotations: annotations}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nNew(...): -want, +got:\n%s\n%s", tc.reason, diff, a.Manifest)
			}
			reversed := slices.Clone(tc.layers)
			slices.Reverse(reversed)
			if b, err := New(tc.facts, reversed); err != nil || b.Descriptor.Digest != a.Descriptor.Digest {
				t.Errorf("\n%s\nNew(...): want the same digest in any order of files, got %s, %v", tc.reason, b.Descriptor.Digest, err)
			}
		})
	}
}

// read returns the config's format and the manifest's annotations, and validates
// both by the specification.
func read(t *testing.T, a Artifact) (string, map[string]string) {
	t.Helper()
	if err := schema.ValidatorMediaTypeModelConfig.Validate(bytes.NewReader(a.Config)); err != nil {
		t.Errorf("the specification refuses the config: %v\n%s", err, a.Config)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(a.Manifest, &m); err != nil {
		t.Fatal(err)
	}
	if m.ArtifactType != "application/vnd.cncf.model.manifest.v1+json" || m.Config.MediaType != "application/vnd.cncf.model.config.v1+json" {
		t.Errorf("want ModelPack's types, got %s", a.Manifest)
	}
	var c struct {
		Config struct{ Format string }
	}
	if err := json.Unmarshal(a.Config, &c); err != nil {
		t.Fatal(err)
	}
	return c.Config.Format, m.Annotations
}

func TestSize(t *testing.T) {
	l := layers("a.json", "b.json", "c.json")
	a, err := New(Facts{Name: "x"}, l)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := a.Size(), int64(1+2+3+len(a.Config)); got != want {
		t.Errorf("Size(...): want %d, got %d", want, got)
	}
	if strings.Contains(string(a.Config), "createdAt") {
		t.Errorf("want no date where none is known, got %s", a.Config)
	}
}

// TestWeightNames checks that names of weights are recognized in all formats:
// consumers skip weights, or need nothing else.
func TestWeightNames(t *testing.T) {
	cases := map[string]bool{
		"model.safetensors": true, "a/B.GGUF": true, "model.onnx_data": true, "model.onnx_data_1": true, "model_q4.onnx.data": true, "model.gguf.part1of2": true,
		"pytorch_model.bin.1": true, "model.pt2": true, "model.pte": true, "weights.npy": true, "model.llamafile": true, "model.ot": true, "model.trt": true,
		"model.nemo": true, "variables.data-00000-of-00001": true, "model.hdf5": true, "model.pickle": true,
		"model.mlpackage/Data/com.apple.CoreML/weights/weight.bin": true, "variables.index": false, "config.json": false, "libc.so.6": false, "bin": false, "README.1": false, "": false,
	}
	for name, want := range cases {
		if got := LayerFor(name, 5<<30, "").MediaType == specv1.MediaTypeModelWeightRaw; got != want {
			t.Errorf("LayerFor(%q): want a weight %t, got %t", name, want, got)
		}
		// The only file of a Kitfile that is a weight is its model.
		if k := NewKitfile([]File{{Path: name, Size: 5 << 30}}); (k.Model != nil) != want {
			t.Errorf("NewKitfile(%q): want a model %t, got %+v", name, want, k)
		}
	}
}

// TestDatasetLayout checks that a dataset's files are data, whatever their names
// are.
func TestDatasetLayout(t *testing.T) {
	files := []File{{Path: "README.md", Size: 1}, {Path: "a.npy", Size: 1}, {Path: "b.json", Size: 1}, {Path: "c.parquet", Size: 1}, {Path: "load.py", Size: 1}}
	pack, err := NewDatasetLayout(FormatModelPack, files)
	if err != nil {
		t.Fatal(err)
	}
	const doc, data, code = specv1.MediaTypeModelDocRaw, specv1.MediaTypeModelDatasetRaw, specv1.MediaTypeModelCodeRaw
	for i, want := range []string{doc, data, data, data, code} {
		if got := pack.Layers[i].mediaType; got != want {
			t.Errorf("%s: want %s, got %s", files[i].Path, want, got)
		}
	}
	kit, err := NewDatasetLayout(FormatModelKit, files)
	if err != nil {
		t.Fatal(err)
	}
	if kit.kitfile.Model != nil || len(kit.kitfile.DataSets) != 3 {
		t.Errorf("want a Kitfile without a model, got %+v", kit.kitfile)
	}
}
