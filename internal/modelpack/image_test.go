package modelpack

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestImage(t *testing.T) {
	l, blobs := pack(t, FormatImage, small)
	a, err := l.Artifact(full, digests(blobs))
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(a.Manifest, &index); err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for n, d := range index.Manifests {
		platforms = append(platforms, d.Platform.OS+"/"+d.Platform.Architecture)
		checkImage(t, a.Images[n], l, blobs, *d.Platform)
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" || index.SchemaVersion != 2 || a.Descriptor.MediaType != ocispec.MediaTypeImageIndex {
		t.Errorf("want an index of images for both, got %s\n%s", a.Manifest, diff)
	}
	if a.Images[0].Descriptor.Digest == a.Images[1].Descriptor.Digest || len(a.Config) > 0 || index.Annotations[ocispec.AnnotationRevision] != full.Revision {
		t.Errorf("want images that differ, and an index that says what it was made of, got %s", a.Manifest)
	}
	want := a.Images[0].Size() + a.Images[1].ConfigDescriptor.Size
	if a.Size() != want {
		t.Errorf("Size(): want the layers once, and both configs, %d, got %d", want, a.Size())
	}
	if _, err := ReadManifest(a.Images[0].Manifest, a.Images[0].Config); outcome.ReasonOf(err) != outcome.Unsupported {
		t.Errorf("ReadManifest(...): want an image to be none, got %v", err)
	}
}

// checkImage checks the image for one platform.
func checkImage(t *testing.T, a Artifact, l *Layout, blobs [][]byte, p ocispec.Platform) {
	t.Helper()
	var m ocispec.Manifest
	var i ocispec.Image
	if err := errors.Join(json.Unmarshal(a.Manifest, &m), json.Unmarshal(a.Config, &i)); err != nil {
		t.Fatal(err)
	}
	if m.Config.MediaType != ocispec.MediaTypeImageConfig || m.ArtifactType != "" || m.Config.Digest != digest.FromBytes(a.Config) || m.SchemaVersion != 2 {
		t.Errorf("want the manifest of an image, got %s", a.Manifest)
	}
	if diff := cmp.Diff(digests(blobs), i.RootFS.DiffIDs); diff != "" || i.RootFS.Type != "layers" || i.OS != p.OS || i.Architecture != p.Architecture || len(i.History) != len(m.Layers) {
		t.Errorf("want the config of an image, got %s\n%s", a.Config, diff)
	}
	if !i.Created.Equal(full.CommittedAt) || i.Config.Labels[ocispec.AnnotationRevision] != full.Revision {
		t.Errorf("want it to say what it was made of, got %s", a.Config)
	}
	for n, layer := range m.Layers {
		if layer.MediaType != ocispec.MediaTypeImageLayer || layer.Size != int64(len(blobs[n])) || layer.Annotations[specv1.AnnotationFilepath] != l.Layers[n].Files[0].Path {
			t.Errorf("layer %d: got %+v", n, layer)
		}
	}
	d, err := Describe(a.Manifest)
	if err != nil || d.Format != FormatImage || d.Facts(a.Config).License != "Apache-2.0" {
		t.Errorf("Describe(...): got %+v, %v", d, err)
	}
}

// TestImageIsOne checks with independent code that an image is a valid one, and what a
// container would see of it.
func TestImageIsOne(t *testing.T) {
	l, blobs := pack(t, FormatImage, small)
	a, err := l.Artifact(full, digests(blobs))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range a.Images {
		checkIsImage(t, i, blobs)
	}
}

func checkIsImage(t *testing.T, a Artifact, blobs [][]byte) {
	t.Helper()
	img := imageOf(t, a, blobs)
	// It assumes that every layer is compressed where it reads them.
	if err := validate.Image(img, validate.Fast); err != nil {
		t.Error(err)
	}
	r := mutate.Extract(img)
	defer r.Close()
	got := folder{}
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			got[filepath.ToSlash(h.Name)] = string(b)
		}
	}
	want := folder{}
	for path, content := range small {
		want["models/"+path] = content
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files: -want, +got:\n%s", diff)
	}
}

// imageOf returns an image as a layout on disk has it.
func imageOf(t *testing.T, a Artifact, blobs [][]byte) v1.Image {
	t.Helper()
	dir := t.TempDir()
	index, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{a.Descriptor}})
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755), os.WriteFile(filepath.Join(dir, name), b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("index.json", index)
	write("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	for _, b := range append(blobs, a.Config, a.Manifest) {
		write("blobs/sha256/"+digest.FromBytes(b).Encoded(), b)
	}
	i, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	img, err := i.Image(v1.Hash{Algorithm: "sha256", Hex: a.Descriptor.Digest.Encoded()})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := img.RawManifest(); err != nil || !bytes.Equal(b, a.Manifest) {
		t.Fatalf("want the manifest, got %s, %v", b, err)
	}
	return img
}
