package artifact

import (
	"context"
	"slices"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// Indexes of the cache.
const (
	// indexSecrets finds Artifacts, ProviderConfigs and ClusterProviderConfigs
	// by namespace/name of the Secrets that they name.
	indexSecrets = "secrets"

	// indexConfig finds Artifacts by their ProviderConfig, as configKey writes
	// it.
	indexConfig = "providerConfig"
)

// addIndexes lets the cache find who uses a Secret or a ProviderConfig.
func addIndexes(ctx context.Context, mgr ctrl.Manager) error {
	indexer := mgr.GetFieldIndexer()
	return errors.Join(
		indexer.IndexField(ctx, &modelv1alpha1.Artifact{}, indexSecrets, settings.SecretsOf),
		indexer.IndexField(ctx, &v1alpha1.ProviderConfig{}, indexSecrets, settings.SecretsOf),
		indexer.IndexField(ctx, &v1alpha1.ClusterProviderConfig{}, indexSecrets, settings.SecretsOf),
		indexer.IndexField(ctx, &modelv1alpha1.Artifact{}, indexConfig, configOf),
		indexer.IndexField(ctx, &modelv1alpha1.Artifact{}, indexReference, referenceOf),
	)
}

// configOf returns the ProviderConfig that an Artifact names.
func configOf(o client.Object) []string {
	a, ok := o.(*modelv1alpha1.Artifact)
	if !ok || a.GetProviderConfigReference() == nil {
		return nil
	}
	ref := a.GetProviderConfigReference()
	return []string{configKey(ref.Kind, a.GetNamespace(), ref.Name)}
}

// configKey names a ProviderConfig of either kind.
func configKey(kind, namespace, name string) string {
	if kind == v1alpha1.ClusterProviderConfigGroupVersionKind.Kind {
		namespace = ""
	}
	return kind + "/" + namespace + "/" + name
}

// configChanged accepts changes of a config's spec and annotations, and its becoming
// Ready again.
func configChanged() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(resource.Conditioned)
		after, also := e.ObjectNew.(resource.Conditioned)
		return ok && also && before.GetCondition(xpv2.TypeReady).Status == corev1.ConditionFalse && after.GetCondition(xpv2.TypeReady).Status == corev1.ConditionTrue
	}})
}

// A requeuer finds the Artifacts that wait for a change of something else, or whose run
// uses it. Those that are well are not requeued: they see it at their next poll.
type requeuer struct {
	cached client.Reader
}

// forSecret returns the Artifacts that wait and use a Secret, themselves or by
// their ProviderConfig, and the one that waits for its own to be gone.
func (w *requeuer) forSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	name := client.ObjectKeyFromObject(secret).String()
	requests := append(w.waiting(ctx, client.MatchingFields{indexSecrets: name}), w.ownerOf(ctx, secret)...)

	configs := &v1alpha1.ProviderConfigList{}
	if err := w.cached.List(ctx, configs, client.MatchingFields{indexSecrets: name}); err == nil {
		for i := range configs.Items {
			requests = append(requests, w.forConfig(ctx, &configs.Items[i])...)
		}
	}
	clusterConfigs := &v1alpha1.ClusterProviderConfigList{}
	if err := w.cached.List(ctx, clusterConfigs, client.MatchingFields{indexSecrets: name}); err == nil {
		for i := range clusterConfigs.Items {
			requests = append(requests, w.forConfig(ctx, &clusterConfigs.Items[i])...)
		}
	}
	return requests
}

// ownerOf returns the Artifact that a Secret was made for, if it is being
// deleted: with the Secret the last of its run is gone.
func (w *requeuer) ownerOf(ctx context.Context, secret client.Object) []reconcile.Request {
	if !artifact.LooksLikeCredentials(secret) {
		return nil
	}
	name, ok := w.artifactOf(ctx, secret)
	a := &modelv1alpha1.Artifact{}
	if err := w.cached.Get(ctx, name, a); !ok || err != nil || !meta.WasDeleted(a) {
		return nil
	}
	return []reconcile.Request{{NamespacedName: name}}
}

// artifactOf returns the Artifact that an object of a run belongs to. An object of an
// Artifact in another namespace counts only where that Artifact's runs may execute: else
// a tenant could have the Artifacts of others reconciled.
func (w *requeuer) artifactOf(ctx context.Context, o client.Object) (types.NamespacedName, bool) {
	name, ok := artifact.ArtifactOf(o)
	return name, ok && (name.Namespace == o.GetNamespace() || w.isRunNamespace(ctx, o.GetNamespace(), name))
}

