package pull

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

const imageConfig, imageLayer = ocispec.MediaTypeImageConfig, ocispec.MediaTypeImageLayer

// pushLaidOut pushes files as the provider lays them out in a format, and returns the
// digest.
func (f *front) pushLaidOut(t testing.TB, format modelpack.Format, files map[string]string) digest.Digest {
	t.Helper()
	var all []modelpack.File
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all = append(all, modelpack.File{Path: name, Size: int64(len(files[name]))})
	}
	l, err := modelpack.NewLayout(format, all)
	if err != nil {
		t.Fatal(err)
	}
	c, err := registry.New(registry.Options{Host: f.host(), PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	put := func(b []byte) ocispec.Descriptor {
		d := layerOf("", b).Descriptor
		if err := c.PushBlob(t.Context(), testRepository, d, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	var digests []digest.Digest
	for _, p := range l.Layers {
		in := p.Open(0, func(f modelpack.File, offset int64) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(files[f.Path][offset:])), nil
		})
		b, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, put(b).Digest)
	}
	a, err := l.Artifact(modelpack.Facts{Name: "m"}, digests)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range a.Images {
		put(i.Config)
		if err := c.PushManifest(t.Context(), testRepository, i.Descriptor, i.Manifest, i.Descriptor.Digest.String()); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.Config) > 0 {
		put(a.Config)
	}
	if err := c.PushManifest(t.Context(), testRepository, a.Descriptor, a.Manifest, "v1"); err != nil {
		t.Fatal(err)
	}
	f.breaks(nil)
	return a.Descriptor.Digest
}

// TestImage checks that an image of a model is pulled as its files, to the same paths as
// from any other format.
func TestImage(t *testing.T) {
	files := modelFiles()
	f := newFront(t, open, false)
	for _, format := range []modelpack.Format{modelpack.FormatImage, modelpack.FormatModelPack} {
		f.breaks(nil)
		d := f.pushLaidOut(t, format, files)
		dir := t.TempDir()
		p, log := f.pulling(dir, d)
		got, err := p.Run(t.Context())
		if err != nil || got != (Result{Digest: d, Files: len(files), Bytes: sizeOf(files)}) {
			t.Fatalf("%s: Run(...): %s, %v\n%s", format, got, err, log)
		}
		holdsFiles(t, dir, files)
		checkAgain(t, f, dir, d)
	}
}

func TestOtherImages(t *testing.T) {
	one := tarLayer(t, imageLayer, map[string]string{"models/a": "a"})
	reg := func(name string, flag byte) content {
		return layerOf(imageLayer, tarOf(t, []*tar.Header{{Name: name, Linkname: "/etc/passwd", Typeflag: flag, Mode: 0o644}}, nil))
	}
	cases := map[string]struct {
		reason  string
		images  [][]content // Of an index; one is a manifest of its own.
		files   map[string]string
		want    outcome.Reason
		message string
	}{
		"Manifest":       {reason: "An image without an index should be pulled.", images: [][]content{{one}}, files: map[string]string{"a": "a"}},
		"Gzip":           {reason: "An image with compressed layers should be pulled.", images: [][]content{{tarLayer(t, imageLayer+"+gzip", map[string]string{"models/a": "a", "models/b/c": "c"})}}, files: map[string]string{"a": "a", "b/c": "c"}},
		"SamePlatforms":  {reason: "An index whose images have the same layers should be pulled, whatever their platforms.", images: [][]content{{one}, {one}}, files: map[string]string{"a": "a"}},
		"OtherPlatforms": {reason: "An index whose images have different layers should be refused.", images: [][]content{{one}, {tarLayer(t, imageLayer, map[string]string{"models/a": "b"})}}, want: outcome.Unsupported, message: "several artifacts"},
		"Replaced":       {reason: "A layer that replaces a file of an earlier one should be refused.", images: [][]content{{one, tarLayer(t, imageLayer, map[string]string{"models/a": "b"})}}, want: outcome.Unsupported, message: "twice"},
		"Whiteout":       {reason: "A layer that removes a file of an earlier one should be refused.", images: [][]content{{one, tarLayer(t, imageLayer, map[string]string{"models/.wh.a": ""})}}, want: outcome.Unsupported, message: "removes a file"},
		"Outside":        {reason: "A file that is not the model's should be refused.", images: [][]content{{tarLayer(t, imageLayer, map[string]string{"etc/passwd": "x"})}}, want: outcome.Unsupported, message: "outside of /models"},
		"DotDot":         {reason: "A path out of the folder should be refused.", images: [][]content{{reg("models/../../a", tar.TypeReg)}}, want: outcome.Unsupported, message: "inside of a folder"},
		"Symlink":        {reason: "A symbolic link should be refused.", images: [][]content{{reg("models/a", tar.TypeSymlink)}}, want: outcome.Unsupported, message: "link or a device"},
		"State":          {reason: "A path of the pull's state should be refused.", images: [][]content{{reg("models/.provider-kitops/state.json", tar.TypeReg)}}, want: outcome.Unsupported, message: stateDir},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, open, false)
			var d digest.Digest
			index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
			index.SchemaVersion = 2
			for i, layers := range tc.images {
				config := fmt.Sprintf(`{"architecture":"a%d","os":"linux"}`, i)
				d = f.pushWith(t, imageConfig, config, layers...)
				c, err := registry.New(registry.Options{Host: f.host(), PlainHTTP: true})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				one, err := c.Resolve(t.Context(), testRepository, d.String())
				if err != nil {
					t.Fatal(err)
				}
				index.Manifests = append(index.Manifests, ocispec.Descriptor{MediaType: one.MediaType, Digest: d, Size: one.Size, Platform: &ocispec.Platform{OS: "linux", Architecture: fmt.Sprint("a", i)}})
				if i == 0 {
					continue
				}
				b, err := json.Marshal(index)
				if err != nil {
					t.Fatal(err)
				}
				top := layerOf(index.MediaType, b).Descriptor
				if err := c.PushManifest(t.Context(), testRepository, top, b, "index"); err != nil {
					t.Fatal(err)
				}
				d = top.Digest
			}
			dir := t.TempDir()
			p, _ := f.pulling(dir, d)
			_, err := p.Run(t.Context())
			checkError(t, tc.reason, err, tc.want, tc.message)
			got := visible(t, dir)
			if tc.want == "" {
				holdsFiles(t, dir, tc.files)
			} else if delete(got, "a"); len(got) > 0 {
				t.Errorf("\n%s\npulled: %v", tc.reason, brief(got))
			}
		})
	}
}
