package kit

import (
	"bytes"
	"context"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// connect makes a client of the registry with the current credentials.
func (r *task) connect() error {
	retries := retry.Default()
	retries.Logf = r.log.printf
	c, err := pipeline.NewRegistry(r.run.Target, retries, nil)
	if err != nil {
		return err
	}
	if r.registry != nil {
		r.registry.Close()
	}
	r.registry = c
	return nil
}

// askRegistry pushes an empty JSON document, a blob of two bytes that many artifacts
// share, to find out before a long download whether the credentials may push. Reading
// a manifest would not show that: some registries refuse to show what does not exist
// yet, and others show it to everyone.
func (r *task) askRegistry(ctx context.Context) error {
	empty := ocispec.DescriptorEmptyJSON
	return r.registry.PushBlob(ctx, r.run.Target.Repository, empty, bytes.NewReader(empty.Data))
}

// push has kit push the artifact to the staging tag, and verifies that the tag points
// to it.
func (r *task) push(ctx context.Context, a *artifact) error {
	// Credentials may have been renewed during the import.
	if err := r.connect(); err != nil {
		return err
	}
	if err := r.mend(ctx, a); err != nil {
		return err
	}
	t := r.run.Target
	args := []string{"push", t.Reference()}
	if t.PlainHTTP {
		args = append(args, "--plain-http")
	}
	if err := r.watched(ctx, r.gaugePush(a.size), args...); err != nil {
		return err
	}
	r.run.Meter.End(stepPush)
	d, err := r.registry.Resolve(ctx, t.Repository, t.StagingTag)
	if err != nil {
		return err
	}
	if d.Digest != a.manifest.Digest {
		return outcome.Errorf(outcome.Mismatch,
			"registry %s has another manifest (%s) under tag %s than the one just pushed (%s): something else pushes to the same tag",
			t.Registry, d.Digest, t.StagingTag, a.manifest.Digest)
	}
	r.log.printf("pushed %s@%s, %s in %d layers", t.Reference(), d.Digest, pipeline.FormatBytes(a.size), len(a.layers))
	return nil
}

// mend pushes the blobs that are missing although the manifest is there: kit pushes
// nothing if it finds the manifest.
func (r *task) mend(ctx context.Context, a *artifact) error {
	_, err := r.registry.Resolve(ctx, r.run.Target.Repository, a.manifest.Digest.String())
	switch {
	case registry.IsNotFound(err):
		return nil
	case registry.IsUnauthorized(err):
		// Some accounts may push but not read.
		return nil
	case err != nil:
		return err
	}
	missing, err := registry.Missing(ctx, r.registry, r.run.Target.Repository, a.blobs)
	if err != nil {
		return err
	}
	for _, b := range missing {
		r.log.printf("the registry has the manifest without blob %s: pushing that, %s", b.Digest, pipeline.FormatBytes(b.Size))
		if err := r.pushStored(ctx, a, b); err != nil {
			return err
		}
	}
	return nil
}

// pushStored pushes a blob that kit stored.
func (r *task) pushStored(ctx context.Context, a *artifact, b ocispec.Descriptor) error {
	f, err := os.Open(a.blob(b.Digest))
	if err != nil {
		return errors.Wrap(err, "cannot open a blob that kit stored")
	}
	defer f.Close()
	return r.registry.PushBlob(ctx, r.run.Target.Repository, b, f)
}
