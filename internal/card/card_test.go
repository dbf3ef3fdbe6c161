package card

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
)

func TestModel(t *testing.T) {
	cases := map[string]struct {
		reason string
		readme string
		config string
		want   filelist.Model
	}{
		"Whole": {
			reason: "All that the two files say should be read.",
			readme: "---\nlicense: other\nlicense_name: qwen\nlicense_link: https://example.com/LICENSE\npipeline_tag: text-generation\nlibrary_name: transformers\n" +
				"base_model:\n- Qwen/Qwen3-0.6B-Base\nbase_model_relation: finetune\ndatasets: [a/b, c]\n---\n# A model\n",
			config: `{"architectures":["Qwen3ForCausalLM"],"model_type":"qwen3","hidden_size":1024}`,
			want: filelist.Model{
				Task: "text-generation", Library: "transformers", ModelType: "qwen3", Architectures: []string{"Qwen3ForCausalLM"},
				BaseModels: []string{"Qwen/Qwen3-0.6B-Base"}, BaseModelRelation: "finetune", Datasets: []string{"a/b", "c"},
				Licenses: []string{"other"}, LicenseName: "qwen", LicenseLink: "https://example.com/LICENSE",
			},
		},
		"Windows": {reason: "Lines may end as on other systems.", readme: "\ufeff---\r\nlicense: mit\r\n---\r\n", want: filelist.Model{Licenses: []string{"mit"}}},
		"Foreign": {reason: "Values of other types should be ignored, and the others kept.", readme: "---\nlicense: [1, mit, null]\nbase_model: {a: b}\ndatasets: one\n---\n", config: `{"model_type":7,"architectures":"A"}`, want: filelist.Model{Licenses: []string{"mit"}, Datasets: []string{"one"}, Architectures: []string{"A"}}},
		"NoCard":  {reason: "A README needs no card.", readme: "# A model\n---\nlicense: mit\n---\n"},
		"Open":    {reason: "What does not end is no card.", readme: "---\nlicense: mit\n"},
		"Long":    {reason: "Nor is what ends after what is read.", readme: "---\nlicense: mit\nx: " + strings.Repeat("y", MaxBytes) + "\n---\n"},
		"Invalid": {reason: "Nor is what is not YAML.", readme: "---\nlicense: [mit\n---\n", config: `{"model_type":`},
		"Scalar":  {reason: "Nor is what has no fields.", readme: "---\nmit\n---\n", config: `[]`},
		"Empty":   {reason: "A card may be empty.", readme: "---\n---\n"},
		"Aliases": {reason: "Aliases should not be expanded.", readme: "---\na: &a [x, x]\nb: &b [*a, *a]\nlicense: mit\n---\n"},
		"Nothing": {reason: "Neither file needs to be there."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Model(Read([]byte(tc.readme)), ReadConfig([]byte(tc.config)))
			if diff := cmp.Diff(tc.want, got, cmp.Transformer("nil", func(all []string) []string { return append([]string(nil), all...) })); diff != "" {
				t.Errorf("\n%s\nModel(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// FuzzRead checks that no README leads to more than the bounded words.
func FuzzRead(f *testing.F) {
	f.Add([]byte("---\nlicense: [mit, *a]\ndatasets: &a [a, b]\n---\n"))
	f.Add([]byte("---\n<<: {license: mit}\n---"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := Read(b)
		for _, w := range []Words{c.License, c.BaseModel, c.Datasets, c.Task} {
			if len(w) > MaxWords || len(strings.Join(w, "")) > MaxBytes {
				t.Errorf("want bounded words, got %d", len(w))
			}
		}
	})
}
