// Package config counts the users of ProviderConfigs and ClusterProviderConfigs, so
// that none is deleted while it is in use.
package config

import (
	"context"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/controller"
	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpevent "github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/providerconfig"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// Setup adds a controller for each kind of ProviderConfig to the manager. Both count
// ProviderConfigUsages.
func Setup(mgr ctrl.Manager, o controller.Options) error {
	for kind, object := range map[schema.GroupVersionKind]client.Object{
		v1alpha1.ProviderConfigGroupVersionKind:        &v1alpha1.ProviderConfig{},
		v1alpha1.ClusterProviderConfigGroupVersionKind: &v1alpha1.ClusterProviderConfig{},
	} {
		if err := setup(mgr, o, kind, object); err != nil {
			return errors.Wrapf(err, "cannot set up the controller of %s", kind.Kind)
		}
	}
	return nil
}

// recountInterval is the least time between two counts of a config's users because
// usages were created or deleted: each count lists all usages of the config, and each
// Artifact that is created or deleted requests one.
const recountInterval = time.Second

// setup adds the controller of one kind of ProviderConfig. Changes of a config are
// reconciled at once. Changes of its usages are collected per config, so that many
// configs, or one with many usages, do not delay others.
func setup(mgr ctrl.Manager, o controller.Options, kind schema.GroupVersionKind, object client.Object) error {
	name := providerconfig.ControllerName(kind.GroupKind().String())
	r := providerconfig.NewReconciler(mgr,
		resource.ProviderConfigKinds{
			Config:    kind,
			Usage:     v1alpha1.ProviderConfigUsageGroupVersionKind,
			UsageList: v1alpha1.ProviderConfigUsageListGroupVersionKind,
		},
		providerconfig.WithLogger(o.Logger.WithValues("controller", name)),
		// Providers are allowed to write core/v1 events only.
		providerconfig.WithRecorder(xpevent.NewAPIRecorder(mgr.GetEventRecorderFor(name)))) //nolint:staticcheck // See above.

	return ctrl.NewControllerManagedBy(mgr).
		Named(name).
		WithOptions(o.ForControllerRuntime()).
		For(object, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, finalizerRemoved()))).
		Watches(&v1alpha1.ProviderConfigUsage{}, collected(&resource.EnqueueRequestForProviderConfig{Kind: kind.Kind})).
		Complete(r)
}

// finalizerRemoved accepts updates that remove a finalizer. It rejects those of the
// number of users in the status, which need no reconcile.
func finalizerRemoved() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return len(e.ObjectNew.GetFinalizers()) < len(e.ObjectOld.GetFinalizers())
	}}
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// A collectingQueue adds each request after recountInterval. Since a queue contains a
// request only once, further ones until then neither add to it nor delay it.
type collectingQueue struct {
	queue
}

// Add adds a request after recountInterval.
func (q collectingQueue) Add(r reconcile.Request) { q.AddAfter(r, recountInterval) }

// collected returns a handler that adds what h adds to a collectingQueue.
func collected(h handler.EventHandler) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { h.Create(ctx, e, collectingQueue{q}) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { h.Update(ctx, e, collectingQueue{q}) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { h.Delete(ctx, e, collectingQueue{q}) },
	}
}
