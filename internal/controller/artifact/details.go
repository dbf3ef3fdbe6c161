package artifact

import (
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// Keys of an Artifact's connection details.
const (
	detailRegistry        = "registry"
	detailRepository      = "repository"
	detailTag             = "tag"
	detailDigest          = "digest"
	detailReference       = "reference"
	detailPinnedReference = "pinnedReference"
)

// admitConnectionSecret returns an error with reason NotAllowed if the Artifact
// asks for its connection details in a Secret that the provider made for a run.
func (c *connector) admitConnectionSecret(ctx context.Context, a *modelv1alpha1.Artifact) error {
	ref := a.GetWriteConnectionSecretToReference()
	if ref == nil || meta.WasDeleted(a) {
		return nil
	}
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := c.metadata.Get(ctx, types.NamespacedName{Namespace: a.GetNamespace(), Name: ref.Name}, secret)
	if err != nil || !artifact.LooksLikeCredentials(secret) {
		return errors.Wrap(client.IgnoreNotFound(err), "cannot look for the connection Secret")
	}
	return outcome.Errorf(outcome.NotAllowed, "Secret %q is the provider's own copy of credentials, for one run: write another name in spec.writeConnectionSecretToRef", ref.Name)
}

// connectionDetails say where the artifact is that was pushed last, or that is
// observed. There are none before the first is there.
func connectionDetails(a *modelv1alpha1.Artifact) managed.ConnectionDetails {
	s := a.Status.AtProvider
	if s.Digest == "" {
		return nil
	}
	details := managed.ConnectionDetails{
		detailDigest:          []byte(s.Digest),
		detailReference:       []byte(s.Reference),
		detailPinnedReference: []byte(s.PinnedReference),
	}
	if ref, err := registry.ParseReference(s.Reference); err == nil {
		details[detailRegistry], details[detailRepository], details[detailTag] = []byte(ref.Registry), []byte(ref.Repository), []byte(ref.Tag)
	}
	return details
}
