// Package config counts the users of ProviderConfigs and ClusterProviderConfigs, so
// that none is deleted while it is in use, and finds out whether they are Ready: the
// registry can be reached, is trusted and accepts the credentials, and all Secrets and the
// namespace of runs are there.
package config

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/controller"
	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpevent "github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/providerconfig"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// Options of the controllers beside those that all controllers have.
type Options struct {
	controller.Options

	// Hosts bound requests to registries, together with those of other controllers that
	// share them; nil for Hosts of their own.
	Hosts *connection.Hosts

	// Credentials remembers what Secrets have for registries and signatures, together
	// with other controllers; nil for a memory of its own.
	Credentials *settings.CredentialMemory

	// Identities of the provider at registries of clouds; nil for none.
	Identities *identity.Sources

	// RunNamespaces are those in which runs may execute; none for all.
	RunNamespaces []string

	// Access knows which permissions the provider has; nil for all.
	Access *access.Checker

	// Observe is called for each question to a registry with its name and its error,
	// for metrics; nil for no observer.
	Observe func(operation string, err error)
}

// A kind is one of the two kinds of ProviderConfigs.
type kind struct {
	schema.GroupVersionKind

	new     func() resource.ProviderConfig
	newList func() client.ObjectList
}

// kinds of ProviderConfigs.
var kinds = []kind{
	{
		GroupVersionKind: v1alpha1.ProviderConfigGroupVersionKind,
		new:              func() resource.ProviderConfig { return &v1alpha1.ProviderConfig{} },
		newList:          func() client.ObjectList { return &v1alpha1.ProviderConfigList{} },
	},
	{
		GroupVersionKind: v1alpha1.ClusterProviderConfigGroupVersionKind,
		new:              func() resource.ProviderConfig { return &v1alpha1.ClusterProviderConfig{} },
		newList:          func() client.ObjectList { return &v1alpha1.ClusterProviderConfigList{} },
	},
}

// Setup adds two controllers for each kind of ProviderConfig to the manager. One counts
// ProviderConfigUsages and writes all that is written of a config; the other finds out
// whether a config is Ready, and delays nothing of the first.
func Setup(mgr ctrl.Manager, o Options) error {
	o.Hosts = cmp.Or(o.Hosts, connection.NewHosts())
	ask := newQuestions(o.Hosts, o.ping)
	named := &namedWatch{
		access: o.Access, cache: mgr.GetCache(), watching: make(chan struct{}),
		watches: map[ctrlcontroller.Controller]handler.EventHandler{},
	}
	resolver := &settings.Resolver{
		Cached: mgr.GetClient(), Direct: mgr.GetAPIReader(), Metadata: mgr.GetCache(),
		Credentials:   cmp.Or(o.Credentials, settings.NewCredentialMemory(mgr.GetCache())),
		RunNamespaces: o.RunNamespaces, Identities: o.Identities,
	}
	for _, k := range kinds {
		c := &checker{
			cached: mgr.GetClient(), new: k.new, access: o.Access, settings: resolver, ask: ask, ready: &conditions{},
			events: make(chan event.GenericEvent), watching: named.watching, versions: map[types.NamespacedName]versions{},
		}
		if err := setupUsage(mgr, o.Options, k, c); err != nil {
			return errors.Wrapf(err, "cannot set up the controller of %s", k.Kind)
		}
		checks, err := setupReadiness(mgr, o.Options, k, c)
		if err != nil {
			return errors.Wrapf(err, "cannot set up the controller of the readiness of %s", k.Kind)
		}
		named.watches[checks] = byNamed(mgr.GetClient(), k.newList)
	}
	return errors.Wrap(mgr.Add(named), "cannot watch Secrets and namespaces")
}

// recountInterval is the least time between two counts of a config's users because
// usages were created or deleted: each count lists all usages of the config, and each
// Artifact that is created or deleted requests one.
const recountInterval = time.Second

// setupUsage adds the controller that counts the users of one kind of ProviderConfig.
// Changes of a config are reconciled at once. Changes of its usages are collected per
// config, so that many configs, or one with many usages, do not delay others; whether
// it is Ready is written after all else.
func setupUsage(mgr ctrl.Manager, o controller.Options, k kind, c *checker) error {
	name := providerconfig.ControllerName(k.GroupKind().String())
	r := providerconfig.NewReconciler(usageManager{Manager: mgr, ready: c.ready},
		resource.ProviderConfigKinds{
			Config:    k.GroupVersionKind,
			Usage:     v1alpha1.ProviderConfigUsageGroupVersionKind,
			UsageList: v1alpha1.ProviderConfigUsageListGroupVersionKind,
		},
		providerconfig.WithLogger(o.Logger.WithValues("controller", name)),
		// Providers are allowed to write core/v1 events only.
		providerconfig.WithRecorder(xpevent.NewAPIRecorder(mgr.GetEventRecorderFor(name)))) //nolint:staticcheck // See above.

	return ctrl.NewControllerManagedBy(mgr).
		Named(name).
		WithOptions(o.ForControllerRuntime()).
		For(k.new(), builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, finalizerRemoved()))).
		Watches(&v1alpha1.ProviderConfigUsage{}, collected(&resource.EnqueueRequestForProviderConfig{Kind: k.Kind})).
		WatchesRawSource(source.Channel(c.events, last(&handler.EnqueueRequestForObject{}))).
		Complete(r)
}

// setupReadiness adds the controller that checks one kind of ProviderConfig.
func setupReadiness(mgr ctrl.Manager, o controller.Options, k kind, c *checker) (ctrlcontroller.Controller, error) {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), k.new(), indexNamed, namedBy); err != nil {
		return nil, errors.Wrap(err, "cannot index the cache")
	}
	options := o.ForControllerRuntime()
	options.MaxConcurrentReconciles = workers
	return ctrl.NewControllerManagedBy(mgr).
		Named("readiness/"+strings.ToLower(k.GroupKind().String())).
		WithOptions(options).
		For(k.new(), builder.WithPredicates(held())).
		Build(c)
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

// A lastQueue adds each request after recountInterval, for when nothing else waits.
type lastQueue struct {
	queue
}

// Add adds a request, below what the cache holds at the start.
func (q lastQueue) Add(r reconcile.Request) {
	if p, ok := q.queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		p.AddWithOpts(priorityqueue.AddOpts{After: recountInterval, Priority: ptr.To(handler.LowPriority - 1)}, r)
		return
	}
	q.AddAfter(r, recountInterval)
}

// last returns a handler that adds what h adds for generic events to a lastQueue.
func last(h handler.EventHandler) handler.EventHandler {
	return handler.Funcs{
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q queue) { h.Generic(ctx, e, lastQueue{q}) },
	}
}

// collected returns a handler that adds what h adds to a collectingQueue.
func collected(h handler.EventHandler) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { h.Create(ctx, e, collectingQueue{q}) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { h.Update(ctx, e, collectingQueue{q}) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { h.Delete(ctx, e, collectingQueue{q}) },
	}
}
