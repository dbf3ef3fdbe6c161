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

// A doorman lets reconciles in once the provider may do what they do. Only then
// are Jobs and the like watched: who reads from a cache that may not list waits
// until it may.
type doorman struct {
	access *access.Gate
	cached client.Reader

	// prepare starts what has to wait for permissions, and returns when it is
	// there.
	prepare func(context.Context) error

	// ready is closed when it is.
	ready chan struct{}

	// woken has the Artifacts reconciled that are sent to it.
	woken chan event.GenericEvent
}

func newDoorman(gate *access.Gate, cached client.Reader) *doorman {
	return &doorman{access: gate, cached: cached, ready: make(chan struct{}), woken: make(chan event.GenericEvent)}
}

// Start opens the door when all permissions are there, and wakes the Artifacts
// that wait for it. When permissions are taken away all are to say so, and when
// they come back all go on.
func (d *doorman) Start(ctx context.Context) error {
	if err := d.keep(ctx); ctx.Err() == nil {
		return errors.Wrap(err, "cannot watch the objects of runs")
	}
	// The provider ends.
	return nil
}

// keep keeps the door until the context ends.
func (d *doorman) keep(ctx context.Context) error {
	if err := d.access.WaitGranted(ctx); err != nil {
		return err
	}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	close(d.ready)
	for {
		d.wake(ctx, func(a *modelv1alpha1.Artifact) bool { return !isWell(a) })
		if err := d.access.WaitDenied(ctx); err != nil {
			return err
		}
		d.wake(ctx, func(*modelv1alpha1.Artifact) bool { return true })
		if err := d.access.WaitGranted(ctx); err != nil {
			return err
		}
	}
}

// wake has Artifacts reconciled. One that cannot be listed is found by its poll.
func (d *doorman) wake(ctx context.Context, which func(*modelv1alpha1.Artifact) bool) {
	list := &modelv1alpha1.ArtifactList{}
	if err := d.cached.List(ctx, list); err != nil {
		return
	}
	for i := range list.Items {
		if !which(&list.Items[i]) {
			continue
		}
		select {
		case d.woken <- event.GenericEvent{Object: &list.Items[i]}:
		case <-ctx.Done():
			return
		}
	}
}

// admit returns nil when the door is open, or what the provider may not do.
func (d *doorman) admit(ctx context.Context) error {
	if err := d.access.Missing(ctx); err != nil {
		return err
	}
	select {
	case <-d.ready:
		return nil
	case <-ctx.Done():
		return errors.Wrap(ctx.Err(), "cannot watch the objects of runs yet")
	}
}

// initializer returns an initializer that does nothing before the door is open:
// what it is for can wait, and Connect says why.
func (d *doorman) initializer(next managed.Initializer) managed.Initializer {
	return managed.InitializerFn(func(ctx context.Context, mg resource.Managed) error {
		if admitted := d.admit(ctx) == nil; !admitted {
			return nil
		}
		return d.access.Explain(next.Initialize(ctx, mg))
	})
}

// A permitted connector connects once the door is open. What it connects to says
// of a permission that is taken away how to grant it.
type permitted struct {
	next managed.TypedExternalConnector[*modelv1alpha1.Artifact]
	door *doorman
}

// Connect to an Artifact.
func (p *permitted) Connect(ctx context.Context, a *modelv1alpha1.Artifact) (managed.TypedExternalClient[*modelv1alpha1.Artifact], error) {
	if err := p.door.admit(ctx); err != nil {
		if meta.WasDeleted(a) && !wasBegun(a) {
			return nothing(), nil
		}
		sayWhy(a, err)
		return nil, err
	}
	c, err := p.next.Connect(ctx, a)
	if err != nil {
		return nil, p.explain(a, err)
	}
	return &explaining{TypedExternalClient: c, explain: p.explain}, nil
}

// explain returns an error with the cure for a missing permission, if that is
// what it is of, and has Ready say it.
func (p *permitted) explain(a *modelv1alpha1.Artifact, err error) error {
	if access.Denied(err) == nil {
		return err
	}
	err = p.door.access.Explain(err)
	sayWhy(a, err)
	return err
}

// wasBegun says whether anything may have been made for the Artifact: its
// annotations are written first.
func wasBegun(a *modelv1alpha1.Artifact) bool {
	return artifact.RunOf(a).Hash != "" || meta.GetExternalName(a) != "" || a.Status.AtProvider.Digest != ""
}

// nothing is the client of an Artifact of which there is nothing.
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
