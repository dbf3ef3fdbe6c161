package artifact

import (
	"context"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// maxMounts is how many artifacts a run is told of that may have its blobs.
const maxMounts = 4

// mountFrom returns what other Artifacts of the same model have pushed to other
// repositories of the Artifact's registry, as repository@digest: a registry need
// not be sent what it has. They are of the same namespace, so that nobody is
// given what is another's. One that cannot be found is moved.
func (e *external) mountFrom(ctx context.Context, a *modelv1alpha1.Artifact) []string {
	if a.Spec.ForProvider.Pipeline != modelv1alpha1.PipelineStream {
		return nil
	}
	list := &modelv1alpha1.ArtifactList{}
	if err := e.cached.List(ctx, list, client.InNamespace(a.GetNamespace())); err != nil {
		return nil
	}
	host, own := artifact.Registry(a)+"/", artifact.Repository(a)
	var out []string
	for i := range list.Items {
		other := &list.Items[i]
		pinned, here := strings.CutPrefix(other.Status.AtProvider.PinnedReference, host)
		if here && artifact.SameModel(a, other) && !strings.HasPrefix(pinned, own+"@") {
			out = append(out, pinned)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), maxMounts)]
}
