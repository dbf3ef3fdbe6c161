package kit

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	modelspec "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// An artifact is what kit has in its local storage under a reference.
type artifact struct {
	storage  string
	manifest ocispec.Descriptor

	// blobs are the config and the layers; layers are those without the config.
	blobs, layers []ocispec.Descriptor

	// size of config and layers, in bytes.
	size int64
}

// readArtifact reads an artifact from kit's local storage: an OCI layout that all
// repositories share, with a file <base64 of the repository>-tags.json for each.
func readArtifact(storage string, t pipeline.Target) (*artifact, error) {
	repository := base64.URLEncoding.EncodeToString([]byte(t.Registry + "/" + t.Repository))
	b, err := os.ReadFile(filepath.Join(storage, repository+"-tags.json"))
	if err != nil {
		return nil, errors.Wrap(err, "cannot read what kit stored")
	}
	tags := map[string]ocispec.Descriptor{}
	if err := json.Unmarshal(b, &tags); err != nil {
		return nil, errors.Wrap(err, "cannot parse the tags that kit stored")
	}
	stored := tags[t.StagingTag].Digest
	a := &artifact{storage: storage}
	if err := stored.Validate(); err != nil {
		return nil, errors.Wrapf(err, "kit stored nothing under tag %s", t.StagingTag)
	}
	if b, err = os.ReadFile(a.blob(stored)); err != nil {
		return nil, errors.Wrap(err, "cannot read the manifest that kit stored")
	}
	if len(b) > decode.MaxBytes {
		return nil, outcome.Errorf(outcome.Unsupported,
			"the model has so many files that its manifest has %s, more than registries take", pipeline.FormatBytes(int64(len(b))))
	}
	a.manifest = ocispec.Descriptor{MediaType: cmp.Or(tags[t.StagingTag].MediaType, ocispec.MediaTypeImageManifest), Digest: stored, Size: int64(len(b))}
	if a.blobs, err = modelpack.Blobs(b); err != nil {
		return nil, errors.Wrap(err, "cannot parse the manifest that kit stored")
	}
	a.layers, a.size = a.blobs[1:], pipeline.TotalBytes(a.blobs)
	return a, nil
}

func (a *artifact) blob(d digest.Digest) string {
	return filepath.Join(a.storage, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// A visitFile is called for each file in an artifact. It need not read the content.
type visitFile func(name string, size int64, content io.Reader) error

// walk visits all files in all layers.
func (a *artifact) walk(ctx context.Context, visit visitFile) error {
	for _, l := range a.layers {
		if err := a.walkLayer(ctx, l, visit); err != nil {
			return err
		}
	}
	return nil
}

// walkLayer visits the files of one layer. Its media type ends in .raw, .tar
// or .tar+gzip.
func (a *artifact) walkLayer(ctx context.Context, l ocispec.Descriptor, visit visitFile) error {
	f, err := os.Open(a.blob(l.Digest))
	if err != nil {
		return errors.Wrap(err, "cannot open a layer that kit stored")
	}
	defer f.Close()
	switch _, format, _ := strings.Cut(l.MediaType, ".v1."); format {
	case "raw":
		return visit(path.Clean(l.Annotations[modelspec.AnnotationFilepath]), l.Size, contextReader{ctx, f})
	case "tar":
		// Without a reader in between, files that are not read are skipped by
		// seeking.
		return walkTar(ctx, f, visit)
	case "tar+gzip":
		zr, err := gzip.NewReader(f)
		if err != nil {
			return errors.Wrap(err, "cannot decompress a layer that kit stored")
		}
		return walkTar(ctx, zr, visit)
	default:
		return outcome.Errorf(outcome.Unsupported, "kit stored a layer of the unknown type %q", l.MediaType)
	}
}

func walkTar(ctx context.Context, r io.Reader, visit visitFile) error {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.Wrap(err, "cannot read a tar archive that kit stored")
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := visit(path.Clean(h.Name), h.Size, contextReader{ctx, tr}); err != nil {
			return err
		}
	}
}

// A contextReader ends a long read when its context ends.
type contextReader struct {
	ctx context.Context //nolint:containedctx // It lives for one read.
	r   io.Reader
}

func (r contextReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}
