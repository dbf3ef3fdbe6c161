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
	"reflect"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	modelspec "github.com/modelpack/model-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"
)

// An Artifact is what a registry has under a reference.
type Artifact struct {
	// Descriptor of the manifest, or of the index.
	Descriptor ocispec.Descriptor

	// Platforms that the index names, as os/architecture; none for a manifest.
	Platforms []string

	// Manifest of the artifact; the first one of an index, whose layers all
	// have.
	Manifest ocispec.Manifest

	// Files are the SHA-256, in hex, of the files in all layers by their path:
	// in a ModelPack's raw layers, and in the tar layers of either format.
	Files map[string]string
}

// Pull reads the artifact that a tag or a digest names.
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
	if d.MediaType == ocispec.MediaTypeImageIndex {
		if err := a.readIndex(ctx, repository, manifest); err != nil {
			return nil, errors.Wrapf(err, "cannot read index %s", reference)
		}
	} else if err := json.Unmarshal(manifest, &a.Manifest); err != nil {
		return nil, errors.Wrapf(err, "cannot decode manifest %s", reference)
	}
	for _, layer := range a.Manifest.Layers {
		if err := a.readLayer(ctx, repository, layer); err != nil {
			return nil, errors.Wrapf(err, "cannot read layer %s", layer.Digest)
		}
	}
	return a, nil
}

// readIndex reads the manifests that an index names, which must have the same
// layers.
func (a *Artifact) readIndex(ctx context.Context, repository *remote.Repository, index []byte) error {
	var i ocispec.Index
	if err := json.Unmarshal(index, &i); err != nil {
		return err
	}
	for n, d := range i.Manifests {
		if d.Platform == nil {
			return errors.Errorf("manifest %s is for no platform", d.Digest)
		}
		b, err := content.FetchAll(ctx, repository, d)
		if err != nil {
			return err
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(b, &m); err != nil {
			return err
		}
		if b, err = content.FetchAll(ctx, repository, m.Config); err != nil {
			return err
		}
		var config ocispec.Image
		if err := json.Unmarshal(b, &config); err != nil || config.OS != d.Platform.OS || config.Architecture != d.Platform.Architecture {
			return errors.Errorf("the config of %s is for %s/%s: %v", d.Digest, config.OS, config.Architecture, err)
		}
		if n > 0 && !reflect.DeepEqual(m.Layers, a.Manifest.Layers) {
			return errors.Errorf("manifest %s has other layers", d.Digest)
		}
		a.Manifest = m
		a.Platforms = append(a.Platforms, d.Platform.OS+"/"+d.Platform.Architecture)
	}
	return nil
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

// Document returns the one layer of a manifest that refers to an artifact.
func Document(ctx context.Context, repository *remote.Repository, manifest string) ([]byte, error) {
	_, b, err := oras.FetchBytes(ctx, repository, manifest, oras.DefaultFetchBytesOptions)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot fetch manifest %s", manifest)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, errors.Wrapf(err, "cannot decode manifest %s", manifest)
	}
	if len(m.Layers) != 1 {
		return nil, errors.Errorf("manifest %s has %d layers, not one", manifest, len(m.Layers))
	}
	b, err = content.FetchAll(ctx, repository, m.Layers[0])
	return b, errors.Wrapf(err, "cannot fetch the layer of manifest %s", manifest)
}
