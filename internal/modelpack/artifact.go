package modelpack

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/license"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Facts are facts about a model at one commit.
type Facts struct {
	// Name of the model, without its organisation.
	Name string

	// Author is the organisation or person that owns the model; empty if not known.
	Author string

	// Family of the model, such as qwen3; empty if not known.
	Family string

	// Config describes how the model is made. An empty Format defaults to the one
	// that the files' names tell.
	Config specv1.ModelConfig

	// SourceURL is the address of the model's page.
	SourceURL string

	// Revision is the commit, in 40 hex digits.
	Revision string

	// License is an SPDX expression of the licences that the source names; empty if
	// it names none.
	License string

	// CommittedAt is the date of the commit; zero if not known.
	CommittedAt time.Time

	// Annotations that manifests get in addition. Those of the facts win.
	Annotations map[string]string
}

// An Artifact is what is pushed in addition to the layers.
type Artifact struct {
	// ConfigDescriptor and Config are the config, which is a blob. They are empty
	// for an index.
	ConfigDescriptor ocispec.Descriptor
	Config           []byte

	// Descriptor and Manifest are the manifest or, if there are Images, their
	// index. Its digest is the artifact's.
	Descriptor ocispec.Descriptor
	Manifest   []byte

	// Layers of the manifest, in its order.
	Layers []ocispec.Descriptor

	// Images that the index lists, one per platform, with the same layers. They are
	// empty unless Manifest is an index.
	Images []Artifact
}

// Size returns the size of the artifact's configs and layers in bytes.
func (a Artifact) Size() int64 {
	size := a.ConfigDescriptor.Size
	for _, i := range a.Images {
		size += i.ConfigDescriptor.Size
	}
	for _, l := range a.Layers {
		size += l.Size
	}
	return size
}

// New returns the ModelPack of a model with these layers, in any order, each as
// LayerFor returns it. It returns an error with reason Unsupported if there are so
// many files that registries would refuse the manifest.
func New(f Facts, layers []ocispec.Descriptor) (Artifact, error) {
	layers = slices.Clone(layers)
	slices.SortFunc(layers, func(a, b ocispec.Descriptor) int {
		return strings.Compare(a.Annotations[specv1.AnnotationFilepath], b.Annotations[specv1.AnnotationFilepath])
	})
	config, err := json.Marshal(f.config(layers))
	if err != nil {
		return Artifact{}, errors.Wrap(err, "cannot encode the model's config")
	}
	return finish(config, specv1.MediaTypeModelConfig, ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: specv1.ArtifactTypeModelManifest,
		Layers:       layers,
		Annotations:  f.annotations(),
	})
}

// finish returns the artifact of a config, and of a manifest without its config.
func finish(config []byte, configType string, m ocispec.Manifest) (Artifact, error) {
	if len(m.Layers) == 0 {
		return Artifact{}, outcome.Errorf(outcome.Unsupported, "a model without files cannot be packed")
	}
	a := Artifact{Config: config, ConfigDescriptor: describe(configType, config), Layers: m.Layers}
	m.Config = a.ConfigDescriptor
	var err error
	if a.Manifest, err = json.Marshal(m); err != nil {
		return Artifact{}, errors.Wrap(err, "cannot encode the model's manifest")
	}
	if len(a.Manifest) > decode.MaxBytes {
		return Artifact{}, outcome.Errorf(outcome.Unsupported,
			"the model has %d files, whose manifest would have %d bytes, and registries take %d: pack a model of fewer files",
			len(m.Layers), len(a.Manifest), decode.MaxBytes)
	}
	a.Descriptor = describe(m.MediaType, a.Manifest)
	a.Descriptor.ArtifactType = m.ArtifactType
	return a, nil
}

// config returns the model's config
// (https://github.com/modelpack/model-spec/blob/main/docs/config.md).
func (f Facts) config(layers []ocispec.Descriptor) specv1.Model {
	m := specv1.Model{
		Descriptor: specv1.ModelDescriptor{Name: f.Name, Family: f.Family, SourceURL: f.SourceURL, Revision: f.Revision},
		ModelFS:    specv1.ModelFS{Type: "layers", DiffIDs: make([]digest.Digest, 0, len(layers))},
		Config:     f.Config,
	}
	m.Config.Format = cmp.Or(m.Config.Format, formatOf(layers))
	if f.Author != "" {
		m.Descriptor.Authors = []string{f.Author}
	}
	if f.License != "" {
		m.Descriptor.Licenses = license.Split(f.License)
	}
	if !f.CommittedAt.IsZero() {
		t := f.CommittedAt.UTC()
		m.Descriptor.CreatedAt = &t
	}
	for _, l := range layers {
		// A raw layer is its own uncompressed content.
		m.ModelFS.DiffIDs = append(m.ModelFS.DiffIDs, l.Digest)
	}
	return m
}

func (f Facts) annotations() map[string]string {
	out := maps.Clone(f.Annotations)
	if out == nil {
		out = map[string]string{}
	}
	for k, v := range map[string]string{
		ocispec.AnnotationSource:   f.SourceURL,
		ocispec.AnnotationRevision: f.Revision,
		ocispec.AnnotationLicenses: f.License,
	} {
		if v != "" {
			out[k] = v
		}
	}
	if !f.CommittedAt.IsZero() {
		out[ocispec.AnnotationCreated] = f.CommittedAt.UTC().Format(time.RFC3339)
	}
	return out
}

func describe(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}
