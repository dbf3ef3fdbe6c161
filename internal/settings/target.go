package settings

import (
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// policies returns the runtime's reading of an Artifact's management policies. It
// treats the feature as enabled: if it is not, the runtime refuses all
// but the default.
func policies(a *modelv1alpha1.Artifact) managed.ManagementPoliciesChecker {
	return managed.NewManagementPoliciesResolver(true, a.GetManagementPolicies())
}

// MayCreate reports whether the Artifact's management policies allow to build an
// artifact where there is none.
func MayCreate(a *modelv1alpha1.Artifact) bool { return policies(a).ShouldCreate() }

// MayUpdate reports whether the Artifact's management policies allow to rebuild or
// retag the artifact that exists.
func MayUpdate(a *modelv1alpha1.Artifact) bool { return policies(a).ShouldUpdate() }

// OnlyObserves reports whether the Artifact's management policies allow to look at
// an artifact and not to build one. The runtime's ShouldOnlyObserve is stricter: it
// is false for Observe with Delete or LateInitialize, by which nothing is built.
func OnlyObserves(a *modelv1alpha1.Artifact) bool { return !MayCreate(a) && !MayUpdate(a) }

// ExistingReference returns the artifact that an Artifact only observes: the one
// that the annotation crossplane.io/external-name names, with a tag or a digest;
// else its target, in its own registry or in the ProviderConfig's, which is the
// host.
func ExistingReference(a *modelv1alpha1.Artifact, host string) (registry.Reference, error) {
	name := meta.GetExternalName(a)
	ref, err := registry.ParseReference(name)
	if err == nil {
		return ref, nil
	}
	t := a.Spec.ForProvider.Target
	if t == nil && name == "" {
		return ref, outcome.Errorf(outcome.ConfigMissing, "No artifact is named: write the annotation crossplane.io/external-name, with registry/repository:tag or registry/repository@digest")
	}
	if t == nil {
		return ref, outcome.Errorf(outcome.Unsupported, "The annotation crossplane.io/external-name is %q, which names no artifact: write registry/repository:tag or registry/repository@digest", name)
	}
	if t.Registry != "" {
		host = string(t.Registry)
	}
	return registry.Reference{Registry: host, Repository: t.Repository, Tag: artifact.Tag(a)}, nil
}

// locationOf returns the host of the Artifact's registry, which defaults to the
// config's, and its repository.
func (p *providerConfig) locationOf(a *modelv1alpha1.Artifact) (host, repository string) {
	if OnlyObserves(a) {
		if ref, err := ExistingReference(a, p.host()); err == nil {
			return ref.Registry, ref.Repository
		}
	}
	if t := a.Spec.ForProvider.Target; t != nil && t.Registry != "" {
		return string(t.Registry), artifact.Repository(a)
	}
	return p.host(), artifact.Repository(a)
}
