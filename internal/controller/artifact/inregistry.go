package artifact

import (
	"context"
	"fmt"

	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// observeRegistry asks the registry whether it has what the last run pushed. An
// error leaves the Artifact as ready as it was.
func (e *external) observeRegistry(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
	if e.isToMove(a) && !settings.MayUpdate(a) {
		return e.observeUnmoved(ctx, a)
	}
	t, err := e.lookAtTag(ctx, a)
	if err != nil {
		return managed.ExternalObservation{}, err
	}
	s := &a.Status.AtProvider
	switch {
	case t.exists() && t.there.Digest.String() == s.Digest:
		s.Reference = artifact.OCIReference(e.withEffective(a))
		return e.observeOwn(ctx, a, t)
	case t.mayBeTaken(a):
		e.overwritten = t.there.Digest.String()
		return e.observeUntagged(ctx, a)
	}
	e.setConflict(a, t)
	return settled(), nil
}

// isToMove says whether the spec asks for another tag than the artifact has.
func (e *external) isToMove(a *modelv1alpha1.Artifact) bool {
	s := a.Status.AtProvider
	return s.Digest != "" && s.Reference != artifact.OCIReference(e.withEffective(a))
}

// notFollowed says why the artifact is not what the spec asks for.
const notFollowed = "The artifact stays as it is, since spec.managementPolicies do not allow to follow the changed spec: add Update"

// observeUnmoved looks at an artifact that is to have another tag and may not get
// it.
func (e *external) observeUnmoved(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
	there, err := e.isThere(ctx, a)
	if err != nil {
		return managed.ExternalObservation{}, err
	}
	if !there {
		return e.observeLost(ctx, a, fmt.Sprintf("The registry has no %s any more", a.Status.AtProvider.PinnedReference))
	}
	a.SetConditions(xpv2.Available().WithMessage(notFollowed).WithObservedGeneration(a.GetGeneration()))
	return settled(), nil
}

// isThere says whether the registry has the manifest of what was pushed last.
func (e *external) isThere(ctx context.Context, a *modelv1alpha1.Artifact) (bool, error) {
	if a.Status.AtProvider.Digest == "" {
		return false, nil
	}
	_, err := e.registry.Resolve(ctx, artifact.Repository(a), a.Status.AtProvider.Digest)
	if registry.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// observeTagged says what follows where the Artifact's tag is on what was pushed
// last.
func (e *external) observeTagged(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
	lost, err := e.lostBlob(ctx, a)
	if err != nil {
		return managed.ExternalObservation{}, err
	}
	if lost != "" {
		return e.observeLost(ctx, a, fmt.Sprintf("The registry has lost a part of %s: %s", a.Status.AtProvider.Reference, lost))
	}
	again, err := e.isToBeMadeAnew(ctx, a)
	if err != nil {
		return managed.ExternalObservation{}, err
	}
	ready := xpv2.Available()
	switch f := a.Status.AtProvider.Failure; {
	case !holds(a) && settings.MayUpdate(a):
		ready = xpv2.Creating().WithMessage("The artifact is that of another spec: it is made anew")
	case !holds(a):
		ready = ready.WithMessage(notFollowed)
	case a.Status.AtProvider.Phase == modelv1alpha1.PhaseFailed && f != nil:
		ready = ready.WithMessage("The artifact is there as it was; making it anew failed: " + failureMessage(f))
	case again && settings.MayUpdate(a):
		ready = ready.WithMessage("The artifact is there as it was; its source has moved")
	case e.follower.Trouble(a.GetUID()) != "":
		ready = ready.WithMessage("The artifact is there; whether its source has moved is not known: " + e.follower.Trouble(a.GetUID()))
	}
	a.SetConditions(ready.WithObservedGeneration(a.GetGeneration()))
	return managed.ExternalObservation{ResourceExists: true, ResourceUpToDate: !again || !settings.MayUpdate(a)}, nil
}

// isToBeMadeAnew says whether there is a run to begin although the artifact is
// there.
func (e *external) isToBeMadeAnew(ctx context.Context, a *modelv1alpha1.Artifact) (bool, error) {
	if !holds(a) {
		return true, nil
	}
	if a.Status.AtProvider.Phase == modelv1alpha1.PhaseFailed {
		again, err := e.isToBeTriedAgain(ctx, a)
		if again || err != nil {
			return again, err
		}
	}
	return e.hasMoved(ctx, a)
}

// observeUntagged says what follows where the Artifact's tag is not on what was
// pushed last, and may be put there: that needs no run where the manifest is
// there.
func (e *external) observeUntagged(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
	there, err := e.isThere(ctx, a)
	if err != nil {
		return managed.ExternalObservation{}, err
	}
	if !there {
		return e.observeLost(ctx, a, fmt.Sprintf("The registry has no %s any more", a.Status.AtProvider.Reference))
	}
	message := "The artifact does not have its tag any more"
	if e.isToMove(a) {
		message = "The artifact does not have its new tag yet"
	}
	a.SetConditions(xpv2.Creating().WithMessage(message).WithObservedGeneration(a.GetGeneration()))
	e.retag = true
	return managed.ExternalObservation{ResourceExists: settings.MayUpdate(a)}, nil
}

// observeLost says what follows where the registry does not have all of what was
// pushed any more.
func (e *external) observeLost(ctx context.Context, a *modelv1alpha1.Artifact, message string) (managed.ExternalObservation, error) {
	if s := a.Status.AtProvider; s.Phase == modelv1alpha1.PhaseFailed && s.Failure != nil {
		again, err := e.isToBeTriedAgain(ctx, a)
		if err != nil {
			return managed.ExternalObservation{}, err
		}
		if !again {
			a.SetConditions(unavailable(outcome.Reason(s.Failure.Reason), message+"; making it again failed: "+failureMessage(s.Failure)).
				WithObservedGeneration(a.GetGeneration()))
			return settled(), nil
		}
	}
	e.why = message
	o := managed.ExternalObservation{}
	if !settings.MayCreate(a) {
		message += ", and spec.managementPolicies do not allow to make it again: add Create"
		o = settled()
	}
	a.SetConditions(unavailable(outcome.NotFound, message).WithObservedGeneration(a.GetGeneration()))
	return o, nil
}
