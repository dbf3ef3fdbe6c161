package artifact

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

const (
	// throttleWait is how long a reconcile waits for others that have just begun.
	throttleWait = 250 * time.Millisecond

	// A reconcile that is put off comes again after a wait from the one to the
	// other.
	throttleRequeue, throttleRequeueMost = 2 * time.Second, 5 * time.Second
)

// A throttle is a reconciler that bounds how many of another's reconciles, which
// wait for registries, run at a time: none of a registry's Artifacts, nor of a
// namespace's, may take all workers, and those of a registry that does not
// answer quickly, or was not asked yet, may take few. What is too much is
// requeued, and neither read from the API server nor written to it.
type throttle struct {
	reconcile.Reconciler

	cached client.Reader

	// origin returns the origin of an Artifact's registry, by what is cached;
	// ok is false where that is not known.
	origin func(context.Context, *modelv1alpha1.Artifact) (origin string, ok bool)

	hosts   *connection.Hosts
	workers int
	slots   slots
}

// Reconcile reconciles, now or later.
func (t *throttle) Reconcile(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	a := &modelv1alpha1.Artifact{}
	if err := t.cached.Get(ctx, r.NamespacedName, a); err != nil {
		return t.Reconciler.Reconcile(ctx, r)
	}
	limits := t.limits(ctx, a)
	if !t.slots.take(ctx, limits) {
		wait := throttleRequeue + rand.N(throttleRequeueMost-throttleRequeue) //nolint:gosec // No secret.
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	defer t.slots.release(limits)
	return t.Reconciler.Reconcile(ctx, r)
}

// limits returns what bounds an Artifact's reconcile.
func (t *throttle) limits(ctx context.Context, a *modelv1alpha1.Artifact) []limit {
	ns := a.GetNamespace()
	most := max(t.workers-1, 1)
	out := []limit{{"namespace " + ns, most}}
	origin, ok := t.origin(ctx, a)
	if !ok {
		return out
	}
	out = append(out, limit{"registry " + origin, most})
	if !t.hosts.Quick(origin) {
		out = append(out,
			limit{"slow registry " + origin, max(t.workers/4, 1)},
			limit{"slow registries of " + ns, max(t.workers/2, 1)},
			limit{"slow registries", most})
	}
	return out
}

// A limit is how many may hold a slot by a name.
type limit struct {
	name string
	most int
}

// slots are what is held by name, and forgotten once nobody holds it.
type slots struct {
	mu      sync.Mutex
	held    map[string]int
	latest  map[string]time.Time // When one was taken last.
	changed chan struct{}        // Closed when some are released.
}

// take takes a slot of each limit, or none. Where too many hold one of which the
// latest was taken just now, it waits for a moment.
func (s *slots) take(ctx context.Context, limits []limit) bool {
	var timeout <-chan time.Time
	for {
		ok, wait, changed := s.try(limits)
		if ok || !wait {
			return ok
		}
		if timeout == nil {
			timer := time.NewTimer(throttleWait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-changed:
		case <-timeout:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// try takes a slot of each limit, and otherwise reports whether it is worthwhile to
// wait for a change.
func (s *slots) try(limits []limit) (ok, wait bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held, s.latest, s.changed = map[string]int{}, map[string]time.Time{}, make(chan struct{})
	}
	now := time.Now()
	for _, l := range limits {
		if s.held[l.name] >= l.most {
			return false, now.Sub(s.latest[l.name]) < 2*throttleWait, s.changed
		}
	}
	for _, l := range limits {
		s.held[l.name]++
		s.latest[l.name] = now
	}
	return true, false, nil
}

// release gives the slots back that were taken with the same limits.
func (s *slots) release(limits []limit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range limits {
		if s.held[l.name]--; s.held[l.name] == 0 {
			delete(s.held, l.name)
			delete(s.latest, l.name)
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}
