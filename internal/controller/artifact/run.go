package artifact

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// startRun takes one step towards the planned run, and never waits: it deletes what
// an earlier run left and returns; once that is gone, which requeues the Artifact, it
// starts the run.
func (e *external) startRun(ctx context.Context, a *modelv1alpha1.Artifact) error {
	next := e.plan.run
	if err := artifact.CheckRun(a); err != nil {
		return err
	}
	if err := artifact.CheckSourceClaim(ctx, e.direct, a); err != nil {
		return err
	}
	// A missing Secret is reported before anything waits for it.
	hash, err := e.settings.ConfigHash(ctx)
	if err != nil {
		return err
	}
	if earlier := e.plan.earlier; earlier != next.Hash && e.registry != nil {
		// No run will resume what one of an earlier spec left. What stays does no harm.
		_, _ = e.catalogOf(a).Drop(ctx, earlier)
	}
	// First, so that it is known what was begun, whatever happens.
	if err := e.persistRun(ctx, a, next); err != nil {
		return err
	}
	ready, err := e.clearEarlierRuns(ctx, a, next)
	if err != nil {
		return err
	}
	if !ready {
		return nil
	}
	if len(artifact.RecordedNamespaces(a)) > 1 {
		if err := e.annotate(ctx, a, func(a *modelv1alpha1.Artifact) { artifact.ForgetOtherNamespaces(a) }); err != nil {
			return err
		}
	}
	// An Artifact that lost its status counts its runs from 1 again: what was committed of
	// an earlier run 1 says nothing about this one.
	e.committed.take(a.GetUID())
	wanted := a.DeepCopy()
	wanted.Effective.ConfigHash = hash
	wanted.Effective.MountFrom = e.settings.MountFrom(ctx, wanted)
	return e.ensureRun(ctx, wanted)
}

// clearEarlierRuns deletes Jobs of other runs, a workspace that is not what this one
// needs, and Secrets in other namespaces, and reports whether Jobs, Pods and workspaces
// are gone.
func (e *external) clearEarlierRuns(ctx context.Context, a *modelv1alpha1.Artifact, next artifact.Run) (bool, error) {
	kube := e.direct
	if e.plan.isFirst(a) {
		// There is nothing of an earlier run that a cache may not know yet, but for what
		// another Artifact of that name has left. And all Jobs of an Artifact have one name.
		kube = e.cached
	}
	jobs, err := e.jobs(ctx, kube, a)
	if err != nil {
		return false, err
	}
	// What only looks like this run, elsewhere, is deleted with the earlier ones.
	live := slices.IndexFunc(jobs, func(j batchv1.Job) bool { return isLiveJobOf(&j, a, next) && isWhereRunsAre(a, &j) })
	if live >= 0 && e.plan.keeps(&jobs[live]) {
		// In another namespace, the next reconcile finds it.
		return jobs[live].GetNamespace() == artifact.RunNamespace(a), nil
	}
	if len(jobs) > 0 {
		if err := e.cleanupJobs(ctx, a); err != nil {
			return false, err
		}
	}
	stale, err := e.clearWorkspaces(ctx, kube, a)
	if err != nil {
		return false, err
	}
	for _, in := range e.everywhere(a) {
		if artifact.RunNamespace(in) == artifact.RunNamespace(a) {
			continue // The next run may use its Secret.
		}
		if err := artifact.DeleteSecrets(ctx, e.direct, in); err != nil {
			return false, err
		}
	}
	pods, err := e.pods(ctx, kube, a)
	return err == nil && !stale && len(pods) == 0 && len(jobs) == 0, err
}

// cleanupJobs deletes the Artifact's Jobs in all namespaces.
func (e *external) cleanupJobs(ctx context.Context, a *modelv1alpha1.Artifact) error {
	for _, in := range e.everywhere(a) {
		if err := artifact.CleanupStaleJobs(ctx, e.direct, in, e.selector); err != nil {
			return err
		}
	}
	return nil
}

