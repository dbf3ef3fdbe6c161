package modelpack

import (
	"encoding/json"
	"path"
	"strings"
	"testing"
	"time"

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
			reason: "All encodings of the specification should be read.", config: specv1.MediaTypeModelConfig,
			layers: []ocispec.Descriptor{file("a/b"), layer(specv1.MediaTypeModelWeightConfig), layer(specv1.MediaTypeModelDocGzip), layer(specv1.MediaTypeModelCodeZstd)},
			want:   want{Layers: []string{"raw a/b", "tar ", "tar+gzip ", "tar+zstd "}},
		},
		"ModelKit": {
			reason: "All layers that kit writes should be read.", config: mediaTypeModelKitConfig, kitfile: `{"model":{"path":"a","parts":[{"path":"b"}]},"docs":[{"path":"c"}],"code":[{"path":"d"}]}`,
			layers: []ocispec.Descriptor{layer(kit + "model.v1.tar"), layer(kit + "modelpart.v1.tar+gzip"), layer(kit + "docs.v1.tar+gzip-fastest"), layer(kit + "code.v1.tar+zstd")},
			want:   want{Layers: []string{"tar ", "tar+gzip ", "tar+gzip ", "tar+zstd "}},
		},
		"CNAI":          {reason: "ModelPack's former names should be read.", config: mediaTypeCNAIConfig, layers: []ocispec.Descriptor{layer("application/vnd.cnai.model.weight.v1.raw", annotationCNAIFilepath, "a")}, want: want{Layers: []string{"raw a"}}},
		"Title":         {reason: "The title should name a file, as other tools write it.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{layer(raw, ocispec.AnnotationTitle, "./a")}, want: want{Layers: []string{"raw a"}}},
		"SameTwice":     {reason: "The same file twice should be accepted.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{file("a"), file("a")}, want: want{Layers: []string{"raw a", "raw a"}}},
		"AnImage":       {reason: "An error should be returned for an image.", config: ocispec.MediaTypeImageConfig, layers: []ocispec.Descriptor{file("a")}, want: want{Message: "neither a ModelPack nor a ModelKit"}},
		"NoLayers":      {reason: "An error should be returned for an artifact without layers.", config: specv1.MediaTypeModelConfig, want: want{Message: "no layers"}},
		"RawKit":        {reason: "An error should be returned for a raw layer of a ModelKit, which kit does not write.", config: mediaTypeModelKitConfig, layers: []ocispec.Descriptor{layer(kit + "model.v1.raw")}, want: want{Message: "media type"}},
		"OtherLayer":    {reason: "An error should be returned for a layer of an unknown media type.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{layer(strings.Repeat("x", 500))}, want: want{Message: "layer 1"}},
		"NoPath":        {reason: "An error should be returned for a file without a name.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{layer(raw)}, want: want{Message: specv1.AnnotationFilepath}},
		"BadPath":       {reason: "An error should be returned for a path outside of the model.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{file("../a")}, want: want{Message: "inside of a folder"}},
		"BadDigest":     {reason: "An error should be returned for an invalid digest, which may be a path.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{noDigest}, want: want{Message: "digest"}},
		"NegativeSize":  {reason: "An error should be returned for a negative size.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{negative}, want: want{Message: "negative"}},
		"OtherTwice":    {reason: "An error should be returned for two files with the same path and different content.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{file("a"), other}, want: want{Message: "twice"}},
		"FileAndFolder": {reason: "An error should be returned for a file with the path of a folder.", config: specv1.MediaTypeModelConfig, layers: []ocispec.Descriptor{file("a"), file("a/b/c")}, want: want{Message: "as a folder"}},
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

// FuzzReadManifest checks that no manifest yields a file outside of its folder, or a
// layer whose digest is a path.
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

func TestReadLayers(t *testing.T) {
	d := `"digest":"` + digest.FromString("a").String() + `","size":1`
	type want struct {
		encodings []Encoding
		overlays  bool
		says      string
	}
	cases := map[string]struct {
		reason   string
		manifest string
		config   string
		want     want
	}{
		"Image": {
			reason:   "The layers of an image should be archives, of which the later one takes precedence.",
			manifest: `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",` + d + `},{"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd",` + d + `}]}`,
			want:     want{encodings: []Encoding{Tar, TarZstd}, overlays: true},
		},
		"Docker": {
			reason:   "Docker's media types should be read as OCI's.",
			manifest: `{"config":{"mediaType":"application/vnd.docker.container.image.v1+json"},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip",` + d + `}]}`,
			want:     want{encodings: []Encoding{TarGzip}, overlays: true},
		},
		"ModelKit": {
			reason:   "Layers that ReadManifest reads should be read.",
			manifest: `{"config":{"mediaType":"application/vnd.kitops.modelkit.config.v1+json"},"layers":[{"mediaType":"application/vnd.kitops.modelkit.code.v1.tar+gzip-fastest",` + d + `}]}`,
			config:   `{"code":[{"path":"a"}]}`,
			want:     want{encodings: []Encoding{TarGzip}},
		},
		"Foreign": {
			reason:   "An error should be returned for a layer that may not be distributed.",
			manifest: `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",` + d + `}]}`,
			want:     want{says: "layer 1 of the image"},
		},
		"NoDigest": {
			reason:   "An error should be returned for an invalid digest.",
			manifest: `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:x","size":1}]}`,
			want:     want{says: "layer 1 of the image"},
		},
		"Subject": {
			reason:   "An error should be returned for a statement about another artifact.",
			manifest: `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"subject":{` + d + `},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",` + d + `}]}`,
			want:     want{says: "a statement about another"},
		},
		"Elsewhere": {
			reason:   "An error should be returned for a layer at another address, which is not in the repository.",
			manifest: `{"config":{"mediaType":"application/vnd.cncf.model.config.v1+json"},"layers":[{"mediaType":"application/vnd.cncf.model.doc.v1.tar","urls":["https://example.com"],` + d + `}]}`,
			want:     want{says: "another address"},
		},
		"OtherKit": {
			reason:   "An error should be returned for a ModelKit that does not contain its model.",
			manifest: `{"config":{"mediaType":"application/vnd.kitops.modelkit.config.v1+json"},"layers":[{"mediaType":"application/vnd.kitops.modelkit.docs.v1.tar",` + d + `}]}`,
			config:   `{"model":{"path":"registry.example.com/base:v1"},"docs":[{"path":"a"}]}`,
			want:     want{says: `of another one, "registry.example.com/base:v1"`},
		},
		"NoLayers": {reason: "An error should be returned for an image without layers.", manifest: `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"}}`, want: want{says: "no layers"}},
		"NoJSON":   {reason: "An error should be returned for anything but JSON.", manifest: `<html>`, want: want{says: "not the manifest"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			layers, err := ReadLayers([]byte(tc.manifest), []byte(tc.config))
			if (err != nil) != (tc.want.says != "") || err != nil && (outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), tc.want.says)) {
				t.Fatalf("\n%s\nReadLayers(...): want %q, got %v", tc.reason, tc.want.says, err)
			}
			var got []Encoding
			for _, l := range layers {
				if got = append(got, l.Encoding); l.Overlays() != tc.want.overlays {
					t.Errorf("\n%s\nOverlays(): want %t", tc.reason, tc.want.overlays)
				}
			}
			if diff := cmp.Diff(tc.want.encodings, got); diff != "" {
				t.Errorf("\n%s\nReadLayers(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestModel checks that the facts of artifacts of each format are read back.
func TestModel(t *testing.T) {
	facts := Facts{
		Name: "model", Author: "org", SourceURL: "https://huggingface.co/org/model", Revision: strings.Repeat("c", 40), License: "MIT",
		CommittedAt: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC),
	}
	for _, format := range []Format{FormatModelPack, FormatModelKit, FormatImage} {
		t.Run(string(format), func(t *testing.T) {
			layout, err := NewLayout(format, []File{{Path: "a.gguf", Size: 1}})
			if err != nil {
				t.Fatal(err)
			}
			a, err := layout.Artifact(facts, []digest.Digest{digest.FromString("a")})
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Images) > 0 {
				a = a.Images[0]
			}
			d, err := Describe(a.Manifest)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(facts, d.Model(a.Config)); diff != "" {
				t.Errorf("Model(...): -want, +got:\n%s", diff)
			}
			if err := Whole(a.Manifest, a.Config); err != nil {
				t.Errorf("Whole(...): %v", err)
			}
			if name := BlobName(a.Layers[0]); name != "a.gguf" {
				t.Errorf("BlobName(...): want the file's, got %q", name)
			}
		})
	}
	t.Run("Foreign", func(t *testing.T) {
		d := Description{Format: FormatModelPack, annotations: map[string]string{specv1.AnnotationFilepath: "x"}}
		got := d.Model([]byte(`{"descriptor":{"authors":["a\u0000","b"],"createdAt":"0000-01-01T00:00:00Z","sourceURL":"https://x/y/"}}`))
		if diff := cmp.Diff(Facts{Name: "y", Author: "a, b", SourceURL: "https://x/y/"}, got); diff != "" {
			t.Errorf("Model(...): -want, +got:\n%s", diff)
		}
	})
}

// FuzzSource checks that any manifest and config can be read in order to pack the
// artifact again.
func FuzzSource(f *testing.F) {
	f.Add([]byte(modelPackManifest), []byte(`{"descriptor":{"createdAt":"2026-01-01T00:00:00Z"}}`))
	f.Add([]byte(modelKitManifest), []byte(`{"model":{"path":"x:y"},"package":{"authors":["a"]}}`))
	f.Add([]byte(imageManifest), []byte(`{"author":"a"}`))
	f.Add([]byte(`{"config":{"mediaType":"application/vnd.docker.container.image.v1+json"},"subject":{"digest":"x"},"layers":[{"urls":["x"]}]}`), []byte(nil))
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		_ = Whole(manifest, config)
		layers, err := ReadLayers(manifest, config)
		if err != nil && outcome.ReasonOf(err) != outcome.Unsupported {
			t.Errorf("want it to be refused, got %v", err)
		}
		for _, l := range layers {
			if l.Digest.Validate() != nil || l.Size < 0 || (l.Encoding == Raw) != (l.Path != "") {
				t.Errorf("want a layer that can be read, got %+v", l)
			}
		}
		d, err := Describe(manifest)
		if err != nil {
			return
		}
		facts := d.Model(config)
		if diff := cmp.Diff(Facts{Name: cleaned(facts.Name), Author: cleaned(facts.Author), SourceURL: cleaned(facts.SourceURL),
			Revision: cleaned(facts.Revision), License: cleaned(facts.License), CommittedAt: facts.CommittedAt, Config: facts.Config}, facts); diff != "" {
			t.Errorf("want words for a status: -want, +got:\n%s", diff)
		}
		layout, err := NewLayout(FormatModelPack, []File{{Path: "a", Size: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := layout.Artifact(facts, []digest.Digest{digest.FromString("a")}); err != nil {
			t.Errorf("want an artifact of it, got %v", err)
		}
	})
}

// TestPlaceKitLayers checks that a ModelKit's files are placed where kit unpacks them.
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
			reason: "A layer whose digest is in the config should contain full paths.",
			config: `{"model":{"path":"./m/a.gguf","digest":"` + a + `","diffId":"` + a + `"}}`,
			layers: []ocispec.Descriptor{layer("model.v1.tar")},
			want:   want{paths: []string{"x"}},
		},
		"Old": {
			reason: "Without digests the n-th layer of a type should be the n-th entry, without its parent folders.",
			config: `{"model":{"path":"./m/a.gguf","parts":[{"path":"p/q/r"},{"path":"."}]},"code":[{"path":"c"}],"datasets":[{"path":"data/train/"}],"docs":[{"path":""},{"path":"docs/../d/README.md"}]}`,
			layers: []ocispec.Descriptor{layer("model.v1.tar+gzip"), layer("modelpart.v1.tar"), layer("modelpart.v1.tar"), layer("docs.v1.tar"), layer("code.v1.tar"),
				layer("dataset.v1.tar+gzip-fastest"), layer("docs.v1.tar")},
			want: want{paths: []string{"m/x", "p/q/x", "x", "x", "x", "data/x", "d/x"}},
		},
		"NewType": {
			reason: "A layer of a type from after kit wrote digests should contain full paths.",
			config: `{"prompts":[{"path":"p/q"}]}`,
			layers: []ocispec.Descriptor{layer("prompt.v1.tar")},
			want:   want{paths: []string{"x"}},
		},
		"OtherDigest": {reason: "An error should be returned if the config has other digests.", config: `{"docs":[{"path":"d/e","digest":"sha256:b"}]}`, layers: []ocispec.Descriptor{layer("docs.v1.tar")}, want: want{says: "layer 1"}},
		"DiffIDAlone": {reason: "An error should be returned if the config has other diff IDs.", config: `{"docs":[{"path":"d/e","diffId":"sha256:b"}]}`, layers: []ocispec.Descriptor{layer("docs.v1.tar")}, want: want{says: "layer 1"}},
		"Unnamed":     {reason: "An error should be returned for a layer without an entry.", config: `{"code":[{"path":"a"}]}`, layers: []ocispec.Descriptor{layer("code.v1.tar"), layer("code.v1.tar")}, want: want{says: "layer 2"}},
		"NoModel":     {reason: "An error should be returned for a layer of the model without an entry.", config: `{}`, layers: []ocispec.Descriptor{layer("model.v1.tar")}, want: want{says: "layer 1"}},
		"Outside":     {reason: "An error should be returned for an entry outside of the model.", config: `{"docs":[{"path":"../../etc/passwd"}]}`, layers: []ocispec.Descriptor{layer("docs.v1.tar")}, want: want{says: "inside of a folder"}},
		"Absolute":    {reason: "An error should be returned for an entry with an absolute path.", config: `{"docs":[{"path":"/etc/passwd"}]}`, layers: []ocispec.Descriptor{layer("docs.v1.tar")}, want: want{says: "inside of a folder"}},
		"NoConfig":    {reason: "An error should be returned for a config that cannot be decoded.", config: "", layers: []ocispec.Descriptor{layer("docs.v1.tar")}, want: want{says: "cannot be read"}},
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
