package artifact

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	batchv1 "k8s.io/api/batch/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// Turns spread the first reconciles after a start of the provider, or a change of the leader,
// over the poll interval. An Artifact that its status says is settled waits for its turn: a
// moment that recurs once in its poll interval, and that its UID places in it. All others,
// which may have something to do, are reconciled at once and find a registry, an API server
// and workers that are free. Since turns are moments of the clock and not times since the
// start, each comes however often the provider is restarted.
type turns struct {
	cached client.Reader

	// poll is the poll interval of Artifacts that do not ask for another.
	poll time.Duration

	now func() time.Time
}

// until returns how long an Artifact waits for its turn.
func (t *turns) until(a *modelv1alpha1.Artifact) time.Duration {
	poll := t.poll
	if own, ok := meta.GetPollInterval(a); ok {
		poll = max(own, minPollInterval)
	}
	if artifact.Follows(a) {
		poll = min(poll, followInterval(a))
	}
	return untilTurn(a.GetUID(), poll, t.now())
}

// untilTurn returns how long it is from now to the next turn of an Artifact.
func untilTurn(uid types.UID, poll time.Duration, now time.Time) time.Duration {
	if poll <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(uid))
	turn := time.Duration(h.Sum64() % uint64(poll)) //nolint:gosec // It is less than poll.
	return (turn - time.Duration(now.UnixNano()%int64(poll)) + poll) % poll
}

// isSettled reports whether an Artifact's status says that nothing was left to do when it
// was observed last: it was Ready and up to date with this very spec, no run was in progress,
// staged or due, and nobody has asked for a reconcile since.
func isSettled(a *modelv1alpha1.Artifact) bool {
	s := a.Status.AtProvider
	return isWell(a) && a.Status.ObservedGeneration == a.GetGeneration() &&
		a.GetCondition(modelv1alpha1.TypeUpToDate).Status != corev1.ConditionFalse &&
		s.Staged == nil && s.Failure == nil && !hasRun(a) && !isRequested(a) &&
		!meta.WasDeleted(a) && !meta.IsPaused(a) &&
		(meta.FinalizerExists(a, managed.FinalizerName) || settings.OnlyObserves(a))
}

// artifacts returns a handler of Artifacts like h, with which those that are settled wait for
// their turn at the start.
func (t *turns) artifacts(h handler.EventHandler) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			a, ok := e.Object.(*modelv1alpha1.Artifact)
			p, also := q.(priorityqueue.PriorityQueue[reconcile.Request])
			if !e.IsInInitialList || !ok || !also || !isSettled(a) {
				h.Create(ctx, e, q)
				return
			}
			p.AddWithOpts(priorityqueue.AddOpts{After: t.until(a), Priority: ptr.To(afterNew)}, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(a)})
		},
		UpdateFunc:  h.Update,
		DeleteFunc:  h.Delete,
		GenericFunc: h.Generic,
	}
}

// runs returns a handler of the objects of runs like h, with which an object that says nothing
// new at the start leaves an Artifact that is settled to its turn.
func (t *turns) runs(h handler.EventHandler) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			if e.IsInInitialList && isOver(e.Object) && t.isOfSettled(ctx, e.Object) {
				return
			}
			h.Create(ctx, e, q)
		},
		UpdateFunc:  h.Update,
		DeleteFunc:  h.Delete,
		GenericFunc: h.Generic,
	}
}

// isOfSettled reports whether an object is of a run of an Artifact that is settled.
func (t *turns) isOfSettled(ctx context.Context, o client.Object) bool {
	name, ok := artifact.ArtifactOf(o)
	a := &modelv1alpha1.Artifact{}
	return ok && t.cached.Get(ctx, name, a) == nil && isSettled(a)
}

// isOver reports whether an object of a run is being deleted, or is a Job or a Pod that has
// ended: an Artifact that is settled knows what came of it.
func isOver(o client.Object) bool {
	if o.GetDeletionTimestamp() != nil {
		return true
	}
	switch o := o.(type) {
	case *batchv1.Job:
		return artifact.CompletionTime(o) != nil
	case *corev1.Pod:
		return o.Status.Phase == corev1.PodSucceeded || o.Status.Phase == corev1.PodFailed
	}
	return false
}
