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

	// scope has the namespaces that are watched for objects of runs.
	scope scope

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
	for _, in := range c.everywhere(a) {
		if needsNoWorkspace(a) {
			if err := artifact.DeletePVC(ctx, c.direct, in); err != nil {
				return err
			}
		}
	}
	if neverStarted(a) {
		return c.stop(ctx, a)
	}
	return c.deleteSecrets(ctx, a)
}

// everywhere returns the Artifact once for each namespace in which objects of its runs
// may be. What the status and the annotations say is all that is known here of it.
func (c *cleaner) everywhere(a *modelv1alpha1.Artifact) []*modelv1alpha1.Artifact {
	return inEach(a, c.scope.within(artifact.RecordedNamespaces(a)))
}

// stop deletes the Artifact's Jobs and their Secrets. The Secrets go last: they
// are what is looked for.
func (c *cleaner) stop(ctx context.Context, a *modelv1alpha1.Artifact) error {
	for _, in := range c.everywhere(a) {
		if err := artifact.CleanupStaleJobs(ctx, c.direct, in, artifact.SelectorLabelsForArtifact(a.GetName())); err != nil {
			return err
		}
	}
	return c.deleteSecrets(ctx, a)
}

// deleteSecrets deletes the Secrets of the Artifact's runs.
func (c *cleaner) deleteSecrets(ctx context.Context, a *modelv1alpha1.Artifact) error {
	for _, in := range c.everywhere(a) {
		if err := artifact.DeleteSecrets(ctx, c.direct, in); err != nil {
			return err
		}
	}
	return nil
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
	for _, in := range c.everywhere(a) {
		if err := c.cleanUnrecordedIn(ctx, in); err != nil {
			return err
		}
	}
	return nil
}

// cleanUnrecordedIn does so in one namespace. A Secret that a crash kept from its Job
// gets it as its owner.
func (c *cleaner) cleanUnrecordedIn(ctx context.Context, a *modelv1alpha1.Artifact) error {
	secrets, err := c.secretsIn(ctx, a)
	if err != nil {
		return err
	}
	old, unbound := false, false
	for i := range secrets {
		created := secrets[i].GetCreationTimestamp()
		old = old || time.Since(created.Time) >= cmp.Or(c.age, unrecordedAge)
		unbound = unbound || metav1.GetControllerOf(&secrets[i]) == nil
	}
	if !old && !unbound {
		return nil
	}
	job, err := artifact.FindOwnedJob(ctx, c.direct, artifact.RunNamespace(a), artifact.SelectorLabelsForArtifact(a.GetName()), a)
	switch {
	case err != nil:
		return err
	case job != nil && unbound:
		if err := artifact.BindSecret(ctx, c.direct, a, job); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	switch {
	case !old:
		return nil
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
	var out []metav1.PartialObjectMetadata
	for _, in := range c.everywhere(a) {
		secrets, err := c.secretsIn(ctx, in)
		if err != nil {
			return nil, err
		}
		out = append(out, secrets...)
	}
	return out, nil
}

// secretsIn does so in one namespace.
func (c *cleaner) secretsIn(ctx context.Context, a *modelv1alpha1.Artifact) ([]metav1.PartialObjectMetadata, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := c.cache.List(ctx, list, client.InNamespace(artifact.RunNamespace(a)), client.MatchingLabels(artifact.SelectorLabelsForArtifact(a.GetName()))); err != nil {
		return nil, errors.Wrap(err, "cannot look for the Secrets of runs")
	}
	out := make([]metav1.PartialObjectMetadata, 0, len(list.Items))
	for i := range list.Items {
		if s := &list.Items[i]; artifact.Owns(a, s) && s.GetDeletionTimestamp() == nil {
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
	if neverStarted(a) {
		if there, err := c.hasJob(ctx, a); err != nil || there {
			return there, err
		}
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
	left, err := c.hasJob(ctx, a)
	if err != nil {
		return err
	}
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
	for _, in := range c.everywhere(a) {
		if err := artifact.DeletePVC(ctx, c.direct, in); err != nil {
			return err
		}
	}
	return c.stop(ctx, a)
}

// hasJob reports whether the cache has a Job of the Artifact's that is not being
// deleted.
func (c *cleaner) hasJob(ctx context.Context, a *modelv1alpha1.Artifact) (bool, error) {
	for _, in := range c.everywhere(a) {
		jobs := &batchv1.JobList{}
		if err := c.cache.List(ctx, jobs, client.InNamespace(artifact.RunNamespace(in)), client.MatchingLabels(artifact.SelectorLabelsForArtifact(a.GetName()))); err != nil {
			return false, errors.Wrap(err, "cannot look for Jobs")
		}
		if slices.ContainsFunc(jobs.Items, func(j batchv1.Job) bool { return artifact.Owns(a, &j) && j.GetDeletionTimestamp() == nil }) {
			return true, nil
		}
	}
	return false, nil
}

// hasWorkspace reports whether the cache has a workspace of the Artifact's that is
// not being deleted.
func (c *cleaner) hasWorkspace(ctx context.Context, a *modelv1alpha1.Artifact) (bool, error) {
	for _, in := range c.everywhere(a) {
		pvc := &corev1.PersistentVolumeClaim{}
		err := c.cache.Get(ctx, types.NamespacedName{Namespace: artifact.RunNamespace(in), Name: artifact.WorkspaceName(in)}, pvc)
		if client.IgnoreNotFound(err) != nil {
			return false, errors.Wrap(err, "cannot look for the workspace")
		}
		if err == nil && artifact.Owns(a, pvc) && pvc.GetDeletionTimestamp() == nil {
			return true, nil
		}
	}
	return false, nil
}
