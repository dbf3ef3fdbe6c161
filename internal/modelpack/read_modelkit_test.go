package modelpack

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestPlaceKitLayers checks that a ModelKit's files are where kit unpacks them.
func TestPlaceKitLayers(t *testing.T) {
	layer := func(kind string) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: mediaTypeKitPrefix + kind, Digest: digest.FromString("a"), Size: 1}
	}
	a := digest.FromString("a").String()
	type want struct {
		paths []string // Of an entry "x" of each layer.
		says  string
	}
	cases := map[string]struct {
		reason string
		config string
		layers []ocispec.Descriptor
		want   want
	}{
		"Digests": {
			reason: "A layer that the config names by its digest holds full paths.",
			config: `{"model":{"path":"./m/a.gguf","digest":"` + a + `","diffId":"` + a + `"}}`,
			layers: []ocispec.Descriptor{layer("model.v1.tar")},
			want:   want{paths: []string{"x"}},
		},
		"Old": {
			reason: "Without digests the n-th layer of a type is the n-th entry, and lacks the folders above it.",
			config: `{"model":{"path":"./m/a.gguf","parts":[{"path":"p/q/r"},{"path":"."}]},"code":[{"path":"c"}],"datasets":[{"path":"data/train/"}],"docs":[{"path":""},{"path":"docs/../d/README.md"}]}`,
			layers: []ocispec.Descriptor{layer("model.v1.tar+gzip"), layer("modelpart.v1.tar"), layer("modelpart.v1.tar"), layer("docs.v1.tar"), layer("code.v1.tar"),
				layer("dataset.v1.tar+gzip-fastest"), layer("docs.v1.tar")},
			want: want{paths: []string{"m/x", "p/q/x", "x", "x", "x", "data/x", "d/x"}},
		},
		"NewType": {
			reason: "Kits that know other types of layers write digests.",
			config: `{"prompts":[{"path":"p/q"}]}`,
			layers: []ocispec.Descriptor{layer("prompt.v1.tar")},
			want:   want{paths: []string{"x"}},
		},
		"OtherDigest": {reason: "The config is about other layers.", config: `{"docs":[{"path":"d/e","digest":"sha256:b"}]}`, layers: []ocispec.Descriptor{layer("docs.v1.tar")}, want: want{says: "layer 1"}},
		"DiffIDAlone": {reason: "The config is about other layers.", config: `{"docs":[{"path":"d/e","diffId":"sha256:b"}]}`, layers: []ocispec.Descriptor{layer("docs.v1.tar")}, want: want{says: "layer 1"}},
		"Unnamed":     {reason: "Where a layer's files belong is not known.", config: `{"code":[{"path":"a"}]}`, layers: []ocispec.Descriptor{layer("code.v1.tar"), layer("code.v1.tar")}, want: want{says: "layer 2"}},
		"NoModel":     {reason: "Where the model's files belong is not known.", config: `{}`, layers: []ocispec.Descriptor{layer("model.v1.tar")}, want: want{says: "layer 1"}},
		"Outside":     {reason: "A folder outside of the model is no place for files.", config: `{"docs":[{"path":"../../etc/passwd"}]}`, layers: []ocispec.Descriptor{layer("docs.v1.tar")}, want: want{says: "inside of a folder"}},
		"Absolute":    {reason: "A folder outside of the model is no place for files.", config: `{"docs":[{"path":"/etc/passwd"}]}`, layers: []ocispec.Descriptor{layer("docs.v1.tar")}, want: want{says: "inside of a folder"}},
		"NoConfig":    {reason: "Where the files belong is not known.", config: "", layers: []ocispec.Descriptor{layer("docs.v1.tar")}, want: want{says: "cannot be read"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b, err := json.Marshal(ocispec.Manifest{Config: ocispec.Descriptor{MediaType: mediaTypeModelKitConfig}, Layers: tc.layers})
			if err != nil {
				t.Fatal(err)
			}
			layers, err := ReadManifest(b, []byte(tc.config))
			if tc.want.says != "" {
				if err == nil || outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), tc.want.says) {
					t.Errorf("\n%s\nReadManifest(...): want %q, got %v", tc.reason, tc.want.says, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("\n%s\nReadManifest(...): %v", tc.reason, err)
			}
			var got []string
			for _, l := range layers {
				name, err := l.entryPath("./x")
				if err != nil {
					t.Error(err)
				}
				got = append(got, name)
			}
			if diff := cmp.Diff(tc.want.paths, got); diff != "" {
				t.Errorf("\n%s\nReadManifest(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
