package artifact

import (
	"context"
	"fmt"
	"slices"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
)

// gatherDeletion looks for what deletion has yet to remove.
func (e *external) gatherDeletion(ctx context.Context, a *modelv1alpha1.Artifact) (observation, error) {
	e.blobs.forget(a.GetUID())
	e.follower.Forget(a.GetUID())
	var o observation
	job, pods, err := e.currentJob(ctx, a)
	if err != nil {
		return o, err
	}
	if job != nil {
		// What was staged since the last look must go, too.
		_, o.news = e.recordRun(ctx, a, artifact.RunState{Job: job, Pods: pods})
	}
	if o.runsLeft, err = e.runsLeft(ctx, a); err != nil || o.runsLeft {
		return o, err
	}
	o.news = e.findPushed(ctx, a) || o.news
	e.leaveForeign(a)
	o.namesLeft = e.hasNames(ctx, a)
	return o, nil
}

// findPushed records what the Artifact's tag points to if a record names it as the
// Artifact's and the status does not know it: a commit was interrupted, or the status
// was lost. It reports whether that is so. A registry that cannot be asked does not
// hold up deletion.
func (e *external) findPushed(ctx context.Context, a *modelv1alpha1.Artifact) bool {
	s := &a.Status.AtProvider
	known := s.Digest != "" && s.Staged == nil
	if known || s.LeftInRegistry != "" || artifact.RunOf(a).Number == 0 || e.registry == nil || e.registryChanged(a) != nil {
		return false
	}
	t, err := e.catalogOf(a).Look(ctx, artifact.Tag(a), s.Digest)
	if err != nil || len(t.Records) == 0 {
		return false
	}
	reference := artifact.OCIReference(a)
	switch {
	case s.Staged != nil && t.IsOn(s.Staged.Digest):
		recordCommitted(a, reference, t.Records)
	case s.Digest == "":
		s.Reference, s.RunHash = reference, t.Records[0].RunHash
		recordDigest(a, t.Descriptor.Digest.String())
	default:
		return false
	}
	return true
}

// hasNames reports whether the registry has anything that goes with the Artifact. It
// reports true where the registry cannot be asked: Delete finds out why.
func (e *external) hasNames(ctx context.Context, a *modelv1alpha1.Artifact) bool {
	s := a.Status.AtProvider
	switch {
	case s.LeftInRegistry != "":
		return false
	case e.registry == nil:
		return s.Digest != "" || s.Staged != nil
	}
	has, err := e.catalogOf(a).HasAny(ctx, e.holding(a))
	// Where nothing is known to be there, a registry that cannot be asked does not
	// hold up deletion.
	return has || err != nil && (s.Digest != "" || s.Staged != nil)
}

// holding returns what the status says that the Artifact has in the registry.
func (e *external) holding(a *modelv1alpha1.Artifact) catalog.Holding {
	s := a.Status.AtProvider
	h := catalog.Holding{Tag: tagOf(s.Reference), Digest: s.Digest, Further: s.Tags}
	for _, p := range s.History {
		h.Earlier = append(h.Earlier, p.Digest)
	}
	if hash := artifact.RunOf(a).Hash; hash != "" {
		h.RunHashes = append(h.RunHashes, hash)
	}
	if s.Staged == nil {
		return h
	}
	h.Earlier = append(h.Earlier, s.Staged.Digest)
	if !slices.Contains(h.RunHashes, s.Staged.RunHash) {
		h.RunHashes = append(h.RunHashes, s.Staged.RunHash)
	}
	return h
}

// deleteNames removes from the registry what goes with the Artifact. What the
// registry does not delete, and never will, is left, which status and an event say.
func (e *external) deleteNames(ctx context.Context, a *modelv1alpha1.Artifact) error {
	if e.registry == nil {
		return e.leaveUnreachable(ctx, a)
	}
	s := &a.Status.AtProvider
	out, err := e.catalogOf(a).Delete(ctx, e.holding(a))
	tag := tagOf(s.Reference)
	if out.Untagged {
		e.recorder.Event(a, event.Normal(reasonUntagged, "Removed tag "+tag+" from "+s.PinnedReference))
	}
	if out.ByDigest {
		e.recorder.Event(a, event.Normal(reasonDeleted, "Deleted "+s.PinnedReference+", which had no other tag than "+tag))
	}
	if out.LeftImages != nil {
		e.recorder.Event(a, event.Warning(reasonLeft, out.LeftImages))
	}
	switch {
	case err != nil:
		return leaveHint(err)
	case out.Left != "":
		e.leave(a, out.Left)
	case out.LeftRecord:
		e.reportLeft(a, "The record of who pushed "+s.PinnedReference+" stays in its registry, which does not delete it")
		s.LeftInRegistry = "the registry does not delete the record of who pushed it"
	case len(out.LeftTags) > 0:
		why := leftTags(out.LeftTags).Error()
		e.reportLeft(a, why)
		s.LeftInRegistry = why
	}
	e.requeue(a, requeueDeleted)
	return nil
}

// leaveHint adds to an error how an Artifact is deleted without what it pushed.
func leaveHint(err error) error {
	if err == nil {
		return nil
	}
	return errors.Errorf("%w; to leave the artifact in its registry, remove Delete from spec.managementPolicies", err)
}

// leaveUnreachable decides what happens if the registry cannot be asked for want of a
// ProviderConfig or a Secret: in a namespace that is being deleted neither will come
// back.
func (e *external) leaveUnreachable(ctx context.Context, a *modelv1alpha1.Artifact) error {
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

// leaveForeign leaves an artifact that this Artifact did not push, or not to where
// it would be deleted from.
func (e *external) leaveForeign(a *modelv1alpha1.Artifact) {
	switch s := a.Status.AtProvider; {
	case s.Digest == "":
	case s.RunHash == "":
		e.leave(a, "this Artifact did not push it")
	case e.registry != nil && e.registryChanged(a) != nil:
		e.leave(a, "it was pushed to another name than the Artifact has now")
	}
}

// leave leaves the artifact in the registry.
func (e *external) leave(a *modelv1alpha1.Artifact, why string) {
	s := &a.Status.AtProvider
	if s.LeftInRegistry != "" {
		return
	}
	e.reportLeft(a, fmt.Sprintf("The artifact %s stays in its registry: %s", s.PinnedReference, why))
	s.LeftInRegistry = why
}

// reportLeft reports what stays in the registry.
func (e *external) reportLeft(a *modelv1alpha1.Artifact, message string) {
	if !isHeld(a) {
		e.recorder.Event(a, event.Warning(reasonLeft, errors.New(message)))
	}
	a.SetConditions(xpv2.Deleting().WithMessage(message).WithObservedGeneration(a.GetGeneration()))
}

// isHeld reports whether the Artifact is deleted and another finalizer holds it:
// what is observed of it is not written then.
func isHeld(a *modelv1alpha1.Artifact) bool {
	return meta.WasDeleted(a) && len(a.GetFinalizers()) > 1
}
