package modelpack

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// maxIndexManifests bounds the manifests of an index. Kubernetes runs on fewer
// platforms.
const maxIndexManifests = 16

// Manifests are the manifest of an artifact, or an index with the manifests of
// images that have the same layers for several platforms.
type Manifests struct {
	// Top is the manifest or the index. Its digest is the artifact's.
	Top []byte

	// Images are the manifests that the index lists; none if Top is a manifest.
	Images []ImageManifest
}

// An ImageManifest is a manifest that an index lists.
type ImageManifest struct {
	ocispec.Descriptor

	// Content is the manifest.
	Content []byte
}

// A ManifestReader reads manifests from a registry.
type ManifestReader interface {
	// Manifest returns the manifest with a tag or a digest.
	Manifest(ctx context.Context, repository, reference string) (ocispec.Descriptor, []byte, error)
}

// ReadManifests returns the manifests of the artifact with this manifest or index,
// and reads those that the index lists. It returns an error with reason Unsupported
// if these do not all have the same layers.
func ReadManifests(ctx context.Context, r ManifestReader, repository string, top []byte) (Manifests, error) {
	named, err := IndexManifests(top)
	if err != nil || len(named) == 0 {
		return Manifests{Top: top}, err
	}
	m := Manifests{Top: top}
	var layers []ocispec.Descriptor
	for i, d := range named {
		_, b, err := r.Manifest(ctx, repository, d.Digest.String())
		if err != nil {
			return Manifests{}, err
		}
		if d.Digest.Algorithm().FromBytes(b) != d.Digest {
			return Manifests{}, outcome.Errorf(outcome.Mismatch, "the registry sent another manifest than %s@%s", repository, d.Digest)
		}
		blobs, err := Blobs(b)
		if err != nil {
			return Manifests{}, severalArtifacts(err)
		}
		if i == 0 {
			layers = blobs[1:]
		}
		if !slices.EqualFunc(layers, blobs[1:], sameBlob) {
			return Manifests{}, severalArtifacts(nil)
		}
		m.Images = append(m.Images, ImageManifest{Descriptor: d, Content: b})
	}
	return m, nil
}

// IndexManifests returns the manifests that an index lists, or none for anything but
// an index. It returns an error with reason Unsupported if there are too many, or
// their descriptors are invalid.
func IndexManifests(top []byte) ([]ocispec.Descriptor, error) {
	var index struct {
		Config    ocispec.Descriptor   `json:"config"`
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := decode.JSON(top, &index); err != nil || index.Config.MediaType != "" {
		return nil, nil //nolint:nilerr // Reading it as a manifest returns the error.
	}
	if len(index.Manifests) > maxIndexManifests {
		return nil, severalArtifacts(nil)
	}
	for _, d := range index.Manifests {
		if d.Digest.Validate() != nil || d.Size < 0 {
			return nil, severalArtifacts(nil)
		}
	}
	return index.Manifests, nil
}

// severalArtifacts returns the error of an index that is not one image.
func severalArtifacts(why error) error {
	return outcome.Errorf(outcome.Unsupported, "what is there is an index of several artifacts: name one of them by its digest").Because(why)
}

func sameBlob(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest && a.Size == b.Size }

// Main returns the manifest with the artifact's layers: its own, or that of its
// first image.
func (m Manifests) Main() []byte {
	if len(m.Images) > 0 {
		return m.Images[0].Content
	}
	return m.Top
}

// Describe describes the artifact according to its manifests.
func (m Manifests) Describe() (Description, error) {
	d, err := Describe(m.Main())
	if err != nil || len(m.Images) == 0 {
		return d, err
	}
	blobs, err := m.Blobs()
	d.Size = 0
	for _, b := range blobs {
		d.Size += max(b.Size, 0)
	}
	return d, err
}

// Blobs returns the blobs of all manifests: the configs, each once, then the layers.
func (m Manifests) Blobs() ([]ocispec.Descriptor, error) {
	blobs, err := Blobs(m.Main())
	if err != nil || len(m.Images) == 0 {
		return blobs, err
	}
	configs := map[digest.Digest]bool{}
	out := make([]ocispec.Descriptor, 0, len(blobs)+len(m.Images))
	for _, i := range m.Images {
		b, err := Blobs(i.Content)
		if err != nil {
			return nil, err
		}
		if !configs[b[0].Digest] {
			configs[b[0].Digest] = true
			out = append(out, b[0])
		}
	}
	return append(out, blobs[1:]...), nil
}
