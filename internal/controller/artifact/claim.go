package artifact

import (
	"cmp"
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// indexReference finds Artifacts by ProviderConfig, repository and tag.
const indexReference = "reference"

// referenceOf returns what an Artifact is found by in indexReference, once for each of
// its tags, its own first; nil where it names no target. It is of spec and status
// alone, since who may annotate an Artifact could claim anything. The registry is left out: whether a host that a target
// names is the ProviderConfig's own, only a reader of that can tell.
func referenceOf(o client.Object) []string {
	a, ok := o.(*modelv1alpha1.Artifact)
	if !ok {
		return nil
	}
	t, config := a.Spec.ForProvider.Target, configOf(a)
	if t == nil || len(config) == 0 {
		return nil
	}
	repository := config[0] + " " + t.Repository + ":"
	out := []string{repository + artifact.Tag(a)}
	versions := append(pushedVersions(&a.Status.AtProvider), modelv1alpha1.PushedArtifact{})
	for _, tag := range wantedTags(a, versions...) {
		out = append(out, repository+tag.name)
	}
	return out
}

// claims reports whether an Artifact keeps others from its reference: it has
// begun a run and may push.
func claims(a *modelv1alpha1.Artifact) bool {
	return artifact.RunOf(a) != (artifact.Run{}) && settings.MayCreate(a)
}

// claimedByAnother returns a condition if an older Artifact of the same
// ProviderConfig, which lets it, is pushed to the same reference: one of the two
// would overwrite the other. Of others nothing is believed: what they push is
// found at the registry.
func (e *external) claimedByAnother(ctx context.Context, a *modelv1alpha1.Artifact) (*xpv2.Condition, error) {
	for _, reference := range referenceOf(a) {
		if c, err := e.referenceClaimed(ctx, a, reference); c != nil || err != nil {
			return c, err
		}
	}
	return nil, nil //nolint:nilnil // None is a valid result.
}

// referenceClaimed returns a condition if an older Artifact has one of the Artifact's
// references.
func (e *external) referenceClaimed(ctx context.Context, a *modelv1alpha1.Artifact, reference string) (*xpv2.Condition, error) {
	list := &modelv1alpha1.ArtifactList{}
	if err := e.cached.List(ctx, list, client.MatchingFields{indexReference: reference}); err != nil {
		return nil, errors.Wrap(err, "cannot look for other Artifacts of the same reference")
	}
	for i := range list.Items {
		if other := &list.Items[i]; claims(other) && isOlder(other, a) && e.sameRegistry(a, other) && e.settings.Admits(ctx, other) {
			c := unavailable(outcome.TagConflict, "Another, older Artifact is pushed to "+artifact.ExternalName(a)+":"+tagOf(reference)+": write another repository or tag, or delete that one")
			return &c, nil
		}
	}
	return nil, nil //nolint:nilnil // None is a valid result.
}

// sameRegistry reports whether two Artifacts of the ProviderConfig are pushed to
// the same registry, however each writes its host.
func (e *external) sameRegistry(a, b *modelv1alpha1.Artifact) bool {
	host := func(a *modelv1alpha1.Artifact) string {
		own := ""
		if t := a.Spec.ForProvider.Target; t != nil {
			own = string(t.Registry)
		}
		return registry.CanonicalHost(cmp.Or(own, e.settings.ConfigHost))
	}
	return host(a) == host(b)
}

// isOlder reports whether a was made before b; of two that were made in the same
// second, one is.
func isOlder(a, b *modelv1alpha1.Artifact) bool {
	if at, bt := a.GetCreationTimestamp(), b.GetCreationTimestamp(); !at.Equal(&bt) {
		return at.Before(&bt)
	}
	return a.GetUID() < b.GetUID()
}

// released returns a handler that requeues the Artifacts which wait for a
// reference once another one that had it is gone, or claims it no longer.
func (w *requeuer) released() handler.EventHandler {
	requeue := func(ctx context.Context, gone client.Object, q queue) {
		for _, r := range w.forReference(ctx, gone) {
			later(q).Add(r)
		}
	}
	return handler.Funcs{
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { requeue(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			before, ok := e.ObjectOld.(*modelv1alpha1.Artifact)
			after, also := e.ObjectNew.(*modelv1alpha1.Artifact)
			if ok && also && claims(before) && (!claims(after) || before.GetGeneration() != after.GetGeneration()) {
				requeue(ctx, before, q)
			}
		},
	}
}

// forReference returns the Artifacts that are not well and have an Artifact's
// reference, but for itself.
func (w *requeuer) forReference(ctx context.Context, gone client.Object) []reconcile.Request {
	own := types.NamespacedName{Namespace: gone.GetNamespace(), Name: gone.GetName()}
	var requests []reconcile.Request
	for _, reference := range referenceOf(gone) {
		for _, r := range w.waiting(ctx, client.MatchingFields{indexReference: reference}) {
			if r.NamespacedName != own {
				requests = append(requests, r)
			}
		}
	}
	return requests
}
