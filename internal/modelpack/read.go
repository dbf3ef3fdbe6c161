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

// An Encoding is how a layer holds files.
type Encoding string

// Encodings of layers, as their media types end.
const (
	// Raw is one file, as it is.
	Raw Encoding = "raw"

	// Tar is an archive of files by their paths.
	Tar Encoding = "tar"

	// TarGzip is such an archive, compressed with gzip.
	TarGzip Encoding = "tar+gzip"

	// TarZstd is such an archive, compressed with Zstandard.
	TarZstd Encoding = "tar+zstd"
)

// A Layer of an artifact that is read.
type Layer struct {
	ocispec.Descriptor

	// Encoding of the files in the layer.
	Encoding Encoding

	// Path of the file that a raw layer is; empty for the others, which know
	// the paths of theirs.
	Path string

	image   bool   // The layer is an image's, of which the files under /models count.
	kitType string // Of a ModelKit's layer: which entry of the Kitfile it holds.
	folder  string // The folder that an archive's paths are relative to; empty for the model's own.
}

// Key identifies a layer's files by their content and their paths. An old
// ModelKit may hold the same archive for two folders.
func (l Layer) Key() string {
	if l.folder == "" {
		return l.Digest.String()
	}
	return l.Digest.String() + " " + l.folder
}

// What KitOps calls its config
// (https://github.com/kitops-ml/kitops/blob/main/pkg/lib/constants/mediaType.go),
// and ModelPack's before CNCF took it in.
const (
	mediaTypeModelKitConfig = "application/vnd.kitops.modelkit.config.v1+json"
	mediaTypeCNAIConfig     = "application/vnd.cnai.model.config.v1+json"
	annotationCNAIFilepath  = "org.cnai.model.filepath"
)

// layerTypes are the media types of layers with files: of ModelPack
// (https://github.com/modelpack/model-spec/blob/main/docs/spec.md) and of
// ModelKits, whose gzip-fastest is gzip to whoever reads it.
var layerTypes = regexp.MustCompile(`^application/vnd\.(?:(?:cncf|cnai)\.model\.[a-z.]{1,40}\.v1\.(raw|tar|tar\+gzip|tar\+zstd)|` +
	`kitops\.modelkit\.([a-z]{1,40})\.v1\.(tar|tar\+gzip|tar\+gzip-fastest|tar\+zstd))$`)

// Groups of layerTypes.
const (
	layerTypePack        = 1 // The encoding of a ModelPack's layer.
	layerTypeKit         = 2 // The type of a ModelKit's layer.
	layerTypeKitEncoding = 3
)

// ReadManifest returns the layers of an artifact of either format, ModelPack or
// ModelKit. The config must be given for a ModelKit, whose files it places. A
// manifest of anything else, with a layer that holds no files, with files that
// cannot lie in one folder together, or that Whole refuses is an error with
// reason Unsupported.
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

// readLayer reads the descriptor of a layer.
func readLayer(d ocispec.Descriptor) (Layer, error) {
	parts := layerTypes.FindStringSubmatch(d.MediaType)
	switch {
	case parts == nil:
		return Layer{}, outcome.Errorf(outcome.Unsupported, "its media type %q is none of a ModelPack or a ModelKit", outcome.Shorten(d.MediaType))
	case d.Digest.Validate() != nil:
		return Layer{}, outcome.Errorf(outcome.Unsupported, "its digest is none")
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

// pathAnnotations are those that say which file a layer is, the one to believe
// first.
var pathAnnotations = []string{specv1.AnnotationFilepath, annotationCNAIFilepath, ocispec.AnnotationTitle}

// noConflict returns an error if two layers are the same file with other
// content, or one is a file where another wants a folder.
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

// FileAndFolder returns a path of files, by which they are kept, that is also
// the folder of another one. It says whether there is one.
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

// The longest name, and the longest path, that Linux takes (limits.h).
const (
	maxNameBytes = 255
	maxPathBytes = 4095
)

// FilePath returns the clean form of a file's path in an artifact: relative,
// with slashes, below the folder that it is relative to. Any other path is an
// error with reason Unsupported.
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

// placeKitLayers sets the folder of each of a ModelKit's layers, by the rules of
// kit (kitops, pkg/cmd/unpack/unpack.go, runUnpackRecursive). A layer whose
// digest the config names holds its files by their paths in the model. Before
// kit wrote digests, a layer held the files of one entry of the Kitfile without
// the folders above it, and the n-th layer of a type is the n-th entry of that
// type. A layer for which neither holds is an error with reason Unsupported: kit
// could not unpack it either.
func placeKitLayers(layers []Layer, config []byte) error {
	var k Kitfile
	if err := decode.JSON(config, &k); err != nil {
		return outcome.Errorf(outcome.Unsupported, "the ModelKit's config, which says where its files belong, cannot be read").Because(err)
	}
	// The types of layers that there were before digests, without compression.
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
			return outcome.Errorf(outcome.Unsupported, "layer %d of the ModelKit is none that its config names", i+1)
		}
		var err error
		if l.folder, err = ofKind[n].folder(); err != nil {
			return err
		}
	}
	return nil
}

// hasDigest reports whether a kit wrote the entry that wrote digests.
func (e KitEntry) hasDigest() bool { return e.Digest != "" || e.DiffID != "" }

// folder returns the folder that the entry's file or folder lies in; empty for
// the model's own. An entry outside of the model is an error.
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
