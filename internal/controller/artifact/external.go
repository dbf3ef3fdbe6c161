package artifact

import (
	"context"
	"fmt"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/follow"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/progress"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// An external client knows one Artifact's runs and its name in a registry.
type external struct {
	// cached reads what is watched, direct reads the API server itself.
	cached   client.Client
	direct   client.Client
	scheme   *runtime.Scheme
	recorder event.Recorder

	// labels of what is made, selector of what is looked for.
	labels   map[string]string
	selector map[string]string

	// settings of the Artifact. For one that is being deleted they may lack what
	// could not be resolved; see configError.
	settings settings.Settings

	registry *registry.Client

	// now is the time.
	now func() time.Time

	// copyPatience is how long a run with copied credentials may take to start.
	copyPatience time.Duration

	// metrics count what ends and what is asked.
	metrics *Metrics

	// refusals keeps why Create was refused.
	refusals *refusals

	// cleared keeps that Create or Update only cleared away.
	cleared *cleared

	// soon has an Artifact looked at again.
	soon *soon

	// newFailure says that Observe recorded a failure just now, which is to
	// be written before anything follows from it.
	newFailure bool

	// stuck says that Observe saw a run that does not start as it is, and may
	// as the spec is now.
	stuck bool

	// seenEnded is the number of the run that Observe saw ended, which the
	// status may not record yet; 0 for none.
	seenEnded int64

	// earlier is the run that Observe has annotated the Artifact with another in
	// the place of.
	earlier artifact.Run

	// blobs know when an artifact's blobs are looked for.
	blobs *blobChecks

	// asker knows how far runs are; measured says that Observe saw one that it
	// is asked for.
	asker    *progress.Poller
	measured bool

	// follower knows whether revisions have moved.
	follower *follow.Follower

	// why says why there is a run to begin although there was an artifact; ""
	// where the spec asks for it.
	why string

	// overwritten is what the tag points to that is to be put elsewhere; "" for
	// nothing.
	overwritten string

	// retag says that Observe saw the artifact without its tag, which needs no
	// run.
	retag bool

	// foundPushed says that Observe found what a run pushed that was stopped,
	// which is to be written before any of it is deleted.
	foundPushed bool

	// adopted is what Observe found that the status did not know.
	adopted *adoption

	// configError says why there is no registry, for an Artifact that is
	// being deleted.
	configError error
}

// withEffective returns a copy of the Artifact that knows what its
// ProviderConfig says.
func (e *external) withEffective(a *modelv1alpha1.Artifact) *modelv1alpha1.Artifact {
	out := a.DeepCopy()
	out.Effective = e.settings.Effective
	return out
}

// Observe looks at the Artifact's run and, when none is active, at its
// registry. It writes nothing but the Artifact's status in memory.
func (e *external) Observe(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
	a.Effective = e.settings.Effective
	if meta.WasDeleted(a) {
		e.dropProgress(a)
		return e.observeDeletion(ctx, a)
	}
	o, err := e.observe(ctx, a)
	if err == nil && !e.measured {
		e.dropProgress(a)
	}
	if err == nil && o.ResourceExists {
		o.ConnectionDetails = connectionDetails(a)
	}
	return o, err
}

// observe an Artifact that is not being deleted.
func (e *external) observe(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
	if settings.OnlyObserves(a) {
		return e.observeExisting(ctx, a)
	}
	forgetObserved(a)
	a.Status.AtProvider.Pipeline = artifact.Pipeline(a)
	obstacle, err := e.obstacle(ctx, a)
	if err != nil {
		return managed.ExternalObservation{}, err
	}
	if obstacle != nil {
		a.SetConditions(obstacle.WithObservedGeneration(a.GetGeneration()))
		return settled(), nil
	}
	job, pods, err := e.currentJob(ctx, a)
	if err != nil {
		return managed.ExternalObservation{}, err
	}
	if job == nil && (!ended(a) || knowsNothing(a)) {
		return e.observeIdle(ctx, a)
	}
	state, err := artifact.ReadRunState(ctx, e.direct, a, job, pods, e.now())
	if err != nil {
		return managed.ExternalObservation{}, err
	}
	state.Overdue = job != nil && artifact.IsOverdue(job, pods, e.now(), e.copyPatience)
	return e.observeState(ctx, a, state)
}

// observeIdle looks at an Artifact whose spec's run has not begun.
func (e *external) observeIdle(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
	if a.Status.AtProvider.Digest != "" && (holds(a) || !settings.MayUpdate(a)) {
		return e.observeRegistry(ctx, a)
	}
	if a.Status.AtProvider.Digest == "" {
		if o, found, err := e.firstLook(ctx, a); found || err != nil {
			return o, err
		}
	}
	return e.observeNoRun(ctx, a)
}

// obstacle returns a condition for what stands in the way of any run, nil where
// nothing does.
func (e *external) obstacle(ctx context.Context, a *modelv1alpha1.Artifact) (*xpv2.Condition, error) {
	if a.Spec.ForProvider.Source == nil || a.Spec.ForProvider.Target == nil {
		c := unavailable(outcome.Unsupported, "An artifact cannot be made without source and target: write spec.forProvider.source and spec.forProvider.target, or spec.managementPolicies: [Observe]")
		return &c, nil
	}
	if changed := e.registryChanged(a); changed != nil {
		return changed, nil
	}
	return e.claimedByAnother(ctx, a)
}

// observeState says what follows from the state of the run that the spec asks
// for.
func (e *external) observeState(ctx context.Context, a *modelv1alpha1.Artifact, state artifact.RunState) (managed.ExternalObservation, error) {
	observed := e.observeRun(ctx, a, state)
	failed := observed.Phase == modelv1alpha1.PhaseFailed
	if observed.Phase == modelv1alpha1.PhaseSucceeded || (failed && holds(a)) {
		return e.observeRegistry(ctx, a)
	}
	ready := readyCondition(observed)
	if !failed && holds(a) && a.GetCondition(xpv2.TypeReady).Status == corev1.ConditionTrue {
		ready = xpv2.Available().WithMessage(fmt.Sprintf("The artifact is there as it was; run %d makes it anew", a.Status.AtProvider.Run))
	}
	a.SetConditions(ready.WithObservedGeneration(a.GetGeneration()))
	again := false
	switch observed.Phase {
	case modelv1alpha1.PhasePending:
		e.stuck = state.Outdated(e.withEffective(a), e.settings.KitImage)
		again = e.stuck
	case modelv1alpha1.PhaseFailed:
		var err error
		if again, err = e.isToBeTriedAgain(ctx, a); err != nil {
			return settled(), err
		}
		if !again && observed.Reason == string(outcome.TagConflict) {
			if again, err = e.isConflictOver(ctx, a); err != nil {
				return settled(), err
			}
		}
	case modelv1alpha1.PhaseRunning, modelv1alpha1.PhaseSucceeded:
	}
	if !again {
		return settled(), nil
	}
	return e.observeWork(a), nil
}

// isConflictOver says whether the Artifact may have its tag now. Where it may not,
// the condition says what the tag points to.
func (e *external) isConflictOver(ctx context.Context, a *modelv1alpha1.Artifact) (bool, error) {
	if e.newFailure {
		return false, nil
	}
	t, err := e.lookAtTag(ctx, a)
	if err != nil || t.mayBeTaken(a) {
		return err == nil, err
	}
	e.setConflict(a, t)
	return false, nil
}

// observeWork says that there is a run to begin, if the management policies let
// it: by Update once an artifact is in the registry, whatever it was made from,
// otherwise by Create, also where Update is not allowed. The runtime writes the
// annotations before it creates: those of the run go along.
func (e *external) observeWork(a *modelv1alpha1.Artifact) managed.ExternalObservation {
	if a.Status.AtProvider.Digest == "" && !settings.MayCreate(a) {
		a.SetConditions(unavailable(outcome.NotFound, "Nothing was made, and spec.managementPolicies do not allow to: add Create").
			WithObservedGeneration(a.GetGeneration()))
		return settled()
	}
	exists := a.Status.AtProvider.Digest != "" && settings.MayUpdate(a)
	if !exists && settings.MayCreate(a) {
		e.earlier = artifact.RunOf(a)
		e.setRun(a, e.nextRun(a))
	}
	return managed.ExternalObservation{ResourceExists: exists}
}

// observeNoRun says what is to be done where the run that the spec asks for has
// not begun.
func (e *external) observeNoRun(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
	left, err := e.leftOver(ctx, a)
	if err != nil {
		return managed.ExternalObservation{}, err
	}
	a.SetConditions(xpv2.Creating().WithMessage(left).WithObservedGeneration(a.GetGeneration()))
	if left != "" {
		// Its end wakes the Artifact.
		return settled(), nil
	}
	return e.observeWork(a), nil
}

// Create starts the Artifact's run, or puts its tag back where nothing else is
// lost.
func (e *external) Create(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalCreation, error) {
	a.Effective = e.settings.Effective
	step := e.startRun
	if e.retag {
		step = e.putTag
	}
	err := step(ctx, a)
	if why, ok := conditionOf(a, err); ok {
		e.refusals.put(a.GetUID(), why)
	}
	return managed.ExternalCreation{}, err
}

// Update makes the artifact anew where its run hash has changed or its source has
// moved, and moves no byte where only the tag has.
func (e *external) Update(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalUpdate, error) {
	a.Effective = e.settings.Effective
	if e.retag {
		err := e.putTag(ctx, a)
		return managed.ExternalUpdate{ConnectionDetails: connectionDetails(a)}, err
	}
	if e.adopted != nil {
		if err := e.own(ctx, a); err != nil || e.adopted.record.RunHash == artifact.RunHash(a) {
			return managed.ExternalUpdate{}, err
		}
		if a.Status.AtProvider.Digest == "" {
			// What was recorded is lost with the finalizer's being added. The
			// annotations wake the Artifact.
			return managed.ExternalUpdate{}, nil
		}
	}
	if a.Status.AtProvider.Digest == "" && !settings.MayCreate(a) {
		// The runtime calls Update for what does not exist where Create is
		// not among the policies.
		return managed.ExternalUpdate{}, nil
	}
	err := e.startRun(ctx, a)
	sayWhy(a, err)
	return managed.ExternalUpdate{}, err
}

// Delete stops the Artifact's runs, then takes its artifact from the registry.
// It never waits: what is still going is looked for by Observe.
func (e *external) Delete(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalDelete, error) {
	a.Effective = e.settings.Effective
	a.SetConditions(xpv2.Deleting().WithObservedGeneration(a.GetGeneration()))
	if err := e.stopRuns(ctx, a); err != nil {
		return managed.ExternalDelete{}, err
	}
	left, err := e.runsLeft(ctx, a)
	if err != nil {
		return managed.ExternalDelete{}, err
	}
	if left {
		e.soon.put(client.ObjectKeyFromObject(a), stoppedSoon)
		return managed.ExternalDelete{}, nil
	}
	if !e.foundPushed {
		if err := e.deleteFromRegistry(ctx, a); err != nil {
			return managed.ExternalDelete{}, err
		}
	}
	e.soon.put(client.ObjectKeyFromObject(a), deletedSoon)
	return managed.ExternalDelete{}, nil
}
