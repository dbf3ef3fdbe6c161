package artifact

import (
	"context"
	"fmt"
	"time"

	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/follow"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
)

// defaultFollowInterval is how often the Hub is asked where an Artifact does not
// say.
const defaultFollowInterval = time.Hour

// follows says whether the Artifact is made anew when its revision moves.
func follows(a *modelv1alpha1.Artifact) bool {
	s := a.Spec.ForProvider.Source
	return s != nil && s.HuggingFace != nil && s.HuggingFace.RevisionPolicy == modelv1alpha1.RevisionFollow
}

// followInterval returns how often an Artifact's Hub is to be asked.
func followInterval(a *modelv1alpha1.Artifact) time.Duration {
	if i := a.Spec.ForProvider.Source.HuggingFace.FollowInterval; i != nil && i.Duration > 0 {
		return i.Duration
	}
	return defaultFollowInterval
}

// moved says how the revision that the Artifact follows has moved from the commit
// that its artifact was made from; empty if it has not. If rebuilding it has failed
// permanently, it does so once in an interval. That the Hub cannot be asked changes
// nothing: the artifact is what it was.
func (e *external) moved(ctx context.Context, a *modelv1alpha1.Artifact) (string, error) {
	s := a.Status.AtProvider
	if !follows(a) || s.Source == nil || s.Source.Revision == "" {
		e.follower.Forget(a.GetUID())
		return "", nil
	}
	if s.Failure != nil && (s.Failure.NextTryTime != nil || e.now().Before(lastTry(a).Add(followInterval(a)))) {
		return "", nil
	}
	now := isRequested(a)
	if commit, ok := e.follower.Known(a.GetUID(), followInterval(a), s.Source.Revision); ok && !now {
		return movedTo(a, commit), nil
	}
	o, err := e.settings.Hub(ctx)
	if err != nil {
		return "", err
	}
	hf := a.Spec.ForProvider.Source.HuggingFace
	q := follow.Question{Options: o, Kind: hub.Model, Model: hf.Model, Revision: hf.Revision, Interval: followInterval(a), Now: now}
	if hf.Dataset != "" {
		q.Kind, q.Model = hub.Dataset, hf.Dataset
	}
	return movedTo(a, e.follower.Moved(a, q, s.Source.Revision)), nil
}

// movedTo says how a revision has moved, if it has to a commit.
func movedTo(a *modelv1alpha1.Artifact, commit string) string {
	if commit == "" {
		return ""
	}
	return fmt.Sprintf("%s is commit %s now, and was %s", a.Spec.ForProvider.Source.HuggingFace.Revision, commit, a.Status.AtProvider.Source.Revision)
}

// lastTry returns when the latest run ended.
func lastTry(a *modelv1alpha1.Artifact) time.Time {
	return ptr.Deref(a.Status.AtProvider.CompletionTime, a.GetCreationTimestamp()).Time
}
