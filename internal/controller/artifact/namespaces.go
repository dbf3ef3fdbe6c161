package artifact

import (
	"context"
	"slices"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// A scope has the namespaces that the provider watches for objects of runs; none for
// all.
type scope []string

// within returns those of some namespaces that the provider watches. It may not even
// look at others.
func (s scope) within(namespaces []string) []string {
	if len(s) == 0 {
		return namespaces
	}
	var out []string
	for _, ns := range namespaces {
		if slices.Contains(s, ns) {
			out = append(out, ns)
		}
	}
	return out
}

// everywhere returns the Artifact once for each namespace in which objects of its runs
// may be, as the functions that look for these take it. The next run's is the first.
func (e *external) everywhere(a *modelv1alpha1.Artifact) []*modelv1alpha1.Artifact {
	return inEach(a, e.scope.within(artifact.RunNamespaces(a)))
}

// inEach returns the Artifact once for each namespace.
func inEach(a *modelv1alpha1.Artifact, namespaces []string) []*modelv1alpha1.Artifact {
	out := make([]*modelv1alpha1.Artifact, 0, len(namespaces))
	for _, ns := range namespaces {
		out = append(out, artifact.In(a, ns))
	}
	return out
}

// ownedJob returns the first Job of the Artifact that is not being deleted, as the cache
// has it; nil for none.
func (e *external) ownedJob(ctx context.Context, a *modelv1alpha1.Artifact) (*batchv1.Job, error) {
	for _, in := range e.everywhere(a) {
		if job, err := artifact.FindOwnedJob(ctx, e.cached, artifact.RunNamespace(in), e.selector, a); err != nil || job != nil {
			return job, err
		}
	}
	return nil, nil //nolint:nilnil // A missing Job is not an error.
}

// jobs returns the Jobs of the Artifact's runs, and those of an Artifact that
// had its name before: they are the garbage collector's to delete, or the sweeper's.
// The end of either wakes the Artifact.
func (e *external) jobs(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) ([]batchv1.Job, error) {
	jobs, err := listed(ctx, e, kube, a, func() (*batchv1.JobList, *[]batchv1.Job) { l := &batchv1.JobList{}; return l, &l.Items },
		func(j *batchv1.Job) bool { return artifact.OwnsByName(a, j) })
	return jobs, errors.Wrap(err, "cannot list Jobs")
}

// pods returns the Pods of the Artifact's runs, of whichever Job.
func (e *external) pods(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) ([]corev1.Pod, error) {
	pods, err := listed(ctx, e, kube, a, func() (*corev1.PodList, *[]corev1.Pod) { l := &corev1.PodList{}; return l, &l.Items },
		func(p *corev1.Pod) bool {
			key, ok := artifact.ArtifactOf(p)
			return ok && key == client.ObjectKeyFromObject(a)
		})
	return pods, errors.Wrap(err, "cannot list Pods")
}

// listed returns the objects of one kind, in all namespaces in which objects of the
// Artifact's runs may be, that are the Artifact's. A list is new for each namespace, since
// decoding one reuses what it has.
func listed[T any, L client.ObjectList](ctx context.Context, e *external, kube client.Reader, a *modelv1alpha1.Artifact, newList func() (L, *[]T), owned func(*T) bool) ([]T, error) {
	var out []T
	for _, in := range e.everywhere(a) {
		list, items := newList()
		if err := kube.List(ctx, list, client.InNamespace(artifact.RunNamespace(in)), client.MatchingLabels(e.selector)); err != nil {
			return nil, err
		}
		for i := range *items {
			if owned(&(*items)[i]) {
				out = append(out, (*items)[i])
			}
		}
	}
	return out, nil
}

// workspaces returns the Artifact's workspaces, of which there is one unless its runs
// have moved to another namespace.
func (e *external) workspaces(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) ([]*corev1.PersistentVolumeClaim, error) {
	var out []*corev1.PersistentVolumeClaim
	for _, in := range e.everywhere(a) {
		pvc := &corev1.PersistentVolumeClaim{}
		err := kube.Get(ctx, types.NamespacedName{Namespace: artifact.RunNamespace(in), Name: artifact.WorkspaceName(in)}, pvc)
		if client.IgnoreNotFound(err) != nil {
			return nil, errors.Wrap(err, "cannot get the workspace")
		}
		// A foreign one is none of ours.
		if err == nil && artifact.Owns(a, pvc) {
			out = append(out, pvc)
		}
	}
	return out, nil
}

// secretsLeft reports whether the provider's copies of credentials for the Artifact's
// runs are there.
func (e *external) secretsLeft(ctx context.Context, a *modelv1alpha1.Artifact) (bool, error) {
	for _, in := range e.everywhere(a) {
		if secrets, err := artifact.OwnedSecrets(ctx, e.direct, in); err != nil || len(secrets) > 0 {
			return true, err
		}
	}
	return false, nil
}
