package artifact

import (
	"fmt"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// decide returns what follows from an Artifact and what was observed of it. It
// reads nothing else and changes nothing.
func decide(a *modelv1alpha1.Artifact, o observation) plan {
	p := decideAction(a, o)
	if o.news && !meta.WasDeleted(a) && p.action != actionAdopt && p.action != actionNone {
		p.action, p.create = actionWait, false
	}
	if o.unsigned != nil && signs(p.action) {
		p = waitToSign(p.ready, o.unsigned)
	}
	if o.noRoom != "" && p.action == actionStartRun {
		p = waitForRoom(a, p, o.noRoom)
	}
	p.ready = p.ready.WithObservedGeneration(a.GetGeneration())
	return p
}

// signs reports whether an action signs something, now or when its run has ended.
func signs(a action) bool {
	return a == actionStartRun || a == actionCommit || a == actionAdopt
}

// waitToSign waits for what signs to be usable.
func waitToSign(ready xpv2.Condition, why error) plan {
	var known *outcome.Error
	switch {
	case ready.Status == corev1.ConditionTrue:
		ready = ready.WithMessage(fmt.Sprintf("The artifact is there as it was; nothing can be signed: %s", why))
	case errors.As(why, &known):
		ready = unavailable(known.Reason, known.Message)
	}
	return plan{action: actionWait, ready: ready, unsigned: why}
}

func decideAction(a *modelv1alpha1.Artifact, o observation) plan {
	s := a.Status.AtProvider
	switch {
	case meta.WasDeleted(a):
		return decideDeletion(a, o)
	case settings.OnlyObserves(a):
		return decideExisting(o)
	case o.obstacle != nil:
		return plan{action: actionWait, ready: *o.obstacle}
	case o.stillWaits:
		return plan{action: actionWait, ready: a.GetCondition(xpv2.TypeReady)}
	case o.run != nil && !hasEnded(o.run.Phase):
		return decideActive(a, o)
	case s.Staged != nil:
		return decideStaged(a, o)
	case o.run != nil && o.run.Phase == modelv1alpha1.PhaseFailed && !matchesSpec(a):
		return decideFailed(a, o)
	}
	return decideNames(a, o)
}

// decideNames is about an Artifact whose run is over, or has not begun: what the
// registry has decides.
func decideNames(a *modelv1alpha1.Artifact, o observation) plan {
	s := a.Status.AtProvider
	switch {
	case s.Digest == "" || !matchesSpec(a) && settings.MayUpdate(a) && !o.tag.IsOn(s.Digest):
		return decideNew(a, o)
	case o.needsRetag && !settings.MayUpdate(a):
		return decideNotRetagged(a, o)
	case o.tag.IsOn(s.Digest):
		return decideTagged(a, o)
	case isForeign(a, o.tag):
		return conflict(a, o)
	case !o.manifest:
		return decideLost(a, o, fmt.Sprintf("The registry no longer has %s", s.Reference))
	}
	return decideUntagged(a, o)
}

// decideDeletion removes runs first, then names, so that no run pushes to a name
// that was removed.
func decideDeletion(a *modelv1alpha1.Artifact, o observation) plan {
	p := plan{action: actionRelease, ready: a.GetCondition(xpv2.TypeReady)}
	switch {
	case o.runsLeft:
		p.action = actionStopRun
	case o.news:
		p.action, p.create = actionWait, false
	case o.namesLeft:
		p.action = actionUntag
	}
	return p
}

// decideExisting is about an Artifact that is only observed.
func decideExisting(o observation) plan {
	if o.obstacle != nil {
		return plan{action: actionWait, ready: *o.obstacle}
	}
	if !o.found {
		return plan{action: actionNone, create: true, ready: unavailable(outcome.NotFound, fmt.Sprintf("The registry has no %s", o.reference))}
	}
	return plan{action: actionNone, ready: xpv2.Available()}
}

// decideActive is about a run that has not ended.
func decideActive(a *modelv1alpha1.Artifact, o observation) plan {
	ready := readyCondition(*o.run)
	if isServing(a) {
		ready = xpv2.Available().WithMessage(fmt.Sprintf("The artifact is there as it was; run %d rebuilds it", a.Status.AtProvider.Run))
	}
	switch {
	case o.stuck, o.last:
	case o.outdated != types.NamespacedName{}:
		return plan{action: actionRenew, create: !settings.MayUpdate(a), ready: ready, secret: o.outdated}
	default:
		return plan{action: actionWait, ready: ready}
	}
	p := planRun(a, o, ready, "")
	p.replace, p.last = o.stuck, o.last
	return p
}

// decideStaged is about what a run has staged and no reconcile has committed. Where both are
// allowed, Update commits also what is new: around a Create the runtime writes the
// Artifact three times, for what a commit does not need.
func decideStaged(a *modelv1alpha1.Artifact, o observation) plan {
	s := a.Status.AtProvider
	ready := xpv2.Creating().WithMessage(fmt.Sprintf("Run %d has staged %s, which gets its tag next", s.Staged.Run, s.Staged.Digest))
	if wasPushed(a, s.Staged.Digest) {
		ready.Message = fmt.Sprintf("The registry still has %s, which was pushed before and gets its tag next", s.Staged.Digest)
	}
	if isServing(a) {
		ready = xpv2.Available().WithMessage(fmt.Sprintf("The artifact is there as it was; run %d has rebuilt it, and the tag is moved next", s.Staged.Run))
	}
	p := plan{action: actionCommit, create: !settings.MayUpdate(a) || s.Digest == "" && !settings.MayCreate(a), ready: ready}
	switch {
	case o.refused != nil:
		return refuse(ready, o.refused, fmt.Sprintf("what run %d staged is not committed", s.Staged.Run))
	case isForeign(a, o.tag) && (o.contested || !o.tag.IsOn(s.Staged.Digest)), o.foreignTag != nil:
		return conflict(a, o)
	case p.create && !settings.MayCreate(a):
		return plan{action: actionWait, ready: unavailable(outcome.NotFound, "A run has staged the artifact, and spec.managementPolicies do not allow to tag it: add Create")}
	}
	return p
}

// decideFailed is about a run that failed without an artifact of the spec there.
func decideFailed(a *modelv1alpha1.Artifact, o observation) plan {
	ready := readyCondition(*o.run)
	if !o.retryDue {
		return plan{action: actionWait, ready: ready}
	}
	return planRun(a, o, ready, "")
}

// decideNew is about an Artifact whose spec's run has not begun, and whose artifact
// is not in the registry.
func decideNew(a *modelv1alpha1.Artifact, o observation) plan {
	if hasForeign(a, o) && o.forbidden == nil {
		return conflict(a, o)
	}
	ready := xpv2.Creating().WithMessage(o.leftOver)
	if o.leftOver != "" {
		return plan{action: actionWait, ready: ready}
	}
	return planRun(a, o, ready, "")
}

// notFollowed says why the artifact is not what the spec asks for.
const notFollowed = "The artifact stays as it is, since spec.managementPolicies do not allow to follow the changed spec: add Update"

// decideNotRetagged is about an artifact that should have another tag, which the
// management policies do not allow.
func decideNotRetagged(a *modelv1alpha1.Artifact, o observation) plan {
	if !o.manifest {
		return decideLost(a, o, fmt.Sprintf("The registry no longer has %s", a.Status.AtProvider.PinnedReference))
	}
	return plan{action: actionNone, ready: xpv2.Available().WithMessage(notFollowed)}
}

// decideTagged is about an artifact that has its tag.
func decideTagged(a *modelv1alpha1.Artifact, o observation) plan {
	if o.lostBlob != "" {
		return decideLost(a, o, fmt.Sprintf("The registry lost a part of %s: %s", a.Status.AtProvider.Reference, o.lostBlob))
	}
	ready, rebuild := rebuilds(a, o)
	switch {
	case o.adopted != nil && settings.MayUpdate(a):
		return plan{action: actionAdopt, ready: ready, adopted: o.adopted}
	case o.foreignTag != nil:
		return conflict(a, o)
	case len(o.setTags)+len(o.removeTags) > 0:
		if len(o.setTags) > 0 {
			ready = xpv2.Creating().WithMessage("The artifact does not have all its additional tags yet")
		}
		return plan{action: actionRetag, ready: ready, setTags: o.setTags, removeTags: o.removeTags}
	case !rebuild:
		return plan{action: actionNone, ready: ready}
	case o.leftOver != "" && !matchesSpec(a):
		return plan{action: actionWait, ready: ready.WithMessage(o.leftOver)}
	case o.leftOver != "":
		return plan{action: actionWait, ready: ready}
	}
	return planRun(a, o, ready, o.moved)
}

// rebuilds reports whether an artifact that is there must be rebuilt, with the Ready
// condition that says why or why not.
func rebuilds(a *modelv1alpha1.Artifact, o observation) (xpv2.Condition, bool) {
	s, ready := a.Status.AtProvider, xpv2.Available()
	switch {
	case !matchesSpec(a) && settings.MayUpdate(a):
		return xpv2.Creating().WithMessage("The artifact is that of another spec: it is rebuilt"), true
	case !matchesSpec(a):
		return ready.WithMessage(notFollowed), false
	case isExpected(a):
		return ready, false
	case s.Phase == modelv1alpha1.PhaseFailed && s.Failure != nil:
		ready = ready.WithMessage("The artifact is there as it was; rebuilding it failed: " + failureMessage(s.Failure))
		return ready, settings.MayUpdate(a) && (o.retryDue || o.moved != "")
	case o.moved != "" && settings.MayUpdate(a):
		return ready.WithMessage("The artifact is there as it was; its source has moved"), true
	case o.trouble != nil:
		ready = ready.WithMessage("The artifact is there; whether its source has moved is not known: " + o.trouble.Message)
	}
	return ready, false
}

// decideUntagged is about an artifact that is in the registry without its tag.
func decideUntagged(a *modelv1alpha1.Artifact, o observation) plan {
	message := "The artifact no longer has its tag"
	if o.needsRetag {
		message = "The artifact does not have its new tag yet"
	}
	return plan{action: actionRetag, create: !settings.MayUpdate(a), ready: xpv2.Creating().WithMessage(message), from: o.tag.Descriptor.Digest.String()}
}

// decideLost is about an artifact of which the registry no longer has all.
func decideLost(a *modelv1alpha1.Artifact, o observation, message string) plan {
	s := a.Status.AtProvider
	switch {
	case s.Phase == modelv1alpha1.PhaseFailed && s.Failure != nil && !o.retryDue:
		return plan{action: actionWait, ready: unavailable(outcome.Reason(s.Failure.Reason), message+"; rebuilding it failed: "+failureMessage(s.Failure))}
	case !settings.MayCreate(a):
		return plan{action: actionWait, ready: unavailable(outcome.NotFound, message+", and spec.managementPolicies do not allow to rebuild it: add Create")}
	}
	p := planRun(a, o, unavailable(outcome.NotFound, message), message)
	p.create = true
	return p
}

// planRun starts the next run: in Update if there is an artifact and Update is
// allowed, else in Create if that is. No run begins whose commit the management
// policies, or the policies for what is published, would not allow.
func planRun(a *modelv1alpha1.Artifact, o observation, ready xpv2.Condition, why string) plan {
	create := a.Status.AtProvider.Digest == "" || !settings.MayUpdate(a)
	switch {
	case o.forbidden != nil:
		return refuse(ready, o.forbidden, "it is not rebuilt")
	case hasForeign(a, o):
		return conflict(a, o)
	case create && !settings.MayCreate(a):
		return plan{action: actionWait, ready: unavailable(outcome.NotFound, "Nothing was pushed, and spec.managementPolicies do not allow to: add Create")}
	}
	if ready.Status == corev1.ConditionFalse {
		// Why the Artifact was not ready before is history: tools would stop waiting for it.
		ready.Reason = xpv2.ReasonCreating
	}
	return plan{action: actionStartRun, create: create, ready: ready, run: nextRun(a), earlier: artifact.RunOf(a).Hash, why: why}
}

// nextRun returns the run that the Artifact needs now. Its number rises only past a
// run that was seen to end, so that a crash neither skips one nor starts one twice.
func nextRun(a *modelv1alpha1.Artifact) artifact.Run {
	n := artifact.RunOf(a).Number
	if s := a.Status.AtProvider; hasEnded(s.Phase) {
		n = max(n, s.Run+1)
	}
	// One that waits for room has its number in the status only.
	return artifact.Run{Hash: artifact.RunHash(a), Number: max(n, a.Status.AtProvider.Run, 1)}
}

// isForeign reports whether a tag must not be changed by the Artifact.
func isForeign(a *modelv1alpha1.Artifact, t catalog.Tag) bool {
	return !t.MayChange(a.Status.AtProvider.Digest) && !artifact.MayOverwrite(a)
}

// hasForeign reports whether one of the tags that a run's commit would set is foreign.
func hasForeign(a *modelv1alpha1.Artifact, o observation) bool {
	return isForeign(a, o.tag) || o.foreignTag != nil
}

// conflict waits for a foreign tag to go: an additional one, if that is what was found.
func conflict(a *modelv1alpha1.Artifact, o observation) plan {
	tag := o.tag
	if o.foreignTag != nil {
		tag = *o.foreignTag
		tag.Further = true
	}
	err := tag.Conflict()
	if a.Status.AtProvider.Digest == "" && o.restored {
		err = errors.Errorf("%w; if the Artifact was restored and pushed it before, annotate the ProviderConfig with %s: \"true\"", err, artifact.AnnotationAdopt)
	}
	return plan{action: actionWait, ready: unavailable(outcome.TagConflict, err.Error()), conflict: err}
}

// isServing reports whether the artifact that the spec asks for was ready before.
func isServing(a *modelv1alpha1.Artifact) bool {
	return matchesSpec(a) && a.GetCondition(xpv2.TypeReady).Status == corev1.ConditionTrue
}

// hasEnded reports whether a run in this phase is over.
func hasEnded(p modelv1alpha1.ArtifactPhase) bool {
	return p == modelv1alpha1.PhaseSucceeded || p == modelv1alpha1.PhaseFailed
}

// runEnded reports whether the run that the Artifact's spec asks for has ended, as
// its status and annotations say.
func runEnded(a *modelv1alpha1.Artifact) bool {
	run, s := artifact.RunOf(a), a.Status.AtProvider
	return run.Hash == artifact.RunHash(a) && run.Number == s.Run && hasEnded(s.Phase)
}

// neverStarted reports whether the run that the Artifact's spec asks for was
// recorded as stopped because it did not start.
func neverStarted(a *modelv1alpha1.Artifact) bool {
	f := a.Status.AtProvider.Failure
	return runEnded(a) && f != nil && f.Reason == string(outcome.NotStarted)
}

// matchesSpec reports whether the artifact that was pushed last is the one that the
// Artifact's spec asks for, whatever became of a run after it.
func matchesSpec(a *modelv1alpha1.Artifact) bool {
	s := a.Status.AtProvider
	return s.Digest != "" && s.RunHash == artifact.RunHash(a) && mayHaveDigest(a, s.Digest)
}
