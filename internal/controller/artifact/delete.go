package artifact

import (
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// observeDeletion says "exists" while anything that deletion is to take away
// is there.
func (e *external) observeDeletion(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
	job, pods, err := e.currentJob(ctx, a)
	if err != nil {
		return managed.ExternalObservation{}, err
	}
	if job != nil {
		// What has been pushed since the last look is to go, too.
		e.observeRun(ctx, a, artifact.RunState{Job: job, Pods: pods})
	}
	left, err := e.runsLeft(ctx, a)
	if err != nil || left {
		return managed.ExternalObservation{ResourceExists: left}, err
	}
	e.leaveForeign(a)
	return managed.ExternalObservation{ResourceExists: e.inRegistry(ctx, a)}, nil
}

// inRegistry says whether the registry has, under the Artifact's tag, what the
// Artifact pushed. Where the registry cannot be asked it says so too: Delete
// finds out why.
func (e *external) inRegistry(ctx context.Context, a *modelv1alpha1.Artifact) bool {
	s := a.Status.AtProvider
	if s.Digest == "" {
		return false
	}
	if e.registry == nil {
		return true
	}
	d, err := e.registry.Resolve(ctx, artifact.Repository(a), tagOf(s.Reference))
	if err != nil {
		return !registry.IsNotFound(err)
	}
	return d.Digest.String() == s.Digest
}

// deleteFromRegistry takes the Artifact's tag from the registry if it points to
// what the Artifact pushed. Where it cannot, and never will, the artifact is
// left and an event says so.
func (e *external) deleteFromRegistry(ctx context.Context, a *modelv1alpha1.Artifact) error {
	e.leaveForeign(a)
	s := &a.Status.AtProvider
	if s.Digest == "" {
		return nil
	}
	if e.registry == nil {
		return e.letGo(ctx, a)
	}
	if !e.inRegistry(ctx, a) {
		return nil
	}
	err := e.registry.Untag(ctx, artifact.Repository(a), tagOf(s.Reference))
	if registry.IsUnsupported(err) {
		e.leave(a, "the registry does not delete tags")
		return nil
	}
	if err == nil {
		e.recorder.Event(a, event.Normal(reasonUntagged, "Took the tag from "+s.Reference+", which was "+s.Digest))
	}
	return leaveHint(err)
}

// leaveHint adds to an error how an Artifact is deleted that leaves what it
// pushed.
func leaveHint(err error) error {
	if err == nil {
		return nil
	}
	return errors.Errorf("%w; to leave the artifact in its registry, take Delete from spec.managementPolicies", err)
}

// letGo decides what happens when the registry cannot be asked for want of a
// ProviderConfig or a Secret: in a namespace that is being deleted neither
// will come back.
func (e *external) letGo(ctx context.Context, a *modelv1alpha1.Artifact) error {
	ns := &corev1.Namespace{}
	if err := e.direct.Get(ctx, types.NamespacedName{Name: a.GetNamespace()}, ns); err != nil {
		return errors.Wrap(err, "cannot get the Artifact's namespace")
	}
	if ns.GetDeletionTimestamp() != nil {
		e.leave(a, "the namespace is being deleted and the registry's credentials are gone")
		return nil
	}
	return leaveHint(e.configError)
}

// leaveForeign gives up an artifact that this Artifact did not push, or not to
// where it would be deleted from.
func (e *external) leaveForeign(a *modelv1alpha1.Artifact) {
	switch s := a.Status.AtProvider; {
	case s.Digest == "":
	case s.RunHash == "":
		e.leave(a, "this Artifact did not push it")
	case e.registry != nil && e.registryChanged(a) != nil:
		e.leave(a, "it was pushed to another name than the Artifact has now")
	}
}

// leave gives up the artifact in the registry.
func (e *external) leave(a *modelv1alpha1.Artifact, why string) {
	s := &a.Status.AtProvider
	if held(a) {
		return
	}
	e.recorder.Event(a, event.Warning(reasonLeft, errors.Errorf("the artifact %s stays in its registry: %s", s.PinnedReference, why)))
	s.Digest, s.PinnedReference = "", ""
}

// held says whether the Artifact is deleted and somebody else's finalizer keeps
// it: what is observed of it is not written then.
func held(a *modelv1alpha1.Artifact) bool {
	return meta.WasDeleted(a) && len(a.GetFinalizers()) > 1
}

// tagOf returns the tag of a reference, latest where it has none.
func tagOf(reference string) string {
	if name := trimTag(reference); len(name) < len(reference) {
		return reference[len(name)+1:]
	}
	return "latest"
}
