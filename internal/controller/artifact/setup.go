// Package artifact is the controller of Artifacts: it maps each to a run in the
// cluster and to a name in a registry, and keeps both as its spec says.
package artifact

import (
	"context"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/controller"
	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpevent "github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/feature"
	"github.com/crossplane/crossplane-runtime/v2/pkg/ratelimiter"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// Images are those that runs use where a ClusterProviderConfig names no other.
type Images struct {
	// Kit holds kit.
	Kit string

	// Worker holds the worker.
	Worker string
}

// Options of the controller beside those that all controllers have.
type Options struct {
	controller.Options

	// Images of the runs.
	Images Images

	// PollJitter is the most that a poll is early or late, so that polls
	// spread.
	PollJitter time.Duration
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

	opts := []managed.ReconcilerOption{
		managed.WithPollInterval(o.PollInterval),
		managed.WithPollIntervalHook(pollInterval(o.PollJitter)),
		managed.WithLogger(o.Logger.WithValues("controller", name)),
		managed.WithRecorder(recorder),
	}
	if o.Features.Enabled(feature.EnableBetaManagementPolicies) {
		opts = append(opts, managed.WithManagementPolicies())
	}
	if o.MetricOptions != nil && o.MetricOptions.MRMetrics != nil {
		opts = append(opts, managed.WithMetricRecorder(o.MetricOptions.MRMetrics))
	}
	r := newReconciler(mgr, mgr.GetCache(), &connector{
		cached:      mgr.GetClient(),
		direct:      direct,
		scheme:      mgr.GetScheme(),
		usage:       resource.NewProviderConfigUsageTracker(mgr.GetClient(), &v1alpha1.ProviderConfigUsage{}),
		images:      o.Images,
		newRegistry: newRegistry,
		recorder:    recorder,
		now:         time.Now,
	}, opts...)

	if err := addIndexes(context.Background(), mgr); err != nil {
		return errors.Wrap(err, "cannot index the cache")
	}
	wake := &waker{cached: mgr.GetClient()}

	return ctrl.NewControllerManagedBy(mgr).
		Named(name).
		WithOptions(o.ForControllerRuntime()).
		// Not an event filter: that would hide the status of Jobs too.
		For(&modelv1alpha1.Artifact{}, builder.WithPredicates(predicate.Or(resource.DesiredStateChanged(), followUp()))).
		Owns(&batchv1.Job{}).
		Owns(&corev1.PersistentVolumeClaim{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(artifactOfPod)).
		// Of Secrets only the metadata: no copy of them is in memory.
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(wake.forSecret), builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		Watches(&v1alpha1.ProviderConfig{}, handler.EnqueueRequestsFromMapFunc(wake.forConfig), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.ClusterProviderConfig{}, handler.EnqueueRequestsFromMapFunc(wake.forConfig), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(ratelimiter.NewReconciler(name, r, o.GlobalRateLimiter))
}

// newReconciler returns the runtime's reconciler for what a connector connects
// to. The cache has what is watched, also the metadata of Secrets.
func newReconciler(mgr ctrl.Manager, cache client.Reader, c *connector, opts ...managed.ReconcilerOption) *managed.Reconciler {
	c.refusals = &refusals{}
	return managed.NewReconciler(statusManager{Manager: mgr, refusals: c.refusals}, resource.ManagedKind(modelv1alpha1.ArtifactGroupVersionKind), append(opts,
		managed.WithTypedExternalConnector[*modelv1alpha1.Artifact](c),
		managed.WithInitializers(&cleaner{cache: cache, direct: c.direct}),
		// Names do not depend on what Create returns, and a Job that was made
		// is seen at once.
		managed.WithDeterministicExternalName(true),
		managed.WithCreationGracePeriod(0),
	)...)
}

// followUp lets two of the runtime's own writes through. Once status records the
// end of a run, what the run needed is taken away. And when the finalizer is
// added, what Observe said of the status is lost.
func followUp() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*modelv1alpha1.Artifact)
		after, also := e.ObjectNew.(*modelv1alpha1.Artifact)
		return ok && also && (before.Status.AtProvider.Phase != after.Status.AtProvider.Phase ||
			len(before.GetFinalizers()) < len(after.GetFinalizers()))
	}}
}

// artifactOfPod returns the Artifact that a run's Pod belongs to. The Pod is
// its Job's, and outlives it for a while.
func artifactOfPod(_ context.Context, pod client.Object) []reconcile.Request {
	name := pod.GetAnnotations()[artifact.AnnotationArtifact]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: name}}}
}
