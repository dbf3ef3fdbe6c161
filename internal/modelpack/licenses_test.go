package modelpack

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestSeveralLicenses writes a model with several licences, and reads
// them again.
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
