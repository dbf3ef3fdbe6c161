package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/policy/policyconfig"
)

var (
	configResource        = v1alpha1.SchemeGroupVersion.WithResource("providerconfigs")
	clusterConfigResource = v1alpha1.SchemeGroupVersion.WithResource("clusterproviderconfigs")
)

// A configName names a config of either kind.
type configName struct{ kind, name string }

// parseConfig returns the config that a user names: NAME of a ClusterProviderConfig, or
// ProviderConfig/NAME.
func parseConfig(s string) (configName, error) {
	kind, name, ok := strings.Cut(s, "/")
	if !ok {
		kind, name = v1alpha1.ClusterProviderConfigGroupVersionKind.Kind, s
	}
	for _, k := range []string{v1alpha1.ClusterProviderConfigGroupVersionKind.Kind, v1alpha1.ProviderConfigGroupVersionKind.Kind} {
		if strings.EqualFold(k, kind) && name != "" {
			return configName{kind: k, name: name}, nil
		}
	}
	return configName{}, errors.Errorf("--config %s is no config: write NAME or ProviderConfig/NAME", s)
}

// String names the config in messages, as the provider does.
func (c configName) String() string { return fmt.Sprintf("%s %q", c.kind, c.name) }

// rules are what configs say of an import.
type rules struct {
	policies policy.Set
	host     string // Of the registry; "" if it is not known.
	endpoint string // Of the Hub; "" for the default one.
	hasToken bool   // Whether runs have a token, or an identity, for the Hub.

	refused []string // Why an Artifact would not be admitted.
	unknown []string // What could not be found out.
}

// rulesFor returns what configs say of an import into a namespace. What the user may not
// read is unknown, which is for the provider to decide.
func (k *cluster) rulesFor(ctx context.Context, of configName, t target) *rules {
	r := &rules{}
	u, err := k.configs(of.kind).Get(ctx, of.name, metav1.GetOptions{})
	if err != nil {
		r.unknown = append(r.unknown, describe(err, "cannot get %s", of).Error())
		return r
	}
	if of.kind == v1alpha1.ProviderConfigGroupVersionKind.Kind {
		pc, err := as[v1alpha1.ProviderConfig](u)
		if err != nil {
			r.unknown = append(r.unknown, err.Error())
			return r
		}
		r.host = string(pc.Spec.Registry.Host)
		if hf := pc.Spec.HuggingFace; hf != nil {
			r.endpoint, r.hasToken = string(hf.Endpoint), hf.TokenSecretRef != nil
		}
		r.policies = policy.NewSet(append([]policy.Policy{policyconfig.Policy(of.String(), pc.Spec.Policy)}, k.overseers(ctx, t, r)...)...)
		return r
	}
	pc, err := as[v1alpha1.ClusterProviderConfig](u)
	if err != nil {
		r.unknown = append(r.unknown, err.Error())
		return r
	}
	r.host = string(pc.Spec.Registry.Host)
	if hf := pc.Spec.HuggingFace; hf != nil {
		r.endpoint, r.hasToken = string(hf.Endpoint), hf.TokenSecretRef != nil || hf.Identity != nil
	}
	r.policies = policy.NewSet(policyOf(pc))
	if why := k.admits(ctx, pc, t, r); why != "" {
		r.refused = append(r.refused, why)
	}
	return r
}

// configs returns the configs of a kind: of the user's namespace, or of the cluster.
func (k *cluster) configs(kind string) dynamic.ResourceInterface {
	if kind == v1alpha1.ProviderConfigGroupVersionKind.Kind {
		return k.Resource(configResource).Namespace(k.namespace)
	}
	return k.Resource(clusterConfigResource)
}

// policyOf returns the policy of a ClusterProviderConfig.
func policyOf(pc *v1alpha1.ClusterProviderConfig) policy.Policy {
	of := configName{kind: v1alpha1.ClusterProviderConfigGroupVersionKind.Kind, name: pc.GetName()}.String()
	if pc.Spec.Policy == nil {
		return policyconfig.Policy(of, nil)
	}
	return policyconfig.Policy(of, &pc.Spec.Policy.ContentPolicy)
}

// overseers returns the policies of ClusterProviderConfigs that also apply to a tenant's
// own config: of those for the same registry that admit the namespace and the repository.
func (k *cluster) overseers(ctx context.Context, t target, r *rules) []policy.Policy {
	all, err := listAs[v1alpha1.ClusterProviderConfig](ctx, k.Resource(clusterConfigResource), metav1.ListOptions{}, "ClusterProviderConfigs")
	if err != nil {
		r.unknown = append(r.unknown, err.Error())
		return nil
	}
	host := r.host
	if t.registry != "" {
		host = t.registry
	}
	var out []policy.Policy
	for i := range all {
		pc := &all[i]
		if strings.EqualFold(string(pc.Spec.Registry.Host), host) && k.admits(ctx, pc, target{repository: t.repository}, r) == "" {
			out = append(out, policyOf(pc))
		}
	}
	return out
}

// admits returns why a ClusterProviderConfig admits no Artifact of the user's namespace
// with a target; "" if it does. A namespace that cannot be read is taken for admitted.
func (k *cluster) admits(ctx context.Context, pc *v1alpha1.ClusterProviderConfig, t target, r *rules) string {
	prefix := strings.ReplaceAll(pc.Spec.Registry.RepositoryPrefix, "{namespace}", k.namespace)
	host := string(pc.Spec.Registry.Host)
	if prefix != "" && (!strings.HasPrefix(t.repository, prefix) || t.registry != "" && t.registry != host) {
		return fmt.Sprintf("ClusterProviderConfig %q admits for namespace %q only repositories of %s that start with %s: write such a one in --to", pc.GetName(), k.namespace, host, prefix)
	}
	if pc.Spec.NamespaceSelector == nil {
		return ""
	}
	selector, err := metav1.LabelSelectorAsSelector(pc.Spec.NamespaceSelector)
	if err != nil {
		return fmt.Sprintf("ClusterProviderConfig %q has an invalid namespaceSelector", pc.GetName())
	}
	ns, err := k.Resource(nsResource).Get(ctx, k.namespace, metav1.GetOptions{})
	if err != nil {
		if why := describe(err, "cannot get namespace %s", k.namespace).Error(); !slices.Contains(r.unknown, why) {
			r.unknown = append(r.unknown, why)
		}
		return ""
	}
	if selector.Matches(labels.Set(ns.GetLabels())) {
		return ""
	}
	return fmt.Sprintf("ClusterProviderConfig %q does not admit namespace %q: write another one in --config, or ask its administrator", pc.GetName(), k.namespace)
}

// completeConfigs completes names of ClusterProviderConfigs.
func (c *command) completeConfigs(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.complete(cmd.Context(), nil, func(k *cluster) dynamic.ResourceInterface { return k.Resource(clusterConfigResource) })
}
