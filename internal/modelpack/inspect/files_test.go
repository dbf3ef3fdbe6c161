package inspect

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// A pair is a key of GGUF's metadata and its value.
type pair struct {
	key   string
	value any
}

// gguf returns the head of a GGUF file.
func gguf(pairs []pair, shapes ...[]uint64) []byte {
	le := binary.LittleEndian
	str := func(b []byte, s string) []byte { return append(le.AppendUint64(b, uint64(len(s))), s...) }
	b := le.AppendUint32([]byte("GGUF"), 3)
	b = le.AppendUint64(le.AppendUint64(b, uint64(len(shapes))), uint64(len(pairs)))
	for _, p := range pairs {
		b = str(b, p.key)
		switch v := p.value.(type) {
		case string:
			b = str(le.AppendUint32(b, ggufString), v)
		case uint32:
			b = le.AppendUint32(le.AppendUint32(b, ggufUint32), v)
		case bool:
			b = append(le.AppendUint32(b, 7), 1)
		case []string:
			b = le.AppendUint64(le.AppendUint32(le.AppendUint32(b, ggufArray), ggufString), uint64(len(v)))
			for _, s := range v {
				b = str(b, s)
			}
		case []float32:
			b = le.AppendUint64(le.AppendUint32(le.AppendUint32(b, ggufArray), 6), uint64(len(v)))
			b = append(b, make([]byte, 4*len(v))...)
		}
	}
	for _, s := range shapes {
		b = le.AppendUint32(str(b, "blk.0.ffn_up.weight"), uint32(len(s)))
		for _, d := range s {
			b = le.AppendUint64(b, d)
		}
		b = le.AppendUint64(le.AppendUint32(b, 12), 0)
	}
	return b
}

