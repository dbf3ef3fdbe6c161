package artifact

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// defaultWorkspaceSize has room for three times a model of 8 billion parameters.
var defaultWorkspaceSize = resource.MustParse("50Gi")

// NeedsWorkspace reports whether the Artifact's pipeline needs a workspace.
func NeedsWorkspace(a *modelv1alpha1.Artifact) bool {
	return Pipeline(a) == modelv1alpha1.PipelineKit
}

// BuildPVC returns the workspace of an Artifact's runs, without an owner.
func BuildPVC(artifact *modelv1alpha1.Artifact, labels map[string]string) *corev1.PersistentVolumeClaim {
	// The claim must not share memory with the Artifact.
	storage := storageFor(artifact.DeepCopy())
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Name:      WorkspaceName(artifact),
			Namespace: RunNamespace(artifact),
			Labels:    merged(labels, identityLabels(artifact)),
			Annotations: merged(map[string]string{
				AnnotationRunHash:   RunHash(artifact),
				AnnotationBuildHash: hashOf(storage),
			}, identityAnnotations(artifact)),
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: storage.StorageClassName,
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: *storage.Size},
			},
		},
	}
}

// FitsWorkspace reports whether a workspace was requested with the run hash, size and
// class that the Artifact's runs need now. Later changes of the claim, such as an
// expansion, do not matter.
func FitsWorkspace(a *modelv1alpha1.Artifact, pvc *corev1.PersistentVolumeClaim) bool {
	return pvc.GetAnnotations()[AnnotationRunHash] == RunHash(a) && sameBuild(pvc, BuildPVC(a, nil), AnnotationBuildHash)
}

// storageFor returns the Artifact's storage settings, with its ProviderConfig's and
// then the provider's as defaults.
func storageFor(a *modelv1alpha1.Artifact) v1alpha1.StorageSettings {
	out := v1alpha1.StorageSettings{}
	for _, s := range []*v1alpha1.StorageSettings{a.Spec.ForProvider.Storage, a.Effective.Storage} {
		if s == nil {
			continue
		}
		out.Size = cmp.Or(out.Size, s.Size)
		out.StorageClassName = cmp.Or(out.StorageClassName, s.StorageClassName)
	}
	if out.Size == nil {
		out.Size = &defaultWorkspaceSize
	}
	return out
}

// EnsurePVC creates the Artifact's workspace in RunNamespace unless it exists. It returns an error if
// the claim is being deleted, and one with reason WorkspaceConflict if it is not the
// Artifact's.
func EnsurePVC(ctx context.Context, c client.Client, scheme *runtime.Scheme, ma *modelv1alpha1.Artifact, labels map[string]string) error {
	pvc := BuildPVC(ma, labels)
	if err := own(ma, pvc, scheme); err != nil {
		return err
	}
	err := c.Create(ctx, pvc)
	if !kerrors.IsAlreadyExists(err) {
		return refusal(ma, err, fmt.Sprintf("PersistentVolumeClaim %q", pvc.GetName()))
	}

	there := &corev1.PersistentVolumeClaim{}
	if err := c.Get(ctx, client.ObjectKeyFromObject(pvc), there); err != nil {
		return errors.Wrapf(err, "cannot get PersistentVolumeClaim %q", pvc.GetName())
	}
	if !Owns(ma, there) {
		return conflict("PersistentVolumeClaim", pvc.GetName())
	}
	if there.GetDeletionTimestamp() != nil {
		return errors.Errorf("cannot use PersistentVolumeClaim %q: it is being deleted", pvc.GetName())
	}
	return nil
}

// DeletePVC deletes the Artifact's workspace in RunNamespace if it exists and is the Artifact's.
func DeletePVC(ctx context.Context, c client.Client, ma *modelv1alpha1.Artifact) error {
	return deleteOwned(ctx, c, ma, "PersistentVolumeClaim", WorkspaceName(ma), &corev1.PersistentVolumeClaim{})
}

// deleteOwned deletes the object of this kind and name in RunNamespace if it exists, the
// Artifact owns it and it is not being deleted yet.
func deleteOwned(ctx context.Context, c client.Client, a *modelv1alpha1.Artifact, kind, name string, o client.Object) error {
	err := c.Get(ctx, types.NamespacedName{Namespace: RunNamespace(a), Name: name}, o)
	if kerrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return errors.Wrapf(err, "cannot get %s %q", kind, name)
	}
	if !Owns(a, o) || o.GetDeletionTimestamp() != nil {
		return nil
	}
	return errors.Wrapf(client.IgnoreNotFound(c.Delete(ctx, o, sameUID(o))), "cannot delete %s %q", kind, name)
}

// sameUID is the precondition that the object is still o, and not another one with its
// name.
func sameUID(o client.Object) client.DeleteOption {
	uid := o.GetUID()
	return client.Preconditions{UID: &uid}
}

// conflict returns the error for an object of another owner with the name of one of the
// Artifact's.
func conflict(kind, name string) error {
	return outcome.Errorf(outcome.WorkspaceConflict, "%s %q is not this Artifact's: delete or rename it, or give the Artifact another name", kind, name)
}

// CheckSourceClaim returns an error if the claim that the Artifact's source names is the
// workspace of an Artifact's runs, which is no source: it changes and goes with its run.
// A claim that does not exist is no error, and the run waits for it, unless its name could
// become that of a workspace meanwhile.
func CheckSourceClaim(ctx context.Context, c client.Reader, a *modelv1alpha1.Artifact) error {
	if a.Spec.ForProvider.Source == nil || a.Spec.ForProvider.Source.PersistentVolumeClaim == nil {
		return nil
	}
	name := a.Spec.ForProvider.Source.PersistentVolumeClaim.ClaimName
	pvc := &corev1.PersistentVolumeClaim{}
	if err := c.Get(ctx, types.NamespacedName{Namespace: a.GetNamespace(), Name: name}, pvc); client.IgnoreNotFound(err) != nil {
		return errors.Wrapf(err, "cannot get PersistentVolumeClaim %q", name)
	}
	owner := metav1.GetControllerOf(pvc)
	later := pvc.GetName() == "" && strings.HasSuffix(name, PVCSuffix)
	if later || name == WorkspaceName(a) || pvc.GetLabels()[LabelArtifactUID] != "" || (owner != nil && isArtifact(owner)) {
		return outcome.Errorf(outcome.Unsupported,
			"PersistentVolumeClaim %q is the workspace of an Artifact's runs, which is deleted with them: name a claim of your own in spec.forProvider.source.persistentVolumeClaim.claimName", name)
	}
	return nil
}
