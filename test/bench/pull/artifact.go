package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	client "github.com/crossplane-contrib/provider-kitops/internal/registry"
)

const repository = "bench/model"

// A model is what artifacts are packed of.
type model struct {
	tag    string
	format modelpack.Format
	files  []modelpack.File

	// seeds are those of the files' bytes; files of which there is none are zeros.
	seeds map[string]uint64
}

// bytes of all files.
func (m model) bytes() int64 {
	var n int64
	for _, f := range m.files {
		n += f.Size
	}
	return n
}

// reference of the model's artifact at a registry.
func (m model) reference(registry string) string {
	return registry + "/" + repository + ":" + m.tag
}

// open returns the content of a file.
func (m model) open(f modelpack.File, offset int64) (io.ReadCloser, error) {
	seed, ok := m.seeds[f.Path]
	if !ok {
		return io.NopCloser(io.LimitReader(zeros{}, f.Size-offset)), nil
	}
	return io.NopCloser(io.LimitReader(&noise{source: rand.NewPCG(seed, 0)}, f.Size-offset)), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A noise is bytes of which no two parts of a file are the same.
type noise struct{ source *rand.PCG }

func (n *noise) Read(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		var v [8]byte
		binary.LittleEndian.PutUint64(v[:], n.source.Uint64())
		rest = rest[copy(rest, v[:]):]
	}
	return len(p), nil
}

// push packs a model and pushes it to a registry.
func (m model) push(ctx context.Context, host string) error {
	c, err := client.New(client.Options{Host: host, PlainHTTP: true})
	if err != nil {
		return err
	}
	defer c.Close()
	l, err := modelpack.NewLayout(m.format, m.files)
	if err != nil {
		return err
	}
	digests := make([]digest.Digest, 0, len(l.Layers))
	for _, p := range l.Layers {
		d, err := pushLayer(ctx, c, m, p)
		if err != nil {
			return errors.Wrapf(err, "cannot push a layer of %s", m.tag)
		}
		digests = append(digests, d)
	}
	a, err := l.Artifact(modelpack.Facts{Name: m.tag}, digests)
	if err != nil {
		return err
	}
	for _, i := range a.Images {
		if err := pushManifest(ctx, c, i, i.Descriptor.Digest.String()); err != nil {
			return err
		}
	}
	return pushManifest(ctx, c, a, m.tag)
}

// pushLayer pushes a layer and returns its digest, for which it reads it twice.
func pushLayer(ctx context.Context, c *client.Client, m model, p modelpack.LayerPlan) (digest.Digest, error) {
	first := p.Open(0, m.open)
	sum, err := digest.FromReader(first)
	if err := errors.Join(err, first.Close()); err != nil {
		return "", err
	}
	second := p.Open(0, m.open)
	defer func() { _ = second.Close() }()
	return sum, c.PushBlob(ctx, repository, ocispec.Descriptor{Digest: sum, Size: p.Size}, second)
}

// pushManifest pushes a manifest with its config.
func pushManifest(ctx context.Context, c *client.Client, a modelpack.Artifact, reference string) error {
	if len(a.Config) > 0 {
		if err := c.PushBlob(ctx, repository, a.ConfigDescriptor, bytes.NewReader(a.Config)); err != nil {
			return err
		}
	}
	return c.PushManifest(ctx, repository, a.Descriptor, a.Manifest, reference)
}

// largeModel has files of random bytes of different sizes.
func largeModel(format modelpack.Format, bytes int64) model {
	m := model{tag: "large-" + string(format), format: format, seeds: map[string]uint64{}}
	for i, part := range []int64{4, 2, 1, 1} {
		name := fmt.Sprintf("model-%05d-of-00004.safetensors", i+1)
		m.files = append(m.files, modelpack.File{Path: name, Size: bytes * part / 8})
		m.seeds[name] = uint64(i) + 1
	}
	m.files = append(m.files, modelpack.File{Path: "config.json", Size: 700})
	return m
}

// blobModel is one file of zeros.
func blobModel(bytes int64) model {
	return model{tag: "blob", format: modelpack.FormatModelPack, files: []modelpack.File{{Path: "model.safetensors", Size: bytes}}}
}

// shardedModel has ten files of the same size, of which one is another's in each version.
func shardedModel(format modelpack.Format, version uint64, shard int64) model {
	m := model{tag: fmt.Sprintf("sharded-%s-%d", format, version), format: format, seeds: map[string]uint64{}}
	for i := range uint64(10) {
		name := fmt.Sprintf("model-%05d-of-00010.safetensors", i+1)
		m.files = append(m.files, modelpack.File{Path: name, Size: shard})
		m.seeds[name] = 100 + i
	}
	m.seeds["model-00005-of-00010.safetensors"] = 1000 + version
	return m
}
