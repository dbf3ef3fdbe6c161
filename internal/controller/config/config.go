// Package config keeps count of who uses ProviderConfigs and
// ClusterProviderConfigs, so that none is deleted while in use.
package config

import (
	"github.com/crossplane/crossplane-runtime/v2/pkg/controller"
	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/ratelimiter"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/providerconfig"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// Setup adds a controller for each kind of ProviderConfig to the manager. Both
// are accounted for by ProviderConfigUsages.
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

// recounts is how often a second the users of a kind's configs are counted, but
// for the first few times: each count lists all of them, and each Artifact that
// is made or deleted asks for one. What Artifacts may take of the global limit is
// not waited for.
const recounts = 1

// setup adds the controller of one kind of ProviderConfig.
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
		providerconfig.WithRecorder(event.NewAPIRecorder(mgr.GetEventRecorderFor(name)))) //nolint:staticcheck // See above.

	return ctrl.NewControllerManagedBy(mgr).
		Named(name).
		WithOptions(o.ForControllerRuntime()).
		For(object).
		Watches(&v1alpha1.ProviderConfigUsage{}, &resource.EnqueueRequestForProviderConfig{Kind: kind.Kind}).
		Complete(ratelimiter.NewReconciler(name, r, ratelimiter.NewGlobal(recounts)))
}
