package artifact

import (
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// indexReference finds Artifacts by ProviderConfig and target.
const indexReference = "reference"

// referenceOf returns what an Artifact that has begun a run is pushed to.
func referenceOf(o client.Object) []string {
	a, ok := o.(*modelv1alpha1.Artifact)
	if !ok || artifact.RunOf(a) == (artifact.Run{}) || !mayCreate(a) {
		return nil
	}
	return claimOf(a)
}

// claimOf returns what an Artifact is to be pushed to: its target, and its
// ProviderConfig, which stands for the registry. It is of the spec alone, since
// who may annotate an Artifact could claim anything.
func claimOf(a *modelv1alpha1.Artifact) []string {
	t, config := a.Spec.ForProvider.Target, configOf(a)
	if t == nil || len(config) == 0 {
		return nil
	}
	return []string{config[0] + " " + string(t.Registry) + "/" + t.Repository + ":" + artifact.Tag(a)}
}

// claimedByAnother returns a condition if an older Artifact of the same
// ProviderConfig, which lets it, is pushed to the same reference: one of the two
// would overwrite the other. Of others nothing is believed: what they push is
// found at the registry.
func (e *external) claimedByAnother(ctx context.Context, a *modelv1alpha1.Artifact) (*xpv2.Condition, error) {
	claim := claimOf(a)
	if len(claim) == 0 {
		return nil, nil //nolint:nilnil // There being none is no error.
	}
	list := &modelv1alpha1.ArtifactList{}
	if err := e.cached.List(ctx, list, client.MatchingFields{indexReference: claim[0]}); err != nil {
		return nil, errors.Wrap(err, "cannot look for other Artifacts of the same reference")
	}
	for i := range list.Items {
		if other := &list.Items[i]; isOlder(other, a) && e.admits(ctx, other) {
			c := unavailable(outcome.TagConflict, "Another, older Artifact is pushed to "+artifact.OCIReference(e.withEffective(a))+": write another repository or tag, or delete that one")
			return &c, nil
		}
	}
	return nil, nil //nolint:nilnil // There being none is no error.
}

// isOlder says whether a was made before b; of two that were made in the same
// second, one is.
func isOlder(a, b *modelv1alpha1.Artifact) bool {
	if at, bt := a.GetCreationTimestamp(), b.GetCreationTimestamp(); !at.Equal(&bt) {
		return at.Before(&bt)
	}
	return a.GetUID() < b.GetUID()
}
