package modelpack

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

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
			reason:   "An image's layers are archives, of which the later one counts.",
			manifest: `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",` + d + `},{"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd",` + d + `}]}`,
			want:     want{encodings: []Encoding{Tar, TarZstd}, overlays: true},
		},
		"Docker": {
			reason:   "Docker's own are no others.",
			manifest: `{"config":{"mediaType":"application/vnd.docker.container.image.v1+json"},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip",` + d + `}]}`,
			want:     want{encodings: []Encoding{TarGzip}, overlays: true},
		},
		"ModelKit": {
			reason:   "What ReadManifest reads is read, too.",
			manifest: `{"config":{"mediaType":"application/vnd.kitops.modelkit.config.v1+json"},"layers":[{"mediaType":"application/vnd.kitops.modelkit.code.v1.tar+gzip-fastest",` + d + `}]}`,
			config:   `{"code":[{"path":"a"}]}`,
			want:     want{encodings: []Encoding{TarGzip}},
		},
		"Foreign": {
			reason:   "What is not to be given away is not to be had.",
			manifest: `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",` + d + `}]}`,
			want:     want{says: "layer 1 of the image"},
		},
		"NoDigest": {
			reason:   "A layer has a digest.",
			manifest: `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:x","size":1}]}`,
			want:     want{says: "layer 1 of the image"},
		},
		"Subject": {
			reason:   "A statement about an artifact is none.",
			manifest: `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"subject":{` + d + `},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",` + d + `}]}`,
			want:     want{says: "a statement about another"},
		},
		"Elsewhere": {
			reason:   "A layer that lies at another address is not in the repository.",
			manifest: `{"config":{"mediaType":"application/vnd.cncf.model.config.v1+json"},"layers":[{"mediaType":"application/vnd.cncf.model.doc.v1.tar","urls":["https://example.com"],` + d + `}]}`,
			want:     want{says: "another address"},
		},
		"OtherKit": {
			reason:   "A ModelKit that takes its model from another one does not hold it.",
			manifest: `{"config":{"mediaType":"application/vnd.kitops.modelkit.config.v1+json"},"layers":[{"mediaType":"application/vnd.kitops.modelkit.docs.v1.tar",` + d + `}]}`,
			config:   `{"model":{"path":"registry.example.com/base:v1"},"docs":[{"path":"a"}]}`,
			want:     want{says: `from another one, "registry.example.com/base:v1"`},
		},
		"NoLayers": {reason: "An image has layers.", manifest: `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"}}`, want: want{says: "no layers"}},
		"NoJSON":   {reason: "A manifest is JSON.", manifest: `<html>`, want: want{says: "not the manifest"}},
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

// TestModel reads back what artifacts of each format are made with.
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

// FuzzSource checks that no manifest, and no config, does harm to whoever reads
// an artifact to pack it anew.
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
		if facts != (Facts{Name: cleaned(facts.Name), Author: cleaned(facts.Author), SourceURL: cleaned(facts.SourceURL),
			Revision: cleaned(facts.Revision), License: cleaned(facts.License), CommittedAt: facts.CommittedAt, Config: facts.Config}) {
			t.Errorf("want words for a status, got %+v", facts)
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
