package artifact

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/follow"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// defaultFollowInterval is how often the Hub is asked where an Artifact does not
// say.
const defaultFollowInterval = time.Hour

// followInterval returns how often to ask an Artifact's Hub.
func followInterval(a *modelv1alpha1.Artifact) time.Duration {
	if i := a.Spec.ForProvider.Source.FollowInterval; i != nil && i.Duration > 0 {
		return i.Duration
	}
	return defaultFollowInterval
}

// gatherMoved looks whether the revision that the Artifact follows has moved from that
// which its artifact was made from. If rebuilding it has failed permanently, it does so once
// in an interval. That the source cannot be asked changes nothing: the artifact is what it
// was.
func (e *external) gatherMoved(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	s := a.Status.AtProvider
	if !artifact.Follows(a) || s.Source == nil || s.Source.Revision == "" {
		e.follower.Forget(a.GetUID())
		return nil
	}
	if s.Failure != nil && (s.Failure.NextTryTime != nil || e.now().Before(lastTry(a).Add(followInterval(a)))) {
		return nil
	}
	now, have := isRequested(a), s.Source.Revision
	moved, known := e.follower.Known(a.GetUID(), followInterval(a), have)
	if !known || now || e.follower.Trouble(a.GetUID()) != nil {
		// Whatever caused the trouble, such as a Secret, may have changed.
		q, err := e.question(ctx, a)
		if errors.As(err, &o.trouble) {
			// Without a Secret, for example, nobody can be asked.
			return nil
		}
		if err != nil {
			return err
		}
		q.Interval, q.Now = followInterval(a), now
		q.Waiting = a.GetCondition(modelv1alpha1.TypeUpToDate).Status == corev1.ConditionFalse
		moved = e.follower.Moved(a, q, have)
	}
	o.moved, o.trouble, o.answered = movedTo(a, moved), e.follower.Trouble(a.GetUID()), e.follower.Answered(a.GetUID())
	return nil
}

// question returns what to ask of the Artifact's source: the commit of a revision on its
// Hub, the digest of a tag in its registry, or the revision of the files in its bucket.
func (e *external) question(ctx context.Context, a *modelv1alpha1.Artifact) (follow.Question, error) {
	if artifact.FolderOf(a) != nil {
		bucket, err := e.settings.Bucket(ctx, a)
		return follow.Question{Bucket: bucket}, err
	}
	if tag := artifact.FollowedTag(a); tag != "" {
		o, err := e.settings.SourceRegistry(ctx)
		return follow.Question{Registry: &o, Revision: tag}, err
	}
	o, err := e.settings.Hub(ctx)
	hf := a.Spec.ForProvider.Source.HuggingFace
	if hf.Dataset != "" {
		return follow.Question{Options: o, Kind: hub.Dataset, Model: hf.Dataset, Revision: hf.Revision}, err
	}
	return follow.Question{Options: o, Kind: hub.Model, Model: hf.Model, Revision: hf.Revision}, err
}

// movedTo says how a revision, a tag or the files of a bucket have moved, if they have.
func movedTo(a *modelv1alpha1.Artifact, commit string) string {
	if commit == "" {
		return ""
	}
	was := a.Status.AtProvider.Source.Revision
	if tag := artifact.FollowedTag(a); tag != "" {
		return fmt.Sprintf("tag %s of the source is %s now, and was %s", tag, commit, was)
	}
	if f := artifact.FolderOf(a); f != nil {
		return fmt.Sprintf("the files of %s are revision %s now, and were %s", f.Name, commit, was)
	}
	return fmt.Sprintf("%s is commit %s now, and was %s", a.Spec.ForProvider.Source.HuggingFace.Revision, commit, was)
}

// Reasons of the condition UpToDate beside those of package outcome, which say why a
// followed source cannot be looked up or packaged.
const (
	// reasonCurrent: what the source has is what is packaged.
	reasonCurrent xpv2.ConditionReason = "Current"

	// reasonRebuilding: the source has moved, and what it has now is being packaged.
	reasonRebuilding xpv2.ConditionReason = "Rebuilding"
)

// setUpToDate sets the condition UpToDate of an Artifact that follows its source: whether
// what is packaged is what the source has. Nothing else follows from it. If nothing is
// followed, there is no condition.
func (e *external) setUpToDate(a *modelv1alpha1.Artifact, o observation) {
	s := a.Status.AtProvider
	if !artifact.Follows(a) || settings.OnlyObserves(a) || !matchesSpec(a) || isExpected(a) || s.Source == nil || s.Source.Revision == "" {
		a.Status.Conditions = slices.DeleteFunc(a.Status.Conditions, func(c xpv2.Condition) bool { return c.Type == modelv1alpha1.TypeUpToDate })
		return
	}
	if why, known := e.outOfDate(a, o); known {
		a.SetConditions(why)
	}
}

// outOfDate returns the condition UpToDate of an Artifact that follows its source, and
// reports whether it is known: while a run rebuilds the artifact, and until the source is
// looked up for the first time, it is what it was.
func (e *external) outOfDate(a *modelv1alpha1.Artifact, o observation) (xpv2.Condition, bool) {
	was, s := a.GetCondition(modelv1alpha1.TypeUpToDate), a.Status.AtProvider
	no := func(reason outcome.Reason, message string) (xpv2.Condition, bool) {
		return upToDate(a, corev1.ConditionFalse, xpv2.ConditionReason(reason), message), true
	}
	switch {
	case o.obstacle != nil, o.run != nil && !hasEnded(o.run.Phase), s.Staged != nil:
		return was, false
	case o.forbidden != nil:
		return no(outcome.PolicyViolation, "The source is not followed: "+o.forbidden.Error())
	case s.Phase == modelv1alpha1.PhaseFailed && s.Failure != nil:
		return no(outcome.Reason(s.Failure.Reason), "Rebuilding the artifact failed: "+failureMessage(s.Failure))
	case o.moved != "" && !settings.MayUpdate(a):
		return no(outcome.NotAllowed, "The source has moved, and spec.managementPolicies do not allow to follow it: add Update")
	case o.moved != "":
		return upToDate(a, corev1.ConditionFalse, reasonRebuilding, "The source has moved: "+o.moved), true
	case o.trouble != nil:
		return no(o.trouble.Reason, "Whether the source has moved is not known: "+o.trouble.Message)
	case !o.tag.IsOn(s.Digest):
		return was, false
	case o.answered, s.CompletionTime != nil && !s.CompletionTime.Before(&was.LastTransitionTime):
		// A run reads what the source has.
		return upToDate(a, corev1.ConditionTrue, reasonCurrent, ""), true
	}
	return was, false
}

// upToDate returns a condition UpToDate.
func upToDate(a *modelv1alpha1.Artifact, status corev1.ConditionStatus, reason xpv2.ConditionReason, message string) xpv2.Condition {
	return xpv2.Condition{
		Type: modelv1alpha1.TypeUpToDate, Status: status, Reason: reason, Message: message,
		LastTransitionTime: metav1.Now(), ObservedGeneration: a.GetGeneration(),
	}
}
