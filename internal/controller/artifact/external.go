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
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/follow"
	"github.com/crossplane-contrib/provider-kitops/internal/progress"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	runqueue "github.com/crossplane-contrib/provider-kitops/internal/queue"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// An external client knows one Artifact's runs and its names in a registry. It keeps
// nothing from Observe to the verb that follows but the plan.
type external struct {
	// cached reads what is watched, direct reads the API server itself.
	cached client.Client
	direct client.Client
	scheme *runtime.Scheme

	recorder event.Recorder
	metrics  *Metrics

	// now returns the time.
	now func() time.Time

	// startPatience is how long a run may take to start that has a copy of credentials,
	// or whose room others wait for.
	startPatience time.Duration

	// scope has the namespaces that are watched for objects of runs.
	scope scope

	// labels of what is made, and selector of what is looked for.
	labels   map[string]string
	selector map[string]string

	// settings are what the Artifact and its ProviderConfig ask for together.
	settings settings.Settings

	// keys sign and verify records of ownership.
	keys provenance.Keys

	// registry is nil for an Artifact that is being deleted and whose ProviderConfig
	// cannot be used, which configError is the reason of.
	registry    *registry.Client
	configError error

	*memory

	// plan is what Observe decided.
	plan plan
}

// A memory is what a provider remembers of all Artifacts from one reconcile to the
// next. What it forgets when it restarts is found out again.
type memory struct {
	// refusals are why Create was refused.
	refusals refusals

	// started are Artifacts whose Create or Update made a Job.
	started started

	// told are Artifacts whose Create or Update has events of its own.
	told told

	// admitted are the namespaces that have just admitted a run.
	admitted admissions

	// soon are Artifacts to be reconciled again after a fixed time.
	soon soon

	// committed is what was committed last: a registry may not be able to tell.
	committed stagedMemory

	// contested is what could not be committed, since another had set a tag on it.
	contested stagedMemory

	// checked is what the policies said of lists of files.
	checked once[types.UID, checkedFiles]

	// described is what describes that.
	described once[types.UID, modelv1alpha1.Description]

	// stuckTags are tags that their registry does not remove.
	stuckTags once[types.UID, []string]

	// observed are the times when Artifacts were observed last without an error.
	observed once[types.UID, time.Time]

	// blobs are the times when an artifact's blobs are looked for.
	blobs *blobChecks

	// queue decides which runs may start.
	queue *runqueue.Queue

	// poller polls the progress of runs, and follower asks Hubs for revisions.
	poller   *progress.Poller
	follower *follow.Follower
}

// newMemory returns a memory of nothing. The hosts bound requests to Hubs; a nil queue
// limits no runs, and a nil poller polls none.
func newMemory(hosts *connection.Hosts, blobCheckInterval time.Duration, queue *runqueue.Queue, poller *progress.Poller) *memory {
	return &memory{
		queue:    cmp.Or(queue, runqueue.New(0)),
		blobs:    newBlobChecks(blobCheckInterval),
		poller:   cmp.Or(poller, progress.New(progress.Options{})),
		follower: follow.New(hosts),
	}
}

// forget drops what is remembered of an Artifact.
func (m *memory) forget(uid types.UID) {
	m.poller.Forget(uid)
	m.blobs.forget(uid)
	m.follower.Forget(uid)
	m.observed.take(uid)
	m.told.take(uid)
	m.committed.take(uid)
	m.contested.take(uid)
	m.stuckTags.take(uid)
	m.checked.take(uid)
	m.described.take(uid)
}

// Create takes the step that Observe planned: it starts the Artifact's run, or gives
// the artifact its tag.
func (e *external) Create(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalCreation, error) {
	e.plan.current = true
	err := e.execute(ctx, a)
	if why, ok := conditionOf(a, err); ok {
		e.refusals.put(a.GetUID(), e.namingConfig(why))
	}
	return managed.ExternalCreation{}, err
}

// Update takes the step that Observe planned: it starts a run if the spec or the
// source has changed, and moves no byte if only the tag has.
func (e *external) Update(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalUpdate, error) {
	err := e.execute(ctx, a)
	e.reportError(a, err)
	return managed.ExternalUpdate{}, err
}

