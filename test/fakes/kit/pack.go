package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	modelspec "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	formatTar = "tar"
	formatRaw = "raw"

	typeKitManifest   = "application/vnd.kitops.modelkit.manifest.v1+json"
	typeKitConfig     = "application/vnd.kitops.modelkit.config.v1+json"
	annotationCLI     = "ml.kitops.modelkit.cli-version"
	annotationKitfile = "ml.kitops.modelkit.kitfile"
)

type packOptions struct {
	modelPack   bool
	layerFormat string
}

// mediaType of a layer (https://github.com/modelpack/model-spec/blob/main/docs/spec.md,
// and for a ModelKit kit's own).
func (o packOptions) mediaType(k kind) string {
	if o.modelPack {
		return "application/vnd.cncf.model." + k.pack + ".v1." + o.layerFormat
	}
	return "application/vnd.kitops.modelkit." + k.kit + ".v1." + o.layerFormat
}

func runPack(ctx context.Context, home, dir, file, tag string, o packOptions) error {
	if o.layerFormat != formatTar && o.layerFormat != formatRaw {
		return fmt.Errorf("invalid layer format %s", o.layerFormat)
	}
	if file == "" {
		file = filepath.Join(dir, "Kitfile")
	}
	k, err := readKitfile(file)
	if err != nil {
		return err
	}
	return packDirectory(ctx, home, dir, k, tag, o)
}

// packDirectory packs a folder by a Kitfile into the local storage.
func packDirectory(ctx context.Context, home, dir string, k *kitfile, tag string, o packOptions) error {
	ref, err := parseReference(tag)
	if err != nil {
		return err
	}
	s, err := openStore(home, ref)
	if err != nil {
		return err
	}
	cache := filepath.Join(home, "cache", "pack")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return err
	}
	created, err := creationTime()
	if err != nil {
		return err
	}
	p := &packer{store: s, dir: dir, cache: cache, paths: k.paths(), options: o}
	if err := k.each(func(kd kind, e *entry) error { return p.layer(ctx, kd, e) }); err != nil {
		return err
	}
	d, err := p.manifest(ctx, k, created)
	if err != nil {
		return err
	}
	fmt.Printf("Model saved: %s\n", d.Digest)
	return errors.Join(s.tag(d, ref.Reference), os.RemoveAll(cache))
}

// creationTime is now, or what SOURCE_DATE_EPOCH says.
func creationTime() (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		return time.Now().UTC(), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("invalid SOURCE_DATE_EPOCH %q: %w", epoch, err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// A packer makes layers of the files in a folder.
type packer struct {
	store      *store
	dir, cache string
	paths      []string
	options    packOptions
	layers     []ocispec.Descriptor
	diffIDs    []digest.Digest
}

// layer stores an entry's files as one layer: through a file in the cache,
// which then moves into the store.
func (p *packer) layer(ctx context.Context, k kind, e *entry) error {
	temp, err := os.CreateTemp(p.cache, "kitops_layer_")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // Gone when it moved.
	digester := digest.Canonical.Digester()
	w := &countingWriter{file: temp, hash: digester.Hash()}
	annotations := map[string]string{modelspec.AnnotationFilepath: filepath.Clean(e.Path)}
	if p.options.layerFormat == formatRaw {
		err = p.writeRaw(w, e.Path, annotations)
	} else {
		err = p.writeTar(w, filepath.Clean(e.Path))
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	d := ocispec.Descriptor{MediaType: p.options.mediaType(k), Digest: digester.Digest(), Size: w.n, Annotations: annotations}
	e.Digest, e.DiffID = d.Digest.String(), d.Digest.String()
	p.layers, p.diffIDs = append(p.layers, d), append(p.diffIDs, d.Digest)
	name := k.kit
	if p.options.modelPack {
		name = k.pack
	}
	return p.store.addFile(ctx, d, temp.Name(), name)
}

// manifest stores config and manifest.
func (p *packer) manifest(ctx context.Context, k *kitfile, created time.Time) (ocispec.Descriptor, error) {
	kit, err := json.Marshal(k)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	m := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: typeKitManifest,
		Layers:       p.layers,
		Annotations:  map[string]string{annotationCLI: version, ocispec.AnnotationCreated: created.Format(time.RFC3339)},
	}
	configType, config := typeKitConfig, kit
	if p.options.modelPack {
		m.ArtifactType = modelspec.ArtifactTypeModelManifest
		m.Annotations[annotationKitfile] = string(kit)
		configType = modelspec.MediaTypeModelConfig
		if config, err = json.Marshal(p.modelConfig(k, created)); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	if m.Config, err = p.store.addBytes(ctx, configType, config); err != nil {
		return ocispec.Descriptor{}, err
	}
	fmt.Printf("Saved configuration: %s\n", m.Config.Digest)
	b, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := p.store.addBytes(ctx, ocispec.MediaTypeImageManifest, b)
	if err == nil {
		fmt.Printf("Saved manifest to storage: %s\n", d.Digest)
	}
	return d, err
}

// modelConfig is a ModelPack's config
// (https://github.com/modelpack/model-spec/blob/main/docs/config.md).
func (p *packer) modelConfig(k *kitfile, created time.Time) modelspec.Model {
	var licenses []string
	if k.Package.License != "" {
		licenses = []string{k.Package.License}
	}
	return modelspec.Model{
		Descriptor: modelspec.ModelDescriptor{
			CreatedAt:   &created,
			Authors:     k.Package.Authors,
			Name:        k.Package.Name,
			Version:     k.Package.Version,
			Title:       k.Package.Name,
			Description: k.Package.Description,
			Licenses:    licenses,
		},
		ModelFS: modelspec.ModelFS{Type: "layers", DiffIDs: p.diffIDs},
	}
}
