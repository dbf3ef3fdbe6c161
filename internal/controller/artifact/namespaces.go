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
func (e *external) jobs(ctx context.Context, a *modelv1alpha1.Artifact) ([]batchv1.Job, error) {
	var out []batchv1.Job
	for _, in := range e.everywhere(a) {
		list := &batchv1.JobList{}
		if err := e.direct.List(ctx, list, client.InNamespace(artifact.RunNamespace(in)), client.MatchingLabels(e.selector)); err != nil {
			return nil, errors.Wrap(err, "cannot list Jobs")
		}
		for i := range list.Items {
			if artifact.OwnsByName(a, &list.Items[i]) {
				out = append(out, list.Items[i])
			}
		}
	}
	return out, nil
}

// pods returns the Pods of the Artifact's runs, of whichever Job.
func (e *external) pods(ctx context.Context, kube client.Client, a *modelv1alpha1.Artifact) ([]corev1.Pod, error) {
	var out []corev1.Pod
	for _, in := range e.everywhere(a) {
		list := &corev1.PodList{}
		if err := kube.List(ctx, list, client.InNamespace(artifact.RunNamespace(in)), client.MatchingLabels(e.selector)); err != nil {
			return nil, errors.Wrap(err, "cannot list Pods")
		}
		for i := range list.Items {
			p := list.Items[i]
			if key, ok := artifact.ArtifactOf(&p); ok && key == client.ObjectKeyFromObject(a) {
				out = append(out, p)
			}
		}
	}
	return out, nil
}

// workspaces returns the Artifact's workspaces, of which there is one unless its runs
// have moved to another namespace.
func (e *external) workspaces(ctx context.Context, a *modelv1alpha1.Artifact) ([]*corev1.PersistentVolumeClaim, error) {
	var out []*corev1.PersistentVolumeClaim
	for _, in := range e.everywhere(a) {
		pvc := &corev1.PersistentVolumeClaim{}
		err := e.direct.Get(ctx, types.NamespacedName{Namespace: artifact.RunNamespace(in), Name: artifact.WorkspaceName(in)}, pvc)
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
