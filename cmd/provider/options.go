package main

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/customresourcesgate"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/crossplane-contrib/provider-kitops/apis"
	"github.com/crossplane-contrib/provider-kitops/internal/access"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// newScheme returns a scheme with Kubernetes' own kinds and the provider's.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	err := errors.Join(clientgoscheme.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme), apis.AddToScheme(scheme))
	return scheme, errors.Wrap(err, "cannot make a scheme")
}

// managerOptions returns what the manager caches, serves and elects.
func managerOptions(f flags, scheme *runtime.Scheme, gate *access.Checker) ctrl.Options {
	ours := cache.ByObject{Label: labels.SelectorFromSet(artifact.CommonLabels())}
	o := ctrl.Options{
		Scheme:                        scheme,
		HealthProbeBindAddress:        f.healthAddress,
		Metrics:                       metricsOptions(f),
		LeaderElection:                f.leaderElection,
		LeaderElectionID:              access.LeaderElectionID,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 ptr.To(60 * time.Second),
		RenewDeadline:                 ptr.To(50 * time.Second),
	}
	o.Cache = cache.Options{
		SyncPeriod:       &f.syncInterval,
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&batchv1.Job{}:                  ours,
			&corev1.Pod{}:                   ours,
			&corev1.PersistentVolumeClaim{}: ours,
			// Only their metadata is watched.
			&corev1.Secret{}: {Transform: stripSecretMetadata},
			// Of these only the names and whether they are served.
			&apiextensionsv1.CustomResourceDefinition{}: {Transform: customresourcesgate.TransformStripCRDSchema},
		},
		DefaultWatchErrorHandler: func(ctx context.Context, r *toolscache.Reflector, err error) {
			if kerrors.IsForbidden(err) {
				gate.Recheck()
			}
			toolscache.DefaultWatchErrorHandler(ctx, r, err)
		},
	}
	// Secrets are read one by one, so that no copy of all is in memory.
	o.Client = client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}}
	return o
}

// metricsOptions returns how metrics are served: with --metrics-secure by HTTPS,
// and only to accounts that may get the URL /metrics.
func metricsOptions(f flags) metricsserver.Options {
	o := metricsserver.Options{BindAddress: f.metricsAddress}
	if f.metricsSecure {
		o.SecureServing = true
		o.FilterProvider = filters.WithAuthenticationAndAuthorization
		// HTTP/1.1 suffices, and leaves out what HTTP/2 lets strangers do before
		// they are authenticated (CVE-2023-44487).
		o.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }}
	}
	return o
}

// stripSecretMetadata removes from the metadata of a Secret, before it is cached,
// what may hold the Secret's data: kubectl apply writes all of it into the
// annotation kubectl.kubernetes.io/last-applied-configuration, and other tools
// have annotations of their own. Nothing here reads a Secret's annotations.
func stripSecretMetadata(o any) (any, error) {
	if m, err := meta.Accessor(o); err == nil {
		m.SetAnnotations(nil)
		m.SetManagedFields(nil)
	}
	return o, nil
}
