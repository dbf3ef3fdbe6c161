package artifact

import (
	"context"
	"math/rand/v2"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

// A throttled reconcile is requeued after a random wait between these two.
const throttleRequeue, throttleRequeueMost = 2 * time.Second, 5 * time.Second

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
	limits := t.limits(ctx, a)
	if !t.slots.Take(ctx, limits) {
		wait := throttleRequeue + rand.N(throttleRequeueMost-throttleRequeue) //nolint:gosec // No secret.
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	defer t.slots.Release(limits)
	return t.Reconciler.Reconcile(ctx, r)
}

// limits returns what bounds an Artifact's reconcile.
func (t *throttle) limits(ctx context.Context, a *modelv1alpha1.Artifact) []connection.Limit {
	most := max(t.workers-1, 1)
	out := []connection.Limit{{Pool: "namespace " + a.GetNamespace(), Most: most}}
	origin, ok := t.origin(ctx, a)
	if !ok {
		return out
	}
	out = append(out, connection.Limit{Pool: "registry " + origin, Most: most})
	if !t.hosts.Quick(origin) {
		out = append(out,
			connection.Limit{Pool: "slow registry " + origin, Most: max(t.workers/4, 1)},
			connection.Limit{Pool: "slow registries", Most: most, Sharer: a.GetNamespace()})
	}
	return out
}
