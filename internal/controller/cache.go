package controller

import (
	"context"
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
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/apis"
	"github.com/crossplane-contrib/provider-kitops/internal/access"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// NewScheme returns a scheme with Kubernetes' own kinds and the provider's.
func NewScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	err := errors.Join(clientgoscheme.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme), apis.AddToScheme(scheme))
	return scheme, errors.Wrap(err, "cannot build the scheme")
}

// CacheOptions returns the options of the controllers' cache: of the objects of
// runs it holds only the provider's own, in the namespaces for runs if these are
// restricted to some, and of large or secret objects only what
// the controllers read. A denied watch makes the checker check the provider's
// permissions again.
func CacheOptions(resync time.Duration, checker *access.Checker, runNamespaces ...string) cache.Options {
	ours := cache.ByObject{Label: labels.SelectorFromSet(artifact.CommonLabels())}
	for _, ns := range runNamespaces {
		if ours.Namespaces == nil {
			ours.Namespaces = map[string]cache.Config{}
		}
		ours.Namespaces[ns] = cache.Config{}
	}
	return cache.Options{
		SyncPeriod:       &resync,
		DefaultTransform: (&compactor{}).compact,
		ByObject: map[client.Object]cache.ByObject{
			&batchv1.Job{}:                  ours,
			&corev1.Pod{}:                   ours,
			&corev1.PersistentVolumeClaim{}: ours,
			// Only the metadata of Secrets is watched.
			&corev1.Secret{}: {Transform: stripSecretMetadata},
			// Only names, and whether they are served, are read.
			&apiextensionsv1.CustomResourceDefinition{}: {Transform: customresourcesgate.TransformStripCRDSchema},
		},
		DefaultWatchErrorHandler: func(ctx context.Context, r *toolscache.Reflector, err error) {
			if kerrors.IsForbidden(err) {
				checker.Recheck()
			}
			toolscache.DefaultWatchErrorHandler(ctx, r, err)
		},
	}
}

// ClientOptions returns the options of the controllers' client. It reads each
// Secret from the API server, so that memory does not hold copies of all of them.
func ClientOptions() client.Options {
	return client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}}
}

// stripSecretMetadata removes what may hold a Secret's data from its metadata
// before it is cached: kubectl apply writes all of it into the annotation
// kubectl.kubernetes.io/last-applied-configuration, and other tools have
// annotations of their own. The controllers read of Secrets only the provider's
// annotations.
func stripSecretMetadata(o any) (any, error) {
	if m, err := meta.Accessor(o); err == nil {
		m.SetAnnotations(artifact.SecretAnnotations(m))
		m.SetManagedFields(nil)
	}
	return o, nil
}
