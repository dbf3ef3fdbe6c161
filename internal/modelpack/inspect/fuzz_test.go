package inspect

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/modelpack/model-spec/schema"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// check reads foreign files and checks that their facts can be published: that they
// are deterministic, short and valid by the specification.
func check(t *testing.T, m *model) {
	t.Helper()
	facts := func() modelpack.Facts {
		i := New(m.files)
		for path, head := range m.heads {
			if err := i.Read(path, bytes.NewReader(head)); err != nil {
				t.Errorf("Read(%q): %v", path, err)
			}
		}
		return i.Facts(modelpack.Facts{Name: "m"})
	}
	f := facts()
	if diff := cmp.Diff(f, facts()); diff != "" {
		t.Errorf("the same files say something else the second time:\n%s", diff)
	}
	a, err := modelpack.New(f, []ocispec.Descriptor{modelpack.LayerFor("model.safetensors", 1, digest.FromString("x"))})
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.ValidatorMediaTypeModelConfig.Validate(bytes.NewReader(a.Config)); err != nil || len(a.Config) > 2048 || !utf8.Valid(a.Config) {
		t.Errorf("the specification refuses the config, or it is too long: %v\n%s", err, a.Config)
	}
	if p := f.Config.ParamSize; p != "" && !sizeLabel.MatchString(p) {
		t.Errorf("paramSize %q is none", p)
	}
}

// FuzzInspectSafetensors checks that the facts of any safetensors header can be published.
func FuzzInspectSafetensors(f *testing.F) {
	f.Add([]byte(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`), int64(24), false)
	f.Add([]byte(`{"a.qweight":{"dtype":"I32","shape":[2]},"a.scales":{"dtype":"F16","shape":[]}}`), int64(100), true)
	f.Add([]byte(`{"a":{"dtype":"F8_E8M0","shape":[0]}`), int64(0), true)
	f.Add([]byte(`{"a":{"dtype":"F4","shape":[9223372036854775807,2]}}`), int64(1)<<62, false)
	f.Fuzz(func(t *testing.T, header []byte, data int64, quantized bool) {
		m := &model{heads: map[string][]byte{}}
		head := append([]byte{byte(len(header)), byte(len(header) >> 8), byte(len(header) >> 16), 0, 0, 0, 0, 0}, header...)
		m.add("model.safetensors", int64(len(head))+max(data, 0)>>1, head)
		if quantized {
			config := []byte(`{"quantization_config":{"quant_method":"gptq","bits":4}}`)
			m.add("config.json", int64(len(config)), config)
		}
		check(t, m)
	})
}

// FuzzInspectGGUF checks that the facts of any GGUF head can be published.
func FuzzInspectGGUF(f *testing.F) {
	f.Add(gguf([]pair{{"general.architecture", "llama"}, {"general.file_type", uint32(15)}, {"x", []string{"a", "b"}}, {"y", []float32{1}}, {"z", true}}, []uint64{2, 3}))
	f.Add(gguf([]pair{{"general.size_label", "8B"}}, []uint64{1 << 62, 4}))
	f.Add([]byte("GGUF\x02\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, head []byte) {
		m := &model{heads: map[string][]byte{}}
		m.add("model.gguf", int64(len(head)), head)
		check(t, m)
	})
}

// FuzzInspectJSON checks that the facts of any other file can be published.
func FuzzInspectJSON(f *testing.F) {
	f.Add([]byte(`{"model_type":"qwen3","architectures":["X"],"torch_dtype":"bfloat16","quantization_config":{"quant_method":"awq"},"a":NaN}`),
		[]byte(`{"metadata":{"total_size":1,"total_parameters":2}}`), []byte("---\npipeline_tag: text-generation\nlicense: mit\n---\n"))
	f.Add([]byte(`{"transformer":["a","b"],"task_type":"CAUSAL_LM","dim":1,"n_layers":1,"n_heads":1,"quant_algo":"NVFP4"}`),
		[]byte(`{"weight_map":{"a":["b",{"c":1}]},"metadata":{"total_size":"9e99"}}`), []byte("---\r\nlicense: \"a b\"\r\n---"))
	f.Add([]byte(`[{"type":"sentence_transformers.models.Pooling"}]`), []byte(`[`), []byte("---\n"))
	f.Add([]byte(`{"x":"\`), []byte(`{"metadata":null}`), []byte("\xef\xbb\xbf---\n---\n"))
	f.Fuzz(func(t *testing.T, config, index, card []byte) {
		m := &model{heads: map[string][]byte{}}
		for path := range heads {
			m.add(path, int64(len(config)), config)
		}
		m.heads[fileCard] = card
		for n := range m.files {
			m.files[n].Size = int64(len(m.heads[m.files[n].Path]))
		}
		m.add(pytorchIndex, int64(len(index)), index)
		check(t, m)
	})
}
