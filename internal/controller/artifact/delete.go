package artifact

import (
	"context"
	"fmt"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// observeDeletion says "exists" while anything that deletion is to take away
// is there.
func (e *external) observeDeletion(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
	e.blobs.forget(a.GetUID())
	e.follower.Forget(a.GetUID())
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
	e.findPushed(ctx, a)
	e.leaveForeign(a)
	return managed.ExternalObservation{ResourceExists: e.isInRegistry(ctx, a)}, nil
}

// findPushed looks for what a run pushed that was stopped before its end. It is
// not known to be there, so that a registry which cannot be asked holds nothing
// up.
func (e *external) findPushed(ctx context.Context, a *modelv1alpha1.Artifact) {
	s := &a.Status.AtProvider
	if s.Digest != "" || s.LeftInRegistry != "" || artifact.RunOf(a).Number == 0 || e.registry == nil || e.registryChanged(a) != nil {
		return
	}
	t, err := e.lookAtTag(ctx, a)
	if err != nil || len(t.records) == 0 {
		return
	}
	s.Reference = artifact.OCIReference(e.withEffective(a))
	s.RunHash = t.records[0].RunHash
	recordDigest(a, t.there.Digest.String())
	e.foundPushed = true
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
	if s.LeftInRegistry != "" {
		return
	}
	e.sayLeft(a, fmt.Sprintf("The artifact %s stays in its registry: %s", s.PinnedReference, why))
	s.LeftInRegistry = why
}

// leaveRecord gives up the record in the registry of who pushed the artifact.
func (e *external) leaveRecord(a *modelv1alpha1.Artifact) {
	s := &a.Status.AtProvider
	e.sayLeft(a, "The record of who pushed "+s.PinnedReference+" stays in its registry, which does not delete it")
	s.LeftInRegistry = "the registry does not delete the record of who pushed it"
}

// sayLeft says what stays in the registry.
func (e *external) sayLeft(a *modelv1alpha1.Artifact, message string) {
	if !held(a) {
		e.recorder.Event(a, event.Warning(reasonLeft, errors.New(message)))
	}
	a.SetConditions(xpv2.Deleting().WithMessage(message).WithObservedGeneration(a.GetGeneration()))
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
