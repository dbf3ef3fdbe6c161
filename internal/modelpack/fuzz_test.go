package modelpack

import (
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// FuzzNew checks that an artifact with any names of files and licences can be read
// back, and does not depend on the order of its files.
func FuzzNew(f *testing.F) {
	f.Add("model.safetensors", "README.md", "mit", int64(1), int64(2), int64(1767323045))
	f.Add("a/b\"c\\.GGUF", "é/.bin", "a\x00b", int64(0), int64(-1), int64(0))
	f.Add("\xff\xfe", ".", "", int64(1)<<62, int64(1)<<62, int64(-1))
	f.Add("LICENSE", "license", "apache-2.0", int64(3), int64(3), int64(253402300800))
	f.Fuzz(func(t *testing.T, one, two, license string, size, other, date int64) {
		facts := Facts{Name: "m", SourceURL: "https://hub.example.com/o/m", Revision: "r", License: license, CommittedAt: time.Unix(date, 0)}
		layers := []ocispec.Descriptor{
			LayerFor(one, size, digest.FromString(one)), LayerFor(two, other, digest.FromString(two)),
		}
		a, err := New(facts, layers)
		if err != nil {
			if y := facts.CommittedAt.UTC().Year(); y >= 0 && y <= 9999 {
				t.Errorf("New(...): %v", err)
			}
			return
		}
		var m ocispec.Manifest
		var config specv1.Model
		if err := json.Unmarshal(a.Manifest, &m); err != nil {
			t.Fatalf("the manifest cannot be read back: %v\n%s", err, a.Manifest)
		}
		if err := json.Unmarshal(a.Config, &config); err != nil {
			t.Fatalf("the config cannot be read back: %v\n%s", err, a.Config)
		}
		if len(m.Layers) != 2 || len(config.ModelFS.DiffIDs) != 2 || m.Config.Digest != digest.FromBytes(a.Config) || a.Descriptor.Digest != digest.FromBytes(a.Manifest) {
			t.Errorf("New(...) = %s with config %s", a.Manifest, a.Config)
		}
		for _, l := range m.Layers {
			if l.MediaType == "" || l.Digest.Validate() != nil {
				t.Errorf("New(...): want no layer like %+v", l)
			}
		}
		if one == two {
			return
		}
		layers[0], layers[1] = layers[1], layers[0]
		again, err := New(facts, layers)
		if diff := cmp.Diff(a, again); diff != "" || err != nil {
			t.Errorf("files in another order make another artifact: %v\n%s", err, diff)
		}
	})
}

// FuzzLayout checks that a file with any name is either refused, or packed into an
// archive of just that file with the planned size.
func FuzzLayout(f *testing.F) {
	f.Add("a/b.json", "x")
	f.Add("é/.gguf", "")
	f.Add("a\xff\xfe", "abc")
	f.Add("../a", "a")
	f.Add("PaxHeaders.0/a", "a")
	f.Fuzz(func(t *testing.T, path, content string) {
		for _, format := range []Format{FormatModelKit, FormatImage} {
			in := folder{path: content}
			l, err := NewLayout(format, in.files())
			if err != nil || len(l.Layers) == 0 {
				continue
			}
			b, err := io.ReadAll(l.Layers[0].Open(0, in.open))
			if err != nil || int64(len(b)) != l.Layers[0].Size || len(b)%tarBlockBytes != 0 {
				t.Fatalf("%s: want %d bytes, got %d, %v", format, l.Layers[0].Size, len(b), err)
			}
			want := path
			if format == FormatImage {
				want = imageStyle.folder + path
			}
			files, _ := unpack(t, [][]byte{b})
			if diff := cmp.Diff(folder{want: content}, files); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", format, diff)
			}
			a, err := l.Artifact(Facts{Name: "m"}, digests([][]byte{b}))
			for _, one := range append(a.Images, a) {
				if err != nil || !json.Valid(one.Manifest) || len(one.Images) == 0 && !json.Valid(one.Config) {
					t.Errorf("%s: %v", format, err)
				}
			}
		}
	})
}
