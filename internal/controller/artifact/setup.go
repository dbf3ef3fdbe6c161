// Package artifact is the controller of Artifacts: it maps each to a run in the
// cluster and to a name in a registry, and keeps both as its spec says.
package artifact

import (
	"cmp"
	"context"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/controller"
	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpevent "github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/feature"
	"github.com/crossplane/crossplane-runtime/v2/pkg/ratelimiter"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	"github.com/crossplane/crossplane-runtime/v2/pkg/statemetrics"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/progress"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	runqueue "github.com/crossplane-contrib/provider-kitops/internal/queue"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// Options of the controller beside those that all controllers have.
type Options struct {
	controller.Options

	// Images of the runs.
	Images settings.Images

	// RunNamespaces are those in which runs may execute, and that are watched for
	// their objects; none for all.
	RunNamespaces []string

	// WorkerImage names the image that holds the worker. It is asked once the
	// provider has its permissions.
	WorkerImage func(context.Context) string

	// Access knows which permissions the provider has; nil for all.
	Access *access.Checker

	// Keys returns what signs and verifies records of who pushed an artifact; nil for
	// none: that is in statuses only then. It is called once the provider has its
	// permissions.
	Keys func(context.Context) (provenance.Keys, error)

	// Hosts bound requests to registries, together with those of other controllers that
	// share them; nil for Hosts of their own.
	Hosts *connection.Hosts

	// Credentials remembers what Secrets have for registries and signatures, together
	// with other controllers; nil for a memory of its own.
	Credentials *settings.CredentialMemory

	// Identities of the provider at registries of clouds; nil for none.
	Identities *identity.Sources

	// Metrics of runs and of requests to registries; nil for none.
	Metrics *Metrics

	// Timeout bounds a reconcile; 0 for DefaultTimeout.
	Timeout time.Duration

	// BlobCheckInterval is how often all blobs of each Artifact are looked for in
	// its registry; 0 for never.
	BlobCheckInterval time.Duration

	// PollJitterPercentage is the most that a poll is early or late, in percent
	// of its interval, so that polls spread.
	PollJitterPercentage int

	// ProgressWritesPerMinute is how often the progress of runs is written to the
	// statuses of Artifacts at most, of all runs together; 0 for never.
	ProgressWritesPerMinute int

	// Queue limits how many runs execute at a time; nil for one without a limit of its
	// own.
	Queue *runqueue.Queue

	// startPatience is how long a run may take to start that has a copy of credentials, or
	// whose room others wait for; 0 for artifact.CopyTimeout.
	startPatience time.Duration

	// poller of the progress of runs; nil for one that asks their Pods.
	poller *progress.Poller

	// followAnywhere has followed buckets be asked at any address, also the loopback one.
	followAnywhere bool
}

// Setup adds the controller of Artifacts to the manager. Artifacts are
// reconciled when their desired state changes, when a Job, Pod or workspace of
// theirs changes, at each poll and, where something is wrong with them, when a
// ProviderConfig or a Secret changes that they use.
func Setup(mgr ctrl.Manager, o Options) error {
	name := managed.ControllerName(modelv1alpha1.ArtifactGroupVersionKind.GroupKind().String())

	// What decides about making a Job is read from the API server itself: a
	// cache that lags behind would have two made.
	direct, err := client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return err
	}
	// Providers are allowed to write core/v1 events only.
	recorder := xpevent.NewAPIRecorder(mgr.GetEventRecorderFor(name)) //nolint:staticcheck // See above.
	hosts := cmp.Or(o.Hosts, connection.NewHosts())
	c := &connector{
		cached: indexedClient{mgr.GetClient()},
		direct: direct,
		scheme: mgr.GetScheme(),
		usage:  resource.NewProviderConfigUsageTracker(mgr.GetClient(), &v1alpha1.ProviderConfigUsage{}),
		settings: &settings.Resolver{
			Cached: mgr.GetClient(), Direct: direct, Metadata: mgr.GetCache(), Images: o.Images,
			Credentials:   cmp.Or(o.Credentials, settings.NewCredentialMemory(mgr.GetCache())),
			RunNamespaces: o.RunNamespaces, Identities: o.Identities,
		},
		scope:    o.RunNamespaces,
		recorder: recorder,
		now:      time.Now,

		startPatience: o.startPatience,
		metrics:       cmp.Or(o.Metrics, NewMetrics()),
		memory: newMemory(hosts, o.BlobCheckInterval, o.Queue,
			cmp.Or(o.poller, progress.New(progress.Options{WritesPerMinute: o.ProgressWritesPerMinute}))),
		registries: registry.NewMemory(),
		hosts:      hosts,
	}
	c.follower.Anywhere = o.followAnywhere
	gate := newRBACGate(o.Access, mgr.GetClient())
	managedReconciler := newReconciler(mgr, mgr.GetCache(), c, append(o.forReconciler(name, recorder, c),
		managed.WithTypedExternalConnector[*modelv1alpha1.Artifact](&permitted{next: c, gate: gate}),
		managed.WithInitializers(o.policyInitializer(), gate.initializer(&cleaner{cache: indexedReader{mgr.GetCache()}, direct: direct, scope: o.RunNamespaces})),
	)...)

	r := queueing{Reconciler: managedReconciler, queue: c.queue}

	if err := addIndexes(context.Background(), mgr); err != nil {
		return errors.Wrap(err, "cannot index the cache")
	}
	if err := addStateMetrics(mgr, o); err != nil {
		return err
	}
	c.follower.Observe = c.metrics.asked
	if err := c.metrics.addStates(mgr, o.Logger, hosts, c.memory); err != nil {
		return err
	}
	waiting := &requeuer{cached: mgr.GetClient()}
	turns := &turns{cached: mgr.GetClient(), poll: o.PollInterval, now: c.now}
	limits := &limiter{cached: mgr.GetClient(), queue: c.queue, runs: waiting}
	sweeper := newSweeper(mgr.GetClient(), direct, o.RunNamespaces, o.Logger, gate.ready)
	deleted, onlyDeleted := sweeper.onDeleted()
	built, err := ctrl.NewControllerManagedBy(mgr).
		Named(name).
		WithOptions(o.ForControllerRuntime()).
		// Not an event filter: that would hide the status of Jobs too.
		Watches(&modelv1alpha1.Artifact{}, turns.artifacts(newFirst()), builder.WithPredicates(predicate.Or(resource.DesiredStateChanged(), followUp()))).
		Watches(&v1alpha1.ProviderConfig{}, handler.EnqueueRequestsFromMapFunc(waiting.forConfig), builder.WithPredicates(configChanged())).
		Watches(&v1alpha1.ClusterProviderConfig{}, handler.EnqueueRequestsFromMapFunc(waiting.forConfig), builder.WithPredicates(configChanged())).
		Watches(&modelv1alpha1.Artifact{}, waiting.released()).
		Watches(&modelv1alpha1.Artifact{}, deleted, builder.WithPredicates(onlyDeleted)).
		WatchesRawSource(source.Channel(gate.requeued, canWait(&handler.EnqueueRequestForObject{}))).
		WatchesRawSource(source.Channel(c.poller.Events(), canWait(&handler.EnqueueRequestForObject{}))).
		WatchesRawSource(source.Channel(c.follower.Events(), canWait(&handler.EnqueueRequestForObject{}))).
		WatchesRawSource(source.Func(limits.use)).
		Build(&throttle{
			Reconciler: newUnlimited{
				cached:  mgr.GetClient(),
				all:     requeueLater{Reconciler: r, soon: &c.soon},
				limited: ratelimiter.NewReconciler(name, requeueLater{Reconciler: r, soon: &c.soon}, o.GlobalRateLimiter),
			},
			cached:  mgr.GetClient(),
			origin:  c.settings.Origin,
			hosts:   c.hosts,
			workers: o.MaxConcurrentReconciles,
		})
	if err != nil {
		return err
	}
	gate.prepare = func(ctx context.Context) (err error) {
		if images := &c.settings.Images; images.Worker == "" && o.WorkerImage != nil {
			images.Worker = o.WorkerImage(ctx)
		}
		if o.Keys != nil {
			if c.keys, err = o.Keys(ctx); err != nil {
				return err
			}
		}
		if err := watchRuns(ctx, mgr, built, waiting, turns); err != nil {
			return err
		}
		return limits.begin(ctx, mgr)
	}
	if err := mgr.Add(c.poller); err != nil {
		return errors.Wrap(err, "cannot poll the progress of runs")
	}
	if err := mgr.Add(limits); err != nil {
		return errors.Wrap(err, "cannot limit runs")
	}
	if err := mgr.Add(sweeper); err != nil {
		return errors.Wrap(err, "cannot sweep")
	}
	if err := mgr.Add(c.follower); err != nil {
		return errors.Wrap(err, "cannot follow revisions")
	}
	return errors.Wrap(mgr.Add(gate), "cannot wait for permissions")
}

