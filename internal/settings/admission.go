package settings

import (
	"cmp"
	"context"
	"slices"
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

// admit returns an error with reason NotAllowed if the ProviderConfig does not admit
// the Artifact: its namespace, its repository, or what it sets of runs.
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
	selector, err := p.selector()
	if err != nil {
		return err
	}
	ns := Namespace()
	if err := kube.Get(ctx, types.NamespacedName{Name: namespace}, ns); err != nil {
		return errors.Wrap(err, "cannot get the Artifact's namespace")
	}
	if !selector.Matches(labels.Set(ns.GetLabels())) {
		return outcome.Errorf(outcome.NotAllowed, "ClusterProviderConfig %q does not admit namespace %q: ask its administrator to label the namespace as the config's namespaceSelector selects, or write another config in spec.providerConfigRef", p.name, namespace)
	}
	return nil
}

// admitRunNamespace returns an error with reason NotAllowed if the Artifact's runs would
// execute in a namespace that the provider does not use.
func (r *Resolver) admitRunNamespace(a *modelv1alpha1.Artifact, namespace string) error {
	if len(r.RunNamespaces) == 0 || slices.Contains(r.RunNamespaces, namespace) || meta.WasDeleted(a) || OnlyObserves(a) {
		return nil
	}
	return outcome.Errorf(outcome.NotAllowed, "The provider executes runs only in %s, and not in %q: use a ClusterProviderConfig whose job.namespace is one of them, or ask the provider's administrator to add --run-namespace=%s",
		strings.Join(r.RunNamespaces, ", "), namespace, namespace)
}

// admitRepository checks a ClusterProviderConfig's registry.repositoryPrefix for the
// repositories that the Artifact pushes to, deletes from or observes.
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
		return nil //nolint:nilerr // No artifact is named, which Observe reports.
	}
	return p.admitName(a, ref.Registry, ref.Repository)
}

// admitName checks one repository for the prefix.
func (p *providerConfig) admitName(a *modelv1alpha1.Artifact, host, repository string) error {
	prefix := p.prefixFor(a)
	if host != p.host() || !strings.HasPrefix(repository, prefix) {
		return outcome.Errorf(outcome.NotAllowed, "ClusterProviderConfig %q admits for namespace %q only repositories of %s that start with %s, and not %s/%s: create an Artifact with such a repository, or write another config in spec.providerConfigRef",
			p.name, a.GetNamespace(), p.host(), prefix, host, repository)
	}
	return nil
}

// admitConnectionSecret returns an error with reason NotAllowed if the connection
// details would go to a Secret that the provider created for a run.
func (r *Resolver) admitConnectionSecret(ctx context.Context, a *modelv1alpha1.Artifact) error {
	ref := a.GetWriteConnectionSecretToReference()
	if ref == nil || meta.WasDeleted(a) {
		return nil
	}
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := r.Metadata.Get(ctx, types.NamespacedName{Namespace: a.GetNamespace(), Name: ref.Name}, secret)
	if err != nil || !artifact.LooksLikeCredentials(secret) {
		return errors.Wrap(client.IgnoreNotFound(err), "cannot get the connection Secret")
	}
	return outcome.Errorf(outcome.NotAllowed, "Secret %q is the provider's copy of credentials for a run: write another name in spec.writeConnectionSecretToRef", ref.Name)
}
