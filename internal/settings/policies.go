package settings

import (
	"context"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/policy/policyconfig"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// addPolicies adds the policies that apply to the Artifact: that of its config, and
// for a ProviderConfig, which is a tenant's own, those of the ClusterProviderConfigs
// that are for the same registry, the Artifact's namespace and its repository. So no
// tenant publishes by a config of their own what the administrator of the registry
// refuses.
func (s *Settings) addPolicies(ctx context.Context, a *modelv1alpha1.Artifact) error {
	if OnlyObserves(a) || meta.WasDeleted(a) {
		return nil
	}
	all := []policy.Policy{s.config.contentPolicy()}
	s.policyVersions = nil
	if !s.config.cluster {
		over, err := overseers(ctx, s.cached, a, s.registry)
		if err != nil {
			return err
		}
		for _, o := range over {
			all, s.policyVersions = append(all, o.contentPolicy()), append(s.policyVersions, o.version)
		}
	}
	s.Policies = policy.NewSet(all...)
	var err error
	s.Effective.Policy, err = s.Policies.Encode()
	return err
}

// overseers returns the ClusterProviderConfigs with a policy that are for a registry,
// and for the Artifact's namespace and its repository there, in the order of their
// names.
func overseers(ctx context.Context, kube client.Reader, a *modelv1alpha1.Artifact, e endpoint) ([]*providerConfig, error) {
	list := &v1alpha1.ClusterProviderConfigList{}
	// The list is not modified.
	if err := kube.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, errors.Wrap(err, "cannot list ClusterProviderConfigs")
	}
	var out []*providerConfig
	for i := range list.Items {
		p := fromClusterProviderConfig(&list.Items[i])
		if p.Policy == nil || !sameHost(p.host(), e.host) || !strings.HasPrefix(e.repository, p.prefixFor(a)) {
			continue
		}
		switch err := p.admitNamespace(ctx, kube, a.GetNamespace()); {
		case err == nil:
			out = append(out, p)
		case outcome.ReasonOf(err) != outcome.NotAllowed:
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b *providerConfig) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// sameHost reports whether two names are of the same registry, whatever their case and
// with a default port or without.
func sameHost(a, b string) bool { return registry.CanonicalHost(a) == registry.CanonicalHost(b) }

// contentPolicy returns the config's policy for what is packaged and published.
func (p *providerConfig) contentPolicy() policy.Policy {
	if p.Policy == nil {
		return policyconfig.Policy(p.String(), nil)
	}
	return policyconfig.Policy(p.String(), &p.Policy.ContentPolicy)
}
