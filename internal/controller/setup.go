// Package controller starts the provider's controllers in a cluster: each as soon
// as the kinds that it watches exist, and with the image of the provider's own Pod
// for its runs.
package controller

import (
	"cmp"
	"context"
	"os"
	"slices"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/gate"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/customresourcesgate"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/controller/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/controller/config"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

const (
	// EnvProvider is the variable that Crossplane sets for a provider that it
	// runs.
	EnvProvider = "PROVIDER_NAME"

	// grantInterval is how often the provider checks whether Crossplane has
	// granted the permissions that it grants to every provider.
	grantInterval = 2 * time.Second

	// servedInterval is how often the API server's discovery is asked for a kind that
	// was created just now.
	servedInterval = 200 * time.Millisecond

	// grantTimeout bounds how long the provider waits for those permissions, and for a
	// kind to be served.
	grantTimeout = 2 * time.Minute
)

// Setup adds the controllers to the manager, each once the kinds that it watches
// exist: a managed resource's kind does not exist before it is activated.
// Without the permission to watch kinds, all controllers start at once. Setup
// calls stop with the error of a controller that cannot be set up later.
func Setup(mgr ctrl.Manager, kube client.Client, o artifact.Options, stop func(error)) error {
	o.Hosts = cmp.Or(o.Hosts, connection.NewHosts())
	o.Credentials = cmp.Or(o.Credentials, settings.NewCredentialMemory(mgr.GetCache()))
	return errors.Wrap(mgr.Add(&starter{mgr: mgr, kube: kube, options: o, stop: stop}), "cannot set up the controllers")
}

// A starter sets up the controllers once the manager runs.
type starter struct {
	mgr     ctrl.Manager
	kube    client.Client
	options artifact.Options
	stop    func(error)
}

// NeedLeaderElection returns false: the manager itself holds back the controllers
// of a replica that is not the leader.
func (s *starter) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (s *starter) Start(ctx context.Context) error {
	allowed, err := s.mayWatchKinds(ctx)
	if err != nil {
		return err
	}
	// Permissions that Crossplane is about to grant must not be reported as
	// missing, so this comes after mayWatchKinds.
	if err := s.mgr.Add(s.options.Access); err != nil {
		return errors.Wrap(err, "cannot check the provider's permissions")
	}
	if !allowed {
		s.options.Logger.Info("The provider may not watch CustomResourceDefinitions, and starts all controllers at once")
		return errors.Join(config.Setup(s.mgr, s.configs()), artifact.Setup(s.mgr, s.options))
	}
	s.register(ctx)
	return errors.Wrap(customresourcesgate.Setup(s.mgr, s.options.Options), "cannot watch CustomResourceDefinitions")
}

// configs returns the options of the controllers of ProviderConfigs, which share with
// that of Artifacts what is known of registries' hosts and of Secrets.
func (s *starter) configs() config.Options {
	o := config.Options{
		Options: s.options.Options, Hosts: s.options.Hosts, Credentials: s.options.Credentials,
		RunNamespaces: s.options.RunNamespaces, Access: s.options.Access, Identities: s.options.Identities,
	}
	if s.options.Metrics != nil {
		o.Observe = s.options.Metrics.Requested
	}
	return o
}

// register registers each controller to be set up once its kinds exist.
func (s *starter) register(ctx context.Context) {
	usage := v1alpha1.ProviderConfigUsageGroupVersionKind
	kinds := []schema.GroupVersionKind{v1alpha1.ProviderConfigGroupVersionKind, v1alpha1.ClusterProviderConfigGroupVersionKind, usage}
	s.options.Gate = new(gate.Gate[schema.GroupVersionKind])
	s.options.Gate.Register(func() {
		s.started("ProviderConfigs", s.whenServed(ctx, kinds, func() error { return config.Setup(s.mgr, s.configs()) }))
	}, kinds...)
	all := append(slices.Clone(kinds), modelv1alpha1.ArtifactGroupVersionKind)
	s.options.Gate.Register(func() {
		s.started("Artifacts", s.whenServed(ctx, all, func() error { return artifact.Setup(s.mgr, s.options) }))
	}, all...)
}

// whenServed sets a controller up once the API server's discovery lists its kinds, which
// it does a moment after their CustomResourceDefinitions are established.
func (s *starter) whenServed(ctx context.Context, kinds []schema.GroupVersionKind, setUp func() error) error {
	for _, k := range kinds {
		err := wait.PollUntilContextTimeout(ctx, servedInterval, grantTimeout, true, func(context.Context) (bool, error) {
			_, err := s.mgr.GetRESTMapper().RESTMapping(k.GroupKind(), k.Version)
			if meta.IsNoMatchError(err) {
				return false, nil
			}
			return err == nil, err
		})
		if err != nil {
			return errors.Wrapf(err, "cannot find kind %s in the API server's discovery", k.Kind)
		}
	}
	return setUp()
}

// started logs that controllers were set up, or stops the provider.
func (s *starter) started(what string, err error) {
	if err != nil {
		s.stop(errors.Wrapf(err, "cannot set up the controllers of %s", what))
		return
	}
	s.options.Logger.Info("Started the controllers of " + what)
}

// mayWatchKinds reports whether the provider may watch CustomResourceDefinitions.
// It waits for a while for Crossplane, which grants that after it has started the
// provider's Pod.
func (s *starter) mayWatchKinds(ctx context.Context) (bool, error) {
	allowed, err := access.Allowed(ctx, s.kube, access.Kinds(), "")
	if allowed || err != nil || os.Getenv(EnvProvider) == "" {
		return allowed, err
	}
	s.options.Logger.Info("Waiting for Crossplane to grant the provider what it needs to start")
	err = wait.PollUntilContextTimeout(ctx, grantInterval, grantTimeout, false, func(ctx context.Context) (bool, error) {
		var err error
		allowed, err = access.Allowed(ctx, s.kube, access.Kinds(), "")
		return allowed, err
	})
	if wait.Interrupted(err) {
		return false, nil
	}
	return allowed, err
}
