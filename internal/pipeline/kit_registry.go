package pipeline

import (
	"bytes"
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// askRegistry pushes an empty JSON document, two bytes that many artifacts
// share, to learn before a long download whether the registry lets this run
// push there. Asking for a manifest would not tell: some registries refuse to
// show what does not exist yet, and others show it to all.
func (r *kitRun) askRegistry(ctx context.Context) error {
	client, err := newRegistry(r.run.Target)
	if err != nil {
		return err
	}
	defer client.Close()
	empty := ocispec.DescriptorEmptyJSON
	return client.PushBlob(ctx, r.run.Target.Repository, empty, bytes.NewReader(empty.Data))
}

// push pushes the artifact and asks the registry what its tag now stands for.
func (r *kitRun) push(ctx context.Context, a *kitArtifact) error {
	t := r.run.Target
	args := []string{"push", t.Reference()}
	if t.PlainHTTP {
		args = append(args, "--plain-http")
	}
	if err := r.step(ctx, args...); err != nil {
		return err
	}
	client, err := newRegistry(t)
	if err != nil {
		return err
	}
	defer client.Close()
	d, err := client.Resolve(ctx, t.Repository, t.Tag)
	if err != nil {
		return err
	}
	if d.Digest != a.digest {
		return outcome.Errorf(outcome.Mismatch,
			"registry %s has another manifest (%s) under tag %s than the one just pushed (%s): something else pushes to the same tag",
			t.Registry, d.Digest, t.Tag, a.digest)
	}
	r.log.printf("pushed %s@%s", t.Reference(), d.Digest)
	return nil
}
