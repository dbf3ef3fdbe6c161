package settings

import (
	"testing"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// TestKnowsRegistry decides which registries the provider itself asks for tags wherever they
// are.
func TestKnowsRegistry(t *testing.T) {
	allow := func(patterns ...v1alpha1.ModelPattern) *v1alpha1.ContentPolicy {
		return &v1alpha1.ContentPolicy{Models: &v1alpha1.ModelRules{Allow: patterns}}
	}
	cases := map[string]struct {
		reason              string
		host                string
		policy              *v1alpha1.ContentPolicy
		cluster, namespaced bool
	}{
		"Own":       {reason: "The config's own registry should be asked.", host: "registry.example.com", cluster: true, namespaced: true},
		"Other":     {reason: "Another one is only the author's word.", host: "registry.internal:5000"},
		"Named":     {reason: "A policy of an administrator should name others; a tenant's should not.", host: "registry.internal:5000", policy: allow("Qwen/*", "registry.internal:5000/models/*"), cluster: true},
		"Any":       {reason: "A pattern for any model names no registry.", host: "registry.internal:5000", policy: allow("*")},
		"Like":      {reason: "A pattern of another host names no registry.", host: "registry.internal:5000", policy: allow("*.internal:5000/*", "registry.internal/*")},
		"OnlyHosts": {reason: "A model's name is no registry.", host: "Qwen", policy: allow("Qwen")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cluster, namespaced := &v1alpha1.ClusterProviderConfig{}, &v1alpha1.ProviderConfig{}
			cluster.Spec.Registry.Host, namespaced.Spec.Registry.Host = "registry.example.com", "registry.example.com"
			if tc.policy != nil {
				cluster.Spec.Policy, namespaced.Spec.Policy = &v1alpha1.ClusterPolicy{ContentPolicy: *tc.policy}, tc.policy
			}
			if got := fromClusterProviderConfig(cluster).knowsRegistry(tc.host); got != tc.cluster {
				t.Errorf("\n%s\nClusterProviderConfig: want %t, got %t", tc.reason, tc.cluster, got)
			}
			if got := fromProviderConfig(namespaced).knowsRegistry(tc.host); got != tc.namespaced {
				t.Errorf("\n%s\nProviderConfig: want %t, got %t", tc.reason, tc.namespaced, got)
			}
		})
	}
}
