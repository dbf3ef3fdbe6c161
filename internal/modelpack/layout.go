package modelpack

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// LayoutVersion changes with what the bytes of layers are that are made of the
// same files.
const LayoutVersion = 2

// A Layout says of which layers an artifact of a format will be, before a byte
// has moved: which files are in which layer, and each layer's exact size. It
// depends on nothing but the format and the files' paths and sizes.
type Layout struct {
	// Format of the artifact.
	Format Format

	// Layers in the order of the manifest's.
	Layers []LayerPlan

	kitfile *Kitfile // Of a ModelKit; its entries are in the order of Layers.
}

// A LayerPlan is a layer that will be.
type LayerPlan struct {
	// Files in the layer, in the order of their bytes.
	Files []File

	// Size of the layer in bytes.
	Size int64

	// Raw says that the layer is its one file as it is: what is known as the
	// file's SHA-256 is the layer's digest.
	Raw bool

	mediaType   string
	annotations map[string]string
	style       *tarStyle // Of the archive; nil for a raw layer.
}

// NewLayout returns the layout of an artifact of these files, in any order.
// Files of which the format cannot be made are an error with reason
// Unsupported. A ModelKit leaves out the files that are KitOps' own.
func NewLayout(format Format, files []File) (*Layout, error) {
	return newLayout(format, files, false)
}

// NewDatasetLayout returns the layout of an artifact of a dataset, whose files
// are not a model's, whatever their names are. It promises what NewLayout does.
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

// layOutModelPack makes each file a layer as it is, but for empty ones.
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

// emptyStyle is how an empty file of a ModelPack is archived.
var emptyStyle = tarStyle{dirSuffix: "/"}

// planEmpty returns the plan of the layer of an empty file, whose raw layer is d:
// an archive of that file alone. A raw layer would be a blob of 0 bytes, which
// some registries refuse. Its title, by which a runtime that does not unpack
// layers names what it mounts, is not the file's, for the archive is not it.
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

// Open returns the layer's bytes from an offset on. It calls open for each file
// that has bytes left when its turn comes, with the offset in the file, and
// closes what that returns. A file of fewer bytes than announced is io.ErrUnexpectedEOF. Of one
// with more, what is too much is not read.
func (p LayerPlan) Open(offset int64, open OpenFunc) io.ReadCloser {
	return &pieceReader{pieces: p.pieces(), offset: max(offset, 0), open: open}
}

// pieces returns what the layer consists of.
func (p LayerPlan) pieces() *pieces {
	if p.style == nil {
		return &pieces{now: []piece{{size: p.Size, file: &p.Files[0]}}, ended: true}
	}
	return &pieces{style: *p.style, files: p.Files, seen: map[string]bool{}}
}

// Artifact returns the artifact whose layers have these digests, in the order of
// the plan's. All layers are uncompressed, so that each digest is the layer's
// diff ID too.
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

// Verify reads a layer that somebody has stored and returns an error with
// reason Mismatch unless it is the planned one: each byte that is no file's must
// be the planned byte, and the layer must end after its last one. It calls verify
// with each file's bytes, in their order; verify must read them to their end and
// return an error unless they are the file's.
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

// sameBytes returns an error with reason Mismatch unless both readers have the
// same bytes.
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
			return outcome.Errorf(outcome.Mismatch, "the layer's archive is not the one that the files are packed in")
		}
	}
}
