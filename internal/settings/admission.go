package settings

import (
	"cmp"
	"context"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// admit returns an error with reason NotAllowed if the Artifact asks for what
// its ProviderConfig, or the provider, lets no tenant have.
func (p *providerConfig) admit(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact) error {
	if p.cluster {
		if err := p.admitNamespace(ctx, kube, a.GetNamespace()); err != nil {
			return err
		}
		if err := p.admitRepository(a); err != nil {
			return err
		}
	}
	return p.admitSettings(a)
}

// admitNamespace checks a ClusterProviderConfig's namespaceSelector.
func (p *providerConfig) admitNamespace(ctx context.Context, kube client.Reader, namespace string) error {
	if p.NamespaceSelector == nil {
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(p.NamespaceSelector)
	if err != nil {
		return outcome.Errorf(outcome.NotAllowed, "ClusterProviderConfig %q has a namespaceSelector that cannot be read: correct it", p.name).Because(err)
	}
	// Its metadata is what the cache has.
	ns := &metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := kube.Get(ctx, types.NamespacedName{Name: namespace}, ns); err != nil {
		return errors.Wrap(err, "cannot get the Artifact's namespace")
	}
	if !selector.Matches(labels.Set(ns.GetLabels())) {
		return outcome.Errorf(outcome.NotAllowed, "ClusterProviderConfig %q is not for namespace %q: ask for its labels to be those of the config's namespaceSelector, or write another in spec.providerConfigRef", p.name, namespace)
	}
	return nil
}

// admitRepository checks a ClusterProviderConfig's registry.repositoryPrefix
// for what the Artifact pushes to, deletes from, or observes.
func (p *providerConfig) admitRepository(a *modelv1alpha1.Artifact) error {
	if p.Registry.RepositoryPrefix == "" {
		return nil
	}
	if t := a.Spec.ForProvider.Target; t != nil {
		if err := p.admitName(a, cmp.Or(string(t.Registry), p.host()), t.Repository); err != nil {
			return err
		}
	}
	if !OnlyObserves(a) {
		return nil
	}
	ref, err := ExistingReference(a, p.host())
	if err != nil {
		return nil //nolint:nilerr // Nothing is named, and Observe says so.
	}
	return p.admitName(a, ref.Registry, ref.Repository)
}

// admitName checks the prefix for one repository.
func (p *providerConfig) admitName(a *modelv1alpha1.Artifact, host, repository string) error {
	prefix := p.prefixFor(a)
	if host != p.host() || !strings.HasPrefix(repository, prefix) {
		return outcome.Errorf(outcome.NotAllowed, "ClusterProviderConfig %q lets namespace %q use repositories of %s that start with %s, and this is %s/%s: make an Artifact with such a repository, or write another config in spec.providerConfigRef",
			p.name, a.GetNamespace(), p.host(), prefix, host, repository)
	}
	return nil
}

// admitConnectionSecret returns an error with reason NotAllowed if the Artifact
// asks for its connection details in a Secret that the provider made for a run.
func (r *Resolver) admitConnectionSecret(ctx context.Context, a *modelv1alpha1.Artifact) error {
	ref := a.GetWriteConnectionSecretToReference()
	if ref == nil || meta.WasDeleted(a) {
		return nil
	}
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := r.Metadata.Get(ctx, types.NamespacedName{Namespace: a.GetNamespace(), Name: ref.Name}, secret)
	if err != nil || !artifact.LooksLikeCredentials(secret) {
		return errors.Wrap(client.IgnoreNotFound(err), "cannot look for the connection Secret")
	}
	return outcome.Errorf(outcome.NotAllowed, "Secret %q is the provider's own copy of credentials, for one run: write another name in spec.writeConnectionSecretToRef", ref.Name)
}
