package modelpack

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// maxIndexManifests bounds how many manifests an index may name. There are fewer
// platforms that run Kubernetes.
const maxIndexManifests = 16

// Manifests are what an artifact consists of beside its blobs: its manifest, or
// an index of images for several platforms that have the same layers.
type Manifests struct {
	// Top is the manifest, or the index, that has the artifact's digest.
	Top []byte

	// Images are the manifests that an index names; none for a manifest.
	Images []ImageManifest
}

// An ImageManifest is a manifest that an index names.
type ImageManifest struct {
	ocispec.Descriptor

	// Content is the manifest itself.
	Content []byte
}

// A ManifestReader reads manifests from a registry.
type ManifestReader interface {
	// Manifest that a tag or a digest stands for.
	Manifest(ctx context.Context, repository, reference string) (ocispec.Descriptor, []byte, error)
}

// ReadManifests returns the manifests of the artifact that has this manifest or
// index, and reads those that an index names. An index of images that do not all
// have the same layers is an error with reason Unsupported.
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

// IndexManifests returns the manifests that an index names; none for what is no
// index. It is an error with reason Unsupported if these are too many, or no
// manifests.
func IndexManifests(top []byte) ([]ocispec.Descriptor, error) {
	var index struct {
		Config    ocispec.Descriptor   `json:"config"`
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := decode.JSON(top, &index); err != nil || index.Config.MediaType != "" {
		return nil, nil //nolint:nilerr // Whoever reads it as a manifest says what is wrong.
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

// severalArtifacts is the error of an index that is not one image.
func severalArtifacts(why error) error {
	return outcome.Errorf(outcome.Unsupported, "what is there is an index of several artifacts: name one of them by its digest").Because(why)
}

func sameBlob(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest && a.Size == b.Size }

// Main returns the manifest that says what the artifact holds: its own, or that
// of its first image, whose layers all of them have.
func (m Manifests) Main() []byte {
	if len(m.Images) > 0 {
		return m.Images[0].Content
	}
	return m.Top
}

// Describe returns what the artifact is, as its manifests say.
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

// Blobs returns what the manifests refer to: the configs, each once, then the
// layers.
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
