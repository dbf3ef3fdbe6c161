package modelpack

import (
	"encoding/json"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestReadManifest(t *testing.T) {
	layer := func(mediaType string, annotations ...string) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(mediaType), Size: 1}
		for i := 0; i < len(annotations); i += 2 {
			d.Annotations = map[string]string{annotations[i]: annotations[i+1]}
		}
		return d
	}
	const raw, kit = specv1.MediaTypeModelWeightRaw, "application/vnd.kitops.modelkit."
	file := func(name string) ocispec.Descriptor { return layer(raw, specv1.AnnotationFilepath, name) }
	other := file("a")
	other.Digest = digest.FromString("other")
	noDigest, negative := file("a"), file("a")
	noDigest.Digest, negative.Size = "sha256:../../x", -1
	type want struct {
		Layers  []string // Encoding and path.
		Message string
	}
	cases := map[string]struct {
		reason string
		config string
		layers []ocispec.Descriptor
		want   want

		kitfile string // The config of a ModelKit.
	}{
		"ModelPack": {
			reason: "All encodings of the specification.", config: specv1.MediaTypeModelConfig,
			layers: []ocispec.Descriptor{file("a/b"), layer(specv1.MediaTypeModelWeightConfig), layer(specv1.MediaTypeModelDocGzip), layer(specv1.MediaTypeModelCodeZstd)},
			want:   want{Layers: []string{"raw a/b", "tar ", "tar+gzip ", "tar+zstd "}},
		},
		"ModelKit": {
			reason: "All that kit can write.", config: mediaTypeModelKitConfig, kitfile: `{"model":{"path":"a","parts":[{"path":"b"}]},"docs":[{"path":"c"}],"code":[{"path":"d"}]}`,
			layers: []ocispec.Descriptor{layer(kit + "model.v1.tar"), layer(kit + "modelpart.v1.tar+gzip"), layer(kit + "docs.v1.tar+gzip-fastest"), layer(kit + "code.v1.tar+zstd")},
			want:   want{Layers: []string{"tar ", "tar+gzip ", "tar+gzip ", "tar+zstd "}},
		},
		"CNAI":          {reason: "ModelPack's former names.", config: mediaTypeCNAIConfig, layers: []ocispec.Descriptor{layer("application/vnd.cnai.model.weight.v1.raw", annotationCNAIFilepath, "a")}, want: want{Layers: []string{"raw a"}}},
		"Title":         {reason: "As other tools name files.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{layer(raw, ocispec.AnnotationTitle, "./a")}, want: want{Layers: []string{"raw a"}}},
		"SameTwice":     {reason: "It does no harm.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{file("a"), file("a")}, want: want{Layers: []string{"raw a", "raw a"}}},
		"AnImage":       {reason: "It holds no model.", config: ocispec.MediaTypeImageConfig, layers: []ocispec.Descriptor{file("a")}, want: want{Message: "neither a ModelPack nor a ModelKit"}},
		"NoLayers":      {reason: "It holds nothing.", config: specv1.MediaTypeModelConfig, want: want{Message: "no layers"}},
		"RawKit":        {reason: "Kit writes none.", config: mediaTypeModelKitConfig, layers: []ocispec.Descriptor{layer(kit + "model.v1.raw")}, want: want{Message: "media type"}},
		"OtherLayer":    {reason: "Whether it is a file is not known.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{layer(strings.Repeat("x", 500))}, want: want{Message: "layer 1"}},
		"NoPath":        {reason: "It has no name.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{layer(raw)}, want: want{Message: specv1.AnnotationFilepath}},
		"BadPath":       {reason: "It leads out.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{file("../a")}, want: want{Message: "inside of a folder"}},
		"BadDigest":     {reason: "It would be another path.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{noDigest}, want: want{Message: "digest"}},
		"NegativeSize":  {reason: "It cannot be.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{negative}, want: want{Message: "negative"}},
		"OtherTwice":    {reason: "Which one is meant cannot be told.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{file("a"), other}, want: want{Message: "twice"}},
		"FileAndFolder": {reason: "Both cannot be.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{file("a"), file("a/b/c")}, want: want{Message: "as a folder"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b, err := json.Marshal(ocispec.Manifest{Config: ocispec.Descriptor{MediaType: tc.config}, Layers: tc.layers})
			if err != nil {
				t.Fatal(err)
			}
			layers, err := ReadManifest(b, []byte(tc.kitfile))
			var got []string
			for _, l := range layers {
				got = append(got, string(l.Encoding)+" "+l.Path)
			}
			if tc.want.Message != "" {
				if err == nil || outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), tc.want.Message) || len(err.Error()) > 400 {
					t.Errorf("\n%s\nReadManifest(...): want %q, got %v", tc.reason, tc.want.Message, err)
				}
				return
			}
			if diff := cmp.Diff(tc.want.Layers, got); diff != "" || err != nil {
				t.Errorf("\n%s\nReadManifest(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}

// FuzzReadManifest checks that no manifest yields a file that lies outside of a
// folder, or a layer whose digest is a path.
func FuzzReadManifest(f *testing.F) {
	f.Add([]byte(`{"config":{"mediaType":"application/vnd.cncf.model.config.v1+json"},"layers":[{"mediaType":"application/vnd.cncf.model.doc.v1.raw",`+
		`"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"annotations":{"org.cncf.model.filepath":"a/./b"}}]}`), []byte(nil))
	f.Add([]byte(`{"layers":null}`), []byte(nil))
	f.Add([]byte(modelKitManifest), []byte(`{"model":{"path":"./x/../y/a.gguf","parts":[{"path":"."}]},"docs":[{"path":"../b","digest":"sha256:x"}]}`))
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		layers, err := ReadManifest(manifest, config)
		if err != nil {
			return
		}
		for _, l := range layers {
			if l.Digest.Validate() != nil || l.Size < 0 || (l.Encoding == Raw) != (l.Path != "") {
				t.Errorf("ReadManifest(%q): %+v", manifest, l)
			}
			checkInside(t, l.Path)
			if name, err := l.entryPath("a/b"); err == nil {
				checkInside(t, name)
			}
		}
	})
}

// FuzzFilePath checks that no path leads out of a folder, and that a clean one
// stays as it is.
func FuzzFilePath(f *testing.F) {
	for _, name := range []string{"a/b", "./a", "..", "a/..", "/a", "a//b", ".//../a", "a\\b", "a\x00", "a/."} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		clean, err := FilePath(name)
		if err != nil {
			return
		}
		checkInside(t, clean)
		if again, err := FilePath(clean); err != nil || again != clean || clean == "" {
			t.Errorf("FilePath(%q): %q, and then %q, %v", name, clean, again, err)
		}
	})
}

func checkInside(t *testing.T, name string) {
	t.Helper()
	if name == "" {
		return
	}
	if path.IsAbs(name) || path.Clean(name) != name || name == ".." || strings.HasPrefix(name, "../") {
		t.Errorf("%q lies outside", name)
	}
}
