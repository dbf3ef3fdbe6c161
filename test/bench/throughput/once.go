package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	client "github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// A run is one time that a contender did its job.
type run struct {
	took time.Duration
	usage
}

// once has a contender do its job: with a registry that is empty, unless it is
// to find what it did before, and with nothing of others on its way to the disk.
func (b *bench) once(ctx context.Context, c contender, m model, at place, empty bool) (run, error) {
	if empty {
		if err := b.ends.registry.renew(ctx); err != nil {
			return run{}, err
		}
	}
	if err := b.ends.warm(m); err != nil {
		return run{}, err
	}
	j := job{model: m, place: at, ca: b.ends.ca}
	var err error
	if j.dir, err = os.MkdirTemp(b.dir, "work-"); err != nil {
		return run{}, errors.Wrap(err, "cannot make a folder to work in")
	}
	defer func() { _ = os.RemoveAll(j.dir) }()
	if j.memory, err = os.MkdirTemp(b.registryDir, "work-"); err != nil {
		return run{}, errors.Wrap(err, "cannot make a folder to work in")
	}
	defer func() { _ = os.RemoveAll(j.memory) }()
	unix.Sync()

	used := &meter{}
	start := time.Now()
	if err := c.run(ctx, j, used); err != nil {
		return run{}, errors.Wrap(err, c.name())
	}
	r := run{took: time.Since(start), usage: used.usage}
	if _, limit := c.(curl); limit {
		return r, nil
	}
	return r, errors.Wrap(b.check(ctx, m), c.name())
}

// check holds what is in the registry against the model: whoever leaves out
// half of it is fast.
func (b *bench) check(ctx context.Context, m model) error {
	c, err := client.New(client.Options{Host: b.ends.place.Registry, PlainHTTP: true})
	if err != nil {
		return err
	}
	defer c.Close()
	_, top, err := c.Manifest(ctx, repository, tag)
	if err != nil {
		return err
	}
	// An image is an index, whose manifests have the same layers.
	manifests, err := modelpack.ReadManifests(ctx, c, repository, top)
	if err != nil {
		return err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(manifests.Main(), &manifest); err != nil {
		return errors.Wrap(err, "cannot read the manifest")
	}
	var size int64
	for _, l := range manifest.Layers {
		size += l.Size
	}
	if size < m.Bytes {
		return errors.Errorf("the registry has %d bytes in %d layers, of a model of %d in %d files", size, len(manifest.Layers), m.Bytes, len(m.Files))
	}
	return nil
}
