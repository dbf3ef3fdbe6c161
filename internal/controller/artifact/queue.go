package artifact

import (
	"context"
	"math/rand/v2"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

// afterNew is the priority of what can wait until Artifacts that are new or have
// another spec have their Jobs. What has happened to an Artifact meanwhile is
// seen to in one reconcile. What the caches hold at the start comes later still.
const afterNew = -1

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// A laterQueue adds what can wait.
type laterQueue struct {
	priorityqueue.PriorityQueue[reconcile.Request]
}

// later returns a queue that adds what can wait to this one.
func later(q queue) queue {
	if p, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		return laterQueue{p}
	}
	return q
}

// Add adds a request that can wait.
func (q laterQueue) Add(r reconcile.Request) {
	q.AddWithOpts(priorityqueue.AddOpts{}, r)
}

// AddWithOpts adds requests that can wait, or that can wait longer still.
func (q laterQueue) AddWithOpts(o priorityqueue.AddOpts, r ...reconcile.Request) {
	o.Priority = ptr.To(min(ptr.Deref(o.Priority, 0), afterNew))
	q.PriorityQueue.AddWithOpts(o, r...)
}

// canWait returns a handler that adds what another one does, as what can wait.
func canWait(h handler.EventHandler) handler.EventHandler {
	return handler.Funcs{
		CreateFunc:  func(ctx context.Context, e event.CreateEvent, q queue) { h.Create(ctx, e, later(q)) },
		UpdateFunc:  func(ctx context.Context, e event.UpdateEvent, q queue) { h.Update(ctx, e, later(q)) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q queue) { h.Delete(ctx, e, later(q)) },
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q queue) { h.Generic(ctx, e, later(q)) },
	}
}

// newFirst returns the handler of Artifacts: those that are new or have another
// spec come first.
func newFirst() handler.EventHandler {
	h := handler.WithLowPriorityWhenUnchanged[client.Object, reconcile.Request](&handler.EnqueueRequestForObject{})
	return handler.Funcs{
		CreateFunc: h.Create,
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			if e.ObjectOld.GetGeneration() == e.ObjectNew.GetGeneration() {
				q = later(q)
			}
			h.Update(ctx, e, q)
		},
		DeleteFunc: h.Delete,
	}
}

// A requeueLater reconciler gives requeued Artifacts a lower priority than new ones.
type requeueLater struct {
	reconcile.Reconciler

	soon *soon
}

// Reconcile reconciles, as the other one does.
func (l requeueLater) Reconcile(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	result, err := l.Reconciler.Reconcile(ctx, r)
	if wait, ok := l.soon.take(r.NamespacedName); ok && err == nil {
		result = reconcile.Result{RequeueAfter: wait}
	}
	result.Priority = ptr.To(afterNew)
	return result, err
}

// A newUnlimited reconciler limits the rate for all but Artifacts that were never
// reconciled: after a start the existing ones use up the limit.
type newUnlimited struct {
	cached       client.Reader
	all, limited reconcile.Reconciler
}

// Reconcile reconciles, now or when the limit lets it.
func (n newUnlimited) Reconcile(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	a := &modelv1alpha1.Artifact{}
	if err := n.cached.Get(ctx, r.NamespacedName, a); err == nil && a.GetCondition(xpv2.TypeSynced).Status == corev1.ConditionUnknown {
		return n.all.Reconcile(ctx, r)
	}
	return n.limited.Reconcile(ctx, r)
}

// A throttled reconcile is requeued after a random wait, which is shorter if the
// registry answers quickly: workers are soon free then.
const (
	throttleRequeue, throttleRequeueMost           = 2 * time.Second, 5 * time.Second
	throttleRequeueQuick, throttleRequeueQuickMost = 100 * time.Millisecond, 300 * time.Millisecond
)

// A throttle bounds how many of a reconciler's reconciles, which wait for
// registries, run at a time. No registry and no namespace may take all workers, and
// registries that do not answer quickly, or were not asked yet, may take few, which
// namespaces share fairly. A throttled reconcile is requeued: it neither reads from
// the API server nor writes to it.
type throttle struct {
	reconcile.Reconciler

	cached client.Reader

	// origin returns the origin of an Artifact's registry from the cache, and
	// reports whether it is known.
	origin func(context.Context, *modelv1alpha1.Artifact) (string, bool)

	hosts   *connection.Hosts
	workers int
	slots   connection.Slots
}

// Reconcile reconciles the request, or requeues it if it is throttled.
func (t *throttle) Reconcile(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	a := &modelv1alpha1.Artifact{}
	if err := t.cached.Get(ctx, r.NamespacedName, a); err != nil {
		return t.Reconciler.Reconcile(ctx, r)
	}
	limits, quick := t.limits(ctx, a)
	if !t.slots.Take(ctx, limits) {
		wait := throttleRequeue + rand.N(throttleRequeueMost-throttleRequeue) //nolint:gosec // No secret.
		if quick {
			wait = throttleRequeueQuick + rand.N(throttleRequeueQuickMost-throttleRequeueQuick) //nolint:gosec // No secret.
		}
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	defer t.slots.Release(limits)
	return t.Reconciler.Reconcile(ctx, r)
}

// limits returns what bounds an Artifact's reconcile, and reports whether its registry
// answers quickly.
func (t *throttle) limits(ctx context.Context, a *modelv1alpha1.Artifact) (_ []connection.Limit, quick bool) {
	most := max(t.workers-1, 1)
	out := []connection.Limit{{Pool: "namespace " + a.GetNamespace(), Most: most}}
	origin, ok := t.origin(ctx, a)
	if !ok {
		return out, false
	}
	out = append(out, connection.Limit{Pool: "registry " + origin, Most: most})
	quick = t.hosts.Quick(origin)
	if !quick {
		out = append(out,
			connection.Limit{Pool: "slow registry " + origin, Most: max(t.workers/4, 1)},
			connection.Limit{Pool: "slow registries", Most: most, Sharer: a.GetNamespace()})
	}
	return out, quick
}
