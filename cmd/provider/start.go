package main

import (
	"context"
	"os"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/gate"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/customresourcesgate"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access"
	artifactcontroller "github.com/crossplane-contrib/provider-kitops/internal/controller/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/controller/config"
)

const (
	// envProvider is set where Crossplane runs the provider.
	envProvider = "PROVIDER_NAME"

	// bindingInterval is how often it is looked whether Crossplane has granted
	// what it grants to each provider.
	bindingInterval = 2 * time.Second

	// bindingTimeout bounds how long Crossplane may take to grant a provider
	// that it starts what it grants.
	bindingTimeout = 2 * time.Minute
)

// A starter sets the controllers up as soon as the kinds that they watch are
// there: a managed resource's is not before somebody activates it.
type starter struct {
	mgr     ctrl.Manager
	kube    client.Client
	options artifactcontroller.Options

	// stop ends the provider for an error that is not nil.
	stop func(error)
}

// NeedLeaderElection is false: the manager itself holds back the controllers of
// a replica that is not to work.
func (s *starter) NeedLeaderElection() bool { return false }

// Start has the controllers start with their kinds, or at once where the
// provider may not watch which kinds there are.
func (s *starter) Start(ctx context.Context) error {
	allowed, err := s.mayWatchKinds(ctx)
	if err != nil {
		return err
	}
	// Not before: what Crossplane is about to grant is not missing.
	if err := s.mgr.Add(s.options.Access); err != nil {
		return errors.Wrap(err, "cannot find out what the provider may do")
	}
	if !allowed {
		s.options.Logger.Info("The provider may not watch CustomResourceDefinitions, and starts all controllers at once")
		return errors.Join(config.Setup(s.mgr, s.options.Options), artifactcontroller.Setup(s.mgr, s.options))
	}
	s.register()
	return errors.Wrap(customresourcesgate.Setup(s.mgr, s.options.Options), "cannot watch CustomResourceDefinitions")
}

// register has each controller set up once its kinds are there.
func (s *starter) register() {
	usage := v1alpha1.ProviderConfigUsageGroupVersionKind
	kinds := []schema.GroupVersionKind{v1alpha1.ProviderConfigGroupVersionKind, v1alpha1.ClusterProviderConfigGroupVersionKind, usage}
	s.options.Gate = new(gate.Gate[schema.GroupVersionKind])
	s.options.Gate.Register(func() {
		s.started("ProviderConfigs", config.Setup(s.mgr, s.options.Options))
	}, kinds...)
	s.options.Gate.Register(func() {
		s.started("Artifacts", artifactcontroller.Setup(s.mgr, s.options))
	}, append(kinds, modelv1alpha1.ArtifactGroupVersionKind)...)
}

// started tells that controllers were set up, or stops the provider.
func (s *starter) started(what string, err error) {
	if err != nil {
		s.stop(errors.Wrapf(err, "cannot set up the controllers of %s", what))
		return
	}
	s.options.Logger.Info("Started the controllers of " + what)
}

// mayWatchKinds says whether the provider may watch which kinds there are. It
// waits a while for Crossplane, which grants it after it has started the Pod.
func (s *starter) mayWatchKinds(ctx context.Context) (bool, error) {
	allowed, err := access.Allowed(ctx, s.kube, access.Kinds(), "")
	if allowed || err != nil || os.Getenv(envProvider) == "" {
		return allowed, err
	}
	s.options.Logger.Info("Waiting for Crossplane to grant the provider what it needs to start")
	err = wait.PollUntilContextTimeout(ctx, bindingInterval, bindingTimeout, false, func(ctx context.Context) (bool, error) {
		var err error
		allowed, err = access.Allowed(ctx, s.kube, access.Kinds(), "")
		return allowed, err
	})
	if wait.Interrupted(err) {
		return false, nil
	}
	return allowed, err
}
