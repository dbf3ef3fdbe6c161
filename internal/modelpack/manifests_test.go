package modelpack

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// manifestsIn are the manifests that a registry has.
type manifestsIn map[digest.Digest][]byte

func (m manifestsIn) Manifest(_ context.Context, _, reference string) (ocispec.Descriptor, []byte, error) {
	b, ok := m[digest.Digest(reference)]
	if !ok {
		return ocispec.Descriptor{}, nil, outcome.Errorf(outcome.NotFound, "no %s", reference)
	}
	return ocispec.Descriptor{Digest: digest.Digest(reference), Size: int64(len(b))}, b, nil
}

func TestReadManifests(t *testing.T) {
	layout, blobs := pack(t, FormatImage, small)
	ours, err := layout.Artifact(full, digests(blobs))
	if err != nil {
		t.Fatal(err)
	}
	in := manifestsIn{}
	for _, i := range ours.Images {
		in[i.Descriptor.Digest] = i.Manifest
	}
	other := []byte(strings.ReplaceAll(string(ours.Images[0].Manifest), ours.Layers[0].Digest.String(), digest.FromString("other").String()))
	in[digest.FromBytes(other)] = other
	changed := digest.FromString("changed")
	in[changed] = ours.Images[0].Manifest
	single, err := New(full, []ocispec.Descriptor{LayerFor("a", 1, digest.FromString("a"))})
	if err != nil {
		t.Fatal(err)
	}
	index := func(of ...digest.Digest) []byte {
		var i ocispec.Index
		for _, d := range of {
			i.Manifests = append(i.Manifests, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: 1})
		}
		b, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := ours.Images[0].Descriptor.Digest
	type want struct {
		format Format
		size   int64
		images int
		blobs  int
		reason outcome.Reason
	}
	cases := map[string]struct {
		reason string
		top    []byte
		want   want
	}{
		"Ours":      {reason: "An index of images with the same layers should be one artifact.", top: ours.Manifest, want: want{format: FormatImage, size: ours.Size(), images: 2, blobs: 2 + len(ours.Layers)}},
		"Manifest":  {reason: "A manifest should be returned as it is.", top: single.Manifest, want: want{format: FormatModelPack, size: single.Size(), blobs: 2}},
		"SameTwice": {reason: "A config that two images share should be counted once.", top: index(first, first), want: want{format: FormatImage, size: ours.Images[0].Size(), images: 2, blobs: 1 + len(ours.Layers)}},
		"Several":   {reason: "An error should be returned for images with different layers.", top: index(first, digest.FromBytes(other)), want: want{reason: outcome.Unsupported}},
		"Lost":      {reason: "Any error encountered while reading a manifest should be returned.", top: index(first, digest.FromString("gone")), want: want{reason: outcome.NotFound}},
		"Changed":   {reason: "An error should be returned for a manifest with another digest.", top: index(changed), want: want{reason: outcome.Mismatch}},
		"NoDigest":  {reason: "An error should be returned for an invalid digest, which may be a path.", top: index("../../x"), want: want{reason: outcome.Unsupported}},
		"TooMany":   {reason: "An error should be returned for an index of too many manifests.", top: index(slices.Repeat([]digest.Digest{first}, maxIndexManifests+1)...), want: want{reason: outcome.Unsupported}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m, err := ReadManifests(t.Context(), in, "models/model", tc.top)
			if err != nil {
				if got := outcome.ReasonOf(err); got != tc.want.reason {
					t.Errorf("\n%s\nReadManifests(...): want %q, got %v", tc.reason, tc.want.reason, err)
				}
				return
			}
			d, err := m.Describe()
			if err != nil {
				t.Fatal(err)
			}
			blobs, err := m.Blobs()
			if err != nil {
				t.Fatal(err)
			}
			got := want{format: d.Format, size: d.Size, images: len(m.Images), blobs: len(blobs)}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nReadManifests(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// FuzzReadManifests checks that no index is read beyond its limit, and that what is
// read can be described.
func FuzzReadManifests(f *testing.F) {
	d := digest.FromString(imageManifest)
	f.Add(fmt.Appendf(nil, `{"manifests":[{"digest":%q,"size":1},{"digest":%[1]q,"size":1}]}`, d))
	f.Add([]byte(`{"manifests":[{},{}],"config":{"mediaType":"x"}}`))
	f.Add([]byte(`{"manifests":null}`))
	f.Add([]byte(`{"manifests":{"a":1}}`))
	f.Fuzz(func(t *testing.T, top []byte) {
		m, err := ReadManifests(t.Context(), manifestsIn{d: []byte(imageManifest)}, "a", top)
		if err != nil {
			return
		}
		if len(m.Images) > maxIndexManifests {
			t.Errorf("want at most %d manifests, got %d", maxIndexManifests, len(m.Images))
		}
		if _, err := m.Describe(); err != nil && outcome.ReasonOf(err) != outcome.Unsupported {
			t.Errorf("Describe(): %v", err)
		}
	})
}
