package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	client "github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
)

// A run is one time that a contender did its job.
type run struct {
	took time.Duration
	meter.Usage
}

// once has a contender do its job: with a registry that is empty, unless it is
// to find what it did before, and with nothing of others on its way to the disk.
func (b *bench) once(ctx context.Context, c contender, m model, at line.Place, empty bool) (run, error) {
	if empty {
		if err := b.ends.registry.Renew(ctx); err != nil {
			return run{}, err
		}
	}
	if err := b.ends.warm(m); err != nil {
		return run{}, err
	}
	j := job{model: m, place: at, ca: b.ends.ca}
	var err error
	if !empty {
		if j.verified, err = b.fileList(ctx); err != nil {
			return run{}, err
		}
	}
	if j.dir, err = os.MkdirTemp(b.dir, "work-"); err != nil {
		return run{}, errors.Wrap(err, "cannot make a folder to work in")
	}
	defer func() { _ = os.RemoveAll(j.dir) }()
	if j.memory, err = os.MkdirTemp(b.registryDir, "work-"); err != nil {
		return run{}, errors.Wrap(err, "cannot make a folder to work in")
	}
	defer func() { _ = os.RemoveAll(j.memory) }()
	unix.Sync()

	used := &meter.Meter{}
	start := time.Now()
	if err := c.run(ctx, j, used); err != nil {
		return run{}, errors.Wrap(err, c.name())
	}
	r := run{took: time.Since(start), Usage: used.Usage()}
	if _, limit := c.(curl); limit {
		return r, nil
	}
	return r, errors.Wrap(b.check(ctx, m), c.name())
}

// check compares what is in the registry with the model: a contender that omits half of
// it is fast.
func (b *bench) check(ctx context.Context, m model) error {
	layers, err := b.layers(ctx)
	if err != nil {
		return err
	}
	var size int64
	for _, l := range layers {
		size += l.Size
	}
	if size < m.Bytes {
		return errors.Errorf("the registry has %d bytes in %d layers, of a model of %d in %d files", size, len(layers), m.Bytes, len(m.Files))
	}
	return nil
}

// layers returns the layers of what is in the registry.
func (b *bench) layers(ctx context.Context) ([]ocispec.Descriptor, error) {
	c, err := client.New(client.Options{Host: b.ends.place.Registry, PlainHTTP: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_, top, err := c.Manifest(ctx, repository, tag)
	if err != nil {
		return nil, err
	}
	// An image is an index, whose manifests have the same layers.
	manifests, err := modelpack.ReadManifests(ctx, c, repository, top)
	if err != nil {
		return nil, err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(manifests.Main(), &manifest); err != nil {
		return nil, errors.Wrap(err, "cannot read the manifest")
	}
	return manifest.Layers, nil
}

// fileList returns the digest of the list of files that is in the registry beside a model.
func (b *bench) fileList(ctx context.Context) (string, error) {
	c, err := client.New(client.Options{Host: b.ends.place.Registry, PlainHTTP: true})
	if err != nil {
		return "", err
	}
	defer c.Close()
	subject, err := c.Resolve(ctx, repository, tag)
	if err != nil {
		return "", err
	}
	lists, err := c.Referrers(ctx, repository, subject.Digest, filelist.MediaType)
	if err != nil || len(lists) != 1 {
		return "", errors.Errorf("want one list of the files in the registry, got %d: %v", len(lists), err)
	}
	_, encoded, err := c.Manifest(ctx, repository, lists[0].Digest.String())
	if err != nil {
		return "", err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(encoded, &manifest); err != nil || len(manifest.Layers) != 1 {
		return "", errors.Errorf("want one list in its manifest, got %d: %v", len(manifest.Layers), err)
	}
	return manifest.Layers[0].Digest.String(), nil
}

// readers is how many layers are read back at a time, as Stream reads them.
const readers = 8

// readBack returns how long plain GETs of all layers in the registry take: what a
// second run would take that had to read them again.
func (b *bench) readBack(ctx context.Context) (time.Duration, error) {
	layers, err := b.layers(ctx)
	if err != nil {
		return 0, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: readers}
	defer transport.CloseIdleConnections()
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, l := range layers {
		group.Go(func() error {
			u := "http://" + b.ends.place.Registry + "/v2/" + repository + "/blobs/" + l.Digest.String()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
			if err != nil {
				return err
			}
			rsp, err := transport.RoundTrip(req)
			if err != nil {
				return err
			}
			defer rsp.Body.Close()
			if n, err := io.Copy(io.Discard, rsp.Body); err != nil || n != l.Size {
				return errors.Errorf("the registry sent %d of %d bytes of %s: %v", n, l.Size, l.Digest, err)
			}
			return nil
		})
	}
	err = group.Wait()
	return time.Since(start), err
}
