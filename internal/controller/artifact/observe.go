package artifact

import (
	"context"
	"fmt"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	runqueue "github.com/crossplane-contrib/provider-kitops/internal/queue"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// Observe looks at the Artifact's run and, if none is active, at its registry, and
// decides what to do. It writes nothing but the Artifact's status and conditions,
// in memory.
func (e *external) Observe(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
	a.Effective = e.settings.Effective
	o, err := e.gather(ctx, a)
	if err != nil {
		if !meta.WasDeleted(a) && a.Status.AtProvider.Digest == "" || settings.OnlyObserves(a) || errors.Is(err, e.keys.Unusable) {
			e.reportError(a, err)
		}
		return managed.ExternalObservation{}, err
	}
	e.observed.put(a.GetUID(), e.now())
	if o.run == nil || o.run.Phase != modelv1alpha1.PhaseRunning {
		a.Status.AtProvider.Progress = nil
		e.poller.Forget(a.GetUID())
	}
	e.plan = e.decide(a, o)
	if meta.WasDeleted(a) {
		return observationOf(e.plan), nil
	}
	e.plan.ready = e.namingConfig(e.plan.ready)
	e.reportConflict(a)
	e.reportRefusal(a)
	a.SetConditions(e.plan.ready)
	e.setFurther(ctx, a, o)
	if e.plan.action == actionStartRun && e.plan.create {
		// The runtime writes annotations before it calls Create.
		e.setRun(a, e.plan.run)
	}
	if o.news && e.plan.action == actionWait {
		e.requeue(a, requeueNow)
	}
	if e.plan.unsigned != nil {
		// The runtime writes the status nevertheless.
		return managed.ExternalObservation{}, e.plan.unsigned
	}
	out := observationOf(e.plan)
	if out.ResourceExists {
		out.ConnectionDetails = connectionDetails(a)
	}
	return out, nil
}

// setFurther sets the conditions beside Ready. Where nothing was read they stay.
func (e *external) setFurther(ctx context.Context, a *modelv1alpha1.Artifact, o observation) {
	if !o.stillWaits {
		e.setCompliance(ctx, a)
		e.setUpToDate(a, o)
	}
}

// decide decides, and has a run that would start wait if there is no room for it.
func (e *external) decide(a *modelv1alpha1.Artifact, o observation) plan {
	p := decide(a, o)
	if p.action != actionStartRun {
		return p
	}
	if o.noRoom = e.askForRoom(a); o.noRoom != "" {
		p = decide(a, o)
		recordQueued(a, p.run)
	}
	return p
}

// gather reads what decide needs, and records in the Artifact's status what is new
// about its run and its artifact.
func (e *external) gather(ctx context.Context, a *modelv1alpha1.Artifact) (observation, error) {
	switch {
	case meta.WasDeleted(a):
		return e.gatherDeletion(ctx, a)
	case settings.OnlyObserves(a):
		return e.gatherExisting(ctx, a)
	}
	forgetObserved(a)
	a.Status.AtProvider.Pipeline = artifact.Pipeline(a)
	o := observation{reference: artifact.OCIReference(a), restored: isRestored(a), unsigned: e.keys.Unusable}
	var err error
	if o.obstacle, err = e.obstacle(ctx, a); err != nil || o.obstacle != nil {
		return o, err
	}
	o.forbidden = e.forbidden(a)
	if o.stillWaits = e.stillWaits(a, o); o.stillWaits {
		return o, nil
	}
	if err := e.gatherRun(ctx, a, &o); err != nil {
		return o, err
	}
	if o.run != nil && !hasEnded(o.run.Phase) {
		return o, nil
	}
	if o.retryDue, err = e.isRetryDue(ctx, a, o.news); err != nil {
		return o, err
	}
	s := a.Status.AtProvider
	o.needsRetag = s.Digest != "" && s.Reference != o.reference
	if o.run != nil && o.run.Phase == modelv1alpha1.PhaseFailed && !matchesSpec(a) && !o.retryDue {
		// Nothing follows from what the registry has.
		return o, nil
	}
	return o, e.gatherNames(ctx, a, &o)
}

// obstacle returns the condition of what prevents any run, nil if
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

// gatherRun reads how far the run is that the spec asks for.
func (e *external) gatherRun(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	job, pods, err := e.currentJob(ctx, a)
	if err != nil {
		return err
	}
	if s := a.Status.AtProvider.Staged; s != nil && s.RunHash != artifact.RunHash(a) {
		// It is of another spec. Its staging tag goes before the next run starts.
		a.Status.AtProvider.Staged = nil
	}
	if job == nil && (!runEnded(a) || forgotResult(a)) {
		return e.gatherNoJob(ctx, a, o)
	}
	state, err := artifact.ReadRunState(ctx, e.direct, a, job, pods, e.now())
	if err != nil {
		return err
	}
	state.Overdue = job != nil && artifact.IsOverdue(job, pods, e.now(), e.startPatience)
	state.Contended = job != nil && e.takesRoomInVain(a, job, pods) && e.queue.IsContended(runqueue.ConfigOf(a))
	run, news := e.recordRun(ctx, a, state)
	o.run, o.news = &run, news
	if !hasEnded(run.Phase) {
		e.gatherActive(ctx, a, state, o)
	}
	return nil
}

// gatherActive reads what decides about a run that has not ended.
func (e *external) gatherActive(ctx context.Context, a *modelv1alpha1.Artifact, state artifact.RunState, o *observation) {
	o.last = artifact.AwaitsLast(state.Job)
	o.outdated = e.outdatedSecret(ctx, a, state.Job)
	if o.run.Phase == modelv1alpha1.PhasePending {
		o.stuck = state.Outdated(a, e.settings.KitImage)
		return
	}
	a.Status.AtProvider.Progress = e.poller.Progress(a, state.Pods)
}

// gatherNoJob reads what there is of a run that has no Job, or not yet.
func (e *external) gatherNoJob(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	awaitsLast := awaitsLast(a)
	forgetQueued(a)
	var err error
	if o.leftOver, err = e.leftOver(ctx, a); err == nil && awaitsLast {
		o.run, o.last = ptr.To(artifact.ObserveAwaitsLast(a)), o.leftOver == ""
	}
	return err
}

// awaitsLast reports whether the status says that the run which the Artifact asks for is in
// progress, and that all of its shares are done.
func awaitsLast(a *modelv1alpha1.Artifact) bool {
	s, run := a.Status.AtProvider, artifact.RunOf(a)
	return run.Hash == artifact.RunHash(a) && run.Number == s.Run && s.Phase != "" && !hasEnded(s.Phase) && artifact.AwaitsLastOf(a)
}

// outdatedSecret returns the name of the Secret with the copied credentials of a run, if
// the credentials have changed since they were copied. A run in another
// namespace than RunNamespace has its credentials as they were: none are written there.
func (e *external) outdatedSecret(ctx context.Context, a *modelv1alpha1.Artifact, job *batchv1.Job) types.NamespacedName {
	name := types.NamespacedName{Namespace: job.GetNamespace(), Name: job.GetAnnotations()[artifact.AnnotationCredentials]}
	if name.Name == "" || name.Namespace != artifact.RunNamespace(a) || !e.settings.CopyIsOutdated(ctx, name) {
		return types.NamespacedName{}
	}
	return name
}

// gatherNames reads what the registry has under the Artifact's name.
func (e *external) gatherNames(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	s := &a.Status.AtProvider
	kept, err := e.stageKept(ctx, a)
	if err != nil {
		return err
	}
	o.news = o.news || kept
	switch {
	case o.news && s.Staged != nil:
		// It is looked at once the status that says so is written.
		return nil
	case s.Staged != nil:
		if err := e.gatherStaged(ctx, a, o); err != nil || s.Staged != nil {
			return err
		}
	case s.Digest == "":
		return e.gatherUnknown(ctx, a, o)
	case o.needsRetag && !settings.MayUpdate(a):
		o.manifest, err = e.catalogOf(a).Has(ctx, s.Digest)
		return err
	}
	if s.Digest == "" {
		return nil
	}
	return e.gatherPushed(ctx, a, o)
}

// gatherPushed looks whether what was pushed last is in the registry, and has its tag.
func (e *external) gatherPushed(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	s := &a.Status.AtProvider
	var err error
	if o.tag, err = e.catalogOf(a).Look(ctx, artifact.Tag(a), s.Digest); err != nil {
		return err
	}
	if o.tag.IsOn(s.Digest) {
		o.manifest = true
		s.Reference, o.needsRetag = o.reference, false
		return e.gatherTagged(ctx, a, o)
	}
	if isForeign(a, o.tag) {
		return nil
	}
	if o.manifest, err = e.catalogOf(a).Has(ctx, s.Digest); err != nil || o.manifest && matchesSpec(a) {
		return err
	}
	return e.gatherFixedTags(ctx, a, o)
}

// gatherStaged looks whether what a run staged has its tag by now, which is
// recorded, or whether it is gone or has another digest than expected, which is
// recorded as a failure.
func (e *external) gatherStaged(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	s := &a.Status.AtProvider
	var err error
	if o.tag, err = e.catalogOf(a).Look(ctx, artifact.Tag(a), ""); err != nil {
		return err
	}
	committed, err := e.isCommitted(ctx, a, o.tag)
	if err != nil {
		return err
	}
	if committed {
		return e.gatherCommitted(ctx, a, o)
	}
	o.contested = e.contested.has(a.GetUID(), *s.Staged)
	if o.tag.IsOn(s.Digest) {
		// Known to be ours, whatever records there are.
		o.tag.Records = nil
	}
	if began := o.tag.IsOn(s.Staged.Digest) && s.Digest != s.Staged.Digest; !began && !mayHaveDigest(a, s.Staged.Digest) {
		// A commit that began is completed.
		return e.dropStaged(ctx, a, o, mismatch(a, s.Staged))
	}
	there, err := e.catalogOf(a).Has(ctx, s.Staged.Digest)
	if err == nil && there {
		err = e.gatherRefusal(ctx, a, o)
	}
	switch {
	case err != nil:
		return err
	case o.refused != nil && isRequested(a):
		return e.dropStaged(ctx, a, o, outcome.Failure{Reason: outcome.PolicyViolation, Message: o.refused.Error()})
	case !there:
		return e.dropStaged(ctx, a, o, outcome.Failure{Reason: outcome.PodLost, Message: catalog.Unstaged(s.Staged.Digest).Error()})
	}
	return e.gatherStagedTags(ctx, a, o)
}

// gatherCommitted records that what a run staged has its tag.
func (e *external) gatherCommitted(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	s := &a.Status.AtProvider
	description, err := e.descriptionOf(ctx, a, o.tag.Descriptor, recordOfRun(a, *s.Staged))
	if err != nil {
		return err
	}
	done := event.Normal(reasonPushed, fmt.Sprintf("Run %d pushed %s with digest %s", s.Run, o.reference, s.Staged.Digest))
	if wasPushed(a, s.Staged.Digest) {
		done = event.Normal(reasonTagged, fmt.Sprintf("Tagged %s, which was pushed before, as %s", s.Staged.Digest, o.reference))
	}
	recordCommitted(a, o.reference, o.tag.Records)
	s.Description = description
	o.needsRetag, o.retryDue = false, false
	e.blobs.forget(a.GetUID())
	e.tellIfCurrent(ctx, a, done)
	return nil
}

// isCommitted reports whether what a run staged has its tag, its record and no tag
// of the run any more. Where the registry cannot tell, this provider remembers that
// it committed.
func (e *external) isCommitted(ctx context.Context, a *modelv1alpha1.Artifact, t catalog.Tag) (bool, error) {
	staged := a.Status.AtProvider.Staged
	if !t.IsOn(staged.Digest) {
		return false, nil
	}
	if e.committed.has(a.GetUID(), *staged) {
		return true, nil
	}
	if attestationOf(t.Records, *staged) == nil {
		return false, nil
	}
	left, err := e.catalogOf(a).HasRunTags(ctx, staged.RunHash)
	return !left && err == nil, err
}

// gatherUnknown looks whether the registry has what the Artifact asks for although
// its status does not know, as after it was restored from a backup.
func (e *external) gatherUnknown(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	var err error
	if e.settings.Adopts {
		o.tag, err = e.catalogOf(a).Adoptable(ctx, artifact.Tag(a), e.settings.AdoptsAnyKey)
	} else {
		o.tag, err = e.catalogOf(a).Look(ctx, artifact.Tag(a), "")
	}
	if registry.IsUnauthorized(err) {
		// Some registries do not show what does not exist yet. The run asks for
		// more than to read, and reports what is wrong.
		o.tag = catalog.Tag{}
		return nil
	}
	if err != nil {
		return err
	}
	if found, err := e.gatherExpected(ctx, a, o); err != nil || found {
		return err
	}
	if !e.settings.Adopts || len(o.tag.Records) == 0 || o.tag.Records[0].RunHash == "" {
		return e.gatherFixedTags(ctx, a, o)
	}
	// A record is believed only if the ProviderConfig allows adoption, since whoever
	// may push can copy one: otherwise the run finds out what is there.
	if err := e.recordAdopted(ctx, a, o); err != nil || o.obstacle != nil {
		return err
	}
	return e.gatherTagged(ctx, a, o)
}

// gatherTagged looks at an artifact that has its tag: whether its blobs are there,
// whether its source has moved, and whether it is written down as the Artifact's.
func (e *external) gatherTagged(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	var err error
	switch o.lostBlob, err = e.lostBlob(ctx, a); {
	case err != nil:
		return err
	case o.lostBlob != "":
		return e.gatherFixedTags(ctx, a, o)
	}
	if err := e.gatherTags(ctx, a, o); err != nil {
		return err
	}
	if matchesSpec(a) && !o.retryDue && o.forbidden == nil {
		if err := e.gatherMoved(ctx, a, o); err != nil {
			return err
		}
	}
	// What is signed of an artifact without a record is what the spec says, so that must
	// be what it was built from.
	signs := matchesSpec(a) && o.forbidden == nil
	if o.adopted != nil || e.hasIdentity(a) || !settings.MayUpdate(a) || !signs {
		return nil
	}
	records, err := e.catalogOf(a).Records(ctx, o.tag.Descriptor.Digest)
	o.adopted = &adoption{subject: o.tag.Descriptor, record: recordOf(a)}
	if err == nil && len(records) > 0 {
		o.adopted.record = records[0].Record
	}
	return err
}

// currentJob returns the Job of the run that the Artifact's spec asks for, and
// its Pods; nil if there is none.
func (e *external) currentJob(ctx context.Context, a *modelv1alpha1.Artifact) (*batchv1.Job, []corev1.Pod, error) {
	run := artifact.RunOf(a)
	if run.Hash != artifact.RunHash(a) || run.Number < a.Status.AtProvider.Run {
		// A later one waits for room.
		return nil, nil, nil
	}
	job, err := e.ownedJob(ctx, a)
	if err != nil || job == nil || artifact.RunOf(job) != run || !isWhereRunsAre(a, job) {
		return nil, nil, err
	}
	if neverStarted(a) && artifact.CompletionTime(job) == nil {
		// It is being stopped, and what is recorded of it holds.
		return nil, nil, nil
	}
	kube := e.cached
	if job.Status.Active == 0 && !runEnded(a) && !artifact.IsQueued(job) {
		// What the end of a run reports is read once, and a cache may have the
		// Job's end before the Pod's.
		kube = e.direct
	}
	all, err := e.pods(ctx, kube, a)
	if err != nil {
		return nil, nil, err
	}
	pods := make([]corev1.Pod, 0, len(all))
	for i := range all {
		if metav1.IsControlledBy(&all[i], job) {
			pods = append(pods, all[i])
		}
	}
	return job, pods, nil
}

// isWhereRunsAre reports whether a Job may be a run of the Artifact: in the namespace of
// its runs, or where status says that a run began before that changed. A namespace that
// only an annotation names may be a tenant's, who could make a Job there whose result is
// not that of a run.
func isWhereRunsAre(a *modelv1alpha1.Artifact, job *batchv1.Job) bool {
	ref := a.Status.AtProvider.JobRef
	return job.GetNamespace() == artifact.RunNamespace(a) ||
		ref != nil && *ref == modelv1alpha1.JobReference{Namespace: job.GetNamespace(), Name: job.GetName()}
}

// reportConflict writes an event for a foreign tag that Ready did not name before.
func (e *external) reportConflict(a *modelv1alpha1.Artifact) {
	c := e.plan.ready
	// What is said before the finalizer is there is said again.
	if e.plan.conflict != nil && a.GetCondition(xpv2.TypeReady).Reason != c.Reason && meta.FinalizerExists(a, managed.FinalizerName) {
		e.recorder.Event(a, event.Warning(event.Reason(outcome.TagConflict), e.plan.conflict))
	}
}

// requeue has the Artifact reconciled again soon.
func (e *external) requeue(a *modelv1alpha1.Artifact, after time.Duration) {
	e.soon.put(client.ObjectKeyFromObject(a), after)
}
