package inspect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// A model is a model's files, with their beginnings by path.
type model struct {
	files []modelpack.File
	heads map[string][]byte
}

func (m *model) add(path string, size int64, head []byte) {
	m.files = append(m.files, modelpack.File{Path: path, Size: size})
	m.heads[path] = head
}

// load returns a model of testdata. A file NAME.shapes stands for the tensors of
// the file NAME, one a line: type, shape and name, in which {0..3} stands for
// each number.
func load(t *testing.T, name string) *model {
	t.Helper()
	m := &model{heads: map[string][]byte{}}
	dir := filepath.Join("testdata", name)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		path := filepath.ToSlash(strings.TrimPrefix(p, dir+"/"))
		if weights, ok := strings.CutSuffix(path, ".shapes"); ok {
			header, data := safetensors(t, strings.Split(strings.TrimSpace(string(b)), "\n"))
			m.add(weights, int64(len(header))+data, header)
			return nil
		}
		m.add(path, int64(len(b)), b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var numbers = regexp.MustCompile(`\{(\d+)\.\.(\d+)\}`)

// expand returns a name once for each number of each range in it.
func expand(name string) []string {
	at := numbers.FindStringSubmatchIndex(name)
	if at == nil {
		return []string{name}
	}
	from, _ := strconv.Atoi(name[at[2]:at[3]])
	to, _ := strconv.Atoi(name[at[4]:at[5]])
	var out []string
	for n := from; n <= to; n++ {
		out = append(out, expand(name[:at[0]]+strconv.Itoa(n)+name[at[1]:])...)
	}
	return out
}

// safetensors returns the header of a file with these tensors, and how many
// bytes follow it.
func safetensors(t *testing.T, lines []string) ([]byte, int64) {
	t.Helper()
	var b strings.Builder
	b.WriteString(`{"__metadata__":{"format":"pt"}`)
	var end int64
	for _, line := range lines {
		dtype, rest, _ := strings.Cut(line, " ")
		shape, names, _ := strings.Cut(rest, " ")
		size := dtypes[dtype].bits
		for d := range strings.SplitSeq(shape, "x") {
			n, err := strconv.ParseInt(d, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			size *= n
		}
		for _, name := range expand(names) {
			fmt.Fprintf(&b, `,%q:{"dtype":%q,"shape":[%s],"data_offsets":[%d,%d]}`, name, dtype, strings.ReplaceAll(shape, "x", ","), end, end+size/8)
			end += size / 8
		}
	}
	b.WriteString("}")
	// The header is padded, so that what follows is aligned.
	header := b.String() + strings.Repeat(" ", 7-(b.Len()+7)%8)
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), end
}

// inspect reads what the inspection of a model needs.
func inspect(t *testing.T, m *model) *Inspection {
	t.Helper()
	i := New(m.files)
	for path, head := range m.heads {
		// Read must not read other files.
		if _, ok := i.Wants(path); !ok {
			head = []byte("not read")
		}
		if err := i.Read(path, bytes.NewReader(head)); err != nil {
			t.Errorf("Read(%q): %v", path, err)
		}
	}
	return i
}

func can(in, out string) *specv1.ModelCapabilities {
	c := &specv1.ModelCapabilities{}
	for m := range strings.FieldsSeq(in) {
		c.InputTypes = append(c.InputTypes, specv1.Modality(m))
	}
	for m := range strings.FieldsSeq(out) {
		c.OutputTypes = append(c.OutputTypes, specv1.Modality(m))
	}
	if out == "embedding" {
		c.Embedding = new(true)
	}
	return c
}

func TestInspect(t *testing.T) {
	type want struct {
		Family, License string
		Config          specv1.ModelConfig
	}
	type config = specv1.ModelConfig
	const tf, st = "transformer", "safetensors"
	text := can("text", "text")
	cases := map[string]struct {
		reason string
		want   want
	}{
		"qwen3": {
			reason: "One file of 751,632,384 parameters, with a tied head that is stored, should be counted.",
			want:   want{"qwen3", "Apache-2.0", config{Architecture: tf, Format: st, ParamSize: "751.6m", Precision: "bfloat16", Capabilities: text}},
		},
		"llama": {
			reason: "A tensor in both of two shards should be counted once: 8,030,261,248 parameters.",
			want:   want{"llama", "", config{Architecture: tf, Format: st, ParamSize: "8b", Precision: "bfloat16", Capabilities: text}},
		},
		"mistral": {
			reason: "The same weights in two sets should be counted once: 7,248,023,552 parameters.",
			want:   want{"mistral", "", config{Architecture: tf, Format: st, ParamSize: "7.2b", Precision: "bfloat16", Capabilities: text}},
		},
		"mistral-native": {
			reason: "Mistral's own format should be read, which has no family.",
			want:   want{"", "", config{Architecture: tf, Format: st, ParamSize: "2.1b", Precision: "bfloat16"}},
		},
		"gemma3": {
			reason: "A model with a vision config should take images.",
			want:   want{"gemma3", "", config{Architecture: tf, Format: st, ParamSize: "1.7b", Precision: "bfloat16", Capabilities: can("text image", "text")}},
		},
		"phi3": {
			reason: "All parameters of two shards should be counted: 3,821,079,552.",
			want:   want{"phi3", "", config{Architecture: tf, Format: st, ParamSize: "3.8b", Precision: "bfloat16", Capabilities: text}},
		},
		"deepseek": {
			reason: "Scales of blocks should not be counted as parameters.",
			want:   want{"deepseek_v3", "", config{Architecture: tf, Format: st, ParamSize: "662.9b", Precision: "float8_e4m3", Quantization: "fp8", Capabilities: text}},
		},
		"gpt-oss": {
			reason: "Two parameters per byte should be counted: 20,914,757,184, as the Hub does.",
			want:   want{"gpt_oss", "", config{Architecture: tf, Format: st, ParamSize: "20.9b", Precision: "bfloat16", Quantization: "mxfp4", Capabilities: text}},
		},
		"whisper": {
			reason: "A model of speech should take audio.",
			want:   want{"whisper", "", config{Architecture: tf, Format: st, ParamSize: "23.1m", Precision: "float32", Capabilities: can("audio", "text")}},
		},
		"minilm": {
			reason: "Positions should not be counted as parameters: 22,713,216.",
			want:   want{"bert", "", config{Architecture: tf, Format: st, ParamSize: "22.7m", Precision: "float32", Capabilities: can("", "embedding")}},
		},
		"lora": {
			reason: "The parameters of an adapter should be its own.",
			want:   want{"", "", config{Format: st, ParamSize: "6.8m", Precision: "float32", Capabilities: text}},
		},
		"flux": {
			reason: "The parameters of a pipeline should be those of its denoiser.",
			want:   want{"", "Apache-2.0", config{Architecture: tf, Format: st, ParamSize: "7.9b", Precision: "bfloat16", Capabilities: can("text", "image")}},
		},
		"sd": {
			reason: "A U-Net in two precisions should be counted once.",
			want:   want{"", "", config{Architecture: "unet", Format: st, ParamSize: "855.3m", Precision: "float32"}},
		},
		"gptq": {
			reason: "Eight parameters per integer should be counted.",
			want:   want{"llama", "", config{Architecture: tf, Format: st, ParamSize: "8b", Precision: "float16", Quantization: "gptq", Capabilities: text}},
		},
		"gptq-old": {
			reason: "A quantization in a file of its own should be read.",
			want:   want{"llama", "", config{Architecture: tf, Format: st, ParamSize: "8b", Precision: "float16", Quantization: "gptq", Capabilities: text}},
		},
		"awq": {
			reason: "Eight parameters per integer should be counted, however they are packed.",
			want:   want{"llama", "", config{Architecture: tf, Format: st, ParamSize: "8b", Precision: "float16", Quantization: "awq", Capabilities: text}},
		},
		"bnb": {
			reason: "Two parameters per byte should be counted: 8,030,261,248, as the Hub does.",
			want:   want{"llama", "", config{Architecture: tf, Format: st, ParamSize: "8b", Precision: "bfloat16", Quantization: "bitsandbytes", Capabilities: text}},
		},
		"w4a16": {
			reason: "Eight parameters per integer should be counted, without their shapes.",
			want:   want{"llama", "", config{Architecture: tf, Format: st, ParamSize: "8b", Precision: "bfloat16", Quantization: "compressed-tensors", Capabilities: text}},
		},
		"w8a8": {
			reason: "One parameter per byte should be counted.",
			want:   want{"llama", "", config{Architecture: tf, Format: st, ParamSize: "2.4b", Precision: "int8", Quantization: "compressed-tensors", Capabilities: text}},
		},
		"nvfp4": {
			reason: "ModelOpt's file with the quantization should be read.",
			want:   want{"llama", "", config{Architecture: tf, Format: st, ParamSize: "2.4b", Precision: "bfloat16", Quantization: "nvfp4", Capabilities: text}},
		},
		"mlx": {
			reason: "Parameters that are packed in an unknown way should not be counted.",
			want:   want{"llama", "", config{Architecture: tf, Format: st, Precision: "float16", Capabilities: text}},
		},
		"pytorch": {
			reason: "The parameters should follow from the size in the index: 6,738,417,664.",
			want:   want{"llama", "", config{Architecture: tf, ParamSize: "6.7b", Precision: "float16", Capabilities: text}},
		},
		"mamba": {
			reason: "A model that is no transformer should be recognized, and JSON with NaN be read.",
			want:   want{"mamba2", "", config{Architecture: "ssm", Precision: "bfloat16", Capabilities: text}},
		},
		"resnet": {
			reason: "A convolutional network should be recognized.",
			want:   want{"resnet", "", config{Architecture: "cnn", Precision: "float32"}},
		},
		"dtype": {
			reason: "A newer field should be read, and a field of the wrong type be ignored.",
			want:   want{"qwen3", "", config{Architecture: tf, Precision: "bfloat16"}},
		},
	}
	dirs, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if _, ok := cases[d.Name()]; !ok && d.Name() != "fuzz" {
			t.Errorf("testdata/%s is not tested", d.Name())
		}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := inspect(t, load(t, name)).Facts(modelpack.Facts{})
			got := want{f.Family, f.License, f.Config}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nFacts(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestInspectPasses checks that written bytes give the same facts as read ones.
func TestInspectPasses(t *testing.T) {
	for _, name := range []string{"deepseek", "qwen3", "minilm"} {
		t.Run(name, func(t *testing.T) {
			m := load(t, name)
			want := inspect(t, m).Facts(modelpack.Facts{Name: "x"})
			i := New(m.files)
			for _, path := range slices.Sorted(maps.Keys(m.heads)) {
				// The first transfer is interrupted.
				for _, n := range []int64{int64(len(m.heads[path])) / 2, sizeOfFile(m, path)} {
					w := i.Writer(path)
					r := io.LimitReader(io.MultiReader(bytes.NewReader(m.heads[path]), bytes.NewReader(make([]byte, 8<<20))), n)
					if _, err := io.CopyBuffer(struct{ io.Writer }{w}, iotest.HalfReader(r), make([]byte, 4096)); err != nil {
						t.Error(err)
					}
					if err := w.Close(); err != nil {
						t.Error(err)
					}
				}
			}
			if diff := cmp.Diff(want, i.Facts(modelpack.Facts{Name: "x"})); diff != "" {
				t.Errorf("\nFacts(...): -want, +got:\n%s", diff)
			}
		})
	}
}

func sizeOfFile(m *model, path string) int64 {
	return m.files[slices.IndexFunc(m.files, func(f modelpack.File) bool { return f.Path == path })].Size
}

func TestInspectErrors(t *testing.T) {
	errBoom := errors.New("boom")
	header, data := safetensors(t, []string{"BF16 4x4 {0..9}"})
	files := []modelpack.File{
		{Path: "model.safetensors", Size: int64(len(header)) + data}, {Path: "config.json", Size: 100}, {Path: "README.md", Size: 100 << 10}, {Path: "a.txt", Size: 5},
	}
	cases := map[string]struct {
		reason string
		path   string
		reader io.Reader
		want   error
	}{
		"Broken":    {reason: "Any error encountered while reading should be returned.", path: "model.safetensors", reader: io.MultiReader(bytes.NewReader(header[:20]), iotest.ErrReader(errBoom)), want: errBoom},
		"Short":     {reason: "An error should be returned if a header is longer than what was read.", path: "model.safetensors", reader: bytes.NewReader(header[:20]), want: io.ErrUnexpectedEOF},
		"Enough":    {reason: "No more than the header should be needed.", path: "model.safetensors", reader: bytes.NewReader(header)},
		"NoMore":    {reason: "No more than the header should be read.", path: "model.safetensors", reader: io.MultiReader(bytes.NewReader(header), iotest.ErrReader(errBoom))},
		"ShortJSON": {reason: "An error should be returned for truncated JSON.", path: "config.json", reader: strings.NewReader(`{"a":`), want: io.ErrUnexpectedEOF},
		"ShortCard": {reason: "An error should be returned for a truncated card.", path: "README.md", reader: strings.NewReader("---\n"), want: io.ErrUnexpectedEOF},
		"LongCard":  {reason: "The end of a long card should not be needed.", path: "README.md", reader: strings.NewReader("---\n---\n" + strings.Repeat("x", maxCardBytes))},
		"Unwanted":  {reason: "A file without facts should not be read.", path: "a.txt", reader: iotest.ErrReader(errBoom)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := New(files).Read(tc.path, tc.reader); !errors.Is(err, tc.want) {
				t.Errorf("\n%s\nRead(...): want %v, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

func TestInspectFacts(t *testing.T) {
	m := load(t, "qwen3")
	known := modelpack.Facts{
		Name: "n", Family: "f", License: "mit",
		Config: specv1.ModelConfig{Architecture: "a", Format: "b", ParamSize: "1k", Precision: "p", Quantization: "q", Capabilities: &specv1.ModelCapabilities{}},
	}
	if diff := cmp.Diff(known, inspect(t, m).Facts(known)); diff != "" {
		t.Errorf("known facts should be kept: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(modelpack.Facts{Config: specv1.ModelConfig{Format: "safetensors"}}, New(m.files).Facts(modelpack.Facts{})); diff != "" {
		t.Errorf("a file that was not read should yield no facts: -want, +got:\n%s", diff)
	}
	a, err := modelpack.New(inspect(t, m).Facts(modelpack.Facts{Name: "n"}), []ocispec.Descriptor{modelpack.LayerFor("model.safetensors", 1, digest.FromString("x"))})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"format":"safetensors"`, `"paramSize":"751.6m"`, `"family":"qwen3"`} {
		if !bytes.Contains(a.Config, []byte(want)) {
			t.Errorf("the artifact's config should contain the inspected facts: want %s in %s", want, a.Config)
		}
	}
}

func TestCardLicenses(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   string
		want   []string
	}{
		"One":    {reason: "One licence should be read.", args: "license: mit\n", want: []string{"mit"}},
		"Flow":   {reason: "A list in one line should be read.", args: "license: [mit, 'apache-2.0']\n", want: []string{"mit", "apache-2.0"}},
		"Block":  {reason: "A list of lines should be read, without a list of another field.", args: "license:\n- mit\n  - gfdl\ntags:\n- a\n", want: []string{"mit", "gfdl"}},
		"Others": {reason: "A list of another field should not be read.", args: "tags:\n- a\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			card := "---\n" + tc.args + "---\n"
			got, ok := readCard(strings.NewReader(card), modelpack.File{Size: int64(len(card))})
			c, is := got.(*cardFile)
			if !ok || !is {
				t.Fatalf("\n%s\nreadCard(...) = %v, %t", tc.reason, got, ok)
			}
			if diff := cmp.Diff(tc.want, c.licenses); diff != "" {
				t.Errorf("\n%s\nreadCard(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
