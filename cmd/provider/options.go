package main

import (
	"context"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/customresourcesgate"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
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
func managerOptions(f flags, scheme *runtime.Scheme, gate *access.Gate) ctrl.Options {
	ours := cache.ByObject{Label: labels.SelectorFromSet(artifact.CommonLabels())}
	o := ctrl.Options{
		Scheme:                        scheme,
		HealthProbeBindAddress:        f.healthAddress,
		Metrics:                       metricsserver.Options{BindAddress: f.metricsAddress},
		LeaderElection:                f.leaderElection,
		LeaderElectionID:              "crossplane-leader-election-provider-kitops",
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
