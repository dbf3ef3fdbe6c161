package config

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

const (
	// workers is how many configs of a kind are checked at a time.
	workers = 8

	// permissionInterval is how often a config is checked while the provider lacks
	// permissions, or has not started to watch Secrets and namespaces.
	permissionInterval = 2 * time.Second

	// A question that must wait for a worker is asked again after a random wait
	// between these two.
	busyWait, busyWaitMost = time.Second, 3 * time.Second

	// jitter is the part of a wait by which it may be longer, so that questions spread.
	jitter = 0.1
)

// A checker finds out whether configs of one kind are Ready. It writes nothing: what is
// new goes to the controller that counts users, by events.
type checker struct {
	cached   client.Reader
	new      func() resource.ProviderConfig
	access   *access.Checker
	settings *settings.Resolver
	ask      *questions
	ready    *conditions
	events   chan event.GenericEvent

	// watching is closed once Secrets and namespaces are watched.
	watching <-chan struct{}

	mu       sync.Mutex
	versions map[types.NamespacedName]versions
}

// versions of a config, as settings.ConfigState has them.
type versions struct {
	uid types.UID

	// read is the version whose Secrets were read, asked the one for which the
	// registry was asked.
	read, asked string
}

// Reconcile checks a config that has its finalizer: until then, and once it is deleted,
// it has more important things to wait for.
func (c *checker) Reconcile(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	o := c.new()
	if err := c.cached.Get(ctx, r.NamespacedName, o); err != nil {
		c.forget(r.NamespacedName)
		return reconcile.Result{}, errors.Wrap(client.IgnoreNotFound(err), "cannot get the ProviderConfig")
	}
	if meta.WasDeleted(o) || len(o.GetFinalizers()) == 0 {
		c.forget(r.NamespacedName)
		return reconcile.Result{}, nil
	}
	if err := c.access.Missing(ctx); err != nil {
		return c.failed(ctx, o, err, permissionInterval)
	}
	select {
	case <-c.watching:
	default:
		return reconcile.Result{RequeueAfter: permissionInterval}, nil
	}
	return c.check(ctx, r.NamespacedName, o)
}

// check checks the config's Secrets, and asks its registry.
func (c *checker) check(ctx context.Context, name types.NamespacedName, o resource.ProviderConfig) (reconcile.Result, error) {
	seen := c.seen(name, o.GetUID())
	state, err := c.settings.CheckConfig(ctx, o, seen.read)
	if err != nil {
		// A Secret or namespace that is created or corrected is a watch event.
		return c.failed(ctx, o, c.access.Explain(err), interval)
	}
	seen.read = state.Version
	c.see(name, seen)
	changed := state.Version == "" || state.Version != seen.asked
	ready, next := xpv2.Condition{}, interval
	for _, account := range state.Registries {
		a, ok := c.ask.ask(ctx, account, name.Namespace, changed)
		if !ok {
			return reconcile.Result{RequeueAfter: busyWait + rand.N(busyWaitMost-busyWait)}, nil //nolint:gosec // No secret.
		}
		said := a.condition(c.ready.get(o), o.GetGeneration(), len(account.DockerConfig) > 0 || account.Credential != nil)
		if ready.Status == "" || ready.Status == corev1.ConditionTrue && said.Status != corev1.ConditionTrue {
			ready = said
		}
		next = min(next, a.next.Sub(c.ask.now()))
	}
	seen.asked = state.Version
	c.see(name, seen)
	c.report(ctx, o, ready)
	return reconcile.Result{RequeueAfter: wait.Jitter(max(next, time.Second), jitter)}, nil
}

// failed reports an error, if it has a reason of the vocabulary; any other is retried.
func (c *checker) failed(ctx context.Context, o resource.ProviderConfig, err error, after time.Duration) (reconcile.Result, error) {
	if !errors.As(err, new(*outcome.Error)) {
		return reconcile.Result{}, err
	}
	c.report(ctx, o, unavailable(err))
	return reconcile.Result{RequeueAfter: wait.Jitter(after, jitter)}, nil
}

// report has a condition written, unless the config has it.
func (c *checker) report(ctx context.Context, o resource.ProviderConfig, ready xpv2.Condition) {
	ready = ready.WithObservedGeneration(o.GetGeneration())
	c.ready.put(o.GetUID(), ready)
	if o.GetCondition(xpv2.TypeReady).Equal(ready) {
		return
	}
	select {
	case c.events <- event.GenericEvent{Object: o}:
	case <-ctx.Done():
	}
}

