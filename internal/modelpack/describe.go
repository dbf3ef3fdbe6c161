package modelpack

import (
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/license"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Format is a layout of models as OCI artifacts.
type Format string

// Formats. The media type of the config identifies a ModelPack or a ModelKit. The
// layers of an image, which has the model's files under /models, have annotations
// with their files.
const (
	FormatModelPack Format = "ModelPack"
	FormatModelKit  Format = "ModelKit"
	FormatImage     Format = "Image"
)

// A Description describes an artifact according to its manifest.
type Description struct {
	// Format of the artifact; empty for any other artifact.
	Format Format

	// Size of the config and the layers together, in bytes.
	Size int64

	// Config of the artifact, which may hold more facts; see Facts.
	Config ocispec.Descriptor

	annotations map[string]string
}

// Describe reads a manifest. It returns an error with reason Unsupported for
// anything but the manifest of one artifact, such as an index of several.
func Describe(manifest []byte) (Description, error) {
	var m ocispec.Manifest
	if err := decode.JSON(manifest, &m); err != nil || m.Config.MediaType == "" {
		return Description{}, outcome.Errorf(outcome.Unsupported, "what is there is not the manifest of one OCI artifact: name one with its digest").Because(err)
	}
	d := Description{Config: m.Config, Size: max(m.Config.Size, 0), annotations: m.Annotations}
	for _, l := range m.Layers {
		d.Size += max(l.Size, 0)
	}
	switch m.Config.MediaType {
	case specv1.MediaTypeModelConfig, mediaTypeCNAIConfig:
		d.Format = FormatModelPack
	case mediaTypeModelKitConfig:
		d.Format = FormatModelKit
	case ocispec.MediaTypeImageConfig:
		if len(m.Layers) > 0 && m.Layers[0].Annotations[specv1.AnnotationFilepath] != "" {
			d.Format = FormatImage
		}
	}
	return d, nil
}

// Blobs returns the blobs of a manifest: the config, then the layers. It accepts the
// manifest of any artifact with valid digests.
func Blobs(manifest []byte) ([]ocispec.Descriptor, error) {
	var m ocispec.Manifest
	if err := decode.JSON(manifest, &m); err != nil {
		return nil, errors.Wrap(err, "cannot read the artifact's manifest")
	}
	blobs := append([]ocispec.Descriptor{m.Config}, m.Layers...)
	for _, b := range blobs {
		if err := b.Digest.Validate(); err != nil {
			return nil, errors.Wrap(err, "cannot read the artifact's manifest")
		}
	}
	return blobs, nil
}

// HasConfig reports whether the artifact's config may hold more facts.
func (d Description) HasConfig() bool {
	return d.Format != "" && d.Config.Size > 0 && d.Config.Size <= decode.MaxBytes
}

// Facts returns the facts of manifest and config that a status may show. The config
// is foreign, and may be empty. Unknown facts stay empty.
func (d Description) Facts(config []byte) Facts {
	f := Facts{
		SourceURL: d.annotations[ocispec.AnnotationSource],
		Revision:  d.annotations[ocispec.AnnotationRevision],
		License:   license.Join([]string{d.annotations[ocispec.AnnotationLicenses]}),
	}
	c := configFacts(d.Format, config)
	for to, from := range map[*string]string{&f.Name: c.Name, &f.SourceURL: c.SourceURL, &f.Revision: c.Revision, &f.License: c.License} {
		if *to == "" {
			*to = from
		}
		*to = cleaned(*to)
	}
	return f
}

// configFacts returns the facts of a config: ModelPack's, or a ModelKit's, which is
// its Kitfile as JSON
// (https://github.com/kitops-ml/kitops/blob/main/docs/src/docs/kitfile/format.md).
func configFacts(format Format, config []byte) Facts {
	switch format {
	case FormatModelPack:
		var m specv1.Model
		if decode.JSON(config, &m) != nil {
			return Facts{}
		}
		f := Facts{Name: m.Descriptor.Name, SourceURL: m.Descriptor.SourceURL, Revision: m.Descriptor.Revision}
		f.License = license.Join(m.Descriptor.Licenses)
		return f
	case FormatModelKit:
		var k struct {
			Package struct {
				Name    string `json:"name"`
				License string `json:"license"`
			} `json:"package"`
			Model    licensed   `json:"model"`
			Code     []licensed `json:"code"`
			DataSets []licensed `json:"datasets"`
		}
		if decode.JSON(config, &k) != nil {
			return Facts{}
		}
		f := Facts{Name: k.Package.Name, License: license.Join([]string{k.Package.License})}
		if f.License == "" {
			// The package names none, but its parts may.
			f.License = licensesOf(append(append([]licensed{k.Model}, k.Code...), k.DataSets...))
		}
		return f
	default:
		return Facts{}
	}
}

// A licensed is an entry of a Kitfile that may name its own licence.
type licensed struct {
	License string `json:"license"`
}

func licensesOf(entries []licensed) string {
	all := make([]string, 0, len(entries))
	for _, e := range entries {
		if !slices.Contains(all, e.License) {
			all = append(all, e.License)
		}
	}
	return license.Join(all)
}

// maxFactBytes bounds each foreign fact.
const maxFactBytes = 256

// cleaned returns a foreign fact as a status may show it: one bounded line of
// printable characters.
func cleaned(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, ""))
	for len(s) > maxFactBytes {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// Model returns the facts of manifest and config from which another artifact of the
// same model is packed: those that Facts returns, the author and the date of the
// commit. The name defaults to the last part of the source's address. Foreign facts
// are cleaned as by Facts.
func (d Description) Model(config []byte) Facts {
	f := d.Facts(config)
	if f.Name == "" && f.SourceURL != "" {
		f.Name = cleaned(path.Base(strings.TrimRight(f.SourceURL, "/")))
	}
	if t, err := time.Parse(time.RFC3339, d.annotations[ocispec.AnnotationCreated]); err == nil {
		f.CommittedAt = t.UTC()
	}
	switch d.Format {
	case FormatModelPack:
		var m specv1.Model
		if decode.JSON(config, &m) != nil {
			break
		}
		f.Author = strings.Join(m.Descriptor.Authors, ", ")
		if t := m.Descriptor.CreatedAt; t != nil && !t.IsZero() {
			// The config may have the date in nanoseconds.
			f.CommittedAt = t.UTC()
		}
	case FormatModelKit:
		var k Kitfile
		if decode.JSON(config, &k) == nil {
			f.Author = strings.Join(k.Package.Authors, ", ")
		}
	case FormatImage:
		var i ocispec.Image
		if decode.JSON(config, &i) == nil {
			f.Author = i.Author
		}
	}
	f.Author = cleaned(f.Author)
	// Only years of four digits can be encoded (RFC 3339).
	if y := f.CommittedAt.Year(); y < 1 || y > 9999 {
		f.CommittedAt = time.Time{}
	}
	return f
}
