// Package pull reads artifacts back from a registry and hashes the files in
// them. It uses oras-go alone, so that the provider's own code is not checked by
// itself.
package pull

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"path"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	modelspec "github.com/modelpack/model-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"
)

// An Artifact is what a registry has under a reference.
type Artifact struct {
	// Descriptor of the manifest.
	Descriptor ocispec.Descriptor

	// Manifest of the artifact.
	Manifest ocispec.Manifest

	// Files are the SHA-256, in hex, of the files in all layers by their path:
	// in a ModelPack's raw layers, and in the tar layers of either format.
	Files map[string]string
}

// Pull reads the artifact that a tag or a digest stands for.
func Pull(ctx context.Context, repository *remote.Repository, reference string) (*Artifact, error) {
	d, rc, err := repository.FetchReference(ctx, reference)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot fetch manifest %s", reference)
	}
	defer func() { _ = rc.Close() }()
	manifest, err := content.ReadAll(rc, d)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot read manifest %s", reference)
	}
	a := &Artifact{Descriptor: d, Files: map[string]string{}}
	if err := json.Unmarshal(manifest, &a.Manifest); err != nil {
		return nil, errors.Wrapf(err, "cannot decode manifest %s", reference)
	}
	for _, layer := range a.Manifest.Layers {
		if err := a.readLayer(ctx, repository, layer); err != nil {
			return nil, errors.Wrapf(err, "cannot read layer %s", layer.Digest)
		}
	}
	return a, nil
}

// readLayer hashes the files of a layer, and the layer itself.
func (a *Artifact) readLayer(ctx context.Context, repository *remote.Repository, layer ocispec.Descriptor) error {
	rc, err := repository.Fetch(ctx, layer)
	if err != nil {
		return err
	}
	defer func() { _ = rc.Close() }()
	blob := content.NewVerifyReader(rc, layer)
	switch {
	case strings.HasSuffix(layer.MediaType, ".raw"):
		err = a.addFile(layer.Annotations[modelspec.AnnotationFilepath], blob)
	case strings.HasSuffix(layer.MediaType, ".tar"):
		err = a.addTar(blob)
	default:
		err = errors.Errorf("unknown media type %s", layer.MediaType)
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, blob); err != nil {
		return err
	}
	return blob.Verify()
}

// addTar hashes the regular files of a tar stream.
func (a *Artifact) addTar(r io.Reader) error {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := a.addFile(h.Name, tr); err != nil {
			return err
		}
	}
}

// addFile hashes one file.
func (a *Artifact) addFile(name string, r io.Reader) error {
	name = path.Clean(name)
	if _, ok := a.Files[name]; ok {
		return errors.Errorf("file %s is there twice", name)
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return err
	}
	a.Files[name] = hex.EncodeToString(h.Sum(nil))
	return nil
}
