package artifact

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// A cleaner deletes what a run needs no longer once its end is recorded: the
// workspace after success, or some time after a permanent failure, the Secret after
// any end, and the Job of a run that was stopped since it did not start. It is an
// Initializer, since cleaning up is no update of the artifact and no management
// policy stops it.
type cleaner struct {
	// cache has the claims and the metadata of Secrets.
	cache  client.Reader
	direct client.Client

	// age of Secrets that are deleted without a recorded end; 0 for
	// unrecordedAge.
	age time.Duration

	// patience with Jobs that do not start and of which no status says so; 0 for
	// unrecordedPatience.
	patience time.Duration
}

// Initialize cleans up after the Artifact's latest run. It asks the API server
// only where there is something to delete.
func (c *cleaner) Initialize(ctx context.Context, mg resource.Managed) error {
	a, ok := mg.(*modelv1alpha1.Artifact)
	if !ok {
		return nil
	}
	// What the status says is all that is known here of the ProviderConfig.
	a = a.DeepCopy()
	a.Effective.Pipeline = a.Status.AtProvider.Pipeline
	if settings.OnlyObserves(a) && !runEnded(a) {
		return c.stopObserved(ctx, a)
	}
	if !runEnded(a) {
		return c.cleanUnrecorded(ctx, a)
	}
	left, err := c.left(ctx, a)
	if err != nil || !left {
		return err
	}
	// A cache that lags behind may not know yet that the next run has begun.
	a = a.DeepCopy()
	if err := c.direct.Get(ctx, client.ObjectKeyFromObject(a), a); err != nil || !runEnded(a) {
		return errors.Wrap(client.IgnoreNotFound(err), "cannot get the Artifact")
	}
	if needsNoWorkspace(a) {
		if err := artifact.DeletePVC(ctx, c.direct, a); err != nil {
			return err
		}
	}
	if neverStarted(a) {
		return c.stop(ctx, a)
	}
	return artifact.DeleteSecrets(ctx, c.direct, a)
}

// stop deletes the Artifact's Jobs and their Secrets. The Secrets go last: they
// are what is looked for.
func (c *cleaner) stop(ctx context.Context, a *modelv1alpha1.Artifact) error {
	if err := artifact.CleanupStaleJobs(ctx, c.direct, a, artifact.SelectorLabelsForArtifact(a.GetName())); err != nil {
		return err
	}
	return artifact.DeleteSecrets(ctx, c.direct, a)
}

// unrecordedAge is how old a Secret is at least that is deleted although no
// status says that its run has ended: that of a run whose Job is being made is
// younger.
const unrecordedAge = time.Minute

// unrecordedPatience is how old a Job is at least that is deleted since it
// did not start although its Artifact is not reconciled. If it is, that
// is recorded before.
const unrecordedPatience = 2 * artifact.CopyTimeout

// cleanUnrecorded takes the Secret away after a run whose end is not recorded,
// as of an Artifact that its ProviderConfig admits no longer.
func (c *cleaner) cleanUnrecorded(ctx context.Context, a *modelv1alpha1.Artifact) error {
	secrets, err := c.secrets(ctx, a)
	if err != nil {
		return err
	}
	old := false
	for i := range secrets {
		created := secrets[i].GetCreationTimestamp()
		old = old || time.Since(created.Time) >= cmp.Or(c.age, unrecordedAge)
	}
	if !old {
		return nil
	}
	job, err := artifact.FindOwnedJob(ctx, c.direct, a.GetNamespace(), artifact.SelectorLabelsForArtifact(a.GetName()), a)
	switch {
	case err != nil:
		return err
	case job == nil || artifact.CompletionTime(job) != nil:
		return artifact.DeleteSecrets(ctx, c.direct, a)
	case artifact.IsOverdue(job, nil, time.Now(), cmp.Or(c.patience, unrecordedPatience)):
		return c.stop(ctx, a)
	}
	return nil
}

