package artifact

import (
	"context"
	"fmt"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// EnsureSecret makes the Secret that holds what the Artifact's runs need of
// credentials from another namespace, and keeps its data as supplied. A Secret
// of that name that is not the Artifact's is not touched: that is an error
// with reason WorkspaceConflict.
func EnsureSecret(ctx context.Context, c client.Client, scheme *runtime.Scheme, a *modelv1alpha1.Artifact, labels map[string]string, data map[string][]byte) error {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name:      SecretName(a.GetName()),
			Namespace: a.GetNamespace(),
			Labels:    labels,
		},
		Data: data,
	}
	if err := controllerutil.SetControllerReference(a, s, scheme); err != nil {
		return errors.Wrap(err, "cannot own the run's Secret")
	}
	err := c.Create(ctx, s)
	if !kerrors.IsAlreadyExists(err) {
		return Refusal(err, fmt.Sprintf("Secret %q", s.GetName()))
	}

	there := &corev1.Secret{}
	if err := c.Get(ctx, client.ObjectKeyFromObject(s), there); err != nil {
		return errors.Wrapf(err, "cannot get Secret %q", s.GetName())
	}
	if !metav1.IsControlledBy(there, a) {
		return conflict("Secret", s.GetName())
	}
	if there.GetDeletionTimestamp() != nil {
		return errors.Errorf("cannot use Secret %q: it is being deleted", s.GetName())
	}
	if equality.Semantic.DeepEqual(there.Data, data) {
		return nil
	}
	there.Data = data
	return errors.Wrapf(c.Update(ctx, there), "cannot update Secret %q", s.GetName())
}

// DeleteSecret deletes the Secret of the Artifact's runs. One that is not
// there, or is not the Artifact's, is left alone.
func DeleteSecret(ctx context.Context, c client.Client, a *modelv1alpha1.Artifact) error {
	return deleteOwned(ctx, c, a, "Secret", SecretName(a.GetName()), &corev1.Secret{})
}
