package hub

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
)

func TestInfoModel(t *testing.T) {
	cases := map[string]struct {
		reason string
		answer string
		want   filelist.Model
	}{
		"Whole": {
			reason: "All that the Hub tells should be read.",
			answer: `{"pipeline_tag":"text-generation","library_name":"transformers",
				"cardData":{"license":"other","license_name":"qwen","license_link":"https://example.com/LICENSE","base_model":["Qwen/Qwen3-0.6B-Base"],"base_model_relation":"finetune","datasets":["a/b","c"]},
				"config":{"architectures":["Qwen3ForCausalLM"],"model_type":"qwen3"},"safetensors":{"parameters":{"BF16":751632384},"total":751632384},"tags":["license:other"]}`,
			want: filelist.Model{
				Task: "text-generation", Library: "transformers", ModelType: "qwen3", Architectures: []string{"Qwen3ForCausalLM"}, Parameters: 751632384,
				BaseModels: []string{"Qwen/Qwen3-0.6B-Base"}, BaseModelRelation: "finetune", Datasets: []string{"a/b", "c"},
				Licenses: []string{"other"}, LicenseName: "qwen", LicenseLink: "https://example.com/LICENSE",
			},
		},
		"Card": {
			reason: "What the Hub does not tell of itself should be read from the card.",
			answer: `{"cardData":{"pipeline_tag":"fill-mask","library_name":"timm","base_model":"a/b"},"tags":["license:mit"]}`,
			want:   filelist.Model{Task: "fill-mask", Library: "timm", BaseModels: []string{"a/b"}, Licenses: []string{"mit"}},
		},
		"Foreign": {
			reason: "Values of other types should be ignored, and the others should be kept.",
			answer: `{"pipeline_tag":{"a":1},"library_name":7,"cardData":{"license":[1,"mit",null],"base_model":{},"datasets":"one"},"config":[],"safetensors":{"total":"many"}}`,
			want:   filelist.Model{Licenses: []string{"mit"}, Datasets: []string{"one"}},
		},
		"Bare": {reason: "A mirror may tell nothing.", answer: `{"sha":"x","cardData":null,"config":null}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var told info
			if err := json.Unmarshal([]byte(tc.answer), &told); err != nil {
				t.Fatal(err)
			}
			got := told.model()
			for _, all := range []*[]string{&got.Architectures, &got.BaseModels, &got.Datasets, &got.Licenses} {
				if len(*all) == 0 {
					*all = nil
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nmodel(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
