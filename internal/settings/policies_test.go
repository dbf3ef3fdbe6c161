package settings

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
)

func TestPolicies(t *testing.T) {
	rules := func() v1alpha1.ContentPolicy {
		return v1alpha1.ContentPolicy{
			Models:   &v1alpha1.ModelRules{Allow: []v1alpha1.ModelPattern{"Qwen/*"}, Deny: []v1alpha1.ModelPattern{"*-x"}},
			Licenses: &v1alpha1.LicenseRules{Deny: []v1alpha1.LicenseName{"gpl"}, Declared: v1alpha1.DeclaredLicensesAllow},
			Files:    &v1alpha1.FileRules{Allow: []v1alpha1.FileFormat{"gguf"}},
			HubScan:  v1alpha1.HubScanRequire, MaxSize: ptr.To(resource.MustParse("1Ki")), RequireAttestedSource: true,
		}
	}
	all := policy.Policy{
		Models: policy.Rules{Allow: []string{"Qwen/*"}, Deny: []string{"*-x"}}, Licenses: policy.Rules{Deny: []string{"gpl"}}, DeclaredLicenses: true,
		Files: policy.Rules{Allow: []string{"gguf"}}, HubScan: policy.HubScanRequire, MaxSize: 1024, RequireAttestedSource: true,
	}
	named := func(p policy.Policy, of string) policy.Policy { p.Of = of; return p }
	own := func(c v1alpha1.ContentPolicy) *v1alpha1.ProviderConfig {
		pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "own"}}
		pc.Spec.Registry.Host, pc.Spec.Policy = credentialsHost, &c
		return pc
	}
	cluster := func(name string, change func(*v1alpha1.ClusterProviderConfigSpec)) *v1alpha1.ClusterProviderConfig {
		pc := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: name}}
		pc.Spec.Registry.Host, pc.Spec.Policy = credentialsHost, &v1alpha1.ClusterPolicy{ContentPolicy: rules()}
		if change != nil {
			change(&pc.Spec)
		}
		return pc
	}
	smaller := v1alpha1.ContentPolicy{MaxSize: ptr.To(resource.MustParse("512"))}
	small := policy.Policy{Of: `ProviderConfig "own"`, MaxSize: 512}
	prefixed := func(prefix string) *v1alpha1.ClusterProviderConfig {
		return cluster("over", func(s *v1alpha1.ClusterProviderConfigSpec) { s.Registry.RepositoryPrefix = prefix })
	}
	selecting := func(team string) *v1alpha1.ClusterProviderConfig {
		return cluster("over", func(s *v1alpha1.ClusterProviderConfigSpec) {
			s.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": team}}
		})
	}
	over := named(all, `ClusterProviderConfig "over"`)
	cases := map[string]struct {
		reason string
		config client.Object
		others []client.Object
		change func(*modelv1alpha1.Artifact)
		want   policy.Set
	}{
		"Cluster":    {reason: "A ClusterProviderConfig's policy should apply to its Artifacts.", config: cluster("over", nil), want: policy.Set{over}},
		"Namespaced": {reason: "A ProviderConfig's policy should apply to its Artifacts.", config: own(rules()), want: policy.Set{named(all, `ProviderConfig "own"`)}},
		"None":       {reason: "Without a rule there should be no policy.", config: own(v1alpha1.ContentPolicy{HubScan: v1alpha1.HubScanIgnore}), want: policy.Set{}},
		"Both":       {reason: "The policies of both should apply to a ProviderConfig's Artifacts.", config: own(smaller), others: []client.Object{cluster("over", nil)}, want: policy.Set{small, over}},
		"Wider":      {reason: "A ProviderConfig without a rule should not lift the administrator's.", config: own(v1alpha1.ContentPolicy{}), others: []client.Object{cluster("over", nil)}, want: policy.Set{over}},
		"HostInCapitals": {
			reason: "Another spelling of the registry's host should lift nothing.", config: own(v1alpha1.ContentPolicy{}), others: []client.Object{cluster("over", nil)},
			change: func(a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Target.Registry = "Registry.Example.com:443"
			}, want: policy.Set{over},
		},
		"OtherHost":      {reason: "A policy for another registry should not apply.", config: own(smaller), others: []client.Object{cluster("over", func(s *v1alpha1.ClusterProviderConfigSpec) { s.Registry.Host = "other.example.com" })}, want: policy.Set{small}},
		"Prefix":         {reason: "A policy for the repository should apply.", config: own(v1alpha1.ContentPolicy{}), others: []client.Object{prefixed("models/")}, want: policy.Set{over}},
		"OtherPrefix":    {reason: "A policy for other repositories should not apply.", config: own(smaller), others: []client.Object{prefixed("reviewed/{namespace}/")}, want: policy.Set{small}},
		"Namespace":      {reason: "A policy for the namespace should apply.", config: own(v1alpha1.ContentPolicy{}), others: []client.Object{selecting("a")}, want: policy.Set{over}},
		"OtherNamespace": {reason: "A policy for other namespaces should not apply.", config: own(smaller), others: []client.Object{selecting("b")}, want: policy.Set{small}},
		"OtherCluster":   {reason: "A ClusterProviderConfig's Artifacts should have its policy alone: one for tests and one for production may be for the same registry.", config: cluster("over", nil), others: []client.Object{cluster("a", nil)}, want: policy.Set{over}},
		"Deleted": {
			reason: "What is being deleted should have no policy.", config: cluster("over", nil),
			change: func(a *modelv1alpha1.Artifact) {
				a.DeletionTimestamp, a.Finalizers = ptr.To(metav1.Now()), []string{"x"}
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a", Labels: map[string]string{"team": "a"}}}
			a := credentialsArtifact(false)
			if tc.change != nil {
				tc.change(a)
			}
			s, err := resolve(t, newKube(t, append([]client.Object{ns}, tc.others...)...), tc.config, a)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, s.Policies); diff != "" {
				t.Errorf("\n%s\nPolicies: -want, +got:\n%s", tc.reason, diff)
			}
			passed, err := policy.Decode(s.Effective.Policy)
			if diff := cmp.Diff(len(tc.want), len(passed)); diff != "" || err != nil {
				t.Errorf("\nA run should get the policies.\nEffective.Policy: -want, +got:\n%s\nerror: %v", diff, err)
			}
		})
	}
}

// TestPoliciesChangeConfigHash checks that a change of another config's policy lets a
// failed run be tried again.
func TestPoliciesChangeConfigHash(t *testing.T) {
	pc := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "own"}}
	pc.Spec.Registry.Host = credentialsHost
	over := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "over", Generation: 1}}
	over.Spec.Registry.Host = credentialsHost
	over.Spec.Policy = &v1alpha1.ClusterPolicy{ContentPolicy: v1alpha1.ContentPolicy{HubScan: v1alpha1.HubScanWarn}}
	hash := func() string {
		t.Helper()
		s, err := resolve(t, newKube(t, over.DeepCopy()), pc, credentialsArtifact(false))
		if err != nil {
			t.Fatal(err)
		}
		h, err := s.ConfigHash(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	before := hash()
	over.Generation = 2
	if hash() == before {
		t.Error("ConfigHash(): want another hash after the policy of a ClusterProviderConfig for the registry has changed")
	}
}
