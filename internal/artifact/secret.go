package artifact

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

const (
	// SecretTypeCredentials is the type of all Secrets that the provider creates
	// for runs. The type of a Secret is immutable.
	SecretTypeCredentials corev1.SecretType = v1alpha1.Group + "/run-credentials"

	// CopiedSecret is a placeholder for the name of the Secret with copied
	// credentials, which EnsureJob replaces. It is not a valid name.
	CopiedSecret = "(copied)"

	// secretInfix separates the Artifact's name and the random part in the name of
	// its Secret.
	secretInfix = "-credentials-"
)

// EnsureSecret creates or updates the Secret with the credentials that the Artifact's
// runs need of another namespace, and returns its name. The name is random, so that
// no tenant can refer to the Secret in advance; an existing one is found by its type,
// labels and owner. The hash identifies what was copied; see AnnotationCopyHash.
func EnsureSecret(ctx context.Context, c client.Client, scheme *runtime.Scheme, a *modelv1alpha1.Artifact, metadataLabels map[string]string, data map[string][]byte, hash string) (string, error) {
	there, err := reusableSecrets(ctx, c, a)
	if err != nil {
		return "", err
	}
	if i := slices.IndexFunc(there, func(s corev1.Secret) bool { return s.GetDeletionTimestamp() == nil }); i >= 0 {
		return there[i].GetName(), updateSecret(ctx, c, &there[i], data, hash)
	}

	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name:      secretNameFor(a),
			Namespace: RunNamespace(a),
			Labels:    metadataLabels,

			Annotations: map[string]string{AnnotationCopyHash: hash},
		},
		Type: SecretTypeCredentials,
		Data: data,
	}
	if err := own(a, s, scheme); err != nil {
		return "", err
	}
	return s.GetName(), refusal(a, c.Create(ctx, s), "the Secret of the run's credentials")
}

// secretNameFor returns the name of a Secret in RunNamespace.
func secretNameFor(a *modelv1alpha1.Artifact) string {
	if isolated(a) {
		return withSuffix(a.GetName(), secretSuffix()+uidSuffix(a))
	}
	return secretName(a.GetName())
}

// RenewSecret updates the Secret of this name with the credentials of the Artifact's run,
// if it is one of OwnedSecrets. The run's Pod sees the change within 90 seconds. Values
// that the run has, and that it would not get today, stay: its Pod mounts them.
func RenewSecret(ctx context.Context, c client.Client, a *modelv1alpha1.Artifact, name string, data map[string][]byte, hash string) error {
	there, err := OwnedSecrets(ctx, c, a)
	if err != nil {
		return err
	}
	for i := range there {
		if there[i].GetName() == name && there[i].GetDeletionTimestamp() == nil {
			all := maps.Clone(there[i].Data)
			maps.Copy(all, data)
			return updateSecret(ctx, c, &there[i], all, hash)
		}
	}
	return nil
}

// updateSecret writes data and their hash to a Secret that has other ones.
func updateSecret(ctx context.Context, c client.Client, s *corev1.Secret, data map[string][]byte, hash string) error {
	if equality.Semantic.DeepEqual(s.Data, data) && s.GetAnnotations()[AnnotationCopyHash] == hash {
		return nil
	}
	s.Data = data
	meta.AddAnnotations(s, map[string]string{AnnotationCopyHash: hash})
	return errors.Wrapf(c.Update(ctx, s), "cannot update Secret %q", s.GetName())
}

// secretName returns a name with 128 random bits.
func secretName(artifactName string) string { return withSuffix(artifactName, secretSuffix()) }

// secretSuffix returns the random end of a Secret's name.
func secretSuffix() string { return secretInfix + strings.ToLower(rand.Text()) }

// reusableSecrets returns those of OwnedSecrets that a run may use. In another
// namespace than the Artifact's, that of a Job which is gone is about to be collected.
func reusableSecrets(ctx context.Context, c client.Client, a *modelv1alpha1.Artifact) ([]corev1.Secret, error) {
	secrets, err := OwnedSecrets(ctx, c, a)
	if err != nil || len(secrets) == 0 || !isolated(a) {
		return secrets, err
	}
	job, err := FindOwnedJob(ctx, c, RunNamespace(a), SelectorLabelsForArtifact(a.GetName()), a)
	return slices.DeleteFunc(secrets, func(s corev1.Secret) bool {
		return metav1.GetControllerOf(&s) != nil && (job == nil || !metav1.IsControlledBy(&s, job))
	}), err
}

