package artifact

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// recordFailure records why a run failed, once, and when it is retried. The time
// stands in the status, so that it survives a restart of the provider. The Job is nil
// if it is gone.
func (e *external) recordFailure(a *modelv1alpha1.Artifact, job *batchv1.Job, why outcome.Failure) {
	s, generation, configHash := &a.Status.AtProvider, a.GetGeneration(), ""
	if job != nil {
		generation, configHash = artifact.GenerationOf(job), job.GetAnnotations()[artifact.AnnotationConfigHash]
	}
	if s.Failure == nil || s.Failure.Generation != generation {
		// Another spec has all its tries before it.
		s.Failures = 0
	}
	s.Failures++
	s.Failure = &modelv1alpha1.FailureObservation{
		Reason:     string(why.Reason),
		Message:    why.Message,
		Generation: generation,
		ConfigHash: configHash,
		LogTail:    why.LogTail,
	}
	end := ptr.Deref(s.CompletionTime, metav1.NewTime(e.now()))
	after := func(d time.Duration) *metav1.Time { return ptr.To(metav1.NewTime(end.Add(d).Truncate(time.Second))) }
	if wait, ok := artifact.RetryWait(a, s.Failures, s.Run, why); ok {
		s.Failure.NextTryTime = after(wait)
	} else if artifact.NeedsWorkspace(a) {
		s.Failure.WorkspaceExpiryTime = after(failedWorkspaceTTL)
	}
}

// failedWorkspaceTTL is how long the workspace of a run that failed permanently is
// kept: it takes up storage, and a person may want to look at it or resume with it.
const failedWorkspaceTTL = 24 * time.Hour

// isRetryDue reports whether a run that failed is due for another try: its time has
// come, the spec, the ProviderConfig or a Secret has changed since, or a person
// requests it with a new value of the annotation
// crossplane.io/reconcile-requested-at. A failure that is news is written first.
func (e *external) isRetryDue(ctx context.Context, a *modelv1alpha1.Artifact, news bool) (bool, error) {
	f := a.Status.AtProvider.Failure
	if news || f == nil || a.Status.AtProvider.Phase != modelv1alpha1.PhaseFailed {
		return false, nil
	}
	switch {
	case f.Generation != a.GetGeneration():
		return true, nil
	case isRequested(a):
		return true, nil
	case f.NextTryTime != nil && !e.now().Before(f.NextTryTime.Time):
		return true, nil
	case f.ConfigHash == "":
		return false, nil
	}
	hash, err := e.settings.ConfigHash(ctx)
	return err == nil && hash != f.ConfigHash, err
}

// isRequested reports whether a person requests a reconcile, with a value of the
// annotation crossplane.io/reconcile-requested-at that was not handled yet.
func isRequested(a *modelv1alpha1.Artifact) bool {
	requested, asked := meta.GetReconcileRequest(a)
	return asked && requested != a.GetLastHandledReconcileAt()
}

// failureMessage returns what a failed run's condition says.
func failureMessage(f *modelv1alpha1.FailureObservation) string {
	if f.NextTryTime == nil {
		return f.Message
	}
	return fmt.Sprintf("%s (it is retried at %s)", f.Message, f.NextTryTime.UTC().Format(time.RFC3339))
}

// A run that has not started is looked at every startPoll, and less often the
// longer it waits: after a quarter of that time, up to startPollLongest. What
// starts it requeues its Artifact; why it does not start is in events, which are
// not watched.
const (
	startPoll        = 15 * time.Second
	startPollLongest = 5 * time.Minute
	startPollShare   = 4
)

// pendingPoll returns when a run is reconciled again that has waited so long.
func pendingPoll(waited time.Duration) time.Duration {
	return min(max(waited/startPollShare, startPoll), startPollLongest)
}

// pendingSince returns since when an Artifact's run waits, as far as it is known.
func pendingSince(a *modelv1alpha1.Artifact) time.Time {
	if start := a.Status.AtProvider.StartTime; start != nil {
		return start.Time
	}
	return a.GetCondition(xpv2.TypeReady).LastTransitionTime.Time
}

// minPollInterval is the shortest poll interval that an Artifact's annotation
// crossplane.io/poll-interval can ask for: each poll is a request to a registry.
const minPollInterval = 10 * time.Second

// untilExpiry returns the poll interval of an Artifact whose run is not tried
// again: up to the time when its workspace is deleted.
func untilExpiry(a *modelv1alpha1.Artifact, poll time.Duration) time.Duration {
	if expiry := a.Status.AtProvider.Failure.WorkspaceExpiryTime; expiry != nil && time.Until(expiry.Time) > 0 {
		return min(poll, time.Until(expiry.Time)+time.Second)
	}
	return poll
}

// pollInterval returns when to requeue an Artifact that needs nothing now: when its
// failed run is due for a retry, else at its poll, which is early or late by up to
// jitter percent, or when its Hub or its next blobs are due.
func pollInterval(jitter int, m *memory) managed.PollIntervalHook {
	return func(mg resource.Managed, poll time.Duration) time.Duration {
		if most := poll * time.Duration(jitter) / 100; most > 0 {
			poll += rand.N(2*most) - most //nolint:gosec // No secret.
		}
		a, ok := mg.(*modelv1alpha1.Artifact)
		if !ok || settings.OnlyObserves(a) {
			return poll
		}
		if next, ok := m.follower.Next(a.GetUID()); ok {
			poll = min(poll, next)
		}
		if m.blobs.isUnderWay(a.GetUID()) {
			poll = min(poll, minPollInterval)
		}
		if m.queue.Has(client.ObjectKeyFromObject(a)) {
			// It is reconciled when there is room for its run.
			return poll
		}
		if a.Status.AtProvider.Phase == modelv1alpha1.PhasePending {
			// Why a run does not start is in events, which no watch sees.
			return min(poll, pendingPoll(time.Since(pendingSince(a))))
		}
		if a.Status.AtProvider.Phase != modelv1alpha1.PhaseFailed || a.Status.AtProvider.Failure == nil {
			return poll
		}
		next := a.Status.AtProvider.Failure.NextTryTime
		if next == nil {
			return untilExpiry(a, poll)
		}
		wait := time.Until(next.Time)
		if wait <= 0 && isRefused(a) {
			// A change of the policy reconciles it.
			return poll
		}
		if wait <= 0 {
			// Something else prevents it.
			return min(poll, startPoll)
		}
		return min(poll, max(wait, time.Second))
	}
}

// lastTry returns when the latest run ended.
func lastTry(a *modelv1alpha1.Artifact) time.Time {
	return ptr.Deref(a.Status.AtProvider.CompletionTime, a.GetCreationTimestamp()).Time
}