// isLiveJobOf reports whether a Job is that of an Artifact's run and not being
// deleted.
func isLiveJobOf(job *batchv1.Job, a *modelv1alpha1.Artifact, run artifact.Run) bool {
	return artifact.Owns(a, job) && job.GetDeletionTimestamp() == nil && artifact.RunOf(job) == run
}

// clearWorkspaces deletes workspaces that are not what the next run needs, and
// reports whether there were any.
func (e *external) clearWorkspaces(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) (bool, error) {
	pvcs, err := e.workspaces(ctx, kube, a)
	if err != nil {
		return false, err
	}
	stale := false
	for _, pvc := range pvcs {
		if pvc.GetNamespace() == artifact.RunNamespace(a) && pvc.GetDeletionTimestamp() == nil && artifact.FitsWorkspace(a, pvc) {
			continue
		}
		stale = true
		if err := artifact.DeletePVC(ctx, e.direct, artifact.In(a, pvc.GetNamespace())); err != nil {
			return false, err
		}
	}
	return stale, nil
}

// persistRun writes the Artifact's name outside of the cluster and the run's
// identity to its annotations, before anything is pushed. The runtime keeps
// annotations only after a Create that returned, and never after an Update.
func (e *external) persistRun(ctx context.Context, a *modelv1alpha1.Artifact, run artifact.Run) error {
	if artifact.RunOf(a) == run && e.hasIdentity(a) && slices.Contains(artifact.RecordedNamespaces(a), artifact.RunNamespace(a)) {
		if e.plan.current {
			return nil
		}
		return e.checkCurrent(ctx, a)
	}
	return e.annotate(ctx, a, func(a *modelv1alpha1.Artifact) { e.setRun(a, run) })
}

// annotate writes annotations of the Artifact, if it is what the API server has.
func (e *external) annotate(ctx context.Context, a *modelv1alpha1.Artifact, set func(*modelv1alpha1.Artifact)) error {
	// A copy, since the answer holds the status as the API server has it.
	persisted := a.DeepCopy()
	patch := client.MergeFromWithOptions(a.DeepCopy(), client.MergeFromWithOptimisticLock{})
	set(persisted)
	if err := e.direct.Patch(ctx, persisted, patch); err != nil {
		return errors.Wrap(err, "cannot write the run to the Artifact's annotations")
	}
	a.SetAnnotations(persisted.GetAnnotations())
	a.SetResourceVersion(persisted.GetResourceVersion())
	return nil
}

// setRun annotates an Artifact with its name outside of the cluster, what it is
// known by there, its run and where that executes.
func (e *external) setRun(a *modelv1alpha1.Artifact, run artifact.Run) {
	e.setIdentity(a)
	artifact.RecordRunNamespace(a)
	meta.AddAnnotations(a, run.Annotations())
}

// checkCurrent is a conflict if the Artifact is not what the API server has any
// more: a run that a cache still asks for is not begun again, nor shares of it. Where the run is
// written, the write says so.
func (e *external) checkCurrent(ctx context.Context, a *modelv1alpha1.Artifact) error {
	now := &modelv1alpha1.Artifact{}
	if err := e.direct.Get(ctx, client.ObjectKeyFromObject(a), now); err != nil {
		return errors.Wrap(err, "cannot get the Artifact")
	}
	if now.GetUID() == a.GetUID() && now.GetGeneration() == a.GetGeneration() && artifact.RunOf(now) == artifact.RunOf(a) &&
		equality.Semantic.DeepEqual(now.Status.AtProvider.Shares, a.Status.AtProvider.Shares) {
		return nil
	}
	return kerrors.NewConflict(modelv1alpha1.SchemeGroupVersion.WithResource("artifacts").GroupResource(), a.GetName(), errors.New("it has changed since"))
}

