package modelpack

import (
	"cmp"
	"encoding/json"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Media types of a ModelKit's manifest, and of its layers as archives without
// compression
// (https://github.com/kitops-ml/kitops/tree/main/pkg/lib/constants/mediatype).
const (
	artifactTypeModelKit = "application/vnd.kitops.modelkit.manifest.v1+json"

	mediaTypeKitPrefix  = "application/vnd.kitops.modelkit."
	mediaTypeKitModel   = mediaTypeKitPrefix + "model.v1.tar"
	mediaTypeKitPart    = mediaTypeKitPrefix + "modelpart.v1.tar"
	mediaTypeKitCode    = mediaTypeKitPrefix + "code.v1.tar"
	mediaTypeKitDataset = mediaTypeKitPrefix + "dataset.v1.tar"
	mediaTypeKitDocs    = mediaTypeKitPrefix + "docs.v1.tar"
)

// kitStyle is the style of kit's archives, so that a file becomes the same layer as
// if kit had packed it.
var kitStyle = tarStyle{uid: 1000}

// layOutModelKit makes each file an entry of a Kitfile, and each entry a layer, in
// kit's order.
func layOutModelKit(files []File, dataset bool) (*Layout, error) {
	packed := make([]File, 0, len(files))
	for _, f := range files {
		if KitLeavesOut(f.Path) {
			continue
		}
		// Kit takes any two dots for a path that leaves the folder.
		if strings.Contains(f.Path, "..") {
			return nil, outcome.Errorf(outcome.Unsupported, "kit cannot unpack the file %q with this name: set spec.forProvider.format to another", outcome.Shorten(f.Path))
		}
		packed = append(packed, f)
	}
	k := newKitfile(packed, dataset)
	l := &Layout{Format: FormatModelKit, kitfile: k}
	bySize := make(map[string]int64, len(packed))
	for _, f := range packed {
		bySize[f.Path] = f.Size
	}
	for mediaType, e := range k.entries() {
		p, err := planTar(kitStyle, mediaType, File{Path: e.Path, Size: bySize[e.Path]})
		if err != nil {
			return nil, err
		}
		l.Layers = append(l.Layers, p)
	}
	return l, nil
}

// KitLeavesOut reports whether a file is kit's own, which it reads, or writes when it
// unpacks, so that no ModelKit can contain it.
func KitLeavesOut(name string) bool {
	switch name {
	case "Kitfile", "kitfile", ".kitfile", ".kitignore":
		return true
	}
	return false
}

// newModelKit returns the ModelKit of these layers, which must be in the order of the
// Kitfile's entries.
func newModelKit(f Facts, k *Kitfile, layers []ocispec.Descriptor) (Artifact, error) {
	k = k.clone()
	k.Package = KitPackage{Name: f.Name, License: f.License}
	if f.Author != "" {
		k.Package.Authors = []string{f.Author}
	}
	if k.Model != nil {
		k.Model.Name, k.Model.Format = f.Name, cmp.Or(f.Config.Format, formatOf(layers))
	}
	i := 0
	for _, e := range k.entries() {
		e.Digest, e.DiffID = layers[i].Digest, layers[i].Digest
		i++
	}
	config, err := json.Marshal(k)
	if err != nil {
		return Artifact{}, errors.Wrap(err, "cannot encode the Kitfile")
	}
	return finish(config, mediaTypeModelKitConfig, ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: artifactTypeModelKit,
		Layers:       layers,
		Annotations:  f.annotations(),
	})
}

// A Kitfile lists what kit packs and unpacks. As JSON it is a ModelKit's config
// (https://kitops.org/docs/kitfile/format/).
type Kitfile struct {
	ManifestVersion string     `json:"manifestVersion"`
	Package         KitPackage `json:"package"`
	Model           *KitModel  `json:"model,omitempty"`
	Code            []KitEntry `json:"code,omitempty"`
	DataSets        []KitEntry `json:"datasets,omitempty"`
	Docs            []KitEntry `json:"docs,omitempty"`
}

// A KitPackage describes a ModelKit.
type KitPackage struct {
	Name    string   `json:"name,omitempty"`
	License string   `json:"license,omitempty"`
	Authors []string `json:"authors,omitempty"`
}

// A KitModel is the one model of a Kitfile: a file, with all others of the model as
// its parts.
type KitModel struct {
	Name   string     `json:"name,omitempty"`
	Format string     `json:"format,omitempty"`
	Parts  []KitEntry `json:"parts,omitempty"`
	KitEntry
}

