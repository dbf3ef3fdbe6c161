package modelpack

import (
	"path"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// What Docker calls an image's config and its layers, in manifests from before
// OCI's (https://distribution.github.io/distribution/spec/manifest-v2-2/).
const (
	mediaTypeDockerConfig    = "application/vnd.docker.container.image.v1+json"
	mediaTypeDockerLayer     = "application/vnd.docker.image.rootfs.diff.tar"
	mediaTypeDockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// imageEncodings are how an image's layers hold files
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md).
var imageEncodings = map[string]Encoding{
	ocispec.MediaTypeImageLayer:     Tar,
	ocispec.MediaTypeImageLayerGzip: TarGzip,
	ocispec.MediaTypeImageLayerZstd: TarZstd,
	mediaTypeDockerLayer:            Tar,
	mediaTypeDockerLayerGzip:        TarGzip,
}

// ReadLayers returns the layers of an artifact of any format: those that
// ReadManifest returns, or those of an image, whose files under /models are the
// model's. What it refuses has reason Unsupported, also where layers, or files
// that belong to it, lie elsewhere. The config must be given for a ModelKit.
func ReadLayers(manifest, config []byte) ([]Layer, error) {
	var m ocispec.Manifest
	if err := decode.JSON(manifest, &m); err != nil {
		return nil, outcome.Errorf(outcome.Unsupported, "what is there is not the manifest of an OCI artifact").Because(err)
	}
	if m.Config.MediaType != ocispec.MediaTypeImageConfig && m.Config.MediaType != mediaTypeDockerConfig {
		return ReadManifest(manifest, config)
	}
	if err := Whole(manifest, config); err != nil {
		return nil, err
	}
	if len(m.Layers) == 0 {
		return nil, outcome.Errorf(outcome.Unsupported, "the image holds no layers")
	}
	layers := make([]Layer, 0, len(m.Layers))
	for i, d := range m.Layers {
		e, ok := imageEncodings[d.MediaType]
		if !ok || d.Digest.Validate() != nil || d.Size < 0 {
			return nil, outcome.Errorf(outcome.Unsupported, "layer %d of the image, of media type %q, cannot be read", i+1, outcome.Shorten(d.MediaType))
		}
		layers = append(layers, Layer{Descriptor: d, Encoding: e, image: true})
	}
	return layers, nil
}

// Whole is an error with reason Unsupported if not all of what an artifact is
// made of is in its own repository: a layer may lie at another address, an
// artifact may be about another one, and a ModelKit may take its model from
// another one. The config may be empty where it is not known.
func Whole(manifest, config []byte) error {
	var m ocispec.Manifest
	if err := decode.JSON(manifest, &m); err != nil {
		return outcome.Errorf(outcome.Unsupported, "what is there is not the manifest of an OCI artifact").Because(err)
	}
	if m.Subject != nil {
		return outcome.Errorf(outcome.Unsupported, "the artifact is a statement about another one (%s), and no model", outcome.Shorten(m.Subject.Digest.String()))
	}
	model := false
	for i, l := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if len(l.URLs) > 0 {
			return outcome.Errorf(outcome.Unsupported, "blob %d of the artifact lies at another address, and not in its repository", i)
		}
		model = model || strings.HasPrefix(l.MediaType, mediaTypeKitModelPrefix)
	}
	if m.Config.MediaType != mediaTypeModelKitConfig || model {
		return nil
	}
	var k struct {
		Model struct {
			Path string `json:"path"`
		} `json:"model"`
	}
	// What cannot be read names no other ModelKit.
	if decode.JSON(config, &k) == nil && k.Model.Path != "" {
		return outcome.Errorf(outcome.Unsupported,
			"the ModelKit takes its model from another one, %q, and does not hold it: name that one, or pack a ModelKit that holds the model itself", outcome.Shorten(k.Model.Path))
	}
	return nil
}

// mediaTypeKitModelPrefix is how the media types of a ModelKit's own model
// begin, however it is compressed.
const mediaTypeKitModelPrefix = "application/vnd.kitops.modelkit.model.v1."

// Overlays says whether a file in the layer takes the place of one of the same
// path in a layer before it, as in an image.
func (l Layer) Overlays() bool { return l.image }

// entryPath returns the path in the model of an archive's entry. One that lies
// outside of the model is an error with reason Unsupported.
func (l Layer) entryPath(name string) (string, error) {
	if !l.image {
		clean, err := FilePath(name)
		if err != nil || l.folder == "" {
			return clean, err
		}
		return FilePath(l.folder + "/" + clean)
	}
	clean, err := FilePath(strings.TrimPrefix(name, "/"))
	if err != nil {
		return "", err
	}
	inside, ok := strings.CutPrefix(clean, imageStyle.folder)
	switch {
	case strings.HasPrefix(path.Base(clean), whiteout):
		return "", outcome.Errorf(outcome.Unsupported, "%q takes away what another layer holds: make an image without such layers", outcome.Shorten(name))
	case !ok:
		return "", outcome.Errorf(outcome.Unsupported, "%q lies outside of /models: it is no model image", outcome.Shorten(name))
	}
	return inside, nil
}

// whiteout is how the name begins of a file that says that one is gone
// (image-spec, layer.md, "Whiteouts").
const whiteout = ".wh."

// titleOf returns what a layer is called by its annotations; empty where they do
// not say.
func titleOf(d ocispec.Descriptor) string {
	for _, key := range pathAnnotations {
		if name := cleaned(d.Annotations[key]); name != "" {
			return name
		}
	}
	return ""
}

// BlobName returns what to call a blob of an artifact in a log: the file that it
// is, or else its digest.
func BlobName(d ocispec.Descriptor) string {
	if name := titleOf(d); name != "" && name != "." {
		return name
	}
	return d.Digest.String()
}