// forRun returns the Artifact that a Job, Pod or workspace belongs to.
func (w *requeuer) forRun(ctx context.Context, o client.Object) []reconcile.Request {
	name, ok := w.artifactOf(ctx, o)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: name}}
}

// forNamespace returns the Artifacts that wait and whose runs execute in a namespace that
// a ClusterProviderConfig names.
func (w *requeuer) forNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	configs := &v1alpha1.ClusterProviderConfigList{}
	if err := w.cached.List(ctx, configs); err != nil {
		return nil
	}
	var requests []reconcile.Request
	for i := range configs.Items {
		if job := configs.Items[i].Spec.Job; job != nil && job.Namespace == namespace.GetName() {
			requests = append(requests, w.using(ctx, v1alpha1.ClusterProviderConfigGroupVersionKind.Kind, &configs.Items[i])...)
		}
	}
	return requests
}

// isRunNamespace reports whether runs of an Artifact may execute in a namespace: a
// ClusterProviderConfig names it, or the Artifact records it.
func (w *requeuer) isRunNamespace(ctx context.Context, namespace string, name types.NamespacedName) bool {
	configs := &v1alpha1.ClusterProviderConfigList{}
	// The list is not modified.
	if err := w.cached.List(ctx, configs, client.UnsafeDisableDeepCopy); err != nil {
		return true // One reconcile too many does no harm.
	}
	for i := range configs.Items {
		if job := configs.Items[i].Spec.Job; job != nil && job.Namespace == namespace {
			return true
		}
	}
	a := &modelv1alpha1.Artifact{}
	return w.cached.Get(ctx, name, a) == nil && slices.Contains(artifact.RecordedNamespaces(a), namespace)
}

// forConfig returns the Artifacts that wait and use a ProviderConfig of either kind,
// and of a ClusterProviderConfig those of ProviderConfigs that its policy may be for.
func (w *requeuer) forConfig(ctx context.Context, config client.Object) []reconcile.Request {
	cluster, ok := config.(*v1alpha1.ClusterProviderConfig)
	if !ok {
		return w.using(ctx, v1alpha1.ProviderConfigGroupVersionKind.Kind, config)
	}
	requests := w.using(ctx, v1alpha1.ClusterProviderConfigGroupVersionKind.Kind, config)
	if cluster.Spec.Policy == nil && cluster.GetGeneration() == 1 {
		// It never had a policy.
		return requests
	}
	configs := &v1alpha1.ProviderConfigList{}
	if err := w.cached.List(ctx, configs); err != nil {
		return requests
	}
	for i := range configs.Items {
		requests = append(requests, w.using(ctx, v1alpha1.ProviderConfigGroupVersionKind.Kind, &configs.Items[i])...)
	}
	return requests
}

// using returns the Artifacts that wait and use a config.
func (w *requeuer) using(ctx context.Context, kind string, config client.Object) []reconcile.Request {
	return w.waiting(ctx, client.MatchingFields{indexConfig: configKey(kind, config.GetNamespace(), config.GetName())})
}

// waiting returns the Artifacts of an index that are not well, or have a run. What cannot be
// listed is found by its poll.
func (w *requeuer) waiting(ctx context.Context, by client.MatchingFields) []reconcile.Request {
	list := &modelv1alpha1.ArtifactList{}
	if err := w.cached.List(ctx, list, by); err != nil {
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if a := &list.Items[i]; !isWell(a) || hasRun(a) {
			requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: a.GetNamespace(), Name: a.GetName()}})
		}
	}
	return requests
}

// hasRun reports whether a run of an Artifact is in progress, as its status says.
func hasRun(a *modelv1alpha1.Artifact) bool {
	p := a.Status.AtProvider.Phase
	return p == modelv1alpha1.PhasePending || p == modelv1alpha1.PhaseRunning
}

// isWell reports whether an Artifact is ready and in step with its spec.
func isWell(a *modelv1alpha1.Artifact) bool {
	return a.GetCondition(xpv2.TypeReady).Status == corev1.ConditionTrue && a.GetCondition(xpv2.TypeSynced).Status == corev1.ConditionTrue
}