// BindSecret makes a Job the owner of the Secret that it uses, so that they go together,
// if it is in another namespace than the Artifact: what could own it is not there before
// the Job, whose Pod needs it.
func BindSecret(ctx context.Context, c client.Client, a *modelv1alpha1.Artifact, job *batchv1.Job) error {
	name := job.GetAnnotations()[AnnotationCredentials]
	if name == "" || job.GetNamespace() == a.GetNamespace() {
		return nil
	}
	owner := metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))
	// To block the Job's deletion would need a permission for its finalizers.
	owner.BlockOwnerDeletion = nil
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: job.GetNamespace(), Name: name}}
	bound := s.DeepCopy()
	bound.SetOwnerReferences([]metav1.OwnerReference{*owner})
	return errors.Wrapf(c.Patch(ctx, bound, client.MergeFrom(s)), "cannot make Job %q the owner of Secret %q", job.GetName(), name)
}

// OwnedSecrets returns the Secrets that the provider created for the Artifact's runs in
// RunNamespace: those of SecretTypeCredentials and its labels that the Artifact owns.
func OwnedSecrets(ctx context.Context, c client.Reader, a *modelv1alpha1.Artifact) ([]corev1.Secret, error) {
	list := &corev1.SecretList{}
	if err := c.List(ctx, list, client.InNamespace(RunNamespace(a)), client.MatchingLabels(SelectorLabelsForArtifact(a.GetName()))); err != nil {
		return nil, errors.Wrap(err, "cannot list the Secrets of runs")
	}
	return slices.DeleteFunc(list.Items, func(s corev1.Secret) bool {
		return s.Type != SecretTypeCredentials || !Owns(a, &s)
	}), nil
}

// DeleteSecrets deletes those of OwnedSecrets that are not being deleted yet.
func DeleteSecrets(ctx context.Context, c client.Client, a *modelv1alpha1.Artifact) error {
	secrets, err := OwnedSecrets(ctx, c, a)
	if err != nil {
		return err
	}
	for i := range secrets {
		s := &secrets[i]
		if s.GetDeletionTimestamp() != nil {
			continue
		}
		if err := client.IgnoreNotFound(c.Delete(ctx, s, sameUID(s))); err != nil {
			return errors.Wrapf(err, "cannot delete Secret %q", s.GetName())
		}
	}
	return nil
}

// IsCredentials reports whether the provider created a Secret for a run, by its type,
// or by its labels and its owner. No Artifact may refer to it.
func IsCredentials(s *corev1.Secret) bool {
	return s.Type == SecretTypeCredentials || LooksLikeCredentials(s)
}

// LooksLikeCredentials reports the same if only the Secret's metadata is known.
func LooksLikeCredentials(s metav1.Object) bool {
	c := metav1.GetControllerOf(s)
	return (c != nil && isArtifact(c) || s.GetLabels()[LabelArtifactUID] != "") &&
		labels.SelectorFromSet(CommonLabels()).Matches(labels.Set(s.GetLabels()))
}

// useSecret replaces CopiedSecret in a Job by this name, and annotates the Job with it.
// It returns an error if the Job needs the Secret and the name is empty.
func useSecret(job *batchv1.Job, name string) error {
	var refs []*string
	pod := &job.Spec.Template.Spec
	for i := range pod.Volumes {
		if pod.Volumes[i].Projected == nil {
			continue
		}
		for _, s := range pod.Volumes[i].Projected.Sources {
			if s.Secret != nil && s.Secret.Name == CopiedSecret {
				refs = append(refs, &s.Secret.Name)
			}
		}
	}
	if len(refs) == 0 {
		return nil
	}
	if name == "" {
		return errors.New("cannot make the run's Job: its copied credentials are missing")
	}
	for _, r := range refs {
		*r = name
	}
	job.Annotations = merged(job.Annotations, map[string]string{AnnotationCredentials: name})
	return nil
}