// DefaultTimeout bounds a reconcile. Setting a tag on a manifest of thousands of
// layers takes a registry longer than the runtime's minute.
const DefaultTimeout = 5 * time.Minute

// forReconciler returns the options that the runtime's reconciler is made with.
func (o Options) forReconciler(name string, recorder xpevent.Recorder, c *connector) []managed.ReconcilerOption {
	opts := []managed.ReconcilerOption{
		managed.WithPollInterval(o.PollInterval),
		managed.WithPollIntervalHook(pollInterval(o.PollJitterPercentage, c.memory)),
		managed.WithMinPollInterval(minPollInterval),
		managed.WithTimeout(cmp.Or(o.Timeout, DefaultTimeout)),
		managed.WithLogger(o.Logger.WithValues("controller", name)),
		managed.WithRecorder(quietRecorder{Recorder: recorder, told: &c.told}),
	}
	if o.Features.Enabled(feature.EnableBetaManagementPolicies) {
		opts = append(opts, managed.WithManagementPolicies())
	}
	if o.ChangeLogOptions != nil && o.Features.Enabled(feature.EnableAlphaChangeLogs) {
		opts = append(opts, managed.WithChangeLogger(o.ChangeLogOptions.ChangeLogger))
	}
	if o.MetricOptions != nil && o.MetricOptions.MRMetrics != nil {
		opts = append(opts, managed.WithMetricRecorder(o.MetricOptions.MRMetrics))
	}
	return opts
}