// A KitEntry is a file and, in a config, its layer.
type KitEntry struct {
	Path   string        `json:"path"`
	Digest digest.Digest `json:"digest,omitempty"`
	DiffID digest.Digest `json:"diffId,omitempty"`
}

// Suffixes by which kit sorts the files of a model other than weights and data.
var (
	kitParts = []string{
		".json", ".yaml", ".yml", ".xml", ".txt", ".model", ".jinja", ".tiktoken", ".bpe", ".vocab", ".proto",
	}
	kitDocs = []string{".md", ".adoc", ".html", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg"}
)

// NewKitfile returns a Kitfile with one entry, and so one layer, for each file. The
// Kitfiles that kit generates have entries for folders, from which kit drops files
// whose names begin with that of another layer.
func NewKitfile(files []File) *Kitfile { return newKitfile(files, false) }

// newKitfile returns such a Kitfile. The Kitfile of a dataset has no model, whatever
// the names of its files are.
func newKitfile(files []File, dataset bool) *Kitfile {
	k := &Kitfile{ManifestVersion: "1.0.0"}
	var weights []File
	var parts []KitEntry
	for _, f := range files {
		e := KitEntry{Path: f.Path}
		switch base := strings.ToLower(path.Base(f.Path)); {
		case strings.HasPrefix(base, "readme"), strings.HasPrefix(base, "license"), hasAnySuffix(base, kitDocs):
			k.Docs = append(k.Docs, e)
		case isWeight(base):
			weights = append(weights, f)
		case hasAnySuffix(base, kitParts):
			parts = append(parts, e)
		case hasAnySuffix(base, datasetSuffixes):
			k.DataSets = append(k.DataSets, e)
		default:
			k.Code = append(k.Code, e)
		}
	}
	if !dataset {
		k.Model = kitModel(weights, parts)
	}
	if k.Model == nil {
		// Only a model can have parts.
		for _, w := range weights {
			k.DataSets = append(k.DataSets, KitEntry{Path: w.Path})
		}
		k.DataSets = append(k.DataSets, parts...)
	}
	return k
}

// kitModel makes the largest file the model, since a Kitfile has only one, and all
// others its parts. The model's path must not contain a colon or an at sign: kit may
// take it for the reference of another ModelKit, and fetch that.
func kitModel(weights []File, parts []KitEntry) *KitModel {
	largest := -1
	for i, w := range weights {
		if !strings.ContainsAny(w.Path, ":@") && (largest < 0 || w.Size > weights[largest].Size) {
			largest = i
		}
	}
	if largest < 0 {
		return nil
	}
	m := &KitModel{KitEntry: KitEntry{Path: weights[largest].Path}}
	for i, w := range weights {
		if i != largest {
			m.Parts = append(m.Parts, KitEntry{Path: w.Path})
		}
	}
	m.Parts = append(m.Parts, parts...)
	return m
}

// entries returns all entries with the media types of their layers, in kit's order.
func (k *Kitfile) entries() iter.Seq2[string, *KitEntry] {
	return func(yield func(string, *KitEntry) bool) {
		if k.Model != nil && !yield(mediaTypeKitModel, &k.Model.KitEntry) {
			return
		}
		var parts []KitEntry
		if k.Model != nil {
			parts = k.Model.Parts
		}
		for _, group := range []struct {
			mediaType string
			entries   []KitEntry
		}{{mediaTypeKitPart, parts}, {mediaTypeKitCode, k.Code}, {mediaTypeKitDataset, k.DataSets}, {mediaTypeKitDocs, k.Docs}} {
			for i := range group.entries {
				if !yield(group.mediaType, &group.entries[i]) {
					return
				}
			}
		}
	}
}

// clone returns a copy whose entries can be changed.
func (k *Kitfile) clone() *Kitfile {
	c := *k
	if k.Model != nil {
		m := *k.Model
		m.Parts = slices.Clone(m.Parts)
		c.Model = &m
	}
	c.Code, c.DataSets, c.Docs = slices.Clone(k.Code), slices.Clone(k.DataSets), slices.Clone(k.Docs)
	return &c
}

func hasAnySuffix(s string, suffixes []string) bool {
	return slices.ContainsFunc(suffixes, func(suffix string) bool { return strings.HasSuffix(s, suffix) })
}
