package modelpack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// imageStyle lays a model's files where KServe looks for them in an image, be it
// mounted as a volume or fetched
// (https://kserve.github.io/website/docs/model-serving/storage/providers/oci).
// Everybody may read them, and they are root's.
var imageStyle = tarStyle{folder: "models/", dirSuffix: "/"}

// imageArchitectures are what the images say they are for, in the order of the
// index. They hold no programs, and differ in nothing else; but a node does not
// unpack an image for another architecture before a container is made of it.
var imageArchitectures = []string{"amd64", "arm64"}

const imageOS = "linux"

// An image is mounted as an overlay of its layers, and of those there is a
// limit: 500 in Linux, somewhat above 400 by the length of containerd's mount
// options, 127 in Docker.
const (
	// manyImageFiles is up to how many files each is a layer of its own.
	manyImageFiles = 100

	// smallImageFile is up to how many bytes a file may share a layer, where
	// there are more files than that.
	smallImageFile = 16 << 20

	// sharedImageLayer is how many bytes of files share a layer at most.
	sharedImageLayer = 64 << 20

	// maxImageLayers is how many layers an image may have.
	maxImageLayers = 400
)

// layOutImage makes each file a layer, unless there are so many that the image
// could not be mounted: then small ones share some.
func layOutImage(files []File) (*Layout, error) {
	groups := imageGroups(files)
	if len(groups) > maxImageLayers {
		return nil, outcome.Errorf(outcome.Unsupported,
			"the model has %d files, of which an image would have %d layers, and nodes can mount %d: set spec.forProvider.format to another",
			len(files), len(groups), maxImageLayers)
	}
	l := &Layout{Format: FormatImage}
	for _, f := range files {
		// Such a name is not a file's but says that one is gone (image-spec,
		// layer.md, "Whiteouts").
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

// imageGroups returns which files share a layer.
func imageGroups(files []File) [][]File {
	var groups [][]File
	var shared []File
	var size int64
	for _, f := range files {
		if len(files) <= manyImageFiles || f.Size > smallImageFile {
			groups = append(groups, []File{f})
			continue
		}
		if size+f.Size > sharedImageLayer {
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

// newImage returns the image of these layers: an index of one for each
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
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md). It can
// be mounted and fetched, and not run: it holds nothing but the model.
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