// policyInitializer returns what refuses an Artifact with no management policies where
// the feature is disabled: the runtime refuses all other policies then, but would take
// none, which means a pause, for all.
func (o Options) policyInitializer() managed.InitializerFn {
	enabled := o.Features.Enabled(feature.EnableBetaManagementPolicies)
	return func(_ context.Context, mg resource.Managed) error {
		if !enabled && len(mg.GetManagementPolicies()) == 0 {
			return errors.New(`spec.managementPolicies is [], which the provider does not support with --no-enable-management-policies: write ["*"], or the annotation crossplane.io/paused: "true"`)
		}
		return nil
	}
}

// watchRuns watches what runs consist of, and returns once all of it is in the
// cache.
func watchRuns(ctx context.Context, mgr ctrl.Manager, c ctrlcontroller.Controller, waiting *requeuer, turns *turns) error {
	if err := addRunIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	// Of Secrets only the metadata: no copy of them is in memory.
	secret := secretMetadata()
	// Each reconcile reads the labels of its namespace.
	namespace := settings.Namespace()
	owner := turns.runs(handler.EnqueueRequestsFromMapFunc(waiting.forRun))
	sources := []struct {
		object     client.Object
		handler    handler.EventHandler
		predicates []predicate.Predicate
	}{
		{object: &batchv1.Job{}, handler: owner},
		{object: &corev1.PersistentVolumeClaim{}, handler: owner},
		{object: &corev1.Pod{}, handler: owner},
		{object: namespace, handler: handler.EnqueueRequestsFromMapFunc(waiting.forNamespace), predicates: []predicate.Predicate{onlyCreated()}},
		{object: secret, handler: handler.EnqueueRequestsFromMapFunc(waiting.forSecret), predicates: []predicate.Predicate{predicate.ResourceVersionChangedPredicate{}}},
	}
	for _, s := range sources {
		if err := c.Watch(source.Kind(mgr.GetCache(), s.object, canWait(s.handler), s.predicates...)); err != nil {
			return errors.Wrapf(err, "cannot watch %T", s.object)
		}
	}
	for _, s := range sources {
		if _, err := mgr.GetCache().GetInformer(ctx, s.object); err != nil {
			return errors.Wrapf(err, "cannot wait for the cache of %T", s.object)
		}
	}
	return nil
}

