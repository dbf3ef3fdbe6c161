package modelpack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// imageStyle puts a model's files where KServe looks for them in an image that is
// mounted as a volume or fetched
// (https://kserve.github.io/website/docs/model-serving/storage/providers/oci). They
// are owned by root and readable by everybody.
var imageStyle = tarStyle{folder: "models/", dirSuffix: "/"}

// imageArchitectures are the architectures of the index, in its order. Its images
// contain no programs and differ in nothing else, but a node does not unpack an
// image for another architecture.
var imageArchitectures = []string{"amd64", "arm64"}

const imageOS = "linux"

// Bounds of an image's layers. An image is mounted as an overlay of its layers, whose
// number is limited: to 500 by Linux, to somewhat more than 400 by the length of
// containerd's mount options, and to 127 by Docker.
const (
	// manyImageFiles is the number of files up to which each has its own layer.
	manyImageFiles = 100

	// smallImageFile is the size up to which a file shares a layer with others if
	// there are more files than that. If the image had too many layers nevertheless, it is
	// doubled, up to largestSmallImageFile.
	smallImageFile        = 16 << 20
	largestSmallImageFile = 1 << 30

	// sharedImageFiles is how many of the largest small files share a layer.
	sharedImageFiles = 4

	// maxImageLayers bounds the layers of an image.
	maxImageLayers = 400
)

// layOutImage puts each file into its own layer, unless there are so many that the
// image could not be mounted: then small files share layers.
func layOutImage(files []File) (*Layout, error) {
	small := int64(smallImageFile)
	groups := imageGroups(files, small)
	for len(groups) > maxImageLayers && small < largestSmallImageFile {
		small *= 2
		groups = imageGroups(files, small)
	}
	if len(groups) > maxImageLayers {
		return nil, outcome.Errorf(outcome.Unsupported,
			"the model has %d files, of which an image would have %d layers, and nodes can mount %d: set spec.forProvider.format to another",
			len(files), len(groups), maxImageLayers)
	}
	l := &Layout{Format: FormatImage}
	for _, f := range files {
		// A whiteout is not a file, but the removal of one (image-spec, layer.md,
		// "Whiteouts").
		if strings.Contains("/"+f.Path, "/.wh.") {
			return nil, outcome.Errorf(outcome.Unsupported, "an image cannot hold the file %q with this name: set spec.forProvider.format to another", outcome.Shorten(f.Path))
		}
	}
	for _, g := range groups {
		p, err := planTar(imageStyle, ocispec.MediaTypeImageLayer, g...)
		if err != nil {
			return nil, err
		}
		l.Layers = append(l.Layers, p)
	}
	return l, nil
}

// imageGroups returns the files of each layer, of which those up to a size share some.
func imageGroups(files []File, small int64) [][]File {
	var groups [][]File
	var shared []File
	var size int64
	for _, f := range files {
		if len(files) <= manyImageFiles || f.Size > small {
			groups = append(groups, []File{f})
			continue
		}
		if size+f.Size > sharedImageFiles*small {
			groups, shared, size = append(groups, shared), nil, 0
		}
		shared, size = append(shared, f), size+max(f.Size, 0)
	}
	if len(shared) > 0 {
		groups = append(groups, shared)
	}
	slices.SortFunc(groups, func(a, b []File) int { return strings.Compare(a[0].Path, b[0].Path) })
	return groups
}

// newImage returns the image of these layers: an index of one image per
// architecture
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md).
func newImage(f Facts, layers []ocispec.Descriptor) (Artifact, error) {
	a := Artifact{Layers: layers}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Annotations: f.annotations()}
	for _, architecture := range imageArchitectures {
		p := ocispec.Platform{Architecture: architecture, OS: imageOS}
		i, err := newPlatformImage(f, p, layers)
		if err != nil {
			return Artifact{}, err
		}
		a.Images = append(a.Images, i)
		d := i.Descriptor
		d.Platform = &p
		index.Manifests = append(index.Manifests, d)
	}
	var err error
	if a.Manifest, err = json.Marshal(index); err != nil {
		return Artifact{}, errors.Wrap(err, "cannot encode the image's index")
	}
	a.Descriptor = describe(index.MediaType, a.Manifest)
	return a, nil
}

// newPlatformImage returns the image of these layers for one platform
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md). It can be
// mounted and fetched, but not run: it contains nothing but the model.
func newPlatformImage(f Facts, platform ocispec.Platform, layers []ocispec.Descriptor) (Artifact, error) {
	i := ocispec.Image{
		Author:   f.Author,
		Platform: platform,
		Config:   ocispec.ImageConfig{Labels: f.annotations()},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: make([]digest.Digest, 0, len(layers))},
	}
	if !f.CommittedAt.IsZero() {
		t := f.CommittedAt.UTC()
		i.Created = &t
	}
	for _, l := range layers {
		i.RootFS.DiffIDs = append(i.RootFS.DiffIDs, l.Digest)
		i.History = append(i.History, ocispec.History{Created: i.Created, CreatedBy: fmt.Sprintf("COPY %s /models/", l.Annotations[specv1.AnnotationFilepath])})
	}
	config, err := json.Marshal(i)
	if err != nil {
		return Artifact{}, errors.Wrap(err, "cannot encode the image's config")
	}
	return finish(config, ocispec.MediaTypeImageConfig, ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageManifest,
		Layers:      layers,
		Annotations: f.annotations(),
	})
}
