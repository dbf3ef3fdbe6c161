package artifact

import (
	"cmp"
	"context"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// A connector makes external clients for Artifacts.
type connector struct {
	cached   client.Client
	direct   client.Client
	scheme   *runtime.Scheme
	usage    resource.ModernTracker
	settings *settings.Resolver
	recorder event.Recorder
	now      func() time.Time

	// copyPatience is how long a run with copied credentials may take to start;
	// 0 for artifact.CopyTimeout.
	copyPatience time.Duration

	metrics *Metrics
	*memory

	// tokens and certificates of registries, and what is known of their hosts.
	registries *registry.Memory
	hosts      *connection.Hosts
}

// Connect reads the Artifact's ProviderConfig and returns a client for its runs
// and its registry. An Artifact that is being deleted gets one in any case:
// what it needs may be gone before it.
func (c *connector) Connect(ctx context.Context, a *modelv1alpha1.Artifact) (managed.TypedExternalClient[*modelv1alpha1.Artifact], error) {
	e := &external{
		cached:       c.cached,
		direct:       c.direct,
		scheme:       c.scheme,
		recorder:     c.recorder,
		now:          c.now,
		copyPatience: cmp.Or(c.copyPatience, artifact.CopyTimeout),
		metrics:      c.metrics,
		memory:       c.memory,
		labels:       artifact.LabelsForArtifact(a.GetName(), version.Version),
		selector:     artifact.SelectorLabelsForArtifact(a.GetName()),
	}
	err := c.configure(ctx, a, e)
	if err != nil && !meta.WasDeleted(a) {
		reportError(a, err)
		return nil, err
	}
	e.configError = err
	return e, nil
}

// configure resolves the external client's settings and connects it to its
// registry.
func (c *connector) configure(ctx context.Context, a *modelv1alpha1.Artifact, e *external) error {
	// In a namespace that is being deleted no usage can be made any more.
	if err := c.usage.Track(ctx, a); err != nil && !meta.WasDeleted(a) {
		return errors.Wrap(err, "cannot track the use of the ProviderConfig")
	}
	var err error
	if e.settings, err = c.settings.Resolve(ctx, a); err != nil {
		return err
	}
	options := e.settings.Registry
	options.UserAgent, options.Observe = version.UserAgent(), c.metrics.requested
	options.Memory, options.Hosts = c.registries, c.hosts
	options.SingleTry = true // The next reconcile is the next try.
	e.registry, err = registry.New(options)
	return errors.Wrap(err, "cannot use the registry")
}

// Disconnect keeps no connection.
func (e *external) Disconnect(context.Context) error {
	if e.registry != nil {
		e.registry.Close()
	}
	return nil
}
