package modelpack

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	modelPackManifest = `{"config":{"mediaType":"application/vnd.cncf.model.config.v1+json","digest":"sha256:x","size":100},
		"layers":[{"size":20},{"size":3}],
		"annotations":{"org.opencontainers.image.source":"https://huggingface.co/org/m","org.opencontainers.image.revision":"c0ffee","org.opencontainers.image.licenses":"mit"}}`
	plainModelPack   = `{"config":{"mediaType":"application/vnd.cncf.model.config.v1+json","size":100},"layers":[{"size":20}]}`
	modelKitManifest = `{"config":{"mediaType":"application/vnd.kitops.modelkit.config.v1+json","size":7},"layers":[{"size":1}]}`
	imageManifest    = `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":7},"layers":[{"size":1}]}`
)

func TestDescribe(t *testing.T) {
	type want struct {
		format Format
		size   int64
		config bool
		facts  Facts
		reason outcome.Reason
	}
	cases := map[string]struct {
		reason   string
		manifest string
		config   string
		want     want
	}{
		"ModelPack": {
			reason:   "The facts of the manifest should be returned.",
			manifest: modelPackManifest,
			config:   `{"descriptor":{"name":"m","licenses":["apache-2.0"]}}`,
			want: want{format: FormatModelPack, size: 123, config: true,
				facts: Facts{Name: "m", SourceURL: "https://huggingface.co/org/m", Revision: "c0ffee", License: "MIT"}},
		},
		"ConfigOnly": {
			reason:   "The facts of the config should be returned if the manifest has none.",
			manifest: plainModelPack,
			config:   `{"descriptor":{"name":"m","sourceURL":"https://x","revision":"1","licenses":["apache-2.0"]}}`,
			want:     want{format: FormatModelPack, size: 120, config: true, facts: Facts{Name: "m", SourceURL: "https://x", Revision: "1", License: "Apache-2.0"}},
		},
		"Several": {
			reason:   "All of several licences should be returned.",
			manifest: plainModelPack,
			config:   `{"descriptor":{"licenses":["apache-2.0","LicenseRef-gfdl","MIT OR Zlib"]}}`,
			want:     want{format: FormatModelPack, size: 120, config: true, facts: Facts{License: "Apache-2.0 AND LicenseRef-gfdl AND (MIT OR Zlib)"}},
		},
		"Parts": {
			reason:   "The licences of a ModelKit's parts should be returned if its package has none.",
			manifest: modelKitManifest,
			config:   `{"model":{"license":"mit"},"code":[{"path":"a"},{"license":"mit"}],"datasets":[{"license":"gfdl"}]}`,
			want:     want{format: FormatModelKit, size: 8, config: true, facts: Facts{License: "MIT AND gfdl"}},
		},
		"ModelKit": {
			reason:   "The facts of a ModelKit's Kitfile should be returned.",
			manifest: modelKitManifest,
			config:   `{"manifestVersion":"1.0.0","package":{"name":"m"},"model":{"license":"mit"}}`,
			want:     want{format: FormatModelKit, size: 8, config: true, facts: Facts{Name: "m", License: "MIT"}},
		},
		"BadConfig": {
			reason:   "A config that cannot be decoded should yield no facts.",
			manifest: modelKitManifest,
			config:   `{"package":[]}`,
			want:     want{format: FormatModelKit, size: 8, config: true},
		},
		"Image":    {reason: "An image that was not packed from a model should have no format.", manifest: imageManifest, want: want{size: 8}},
		"Index":    {reason: "An error should be returned for an index.", manifest: `{"manifests":[]}`, want: want{reason: outcome.Unsupported}},
		"Nonsense": {reason: "An error should be returned for anything but a manifest.", manifest: `<html>`, want: want{reason: outcome.Unsupported}},
		"Lines": {
			reason:   "Foreign facts should be cut to one bounded line.",
			manifest: `{"config":{"mediaType":"x"},"annotations":{"org.opencontainers.image.licenses":"a\nb\u0000` + strings.Repeat("ü", 500) + `"}}`,
			want:     want{facts: Facts{License: "ab" + strings.Repeat("ü", 127)}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d, err := Describe([]byte(tc.manifest))
			got := want{}
			if err != nil {
				got.reason = outcome.ReasonOf(err)
			} else {
				got = want{format: d.Format, size: d.Size, config: d.HasConfig(), facts: d.Facts([]byte(tc.config))}
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// FuzzDescribe checks that the facts of any manifest and config can be shown in a
// status.
func FuzzDescribe(f *testing.F) {
	f.Add([]byte(modelPackManifest), []byte(`{"descriptor":{"licenses":["mit"]}}`))
	f.Add([]byte(modelKitManifest), []byte(`{"package":{"license":"mit"}}`))
	f.Add([]byte(imageManifest), []byte(`{}`))
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		d, err := Describe(manifest)
		if err != nil {
			return
		}
		facts := d.Facts(config)
		for _, s := range []string{facts.Name, facts.SourceURL, facts.Revision, facts.License} {
			if len(s) > maxFactBytes || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
				t.Errorf("%q", s)
			}
		}
	})
}

// TestSeveralLicenses checks that several licences of a model are read back as they
// were packed.
func TestSeveralLicenses(t *testing.T) {
	const all = "CC-BY-SA-3.0 AND LicenseRef-gfdl"
	files := []File{{Path: "model.safetensors", Size: 1}}
	for _, format := range []Format{FormatModelPack, FormatModelKit} {
		layout, err := NewLayout(format, files)
		if err != nil {
			t.Fatal(err)
		}
		a, err := layout.Artifact(Facts{Name: "m", License: all}, []digest.Digest{digest.FromString("x")})
		if err != nil {
			t.Fatal(err)
		}
		d, err := Describe(a.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Facts(a.Config).License; got != all {
			t.Errorf("%s: want %q, got %q", format, all, got)
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(a.Manifest, &m); err != nil || m.Annotations[ocispec.AnnotationLicenses] != all {
			t.Errorf("%s: want the annotation %q, got %q, %v", format, all, m.Annotations[ocispec.AnnotationLicenses], err)
		}
		if format != FormatModelPack {
			continue
		}
		var config specv1.Model
		if err := json.Unmarshal(a.Config, &config); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"CC-BY-SA-3.0", "LicenseRef-gfdl"}, config.Descriptor.Licenses); diff != "" {
			t.Errorf("config: -want, +got:\n%s", diff)
		}
	}
}
