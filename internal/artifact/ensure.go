package artifact

import (
	"context"
	"fmt"
	"regexp"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// EnsureJob creates the Artifact's Job in RunNamespace unless there is one, of whichever run: all have
// the name JobName. It returns the Job and reports whether it was created. It returns
// an error if a Job of that name is being deleted, and one with reason
// WorkspaceConflict if the Job is not the Artifact's.
func EnsureJob(ctx context.Context, c client.Client, scheme *runtime.Scheme, ma *modelv1alpha1.Artifact, kitImage string, selectorLabels, metadataLabels map[string]string) (*batchv1.Job, bool, error) {
	there, err := FindOwnedJob(ctx, c, RunNamespace(ma), selectorLabels, ma)
	if err != nil || there != nil {
		return there, false, err
	}

	job := BuildJob(ma, kitImage, metadataLabels)
	job.GenerateName = ""
	job.Name = JobName(ma)
	if err := useSecret(job, ma.Effective.CopiedSecretName); err != nil {
		return nil, false, err
	}
	if err := own(ma, job, scheme); err != nil {
		return nil, false, err
	}
	err = c.Create(ctx, job)
	if err == nil {
		return job, true, nil
	}
	if !kerrors.IsAlreadyExists(err) {
		return nil, false, refusal(ma, err, fmt.Sprintf("Job %q", job.GetName()))
	}

	// The Job may be our own if the cache is behind.
	there = &batchv1.Job{}
	if err := c.Get(ctx, client.ObjectKeyFromObject(job), there); err != nil {
		return nil, false, errors.Wrapf(err, "cannot get Job %q", job.GetName())
	}
	if !Owns(ma, there) {
		return nil, false, conflict("Job", job.GetName())
	}
	if there.GetDeletionTimestamp() != nil {
		return nil, false, errors.Errorf("cannot use Job %q: it is being deleted", job.GetName())
	}
	return there, false, nil
}

// FindOwnedJob returns the first Job with these labels that the owner owns and that is
// not being deleted, or nil.
func FindOwnedJob(ctx context.Context, c client.Client, namespace string, labels map[string]string, owner metav1.Object) (*batchv1.Job, error) {
	jobs, err := ownedJobs(ctx, c, namespace, labels, owner)
	if err != nil {
		return nil, err
	}
	for i := range jobs {
		if jobs[i].GetDeletionTimestamp() == nil {
			return &jobs[i], nil
		}
	}
	return nil, nil //nolint:nilnil // A missing Job is not an error.
}

// CleanupStaleJobs deletes all of the Artifact's Jobs in RunNamespace that are not being
// deleted yet, and their Pods.
func CleanupStaleJobs(ctx context.Context, c client.Client, ma *modelv1alpha1.Artifact, labels map[string]string) error {
	jobs, err := ownedJobs(ctx, c, RunNamespace(ma), labels, ma)
	if err != nil {
		return err
	}
	for i := range jobs {
		if jobs[i].GetDeletionTimestamp() != nil {
			continue
		}
		// The API server's default for Jobs is to orphan their Pods.
		err := c.Delete(ctx, &jobs[i], client.PropagationPolicy(metav1.DeletePropagationBackground), sameUID(&jobs[i]))
		if client.IgnoreNotFound(err) != nil {
			return errors.Wrapf(err, "cannot delete Job %q", jobs[i].GetName())
		}
	}
	return nil
}

// ownedJobs returns the Jobs with these labels that the owner owns.
func ownedJobs(ctx context.Context, c client.Client, namespace string, labels map[string]string, owner metav1.Object) ([]batchv1.Job, error) {
	list := &batchv1.JobList{}
	if err := c.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels(labels)); err != nil {
		return nil, errors.Wrap(err, "cannot list Jobs")
	}
	owned := make([]batchv1.Job, 0, len(list.Items))
	for i := range list.Items {
		if Owns(owner, &list.Items[i]) {
			owned = append(owned, list.Items[i])
		}
	}
	return owned, nil
}

// Errors by which the API server refuses an object
// (k8s.io/apiserver/pkg/admission/plugin/resourcequota and
// k8s.io/apiserver/pkg/admission; of OpenShift's constraints
// github.com/openshift/apiserver-library-go/pkg/securitycontextconstraints/sccadmission).
var (
	quotaExceeded = regexp.MustCompile(`exceeded quota: ([^,\s]+), requested: (.+?), used: `)
	quotaUnmet    = regexp.MustCompile(`failed quota: ([^:\s]+): (must specify .+)$`)
	forbidden     = regexp.MustCompile(`^\S+ ("[^"]*" )?is forbidden: `)
	invalid       = regexp.MustCompile(`^.*? is invalid: `)
	constrained   = regexp.MustCompile(`unable to validate against any security context constraint: `)
	deniedBy      = regexp.MustCompile(`admission webhook "([^"]+)" denied the request`)
)

