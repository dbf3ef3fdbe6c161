package artifact

import (
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// indexReference finds Artifacts by the reference that they are pushed to.
const indexReference = "reference"

// referenceOf returns the reference of an Artifact that has begun a run.
func referenceOf(o client.Object) []string {
	a, ok := o.(*modelv1alpha1.Artifact)
	if !ok || meta.GetExternalName(a) == "" || !mayCreate(a) {
		return nil
	}
	return []string{meta.GetExternalName(a) + ":" + artifact.Tag(a)}
}

// claimedByAnother returns a condition if an older Artifact of this cluster is
// pushed to the same reference: one of the two would overwrite the other.
func (e *external) claimedByAnother(ctx context.Context, a *modelv1alpha1.Artifact) (*xpv2.Condition, error) {
	reference := artifact.OCIReference(e.withEffective(a))
	list := &modelv1alpha1.ArtifactList{}
	if err := e.cached.List(ctx, list, client.MatchingFields{indexReference: reference}); err != nil {
		return nil, errors.Wrap(err, "cannot look for other Artifacts of the same reference")
	}
	for i := range list.Items {
		if other := &list.Items[i]; isOlder(other, a) {
			c := unavailable(outcome.TagConflict, "Another, older Artifact is pushed to "+reference+": write another repository or tag, or delete that one")
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
