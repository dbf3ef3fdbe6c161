package kit

import (
	"bytes"
	"context"
	"os"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// connect makes a client of the registry, with the credentials that there are
// now.
func (r *task) connect() error {
	again := retry.Default()
	again.Logf = r.log.printf
	c, err := pipeline.NewRegistry(r.run.Target, again, nil)
	if err != nil {
		return err
	}
	if r.registry != nil {
		r.registry.Close()
	}
	r.registry = c
	return nil
}

// askRegistry pushes an empty JSON document, two bytes that many artifacts
// share, to learn before a long download whether the registry lets this run
// push there. Asking for a manifest would not tell: some registries refuse to
// show what does not exist yet, and others show it to all.
func (r *task) askRegistry(ctx context.Context) error {
	empty := ocispec.DescriptorEmptyJSON
	return r.registry.PushBlob(ctx, r.run.Target.Repository, empty, bytes.NewReader(empty.Data))
}

// push has kit push the artifact to the staging tag, and asks the registry what the
// tag points to then.
func (r *task) push(ctx context.Context, a *artifact) error {
	// An import takes long enough for a Secret to change.
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

// mend pushes blobs that are missing under a manifest that is there: kit pushes
// nothing where it finds the manifest.
func (r *task) mend(ctx context.Context, a *artifact) error {
	_, err := r.registry.Resolve(ctx, r.run.Target.Repository, a.manifest.Digest.String())
	switch {
	case registry.IsNotFound(err):
		return nil
	case registry.IsUnauthorized(err):
		// Not every account that may push may read.
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
