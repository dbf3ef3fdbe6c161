// Package controller starts the provider's controllers in a cluster: each as soon
// as the kinds that it watches exist, and with the image of the provider's own Pod
// for its runs.
package controller

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
	"github.com/crossplane-contrib/provider-kitops/internal/controller/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/controller/config"
)

const (
	// EnvProvider is the variable that Crossplane sets for a provider that it
	// runs.
	EnvProvider = "PROVIDER_NAME"

	// grantInterval is how often the provider checks whether Crossplane has
	// granted the permissions that it grants to every provider.
	grantInterval = 2 * time.Second

	// grantTimeout bounds how long the provider waits for those permissions.
	grantTimeout = 2 * time.Minute
)

// Setup adds the controllers to the manager, each once the kinds that it watches
// exist: a managed resource's kind does not exist before it is activated.
// Without the permission to watch kinds, all controllers start at once. Setup
// calls stop with the error of a controller that cannot be set up later.
func Setup(mgr ctrl.Manager, kube client.Client, o artifact.Options, stop func(error)) error {
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
		return errors.Join(config.Setup(s.mgr, s.options.Options), artifact.Setup(s.mgr, s.options))
	}
	s.register()
	return errors.Wrap(customresourcesgate.Setup(s.mgr, s.options.Options), "cannot watch CustomResourceDefinitions")
}

// register registers each controller to be set up once its kinds exist.
func (s *starter) register() {
	usage := v1alpha1.ProviderConfigUsageGroupVersionKind
	kinds := []schema.GroupVersionKind{v1alpha1.ProviderConfigGroupVersionKind, v1alpha1.ClusterProviderConfigGroupVersionKind, usage}
	s.options.Gate = new(gate.Gate[schema.GroupVersionKind])
	s.options.Gate.Register(func() {
		s.started("ProviderConfigs", config.Setup(s.mgr, s.options.Options))
	}, kinds...)
	s.options.Gate.Register(func() {
		s.started("Artifacts", artifact.Setup(s.mgr, s.options))
	}, append(kinds, modelv1alpha1.ArtifactGroupVersionKind)...)
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
