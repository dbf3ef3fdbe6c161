package modelpack

import (
	"path"
	"regexp"
	"strings"

	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// An Encoding is the encoding of the files in a layer.
type Encoding string

// Encodings of layers, which are the suffixes of their media types.
const (
	// Raw is one file as it is.
	Raw Encoding = "raw"

	// Tar is an archive of files.
	Tar Encoding = "tar"

	// TarGzip is an archive that is compressed with gzip.
	TarGzip Encoding = "tar+gzip"

	// TarZstd is an archive that is compressed with Zstandard.
	TarZstd Encoding = "tar+zstd"
)

// A Layer is a layer of an artifact that is read.
type Layer struct {
	ocispec.Descriptor

	// Encoding of the files in the layer.
	Encoding Encoding

	// Path of the file of a raw layer; empty for archives, which contain the paths
	// of their files.
	Path string

	image   bool   // The layer is an image's, with the model under /models.
	kitType string // The type of a ModelKit's layer, as in its media type.
	folder  string // The folder to which an archive's paths are relative; "" for the model's.
}

// Key identifies a layer's files by content and path. An old ModelKit may have the
// same archive in two folders.
func (l Layer) Key() string {
	if l.folder == "" {
		return l.Digest.String()
	}
	return l.Digest.String() + " " + l.folder
}

// The media type of KitOps' config
// (https://github.com/kitops-ml/kitops/blob/main/pkg/lib/constants/mediaType.go), and
// ModelPack's names from before it joined CNCF.
const (
	mediaTypeModelKitConfig = "application/vnd.kitops.modelkit.config.v1+json"
	mediaTypeCNAIConfig     = "application/vnd.cnai.model.config.v1+json"
	annotationCNAIFilepath  = "org.cnai.model.filepath"
)

// layerTypes matches the media types of layers with files: of ModelPack
// (https://github.com/modelpack/model-spec/blob/main/docs/spec.md) and of ModelKits,
// whose gzip-fastest is read as gzip.
var layerTypes = regexp.MustCompile(`^application/vnd\.(?:(?:cncf|cnai)\.model\.[a-z.]{1,40}\.v1\.(raw|tar|tar\+gzip|tar\+zstd)|` +
	`kitops\.modelkit\.([a-z]{1,40})\.v1\.(tar|tar\+gzip|tar\+gzip-fastest|tar\+zstd))$`)

// Groups of layerTypes.
const (
	layerTypePack        = 1 // The encoding of a ModelPack's layer.
	layerTypeKit         = 2 // The type of a ModelKit's layer.
	layerTypeKitEncoding = 3
)

// ReadManifest returns the layers of a ModelPack or a ModelKit. The config, which
// places the files of a ModelKit, may be empty for a ModelPack. It returns an error
// with reason Unsupported for the manifest of anything else, for a layer without
// files, for files that cannot be in one folder, and for what Whole refuses.
func ReadManifest(manifest, config []byte) ([]Layer, error) {
	if err := Whole(manifest, config); err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := decode.JSON(manifest, &m); err != nil {
		return nil, outcome.Errorf(outcome.Unsupported, "what is there is not the manifest of an OCI artifact").Because(err)
	}
	switch m.Config.MediaType {
	case specv1.MediaTypeModelConfig, mediaTypeCNAIConfig, mediaTypeModelKitConfig:
	default:
		return nil, outcome.Errorf(outcome.Unsupported, "what is there is neither a ModelPack nor a ModelKit: its config has another media type")
	}
	if len(m.Layers) == 0 {
		return nil, outcome.Errorf(outcome.Unsupported, "the artifact holds no layers")
	}
	layers := make([]Layer, 0, len(m.Layers))
	for i, d := range m.Layers {
		l, err := readLayer(d)
		if err != nil {
			return nil, outcome.Errorf(outcome.ReasonOf(err), "layer %d of the artifact cannot be used: %s", i+1, err).Because(err)
		}
		layers = append(layers, l)
	}
	if m.Config.MediaType == mediaTypeModelKitConfig {
		if err := placeKitLayers(layers, config); err != nil {
			return nil, err
		}
	}
	return layers, noConflict(layers)
}

// readLayer returns the layer with a descriptor.
func readLayer(d ocispec.Descriptor) (Layer, error) {
	parts := layerTypes.FindStringSubmatch(d.MediaType)
	switch {
	case parts == nil:
		return Layer{}, outcome.Errorf(outcome.Unsupported, "its media type %q is none of a ModelPack or a ModelKit", outcome.Shorten(d.MediaType))
	case d.Digest.Validate() != nil:
		return Layer{}, outcome.Errorf(outcome.Unsupported, "its digest is invalid")
	case d.Size < 0:
		return Layer{}, outcome.Errorf(outcome.Unsupported, "its size is negative")
	}
	l := Layer{Descriptor: d, Encoding: Encoding(strings.TrimSuffix(parts[layerTypePack]+parts[layerTypeKitEncoding], "-fastest")), kitType: parts[layerTypeKit]}
	if l.Encoding != Raw {
		return l, nil
	}
	for _, key := range pathAnnotations {
		if name := d.Annotations[key]; name != "" {
			path, err := FilePath(name)
			l.Path = path
			return l, err
		}
	}
	return Layer{}, outcome.Errorf(outcome.Unsupported, "it is one file, and has no annotation %s that says which", specv1.AnnotationFilepath)
}

// pathAnnotations are the annotations with the path of a layer's file, in order of
// precedence.
var pathAnnotations = []string{specv1.AnnotationFilepath, annotationCNAIFilepath, ocispec.AnnotationTitle}

// noConflict returns an error if two layers are a file with the same path and
// different content, or if one is a file where another needs a folder.
func noConflict(layers []Layer) error {
	files := make(map[string]Layer, len(layers))
	for _, l := range layers {
		if l.Encoding != Raw {
			continue
		}
		if other, ok := files[l.Path]; ok && other.Digest != l.Digest {
			return outcome.Errorf(outcome.Unsupported, "the artifact holds the file %q twice, with different content", outcome.Shorten(l.Path))
		}
		files[l.Path] = l
	}
	if name, ok := FileAndFolder(files); ok {
		return outcome.Errorf(outcome.Unsupported, "the artifact holds %q both as a file and as a folder", outcome.Shorten(name))
	}
	return nil
}

// FileAndFolder returns a key of files, which are paths, that is also the folder of
// another one. It reports whether there is one.
func FileAndFolder[V any](files map[string]V) (string, bool) {
	for name := range files {
		for i, r := range name {
			if _, ok := files[name[:i]]; ok && r == '/' {
				return name[:i], true
			}
		}
	}
	return "", false
}

// The longest name and the longest path of Linux (limits.h).
const (
	maxNameBytes = 255
	maxPathBytes = 4095
)

// FilePath returns the clean form of a file's path in an artifact: relative, with
// slashes, and inside of the folder to which it is relative. It returns an error with
// reason Unsupported for any other path.
func FilePath(name string) (string, error) {
	if len(name) > maxPathBytes {
		return "", outcome.Errorf(outcome.Unsupported, "the path %q is too long", outcome.Shorten(name))
	}
	clean := strings.TrimSuffix(name, "/")
	for strings.HasPrefix(clean, "./") {
		clean = strings.TrimLeft(clean[2:], "/")
	}
	for part := range strings.SplitSeq(clean, "/") {
		switch {
		case part == "", part == ".", part == "..":
			return "", outcome.Errorf(outcome.Unsupported, "the path %q does not lie inside of a folder", outcome.Shorten(name))
		case len(part) > maxNameBytes, strings.ContainsAny(part, "\x00\\"):
			return "", outcome.Errorf(outcome.Unsupported, "the path %q cannot be one of a file", outcome.Shorten(name))
		}
	}
	return clean, nil
}

// Docker's media types of an image's config and layers
// (https://distribution.github.io/distribution/spec/manifest-v2-2/).
const (
	mediaTypeDockerConfig    = "application/vnd.docker.container.image.v1+json"
	mediaTypeDockerLayer     = "application/vnd.docker.image.rootfs.diff.tar"
	mediaTypeDockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// imageEncodings maps the media types of an image's layers to their encodings
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md).
var imageEncodings = map[string]Encoding{
	ocispec.MediaTypeImageLayer:     Tar,
	ocispec.MediaTypeImageLayerGzip: TarGzip,
	ocispec.MediaTypeImageLayerZstd: TarZstd,
	mediaTypeDockerLayer:            Tar,
	mediaTypeDockerLayerGzip:        TarGzip,
}

// ReadLayers returns the layers of an artifact of any format: as ReadManifest does,
// or those of an image, whose files under /models are the model's. The config may be
// empty unless it is a ModelKit's. It returns an error with reason Unsupported for
// what ReadManifest or Whole refuses.
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

// Whole returns an error with reason Unsupported unless an artifact is a model that is
// wholly in its own repository: a layer may be at another address, an artifact may be
// a statement about another one, and a ModelKit may refer to the model of another
// one. The config may be empty if it is not known.
func Whole(manifest, config []byte) error {
	var m ocispec.Manifest
	if err := decode.JSON(manifest, &m); err != nil {
		return outcome.Errorf(outcome.Unsupported, "what is there is not the manifest of an OCI artifact").Because(err)
	}
	if m.Subject != nil {
		return outcome.Errorf(outcome.Unsupported, "the artifact is a statement about another one (%s), not a model", outcome.Shorten(m.Subject.Digest.String()))
	}
	model := false
	for i, l := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if len(l.URLs) > 0 {
			return outcome.Errorf(outcome.Unsupported, "blob %d of the artifact is at another address, not in its repository", i)
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
	// A config that cannot be decoded refers to no other ModelKit.
	if decode.JSON(config, &k) == nil && k.Model.Path != "" {
		return outcome.Errorf(outcome.Unsupported,
			"the ModelKit refers to the model of another one, %q, and does not contain it: name that one, or pack a ModelKit that contains the model itself", outcome.Shorten(k.Model.Path))
	}
	return nil
}

// mediaTypeKitModelPrefix is the prefix of the media types of a ModelKit's own model
// with any compression.
const mediaTypeKitModelPrefix = "application/vnd.kitops.modelkit.model.v1."

// Overlays reports whether a file in the layer replaces one with the same path in an
// earlier layer, as in an image.
func (l Layer) Overlays() bool { return l.image }

// entryPath returns the path in the model of an archive's entry. It returns an error
// with reason Unsupported for a path outside of the model.
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
		return "", outcome.Errorf(outcome.Unsupported, "%q removes a file of another layer: build an image without such layers", outcome.Shorten(name))
	case !ok:
		return "", outcome.Errorf(outcome.Unsupported, "%q is outside of /models: the image is not one of a model", outcome.Shorten(name))
	}
	return inside, nil
}