// seen returns the versions of a config that were seen last.
func (c *checker) seen(name types.NamespacedName, uid types.UID) versions {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.versions[name]; v.uid == uid {
		return v
	}
	return versions{uid: uid}
}

// see records the versions of a config.
func (c *checker) see(name types.NamespacedName, v versions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.versions[name] = v
}

// forget drops what is known of a config.
func (c *checker) forget(name types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready.forget(c.versions[name].uid)
	delete(c.versions, name)
}

// ping asks a registry whether a config can use it, and reports whether it has accepted
// its credentials.
func (q Options) ping(ctx context.Context, o registry.Options) (accepted bool, err error) {
	o.Hosts, o.Observe, o.UserAgent = q.Hosts, q.Observe, version.UserAgent()
	o.SingleTry = true // The next question is the next try.
	c, err := registry.New(o)
	if err != nil {
		return false, err
	}
	defer c.Close()
	accepted, err = c.Ping(ctx)
	if err != nil && o.Repository != "" && outcome.ReasonOf(err) == outcome.Unauthorized {
		return false, outcome.Errorf(outcome.Unauthorized, "%s (its entry for %s/%s)", err, o.Host, o.Repository).Because(err)
	}
	return accepted, err
}

// held accepts changes of a config's spec, and of what the controller that counts users
// does first: it adds the finalizer.
func held() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return len(e.ObjectNew.GetFinalizers()) > len(e.ObjectOld.GetFinalizers())
	}})
}

// beginsToEnd rejects updates of objects but the one by which they are being deleted.
func beginsToEnd() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return !meta.WasDeleted(e.ObjectOld) && meta.WasDeleted(e.ObjectNew) }}
}

// indexNamed finds configs by namespace/name of the Secrets that they name, and by /name of
// their job.namespace. The controller of Artifacts has an index of its own: either may be
// set up first.
const indexNamed = "readiness.named"

// namedBy returns what indexNamed has of a config.
func namedBy(o client.Object) []string {
	out := settings.SecretsOf(o)
	if pc, ok := o.(*v1alpha1.ClusterProviderConfig); ok && pc.Spec.Job != nil && pc.Spec.Job.Namespace != "" {
		out = append(out, types.NamespacedName{Name: pc.Spec.Job.Namespace}.String())
	}
	return out
}

// byNamed returns a handler that has the configs of a list checked which name a Secret or
// a namespace.
func byNamed(cached client.Reader, newList func() client.ObjectList) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, named client.Object) []reconcile.Request {
		list := newList()
		if err := cached.List(ctx, list, client.MatchingFields{indexNamed: client.ObjectKeyFromObject(named).String()}); err != nil {
			return nil
		}
		var requests []reconcile.Request
		// Its functions return no errors.
		_ = apimeta.EachListItem(list, func(o runtime.Object) error {
			if config, ok := o.(client.Object); ok {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(config)})
			}
			return nil
		})
		return requests
	})
}

// A namedWatch watches the metadata of Secrets and namespaces for the controllers that
// check configs, once the provider has its permissions.
type namedWatch struct {
	access   *access.Checker
	cache    cache.Cache
	watches  map[ctrlcontroller.Controller]handler.EventHandler
	watching chan struct{}
}

// Start implements manager.Runnable.
func (w *namedWatch) Start(ctx context.Context) error {
	if err := w.start(ctx); ctx.Err() == nil {
		return errors.Wrap(err, "cannot watch Secrets and namespaces")
	}
	// The provider is shutting down.
	return nil
}

func (w *namedWatch) start(ctx context.Context) error {
	if err := w.access.WaitGranted(ctx); err != nil {
		return err
	}
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	for object, changed := range map[client.Object]predicate.Predicate{secret: predicate.ResourceVersionChangedPredicate{}, settings.Namespace(): beginsToEnd()} {
		for c, h := range w.watches {
			if err := c.Watch(source.Kind(w.cache, object, h, changed)); err != nil {
				return err
			}
		}
		if _, err := w.cache.GetInformer(ctx, object); err != nil {
			return err
		}
	}
	close(w.watching)
	return nil
}
