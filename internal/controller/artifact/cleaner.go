package artifact

import (
	"cmp"
	"context"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/resource"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// A cleaner takes away what a run needs no longer once its end is recorded: the
// workspace after success, the Secret after any end. It is an Initializer, since
// cleaning up is no update of the artifact and no management policy stops it.
type cleaner struct {
	// cache has the claims and the metadata of Secrets.
	cache  client.Reader
	direct client.Client

	// age of Secrets that are taken away without a recorded end; 0 for
	// unrecordedAge.
	age time.Duration
}

// Initialize cleans up after the Artifact's latest run. It asks the API server
// only where there is something to take away.
func (c *cleaner) Initialize(ctx context.Context, mg resource.Managed) error {
	a, ok := mg.(*modelv1alpha1.Artifact)
	if !ok {
		return nil
	}
	if !ended(a) {
		return c.cleanUnrecorded(ctx, a)
	}
	left, err := c.left(ctx, a)
	if err != nil || !left {
		return err
	}
	// A cache that lags behind may not know yet that the next run has begun.
	a = a.DeepCopy()
	if err := c.direct.Get(ctx, client.ObjectKeyFromObject(a), a); err != nil || !ended(a) {
		return errors.Wrap(client.IgnoreNotFound(err), "cannot get the Artifact")
	}
	if a.Status.AtProvider.Phase == modelv1alpha1.PhaseSucceeded {
		if err := artifact.DeletePVC(ctx, c.direct, a); err != nil {
			return err
		}
	}
	return artifact.DeleteSecret(ctx, c.direct, a)
}

// unrecordedAge is how old a Secret is at least that is taken away although no
// status says that its run has ended: that of a run whose Job is being made is
// younger.
const unrecordedAge = time.Minute

// cleanUnrecorded takes the Secret away after a run whose end is not recorded,
// as of an Artifact that its ProviderConfig admits no longer.
func (c *cleaner) cleanUnrecorded(ctx context.Context, a *modelv1alpha1.Artifact) error {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := c.cache.Get(ctx, types.NamespacedName{Namespace: a.GetNamespace(), Name: artifact.SecretName(a.GetName())}, secret)
	if err != nil {
		return errors.Wrap(client.IgnoreNotFound(err), "cannot look for the run's Secret")
	}
	created := secret.GetCreationTimestamp()
	if !metav1.IsControlledBy(secret, a) || secret.GetDeletionTimestamp() != nil || time.Since(created.Time) < cmp.Or(c.age, unrecordedAge) {
		return nil
	}
	job, err := artifact.FindOwnedJob(ctx, c.direct, a.GetNamespace(), artifact.SelectorLabelsForArtifact(a.GetName()), a)
	if err != nil || (job != nil && artifact.CompletionTime(job) == nil) {
		return err
	}
	return artifact.DeleteSecret(ctx, c.direct, a)
}

// left says whether the cache has anything that is to be taken away.
func (c *cleaner) left(ctx context.Context, a *modelv1alpha1.Artifact) (bool, error) {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	names := map[string]client.Object{artifact.SecretName(a.GetName()): secret}
	if a.Status.AtProvider.Phase == modelv1alpha1.PhaseSucceeded {
		names[artifact.PVCName(a.GetName())] = &corev1.PersistentVolumeClaim{}
	}
	for name, o := range names {
		err := c.cache.Get(ctx, types.NamespacedName{Namespace: a.GetNamespace(), Name: name}, o)
		if client.IgnoreNotFound(err) != nil {
			return false, errors.Wrapf(err, "cannot look for %q", name)
		}
		if err == nil && metav1.IsControlledBy(o, a) && o.GetDeletionTimestamp() == nil {
			return true, nil
		}
	}
	return false, nil
}
