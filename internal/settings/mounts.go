package settings

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// maxMounts is how many artifacts a run is told of that may have its blobs.
const maxMounts = 4

// MountFrom returns what other Artifacts of the same model have pushed to other
// repositories of the Artifact's registry, as repository@digest: a registry need
// not be sent what it has. They are of the same namespace and the same
// ProviderConfig, so that nobody is given what is another's. One that cannot be
// found is moved.
func (s Settings) MountFrom(ctx context.Context, a *modelv1alpha1.Artifact) []string {
	if artifact.Pipeline(a) != modelv1alpha1.PipelineStream {
		return nil
	}
	list := &modelv1alpha1.ArtifactList{}
	// They are only read.
	if err := s.resolver.Cached.List(ctx, list, client.InNamespace(a.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	var found []*modelv1alpha1.Artifact
	for i := range list.Items {
		other := &list.Items[i]
		if _, ok := s.mountable(a, other); ok && !meta.WasDeleted(other) && artifact.SameModel(a, other) &&
			equality.Semantic.DeepEqual(a.GetProviderConfigReference(), other.GetProviderConfigReference()) {
			found = append(found, other)
		}
	}
	// Those of the same format have the same layers.
	likely := func(o *modelv1alpha1.Artifact) int {
		if o.Status.AtProvider.Format == string(a.Spec.ForProvider.Format) {
			return 0
		}
		return 1
	}
	slices.SortFunc(found, func(a, b *modelv1alpha1.Artifact) int {
		return cmp.Or(cmp.Compare(likely(a), likely(b)), strings.Compare(a.GetName(), b.GetName()))
	})
	var out []string
	for _, o := range found[:min(len(found), maxMounts)] {
		pinned, _ := s.mountable(a, o)
		out = append(out, pinned)
	}
	return out
}

// mountable returns where another Artifact of the registry has what it pushed, as
// repository@digest, and reports whether an Artifact's run may be told of it: it
// is in another repository, and one that the ProviderConfig lets the namespace
// use. A status is not believed: who may write it could name anything.
func (s Settings) mountable(a, other *modelv1alpha1.Artifact) (string, bool) {
	ref, err := registry.ParseReference(other.Status.AtProvider.PinnedReference)
	if err != nil || ref.Digest == "" || ref.Registry != artifact.Registry(a) || ref.Repository == artifact.Repository(a) ||
		!strings.HasPrefix(ref.Repository, s.RepositoryPrefix) {
		return "", false
	}
	return ref.Repository + "@" + ref.Digest.String(), true
}