func TestInspectGGUF(t *testing.T) {
	// The file type comes last where llama.cpp quantized, behind the vocabulary.
	head := func(arch string, fileType uint32) []pair {
		return []pair{
			{"general.architecture", arch}, {"general.type", "model"}, {"general.name", "Qwen3 0.6B"}, {"general.size_label", "0.6B"},
			{"qwen3.block_count", uint32(28)}, {"qwen3.rope", []float32{1, 2}}, {"tokenizer.ggml.add_bos_token", false},
			{"tokenizer.ggml.tokens", strings.Split(strings.Repeat("token ", 200_000), " ")}, {"general.file_type", fileType},
		}
	}
	tensors := [][]uint64{{1024, 151936}, {1024, 3072, 28}, {1024}}
	type file struct {
		path string
		head []byte
	}
	config := func(c specv1.ModelConfig) modelpack.Facts {
		c.Architecture = "transformer"
		return modelpack.Facts{Family: "qwen3", Config: c}
	}
	cases := map[string]struct {
		reason string
		files  []file
		want   modelpack.Facts
	}{
		"Quantized": {
			reason: "The facts of the one file should be returned.",
			files:  []file{{"Qwen3-0.6B-Q4_K_M.gguf", gguf(head("qwen3", 15), tensors...)}, {"mmproj-F16.gguf", gguf([]pair{{"general.architecture", "clip"}})}},
			want:   config(specv1.ModelConfig{ParamSize: "243.7m", Quantization: "Q4_K_M"}),
		},
		"Precise": {
			reason: "A file that is not quantized should have a precision.",
			files:  []file{{"a.gguf", gguf(head("qwen3", 32), tensors...)}},
			want:   config(specv1.ModelConfig{ParamSize: "243.7m", Precision: "bfloat16"}),
		},
		"Guessed": {
			reason: "A file type that llama.cpp guessed should be recognized.",
			files:  []file{{"a.gguf", gguf(head("qwen3", 1024+7), tensors...)}},
			want:   config(specv1.ModelConfig{ParamSize: "243.7m", Quantization: "Q8_0"}),
		},
		"Several": {
			reason: "Several files should have no quantization, since each has its own.",
			files:  []file{{"b/Q8_0.gguf", nil}, {"a/Q4_0.gguf", gguf(head("qwen3", 2), tensors...)}},
			want:   config(specv1.ModelConfig{ParamSize: "243.7m"}),
		},
		"Shards": {
			reason: "The parameters of all shards should be counted.",
			files: []file{
				{"a-00001-of-00002.gguf", gguf(head("qwen3", 15), tensors[:1]...)},
				{"a-00002-of-00002.gguf", gguf([]pair{{"split.no", uint32(1)}}, tensors[1:]...)},
			},
			want: config(specv1.ModelConfig{ParamSize: "243.7m", Quantization: "Q4_K_M"}),
		},
		"ShardMissing": {
			reason: "The size label should be returned if a shard is missing.",
			files:  []file{{"a-00001-of-00002.gguf", gguf(head("qwen3", 15), tensors[:1]...)}},
			want:   config(specv1.ModelConfig{ParamSize: "0.6b", Quantization: "Q4_K_M"}),
		},
		"Adapter": {
			reason: "An adapter should have no facts of a model.",
			files:  []file{{"lora.gguf", gguf([]pair{{"general.architecture", "llama"}, {"general.type", "adapter"}}, tensors...)}},
		},
		"StateSpace": {
			reason: "A model with a state space should not be a transformer.",
			files:  []file{{"a.gguf", gguf([]pair{{"general.architecture", "mamba"}})}},
			want:   modelpack.Facts{Family: "mamba", Config: specv1.ModelConfig{Architecture: "ssm"}},
		},
		"Capitals": {
			reason: "A suffix in capitals should be recognized.",
			files:  []file{{"A.GGUF", gguf(head("qwen3", 15), tensors...)}},
			want:   config(specv1.ModelConfig{ParamSize: "243.7m", Quantization: "Q4_K_M"}),
		},
		"Malformed": {reason: "A malformed file should yield no facts.", files: []file{{"a.gguf", []byte("GGUF\x03\x00\x00\x00 and so on and so on")}}},
		"BigEndian": {reason: "A big-endian file, which nobody publishes, should yield no facts.", files: []file{{"a.gguf", []byte("GGUF\x00\x00\x00\x03 and so on and so on")}}},
		"TooLong":   {reason: "Sizes that cannot be true should yield no facts.", files: []file{{"a.gguf", gguf([]pair{{"x", ""}}, []uint64{1 << 60, 1 << 60})}}},
		"Empty":     {reason: "An empty file should yield no facts.", files: []file{{"a.gguf", nil}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m := &model{heads: map[string][]byte{}}
			for _, f := range tc.files {
				m.add(f.path, int64(len(f.head)), f.head)
			}
			if diff := cmp.Diff(tc.want, inspect(t, m).Facts(modelpack.Facts{})); diff != "" {
				t.Errorf("\n%s\nFacts(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFindWeights(t *testing.T) {
	type want struct {
		Files    []string
		Complete bool
	}
	cases := map[string]struct {
		reason string
		args   []string
		want   want
	}{
		"Default":     {reason: "The set that programs load by default should be found.", args: []string{"model.safetensors", "model.fp16.safetensors", "onnx/model.safetensors"}, want: want{[]string{"model.safetensors"}, true}},
		"Shards":      {reason: "All shards of a set should be found.", args: []string{"model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"}, want: want{[]string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}, true}},
		"SixDigits":   {reason: "Shards with six digits, as DeepSeek's, should be found.", args: []string{"model-00001-of-000163.safetensors"}, want: want{[]string{"model-00001-of-000163.safetensors"}, false}},
		"Both":        {reason: "One file should be preferred to shards.", args: []string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors"}, want: want{[]string{"model.safetensors"}, true}},
		"Complete":    {reason: "A complete set should be preferred to an incomplete one.", args: []string{"model-00001-of-00002.safetensors", "model-00001-of-00001.safetensors"}, want: want{[]string{"model-00001-of-00001.safetensors"}, true}},
		"Other":       {reason: "The only set should be found.", args: []string{"open_clip_model.safetensors", "a/b.safetensors.txt"}, want: want{[]string{"open_clip_model.safetensors"}, true}},
		"Capitals":    {reason: "Suffixes in capitals should be found.", args: []string{"model-00001-of-00002.SafeTensors", "model-00002-of-00002.SAFETENSORS"}, want: want{[]string{"model-00001-of-00002.SafeTensors", "model-00002-of-00002.SAFETENSORS"}, true}},
		"NotAPart":    {reason: "A part without a header of its own should not be found.", args: []string{"model.safetensors.1"}},
		"Ambiguous":   {reason: "No set should be found if it is ambiguous.", args: []string{"a.safetensors", "b.safetensors"}},
		"Elsewhere":   {reason: "A set in a folder should not be found.", args: []string{"text_encoder/model.safetensors"}},
		"Transformer": {reason: "The denoiser of a pipeline should be found.", args: []string{"vae/diffusion_pytorch_model.safetensors", "transformer/diffusion_pytorch_model.safetensors"}, want: want{[]string{"transformer/diffusion_pytorch_model.safetensors"}, true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var files []modelpack.File
			for _, p := range tc.args {
				files = append(files, modelpack.File{Path: p})
			}
			w := findWeights(files).safetensors
			got := want{Complete: w.complete}
			for _, f := range w.files {
				got.Files = append(got.Files, f.Path)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nfindWeights(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestSafetensorsLies checks that an implausible header yields no facts.
func TestSafetensorsLies(t *testing.T) {
	framed := func(header string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	}
	const good = `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	cases := map[string]struct {
		reason string
		args   []byte
		want   string
	}{
		"Good":      {reason: "A valid header should be read.", args: append(framed(`{`+good+`}`), make([]byte, 4000)...), want: "float32"},
		"Padded":    {reason: "A header that is padded with spaces should be read.", args: append(framed(`{`+good+`}   `), make([]byte, 4000)...), want: "float32"},
		"Fake":      {reason: "Tensors for which the file has no room should yield no facts.", args: framed(`{"a":{"dtype":"F32","shape":[1000000,16000000]}}`)},
		"Overflow":  {reason: "A shape that overflows should yield no facts.", args: framed(`{"a":{"dtype":"F32","shape":[4294967296,4294967296,4]}}`)},
		"Negative":  {reason: "A negative shape should yield no facts.", args: framed(`{"a":{"dtype":"F32","shape":[-2]}}`)},
		"Fraction":  {reason: "A fractional shape should yield no facts.", args: framed(`{"a":{"dtype":"F32","shape":[0.5]}}`)},
		"Type":      {reason: "An unknown type should yield no facts.", args: framed(`{"a":{"dtype":"F33","shape":[]}}`)},
		"Array":     {reason: "A header that is no object should yield no facts.", args: framed(`[1]`)},
		"Cut":       {reason: "A truncated header should yield no facts.", args: framed(`{` + good)},
		"TooLong":   {reason: "A header longer than the format allows should yield no facts.", args: binary.LittleEndian.AppendUint64(nil, 1<<62)},
		"LongName":  {reason: "A name that is too long should yield no facts.", args: framed(`{"` + strings.Repeat("a", 2*maxSafetensorsValue) + `":1}`)},
		"Metadata":  {reason: "Metadata should be skipped.", args: append(framed(`{"__metadata__":{"a":[{"b":"c"},1],"d":null},`+good+`}`), make([]byte, 4000)...), want: "float32"},
		"TwoBraces": {reason: "Bytes after the object should not be read.", args: append(framed(`{`+good+`}}`), make([]byte, 4000)...), want: "float32"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m := &model{heads: map[string][]byte{}}
			m.add("model.safetensors", int64(len(tc.args)), tc.args)
			if diff := cmp.Diff(tc.want, inspect(t, m).Facts(modelpack.Facts{}).Config.Precision); diff != "" {
				t.Errorf("\n%s\nFacts(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestTooManyTensors checks that too many tensors are not counted, in any order of
// files, and that a file that is read twice is counted once.
func TestTooManyTensors(t *testing.T) {
	f16, f32 := make([]tensor, maxTensors/2), make([]tensor, maxTensors/2)
	for i := range f16 {
		f16[i] = tensor{name: uint64(i), elements: 1, dtype: dtypes["F16"]}
		f32[i] = tensor{name: uint64(i) + maxTensors, elements: 1, dtype: dtypes["F32"]}
	}
	files := []modelpack.File{{Path: "model-00001-of-00002.safetensors", Size: 1}, {Path: "model-00002-of-00002.safetensors", Size: 1}}
	cases := map[string]struct {
		reason string
		found  [][]tensor
		want   specv1.ModelConfig
	}{
		"Enough":  {reason: "Up to the limit, tensors should be counted.", found: [][]tensor{f16, f32, f16}, want: specv1.ModelConfig{Format: "safetensors", ParamSize: "1m", Precision: "float32"}},
		"TooMany": {reason: "Beyond the limit, no tensors should be counted.", found: [][]tensor{f16, append(f32, f32[0])}, want: specv1.ModelConfig{Format: "safetensors"}},
		"Before":  {reason: "The order of the files should not matter.", found: [][]tensor{append(f32, f32[0]), f16}, want: specv1.ModelConfig{Format: "safetensors"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			i := New(files)
			for n, found := range tc.found {
				i.keep(files[n%len(files)].Path, found)
			}
			if diff := cmp.Diff(tc.want, i.Facts(modelpack.Facts{}).Config); diff != "" {
				t.Errorf("\n%s\nFacts(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestParamSize(t *testing.T) {
	cases := map[int64]string{
		-1: "", 0: "", 49: "", 50: "0.1k", 999: "1k", 1000: "1k", 1049: "1k", 1050: "1.1k", 999_949: "999.9k", 999_950: "1m",
		22_713_216: "22.7m", 8_030_261_248: "8b", 671_026_419_200: "671b", 1_026_408_232_448: "1t", 2_780_000_000_000_000: "2.8q", maxElements: "72.1q",
	}
	for n, want := range cases {
		if got := paramSize(n); got != want {
			t.Errorf("paramSize(%d): want %q, got %q", n, want, got)
		}
	}
}