// addStateMetrics has the manager count Artifacts by their state. The runtime's
// own loop would take an error of the cache for a reason to stop the manager.
func addStateMetrics(mgr ctrl.Manager, o Options) error {
	if o.MetricOptions == nil || o.MetricOptions.MRStateMetrics == nil || o.MetricOptions.PollStateMetricInterval <= 0 {
		return nil
	}
	recorder := statemetrics.NewMRStateRecorder(sharingClient{mgr.GetClient()}, o.Logger, o.MetricOptions.MRStateMetrics, &modelv1alpha1.ArtifactList{}, o.MetricOptions.PollStateMetricInterval)
	return errors.Wrap(mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		wait.UntilWithContext(ctx, func(ctx context.Context) {
			if err := recorder.Record(ctx); err != nil && ctx.Err() == nil {
				o.Logger.Info("Cannot count Artifacts", "error", err)
			}
		}, o.MetricOptions.PollStateMetricInterval)
		return nil
	})), "cannot count Artifacts")
}

// A sharingClient lists what the cache holds, not copies of it: for who only
// reads, and keeps the list.
type sharingClient struct {
	client.Client
}

// List returns objects that must not be changed.
func (c sharingClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return c.Client.List(ctx, list, append(opts, client.UnsafeDisableDeepCopy)...)
}

// newReconciler returns the runtime's reconciler for what a connector connects
// to, unless an option says otherwise. The cache has what is watched, also the
// metadata of Secrets.
func newReconciler(mgr ctrl.Manager, cache client.Reader, c *connector, opts ...managed.ReconcilerOption) *managed.Reconciler {
	if c.memory == nil {
		c.memory = newMemory(connection.NewHosts(), 0, nil, nil)
	}
	return managed.NewReconciler(statusManager{Manager: mgr, memory: c.memory}, resource.ManagedKind(modelv1alpha1.ArtifactGroupVersionKind), append([]managed.ReconcilerOption{
		managed.WithTypedExternalConnector[*modelv1alpha1.Artifact](c),
		managed.WithInitializers(&cleaner{cache: cache, direct: c.direct, scope: c.scope}),
		managed.WithFinalizer(newFinalizer(mgr.GetClient(), c.forget)),
		// Names do not depend on what Create returns, and a Job that was made
		// is seen at once.
		managed.WithDeterministicExternalName(true),
		managed.WithCreationGracePeriod(0),
		managed.WithCriticalAnnotationUpdater(creationUpdater{managed.NewRetryingCriticalAnnotationUpdater(mgr.GetClient())}),
	}, opts...)...)
}

// onlyCreated accepts objects that are new.
func onlyCreated() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(event.UpdateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	}
}

// followUp lets two of the runtime's own writes through. Once status records the
// end of a run, what the run needed is deleted. And when the finalizer is
// added, what Observe said of the status is lost.
func followUp() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*modelv1alpha1.Artifact)
		after, also := e.ObjectNew.(*modelv1alpha1.Artifact)
		return ok && also && (before.Status.AtProvider.Phase != after.Status.AtProvider.Phase ||
			len(before.GetFinalizers()) < len(after.GetFinalizers()))
	}}
}
