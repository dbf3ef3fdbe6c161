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
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/follow"
	"github.com/crossplane-contrib/provider-kitops/internal/progress"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// A connector makes external clients for Artifacts.
type connector struct {
	cached   client.Client
	direct   client.Client
	scheme   *runtime.Scheme
	usage    resource.ModernTracker
	images   Images
	recorder event.Recorder
	now      func() time.Time

	// copyPatience is how long a run with copied credentials may take to start;
	// 0 for artifact.CopyPatience.
	copyPatience time.Duration

	// metadata has that of Secrets.
	metadata client.Reader
	refusals *refusals
	cleared  *cleared
	soon     *soon
	metrics  *Metrics
	blobs    *blobChecks
	asker    *progress.Poller
	follower *follow.Follower
	memory   *registry.Memory
	hosts    *connection.Hosts

	// credentials that polls use; nil to read the Secrets at each one.
	credentials *credentialMemory
}

// forget drops what is known in memory of an Artifact that is gone.
func (c *connector) forget(uid types.UID) {
	c.asker.Forget(uid)
	c.blobs.forget(uid)
	c.follower.Forget(uid)
	c.cleared.take(uid)
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
		copyPatience: cmp.Or(c.copyPatience, artifact.CopyPatience),
		refusals:     c.refusals,
		cleared:      c.cleared,
		soon:         c.soon,
		metrics:      c.metrics,
		blobs:        c.blobs,
		asker:        c.asker,
		follower:     c.follower,
		labels:       artifact.LabelsForArtifact(a.GetName(), version.Version),
		selector:     artifact.SelectorLabelsForArtifact(a.GetName()),
		kitImage:     c.images.Kit,
	}
	err := c.configure(ctx, a, e)
	if err != nil && !meta.WasDeleted(a) {
		sayWhy(a, err)
		return nil, err
	}
	e.configError = err
	return e, nil
}

// configure reads the ProviderConfig into the external client.
func (c *connector) configure(ctx context.Context, a *modelv1alpha1.Artifact, e *external) error {
	// In a namespace that is being deleted no usage can be made any more.
	if err := c.usage.Track(ctx, a); err != nil && !meta.WasDeleted(a) {
		return errors.Wrap(err, "cannot track the use of the ProviderConfig")
	}
	config, err := c.readConfig(ctx, a)
	if err != nil {
		return err
	}
	config.memory = c.credentials
	if err := config.admit(ctx, c.cached, a); err != nil {
		return err
	}
	if err := c.admitConnectionSecret(ctx, a); err != nil {
		return err
	}
	e.kitImage = cmp.Or(config.kitImage, c.images.Kit)
	e.effective, e.configHost = config.effective(a), config.host
	e.adopts = config.adopts
	e.repositoryPrefix = config.prefixFor(a)
	e.effective.WorkerImage = cmp.Or(config.workerImage, c.images.Worker)
	e.secretData = func(ctx context.Context) (map[string][]byte, error) { return config.copies(ctx, c.direct, a) }

	e.admits = func(ctx context.Context, other *modelv1alpha1.Artifact) bool {
		return config.admit(ctx, c.cached, other) == nil
	}
	e.question = func(ctx context.Context) (follow.Question, error) {
		o, err := config.hubOptions(ctx, c.direct, a)
		return follow.Question{Options: o}, err
	}
	e.configHash = func(ctx context.Context) (string, error) {
		// It is asked for first where a run is about to begin. That gets what the
		// API server itself has.
		config.memory, config.read = nil, nil
		return config.hash(ctx, c.direct, a)
	}
	options, err := config.registryOptions(ctx, c.direct, a)
	if err != nil {
		return err
	}
	config.addSecrets(&e.effective, a)
	if err := config.addSource(ctx, c.direct, &e.effective, a); err != nil {
		return err
	}
	options.UserAgent, options.Observe = version.UserAgent(), c.metrics.requested
	options.Memory, options.Hosts = c.memory, c.hosts
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