// Delete takes the step that Observe planned: it stops the Artifact's runs or, once
// they are gone, removes its names from the registry. It never waits: what is still
// going on is looked for by Observe.
func (e *external) Delete(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalDelete, error) {
	a.SetConditions(xpv2.Deleting().WithObservedGeneration(a.GetGeneration()))
	return managed.ExternalDelete{}, e.execute(ctx, a)
}

// execute takes the action of the plan. No action waits for a run.
func (e *external) execute(ctx context.Context, a *modelv1alpha1.Artifact) error {
	err := e.act(ctx, a)
	if err == nil && e.plan.action.isTold() {
		e.told.put(a.GetUID(), struct{}{})
	}
	return err
}

// act does what the plan's action is.
func (e *external) act(ctx context.Context, a *modelv1alpha1.Artifact) error {
	a.Effective = e.settings.Effective
	switch e.plan.action {
	case actionStartRun:
		return e.startRun(ctx, a)
	case actionCommit:
		return e.commit(ctx, a)
	case actionRetag:
		return e.retag(ctx, a)
	case actionAdopt:
		return e.adopt(ctx, a)
	case actionRenew:
		return e.renewSecret(ctx, a)
	case actionStopRun:
		return e.stopRuns(ctx, a)
	case actionUntag:
		return e.deleteNames(ctx, a)
	case actionNone, actionWait, actionRelease:
		// The runtime calls Delete also for what only has to be written.
		e.requeue(a, requeueNow)
	}
	return nil
}

// A connector makes external clients for Artifacts.
type connector struct {
	cached   client.Client
	direct   client.Client
	scheme   *runtime.Scheme
	usage    resource.ModernTracker
	settings *settings.Resolver
	recorder event.Recorder
	now      func() time.Time

	// startPatience is how long a run may take to start that has a copy of credentials,
	// or whose room others wait for; 0 for artifact.CopyTimeout.
	startPatience time.Duration

	// scope has the namespaces that are watched for objects of runs.
	scope scope

	metrics *Metrics
	keys    provenance.Keys
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
		cached:        c.cached,
		direct:        c.direct,
		scheme:        c.scheme,
		recorder:      c.recorder,
		now:           c.now,
		startPatience: cmp.Or(c.startPatience, artifact.CopyTimeout),
		scope:         c.scope,
		metrics:       c.metrics,
		memory:        c.memory,
		labels:        artifact.LabelsForArtifact(a.GetName(), version.Version),
		selector:      artifact.SelectorLabelsForArtifact(a.GetName()),
	}
	err := c.configure(ctx, a, e)
	if err != nil && !meta.WasDeleted(a) {
		e.reportError(a, err)
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
	e.settings, err = c.settings.Resolve(ctx, a)
	e.keys = keysFor(a, c.keys, e.settings.Attestation)
	if err != nil {
		return err
	}
	a.Effective = e.settings.Effective
	e.settings.Effective.MaxPods = c.mostPods(a)
	options := e.settings.Registry
	options.UserAgent, options.Observe = version.UserAgent(), c.metrics.Requested
	options.Memory, options.Hosts = c.registries, c.hosts
	options.SingleTry = true // The next reconcile is the next try.
	e.registry, err = registry.New(options)
	return errors.Wrap(err, "cannot use the registry")
}

// keysFor returns what signs and verifies for an Artifact: of the provider's own keys and
// its config's, all verify, and the config's signs if it has one. A key that cannot be used
// does not hold up a deletion: what it signed stays in the registry.
func keysFor(a *modelv1alpha1.Artifact, own provenance.Keys, config settings.Attestation) provenance.Keys {
	own.Verifier = own.Verifier.And(config.Verifier)
	if config.Signer != nil {
		own.Signer = config.Signer
	}
	if !meta.WasDeleted(a) {
		own.Unusable = config.Unusable
	}
	return own
}

// Disconnect keeps no connection.
func (e *external) Disconnect(context.Context) error {
	if e.registry != nil {
		e.registry.Close()
	}
	return nil
}
