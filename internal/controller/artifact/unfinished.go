package artifact

import (
	"context"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// unfinishedTag returns the tag under which the Artifact's latest run may have
// left what it had pushed when it was ended; empty where it leaves none.
func (e *external) unfinishedTag(a *modelv1alpha1.Artifact) string {
	p := a.Spec.ForProvider
	if p.Pipeline != modelv1alpha1.PipelineStream || p.Format == modelv1alpha1.PackFormatModelPack || e.registry == nil || e.registryChanged(a) != nil {
		return ""
	}
	return provenance.UnfinishedTag(artifact.RunOf(a).Hash)
}

// hasUnfinished says whether the registry has what a run left. One that cannot
// be asked holds nothing up because of it.
func (e *external) hasUnfinished(ctx context.Context, a *modelv1alpha1.Artifact) bool {
	tag := e.unfinishedTag(a)
	if tag == "" {
		return false
	}
	_, err := e.registry.Resolve(ctx, artifact.Repository(a), tag)
	return err == nil
}

// deleteUnfinished takes away what a run left, or notes that the registry does
// not.
func (e *external) deleteUnfinished(ctx context.Context, a *modelv1alpha1.Artifact) error {
	tag := e.unfinishedTag(a)
	if tag == "" || !e.hasUnfinished(ctx, a) {
		return nil
	}
	err := e.registry.Untag(ctx, artifact.Repository(a), tag)
	if registry.IsUnsupported(err) {
		s := &a.Status.AtProvider
		s.LeftInRegistry = "the registry does not delete the tag " + tag + " of a run that was ended early"
		e.sayLeft(a, "The tag "+tag+" of a run that was ended early stays in the registry, which does not delete it")
		return nil
	}
	return err
}