// whiteout is the prefix of the name of an entry that removes a file (image-spec,
// layer.md, "Whiteouts").
const whiteout = ".wh."

// titleOf returns the name that a layer's annotations give it, or "".
func titleOf(d ocispec.Descriptor) string {
	for _, key := range pathAnnotations {
		if name := cleaned(d.Annotations[key]); name != "" {
			return name
		}
	}
	return ""
}

// BlobName returns the name of a blob of an artifact for a log: its file's path, or
// else its digest.
func BlobName(d ocispec.Descriptor) string {
	if name := titleOf(d); name != "" && name != "." {
		return name
	}
	return d.Digest.String()
}

// placeKitLayers sets the folder of each layer of a ModelKit, by the rules of kit
// (kitops, pkg/cmd/unpack/unpack.go, runUnpackRecursive). A layer whose digest is in
// the config contains its files with their paths in the model. Before kit wrote
// digests, a layer contained the files of one entry of the Kitfile without their
// parent folders, and the n-th layer of a type was the n-th entry of that type. It
// returns an error with reason Unsupported for any other layer, which kit could not
// unpack either.
func placeKitLayers(layers []Layer, config []byte) error {
	var k Kitfile
	if err := decode.JSON(config, &k); err != nil {
		return outcome.Errorf(outcome.Unsupported, "the ModelKit's config, which places its files, cannot be read").Because(err)
	}
	// The types of layers from before kit wrote digests, without compression.
	entries := map[string][]*KitEntry{mediaTypeKitModel: nil, mediaTypeKitPart: nil, mediaTypeKitCode: nil, mediaTypeKitDataset: nil, mediaTypeKitDocs: nil}
	known := map[digest.Digest]bool{}
	for mediaType, e := range k.entries() {
		entries[mediaType] = append(entries[mediaType], e)
		known[e.Digest] = true
	}
	next := map[string]int{}
	for i := range layers {
		l := &layers[i]
		kind := mediaTypeKitPrefix + l.kitType + ".v1.tar"
		n := next[kind]
		next[kind]++
		ofKind, old := entries[kind]
		if known[l.Digest] || !old {
			continue
		}
		if n >= len(ofKind) || ofKind[n].hasDigest() {
			return outcome.Errorf(outcome.Unsupported, "layer %d of the ModelKit is not in its config", i+1)
		}
		var err error
		if l.folder, err = ofKind[n].folder(); err != nil {
			return err
		}
	}
	return nil
}

// hasDigest reports whether a version of kit that writes digests wrote the entry.
func (e KitEntry) hasDigest() bool { return e.Digest != "" || e.DiffID != "" }

// folder returns the folder that contains the entry's file or folder; "" for the
// model's own. It returns an error for an entry outside of the model.
func (e KitEntry) folder() (string, error) {
	clean := path.Clean(e.Path)
	if clean == "." {
		return "", nil
	}
	clean, err := FilePath(clean)
	if err != nil {
		return "", err
	}
	if dir := path.Dir(clean); dir != "." {
		return dir, nil
	}
	return "", nil
}