// secrets returns what the cache has of the Secrets of the Artifact's runs that
// are not being deleted. A Secret that only looks like one may be among them.
func (c *cleaner) secrets(ctx context.Context, a *modelv1alpha1.Artifact) ([]metav1.PartialObjectMetadata, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := c.cache.List(ctx, list, client.InNamespace(a.GetNamespace()), client.MatchingLabels(artifact.SelectorLabelsForArtifact(a.GetName()))); err != nil {
		return nil, errors.Wrap(err, "cannot look for the Secrets of runs")
	}
	out := make([]metav1.PartialObjectMetadata, 0, len(list.Items))
	for i := range list.Items {
		if s := &list.Items[i]; metav1.IsControlledBy(s, a) && s.GetDeletionTimestamp() == nil {
			out = append(out, *s)
		}
	}
	return out, nil
}

// left reports whether the cache has anything that must be deleted.
func (c *cleaner) left(ctx context.Context, a *modelv1alpha1.Artifact) (bool, error) {
	secrets, err := c.secrets(ctx, a)
	if err != nil || len(secrets) > 0 {
		return err == nil, err
	}
	if !needsNoWorkspace(a) {
		return false, nil
	}
	return c.hasWorkspace(ctx, a)
}

// needsNoWorkspace reports whether the workspace of the Artifact's run, which has
// ended, is of no use: it succeeded, or failed permanently some time ago.
func needsNoWorkspace(a *modelv1alpha1.Artifact) bool {
	s := a.Status.AtProvider
	return s.Phase == modelv1alpha1.PhaseSucceeded ||
		s.Failure != nil && s.Failure.WorkspaceExpiryTime != nil && time.Now().After(s.Failure.WorkspaceExpiryTime.Time)
}

// stopObserved ends the run of an Artifact that is only to be observed since: it
// must not push any more, and no reconcile will stop it.
func (c *cleaner) stopObserved(ctx context.Context, a *modelv1alpha1.Artifact) error {
	jobs := &batchv1.JobList{}
	if err := c.cache.List(ctx, jobs, client.InNamespace(a.GetNamespace()), client.MatchingLabels(artifact.SelectorLabelsForArtifact(a.GetName()))); err != nil {
		return errors.Wrap(err, "cannot look for Jobs")
	}
	left := slices.ContainsFunc(jobs.Items, func(j batchv1.Job) bool { return metav1.IsControlledBy(&j, a) && j.GetDeletionTimestamp() == nil })
	secrets, err := c.secrets(ctx, a)
	if err != nil {
		return err
	}
	if left = left || len(secrets) > 0; !left {
		if left, err = c.hasWorkspace(ctx, a); err != nil || !left {
			return err
		}
	}
	// A cache that lags behind may still have the policy to observe only.
	now := &modelv1alpha1.Artifact{}
	if err := c.direct.Get(ctx, client.ObjectKeyFromObject(a), now); err != nil || now.GetUID() != a.GetUID() || !settings.OnlyObserves(now) {
		return errors.Wrap(client.IgnoreNotFound(err), "cannot get the Artifact")
	}
	// The Secrets go last, as they do where a run is stopped otherwise.
	if err := artifact.CleanupStaleJobs(ctx, c.direct, a, artifact.SelectorLabelsForArtifact(a.GetName())); err != nil {
		return err
	}
	if err := artifact.DeletePVC(ctx, c.direct, a); err != nil {
		return err
	}
	return artifact.DeleteSecrets(ctx, c.direct, a)
}

// hasWorkspace reports whether the cache has a workspace of the Artifact's that is
// not being deleted.
func (c *cleaner) hasWorkspace(ctx context.Context, a *modelv1alpha1.Artifact) (bool, error) {
	pvc := &corev1.PersistentVolumeClaim{}
	if err := c.cache.Get(ctx, types.NamespacedName{Namespace: a.GetNamespace(), Name: artifact.PVCName(a.GetName())}, pvc); err != nil {
		return false, errors.Wrap(client.IgnoreNotFound(err), "cannot look for the workspace")
	}
	return metav1.IsControlledBy(pvc, a) && pvc.GetDeletionTimestamp() == nil, nil
}