// admittedFor is how long it is believed that a namespace which has just admitted a Job
// admits the next one.
const admittedFor = 10 * time.Second

// admissions are the times at which namespaces admitted a Job last.
type admissions = once[string, time.Time]

// ensureRun makes what the run needs, the Job last. Whether all of it is admitted is asked
// first, unless the namespace has just admitted the like: of thousands of first runs that
// start together, each would cost the API server twice the Jobs. If it refuses one then, what
// was made before is removed.
func (e *external) ensureRun(ctx context.Context, a *modelv1alpha1.Artifact) error {
	data, err := e.settings.SecretData(ctx)
	if err != nil {
		return err
	}
	in := artifact.RunNamespace(a)
	trusting := e.plan.isFirst(a) && e.now().Sub(e.admitted.get(in)) < admittedFor
	if !trusting {
		if err := e.checkRun(ctx, a, data); err != nil {
			return err
		}
	}
	job, err := e.makeRun(ctx, a, data)
	switch {
	case job != nil:
		e.admitted.put(in, e.now())
	case outcome.ReasonOf(err) != "":
		e.admitted.take(in)
		if !trusting {
			return err
		}
		if failed := errors.Join(artifact.DeletePVC(ctx, e.direct, a), artifact.DeleteSecrets(ctx, e.direct, a)); failed != nil {
			return errors.Join(err, failed)
		}
	}
	if err != nil {
		return err
	}
	return artifact.BindSecret(ctx, e.direct, a, job)
}

// makeRun makes what the run needs, the Job last, and returns the Job.
func (e *external) makeRun(ctx context.Context, a *modelv1alpha1.Artifact, data map[string][]byte) (*batchv1.Job, error) {
	if len(data) > 0 {
		hash, err := e.settings.CopyHash(ctx)
		if err != nil {
			return nil, err
		}
		if a.Effective.CopiedSecretName, err = artifact.EnsureSecret(ctx, e.direct, e.scheme, a, e.labels, data, hash); err != nil {
			return nil, err
		}
	}
	if artifact.NeedsWorkspace(a) {
		if err := artifact.EnsurePVC(ctx, e.direct, e.scheme, a, e.labels); err != nil {
			return nil, err
		}
	}
	job, made, err := artifact.EnsureJob(ctx, lookingUp{Client: e.direct, cached: e.cached}, e.scheme, a, e.settings.KitImage, e.selector, e.labels)
	e.tellStarted(a, job, err)
	if made {
		e.started.put(a.GetUID(), struct{}{})
		began := "started"
		switch {
		case artifact.IsQueued(job):
			began = "is queued"
		case artifact.IsLast(job):
			began = "is completed"
		}
		message := fmt.Sprintf("Run %d %s as Job %q", artifact.RunOf(job).Number, began, job.GetName())
		if job.GetNamespace() != a.GetNamespace() {
			message += fmt.Sprintf(" in namespace %q", job.GetNamespace())
		}
		if e.plan.why != "" {
			message += ": " + e.plan.why
		}
		e.recorder.Event(a, event.Normal(reasonRunStarted, message))
	}
	return job, err
}

// renewSecret has the run's copied credentials be those that there are now. Where these
// cannot be copied, the run goes on with what it has, and an event says so.
func (e *external) renewSecret(ctx context.Context, a *modelv1alpha1.Artifact) error {
	data, hash, err := e.settings.Renewed(ctx)
	if err != nil {
		e.recorder.Event(a, event.Warning(reasonNotRenewed, errors.Wrap(err, "The run goes on with the credentials that it has")))
		return nil
	}
	return artifact.RenewSecret(ctx, e.direct, a, e.plan.secret.Name, data, hash)
}

