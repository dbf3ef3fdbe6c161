package artifact

import (
	"cmp"
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// checkpoint returns what a run of the Artifact's for this run hash has left in
// the registry that was ended early, and its tag; zero where there is nothing. A
// registry that cannot be asked holds nothing up because of it.
func (e *external) checkpoint(ctx context.Context, a *modelv1alpha1.Artifact, hash string) (ocispec.Descriptor, string) {
	tag := provenance.CheckpointTag(ownerOf(a), hash)
	if tag == "" || e.registry == nil || e.registryChanged(a) != nil {
		return ocispec.Descriptor{}, ""
	}
	d, _, err := provenance.Checkpoint(ctx, e.registry, artifact.Repository(a), tag)
	if err != nil {
		return ocispec.Descriptor{}, ""
	}
	return d, tag
}

// deleteCheckpoint takes away what a run left, or notes that it stays. Nobody
// misses it: an account that may not delete holds no deletion up.
func (e *external) deleteCheckpoint(ctx context.Context, a *modelv1alpha1.Artifact) error {
	d, tag := e.checkpoint(ctx, a, artifact.RunOf(a).Hash)
	if d.Digest == "" {
		return nil
	}
	err := provenance.DeleteCheckpoint(ctx, e.registry, artifact.Repository(a), tag, d)
	if registry.IsUnsupported(err) || registry.IsUnauthorized(err) {
		a.Status.AtProvider.LeftInRegistry = "the registry does not let the tag " + tag + " of a run that was ended early be deleted"
		e.sayLeft(a, "The tag "+tag+" of a run that was ended early stays in the registry, which does not let it be deleted")
		return nil
	}
	return err
}

// dropCheckpoint takes away what a run for an earlier spec left, which no run
// will take up. What stays harms nobody.
func (e *external) dropCheckpoint(ctx context.Context, a *modelv1alpha1.Artifact, next artifact.Run) {
	earlier := cmp.Or(e.earlier.Hash, artifact.RunOf(a).Hash)
	if earlier == next.Hash {
		return
	}
	if d, tag := e.checkpoint(ctx, a, earlier); d.Digest != "" {
		_ = provenance.DeleteCheckpoint(ctx, e.registry, artifact.Repository(a), tag, d)
	}
}
