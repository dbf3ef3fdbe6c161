package artifact

import (
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// An rbacGate holds back reconciles until the provider has all permissions. Only
// then are Jobs and the other objects of runs watched: reading from a cache that
// may not list its objects would block.
type rbacGate struct {
	access *access.Checker
	cached client.Reader

	// prepare starts what needs permissions, and returns when it has started.
	prepare func(context.Context) error

	// ready is closed when prepare has returned.
	ready chan struct{}

	// requeued has the Artifacts reconciled that are sent to it.
	requeued chan event.GenericEvent
}

func newRBACGate(c *access.Checker, cached client.Reader) *rbacGate {
	return &rbacGate{access: c, cached: cached, ready: make(chan struct{}), requeued: make(chan event.GenericEvent)}
}

// Start opens the gate when all permissions are granted, and then requeues the
// Artifacts that it has held back. When a permission is revoked it requeues all
// Artifacts, so that they report it, and again when it is granted.
func (g *rbacGate) Start(ctx context.Context) error {
	if err := g.run(ctx); ctx.Err() == nil {
		return errors.Wrap(err, "cannot prepare for runs")
	}
	// The provider is shutting down.
	return nil
}

// run operates the gate until the context is done.
func (g *rbacGate) run(ctx context.Context) error {
	if g.access.Missing(ctx) != nil {
		// At the start, those that are settled wait for their turn.
		g.requeue(ctx, func(*modelv1alpha1.Artifact) bool { return true })
	}
	if err := g.access.WaitGranted(ctx); err != nil {
		return err
	}
	if err := g.prepare(ctx); err != nil {
		return err
	}
	close(g.ready)
	for {
		g.requeue(ctx, func(a *modelv1alpha1.Artifact) bool { return !isWell(a) })
		if err := g.access.WaitDenied(ctx); err != nil {
			return err
		}
		g.requeue(ctx, func(*modelv1alpha1.Artifact) bool { return true })
		if err := g.access.WaitGranted(ctx); err != nil {
			return err
		}
	}
}

// requeue has Artifacts reconciled. If they cannot be listed, their polls do it.
func (g *rbacGate) requeue(ctx context.Context, which func(*modelv1alpha1.Artifact) bool) {
	list := &modelv1alpha1.ArtifactList{}
	if err := g.cached.List(ctx, list); err != nil {
		return
	}
	for i := range list.Items {
		if !which(&list.Items[i]) {
			continue
		}
		select {
		case g.requeued <- event.GenericEvent{Object: &list.Items[i]}:
		case <-ctx.Done():
			return
		}
	}
}

// check returns nil if the gate is open, else an error that names the missing
// permissions.
func (g *rbacGate) check(ctx context.Context) error {
	if err := g.access.Missing(ctx); err != nil {
		return err
	}
	select {
	case <-g.ready:
		return nil
	case <-ctx.Done():
		return errors.Wrap(ctx.Err(), "cannot watch the objects of runs yet")
	}
}

// initializer returns an initializer that does nothing while the gate is closed:
// its work can wait, and Connect reports why.
func (g *rbacGate) initializer(next managed.Initializer) managed.Initializer {
	return managed.InitializerFn(func(ctx context.Context, mg resource.Managed) error {
		if open := g.check(ctx) == nil; !open {
			return nil
		}
		return g.access.Explain(next.Initialize(ctx, mg))
	})
}

// A permitted connector connects while the gate is open. The clients that it
// returns explain a permission that is revoked later, and how to grant it.
type permitted struct {
	next managed.TypedExternalConnector[*modelv1alpha1.Artifact]
	gate *rbacGate
}

// Connect to an Artifact.
func (p *permitted) Connect(ctx context.Context, a *modelv1alpha1.Artifact) (managed.TypedExternalClient[*modelv1alpha1.Artifact], error) {
	if err := p.gate.check(ctx); err != nil {
		if meta.WasDeleted(a) && !hasBegun(a) {
			return nothing(), nil
		}
		reportError(a, err)
		return nil, err
	}
	c, err := p.next.Connect(ctx, a)
	if err != nil {
		return nil, p.explain(a, err)
	}
	return &explaining{TypedExternalClient: c, explain: p.explain}, nil
}

// explain returns err as it is, unless the provider lacks a permission: then it
// sets the Ready condition to say so, and returns an error that names the cure.
func (p *permitted) explain(a *modelv1alpha1.Artifact, err error) error {
	if access.Denied(err) == nil {
		return err
	}
	err = p.gate.access.Explain(err)
	reportError(a, err)
	return err
}

// hasBegun reports whether anything may have been created for the Artifact. Its
// annotations are written before anything else.
func hasBegun(a *modelv1alpha1.Artifact) bool {
	return artifact.RunOf(a).Hash != "" || meta.GetExternalName(a) != "" || a.Status.AtProvider.Digest != ""
}

// nothing returns the client of an Artifact for which nothing was created.
func nothing() managed.TypedExternalClient[*modelv1alpha1.Artifact] {
	return managed.TypedExternalClientFns[*modelv1alpha1.Artifact]{
		ObserveFn: func(context.Context, *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
			return managed.ExternalObservation{}, nil
		},
		DisconnectFn: func(context.Context) error { return nil },
	}
}

// An explaining client has its errors explained.
type explaining struct {
	managed.TypedExternalClient[*modelv1alpha1.Artifact]

	explain func(*modelv1alpha1.Artifact, error) error
}

// Observe an Artifact.
func (e *explaining) Observe(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
	o, err := e.TypedExternalClient.Observe(ctx, a)
	return o, e.explain(a, err)
}

// Create an Artifact.
func (e *explaining) Create(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalCreation, error) {
	o, err := e.TypedExternalClient.Create(ctx, a)
	return o, e.explain(a, err)
}

// Update an Artifact.
func (e *explaining) Update(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalUpdate, error) {
	o, err := e.TypedExternalClient.Update(ctx, a)
	return o, e.explain(a, err)
}

// Delete an Artifact.
func (e *explaining) Delete(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalDelete, error) {
	o, err := e.TypedExternalClient.Delete(ctx, a)
	return o, e.explain(a, err)
}