// checkRun returns an error if the API server refuses what is made last for a
// run, as a quota or a policy has it: a run that cannot start gets no workspace
// and no Secret. Nothing is written.
func (e *external) checkRun(ctx context.Context, a *modelv1alpha1.Artifact, data map[string][]byte) error {
	workspace, secret := artifact.NeedsWorkspace(a), len(data) > 0
	if !workspace && !secret {
		// The Job is all that is made.
		return nil
	}
	dry := client.NewDryRunClient(e.direct)
	if workspace && secret {
		if err := artifact.EnsurePVC(ctx, dry, e.scheme, a, e.labels); err != nil {
			return err
		}
	}
	// Its Secret has no name before it is made.
	a = a.DeepCopy()
	a.Effective.CopiedSecretName = "dry-run"
	_, _, err := artifact.EnsureJob(ctx, lookingUp{Client: dry, cached: e.cached}, e.scheme, a, e.settings.KitImage, e.selector, e.labels)
	return err
}

// stopRuns deletes what the Artifact's runs have in the cluster.
func (e *external) stopRuns(ctx context.Context, a *modelv1alpha1.Artifact) error {
	for _, in := range e.everywhere(a) {
		if err := artifact.CleanupStaleJobs(ctx, e.direct, in, e.selector); err != nil {
			return err
		}
		if err := artifact.DeletePVC(ctx, e.direct, in); err != nil {
			return err
		}
		if err := artifact.DeleteSecrets(ctx, e.direct, in); err != nil {
			return err
		}
	}
	left, err := e.runsLeft(ctx, a)
	if err != nil {
		return err
	}
	if left {
		e.requeue(a, requeueStopped)
	} else {
		e.requeue(a, requeueNow)
	}
	return nil
}

// runsLeft reports whether anything of the Artifact's runs is still in the
// cluster.
func (e *external) runsLeft(ctx context.Context, a *modelv1alpha1.Artifact) (bool, error) {
	jobs, err := e.jobs(ctx, e.direct, a)
	if err != nil {
		return false, err
	}
	for i := range jobs {
		if artifact.Owns(a, &jobs[i]) {
			return true, nil
		}
	}
	pods, err := e.pods(ctx, e.direct, a)
	if err != nil || len(pods) > 0 {
		return true, err
	}
	pvcs, err := e.workspaces(ctx, e.direct, a)
	if err != nil || len(pvcs) > 0 {
		return true, err
	}
	return e.secretsLeft(ctx, a)
}

// leftOver says which Job, Pod or workspace of an earlier run is still going although
// no Job is live, so that there is nothing to do but to wait; "" for none.
func (e *external) leftOver(ctx context.Context, a *modelv1alpha1.Artifact) (string, error) {
	job, err := e.ownedJob(ctx, a)
	if err != nil || job != nil {
		return "", err
	}
	jobs, err := e.jobs(ctx, e.cached, a)
	if err != nil {
		return "", err
	}
	for i := range jobs {
		if artifact.Owns(a, &jobs[i]) { // None is live.
			return fmt.Sprintf("Job %q of an earlier run in namespace %q is still there", jobs[i].GetName(), jobs[i].GetNamespace()), nil
		}
	}
	pods, err := e.pods(ctx, e.cached, a)
	if err != nil {
		return "", err
	}
	if len(pods) > 0 {
		return fmt.Sprintf("Pod %q of an earlier run is still there", pods[0].GetName()), nil
	}
	pvcs, err := e.workspaces(ctx, e.cached, a)
	for _, pvc := range pvcs {
		if pvc.GetDeletionTimestamp() != nil {
			return fmt.Sprintf("The workspace %q of an earlier run is still there", pvc.GetName()), nil
		}
	}
	return "", err
}

// A lookingUp client lists from the cache. A list of the API server's waits until
// its own cache has caught up with etcd, up to 100 ms. Where that was just
// listed, a Job that the cache has not seen yet still has the name of the next one, so
// that the API server refuses a second.
type lookingUp struct {
	client.Client

	cached client.Reader
}

// List reads the cache.
func (l lookingUp) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return l.cached.List(ctx, list, opts...)
}