// queueUnasked matches the API server's error if Kueue's webhook for Jobs or Pods does
// not answer (k8s.io/apiserver/pkg/admission/plugin/webhook, and
// config/components/webhook/manifests.yaml of sigs.k8s.io/kueue).
var queueUnasked = regexp.MustCompile(`failed calling webhook "[mv](job|pod)\.kb\.io"`)

// Refusal returns the error of creating what with a reason and a cure if the API
// server refused the object: by a quota or an admission policy, for a missing
// permission, or because it is invalid. It wraps other errors, which may be
// transient.
func Refusal(err error, what string) error {
	if why := access.Denied(err); why != nil {
		return why
	}
	switch {
	case err == nil:
		return nil
	case kerrors.IsForbidden(err), kerrors.IsInvalid(err), kerrors.IsBadRequest(err), deniedBy.MatchString(err.Error()), queueUnasked.MatchString(err.Error()):
		return refusedBy(what, err.Error()).Because(err)
	}
	return errors.Wrapf(err, "cannot create %s", what)
}

// refusal is Refusal for an object in the Artifact's RunNamespace. If that is not the
// Artifact's own, it may be missing or about to go, which the Artifact outlives.
func refusal(a *modelv1alpha1.Artifact, err error, what string) error {
	if err == nil || !isolated(a) {
		return Refusal(err, what)
	}
	switch {
	case kerrors.IsNotFound(err):
		return NoRunNamespace(RunNamespace(a), false).Because(err)
	case kerrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return NoRunNamespace(RunNamespace(a), true).Because(err)
	}
	return Refusal(err, fmt.Sprintf("%s in namespace %q", what, RunNamespace(a)))
}

// NoRunNamespace returns the error of a job.namespace that does not exist, or that is
// being deleted: no run can begin there.
func NoRunNamespace(namespace string, terminating bool) *outcome.Error {
	state := "does not exist"
	if terminating {
		state = "is being deleted"
	}
	return outcome.Errorf(outcome.ConfigMissing, "Namespace %q, in which job.namespace of the ClusterProviderConfig has runs execute, %s: create it as examples/install/isolated-runs.yaml does, or change job.namespace", namespace, state)
}

// refusedBy returns why the API server refused an object, from its message. It omits
// the used part of a quota, which changes all the time.
func refusedBy(what, why string) *outcome.Error {
	if queueUnasked.MatchString(why) {
		return outcome.Errorf(outcome.QueueUnavailable, "Kueue's webhook does not answer, which the API server must ask before it creates %s: see that Kueue's controller manager is running, and the run starts", what)
	}
	if m := quotaExceeded.FindStringSubmatch(why); m != nil {
		return outcome.Errorf(outcome.QuotaExceeded, "ResourceQuota %q leaves no room for %s, which asks for %s: raise the quota, free some of it, or ask for less in spec.forProvider.job.resources or spec.forProvider.storage.size", m[1], what, m[2])
	}
	if m := quotaUnmet.FindStringSubmatch(why); m != nil {
		return outcome.Errorf(outcome.QuotaExceeded, "ResourceQuota %q does not admit %s: it %s: write spec.forProvider.job.resources", m[1], what, m[2])
	}
	if constrained.MatchString(why) {
		return outcome.Errorf(outcome.Refused, "OpenShift's SecurityContextConstraints do not admit %s: write job.podSecurityContext: {} in the ClusterProviderConfig, so that they assign user and groups, or have job.serviceAccountName use others", what)
	}
	why = invalid.ReplaceAllString(forbidden.ReplaceAllString(why, ""), "")
	return outcome.Errorf(outcome.Refused, "The cluster refuses %s (%s): change spec.forProvider.job or the policy", what, why)
}

// withoutPodNames returns a text without the name of the Pod that the Job controller
// tried to create, which differs each time.
func withoutPodNames(job *batchv1.Job, text string) string {
	name := regexp.MustCompile(regexp.QuoteMeta(job.GetName()) + `-[a-z0-9]{5}\b`)
	return name.ReplaceAllString(text, job.GetName())
}
