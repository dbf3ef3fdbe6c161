package modelpack

import (
	"path"
	"strings"
	"time"

	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
)

// Model returns all that manifest and config say of the model, as far as another
// artifact of it is to say the same: beside what Facts returns, whose it is and
// when it was committed. The name of a model that has none is the last part of
// its source. What is foreign is cleaned as by Facts.
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
			// It may be told to the nanosecond here.
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
	// Only years of four digits can be written again (RFC 3339).
	if y := f.CommittedAt.Year(); y < 1 || y > 9999 {
		f.CommittedAt = time.Time{}
	}
	return f
}
