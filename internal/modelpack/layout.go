package modelpack

import (
	"bytes"
	"io"
	"slices"
	"strings"

	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// LayoutVersion must be increased whenever the layers that are planned for the same
// files get other bytes.
const LayoutVersion = 2

// A Layout plans the layers of an artifact before any bytes are transferred: the
// files of each layer, and its exact size. It depends on nothing but the format and
// the files' paths and sizes.
type Layout struct {
	// Format of the artifact.
	Format Format

	// Layers in the order of the manifest.
	Layers []LayerPlan

	kitfile *Kitfile // Of a ModelKit, with entries in the order of Layers.
}

// A LayerPlan is the plan of a layer.
type LayerPlan struct {
	// Files in the layer, in order.
	Files []File

	// Size of the layer in bytes.
	Size int64

	// Raw reports whether the layer is its one file as it is, so that the file's
	// SHA-256 is the layer's digest.
	Raw bool

	mediaType   string
	annotations map[string]string
	style       *tarStyle // Of the archive; nil for a raw layer.
}

// NewLayout returns the layout of an artifact of these files, in any order. It
// returns an error with reason Unsupported if the format cannot contain them. A
// ModelKit omits the files that are KitOps' own.
func NewLayout(format Format, files []File) (*Layout, error) {
	return newLayout(format, files, false)
}

// NewDatasetLayout does what NewLayout does for a dataset, none of whose files is a
// model's, whatever their names are.
func NewDatasetLayout(format Format, files []File) (*Layout, error) {
	return newLayout(format, files, true)
}

func newLayout(format Format, files []File, dataset bool) (*Layout, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	switch format {
	case FormatModelPack:
		return layOutModelPack(files, dataset)
	case FormatModelKit:
		return layOutModelKit(files, dataset)
	case FormatImage:
		return layOutImage(files)
	}
	return nil, outcome.Errorf(outcome.Unsupported, "format %q is none: write %s, %s or %s", outcome.Shorten(string(format)), FormatModelPack, FormatModelKit, FormatImage)
}

// layOutModelPack makes each file a raw layer, except for empty ones.
func layOutModelPack(files []File, dataset bool) (*Layout, error) {
	l := &Layout{Format: FormatModelPack}
	for _, f := range files {
		d := LayerFor(f.Path, f.Size, "")
		if dataset && (d.MediaType == specv1.MediaTypeModelWeightRaw || d.MediaType == specv1.MediaTypeModelWeightConfigRaw) {
			d.MediaType = specv1.MediaTypeModelDatasetRaw
		}
		if f.Size == 0 {
			p, err := planEmpty(f.Path, d)
			if err != nil {
				return nil, err
			}
			l.Layers = append(l.Layers, p)
			continue
		}
		l.Layers = append(l.Layers, LayerPlan{
			Files: []File{f}, Size: f.Size, Raw: true, mediaType: d.MediaType, annotations: d.Annotations,
		})
	}
	return l, nil
}

// emptyStyle is the style of the archive of an empty file in a ModelPack.
var emptyStyle = tarStyle{dirSuffix: "/"}

// planEmpty returns the plan of the layer of an empty file, whose raw layer would be
// d: an archive of only that file. A raw layer would be a blob of 0 bytes, which some
// registries refuse. A runtime that does not unpack layers mounts the archive, so
// its title is not the file's.
func planEmpty(name string, d ocispec.Descriptor) (LayerPlan, error) {
	p, err := planTar(emptyStyle, strings.TrimSuffix(d.MediaType, string(Raw))+string(Tar), File{Path: name})
	if err != nil {
		return LayerPlan{}, err
	}
	p.annotations[ocispec.AnnotationTitle] = name + ".tar"
	return p, nil
}

// planTar returns the plan of a layer that is an archive of these files.
func planTar(style tarStyle, mediaType string, files ...File) (LayerPlan, error) {
	p := LayerPlan{Files: files, mediaType: mediaType, style: &style}
	var err error
	if p.Size, err = p.pieces().size(); err != nil {
		return LayerPlan{}, err
	}
	p.annotations = map[string]string{specv1.AnnotationFilepath: files[0].Path}
	if len(files) > 1 {
		p.annotations[specv1.AnnotationFilepath] = sharedFolder(files)
	}
	return p, nil
}

// Open returns the layer's bytes from an offset on. It calls open for each file after
// that offset when its content is needed, and closes the reader that open returns. If
// a file is shorter than planned, Read returns io.ErrUnexpectedEOF; of a longer one,
// the rest is not read.
func (p LayerPlan) Open(offset int64, open OpenFunc) io.ReadCloser {
	return &pieceReader{pieces: p.pieces(), offset: max(offset, 0), open: open}
}

// pieces returns the pieces of the layer.
func (p LayerPlan) pieces() *pieces {
	if p.style == nil {
		return &pieces{now: []piece{{size: p.Size, file: &p.Files[0]}}, ended: true}
	}
	return &pieces{style: *p.style, files: p.Files, seen: map[string]bool{}}
}

// Artifact returns the artifact whose layers have these digests, in the order of
// Layers. Since no layer is compressed, each digest is also the layer's diff ID.
func (l *Layout) Artifact(f Facts, digests []digest.Digest) (Artifact, error) {
	if len(digests) != len(l.Layers) {
		return Artifact{}, outcome.Errorf(outcome.Internal, "%d digests of %d layers are known", len(digests), len(l.Layers))
	}
	layers := make([]ocispec.Descriptor, 0, len(l.Layers))
	for i, d := range digests {
		p := l.Layers[i]
		layers = append(layers, ocispec.Descriptor{MediaType: p.mediaType, Digest: d, Size: p.Size, Annotations: p.annotations})
	}
	switch l.Format {
	case FormatModelKit:
		return newModelKit(f, l.kitfile, layers)
	case FormatImage:
		return newImage(f, layers)
	default:
		return New(f, layers)
	}
}

// Verify reads a stored layer and returns an error with reason Mismatch unless it is
// the planned one: all bytes that belong to no file must be as planned, and the layer
// must have the planned size. It calls verify with each file's content, in order;
// verify must read it to its end and return an error unless it is the file's.
func (p LayerPlan) Verify(stored io.Reader, verify func(f File, content io.Reader) error) error {
	for pieces := p.pieces(); ; {
		piece, err := pieces.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := piece.verify(stored, verify); err != nil {
			return err
		}
	}
	n, err := io.ReadFull(stored, make([]byte, 1))
	switch {
	case n > 0:
		return outcome.Errorf(outcome.Mismatch, "the layer has more than its %d bytes", p.Size)
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

func (p piece) verify(stored io.Reader, verify func(f File, content io.Reader) error) error {
	in := &io.LimitedReader{R: stored, N: p.size}
	if p.file != nil {
		if err := verify(*p.file, in); err != nil {
			return err
		}
		if in.N > 0 {
			return outcome.Errorf(outcome.Mismatch, "the layer ends before the last %d bytes of the file %q", in.N, outcome.Shorten(p.file.Path))
		}
		return nil
	}
	planned, err := p.open(0, nil)
	if err != nil {
		return err
	}
	return sameBytes(planned, in)
}

// sameBytes returns an error with reason Mismatch unless both readers return the same
// bytes.
func sameBytes(planned, stored io.Reader) error {
	want, got := make([]byte, tarBlockBytes), make([]byte, tarBlockBytes)
	for {
		n, err := io.ReadFull(planned, want)
		if n == 0 {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		m, err := io.ReadFull(stored, got[:n])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if !bytes.Equal(want[:n], got[:m]) {
			return outcome.Errorf(outcome.Mismatch, "the layer's archive is not the planned one")
		}
	}
}
