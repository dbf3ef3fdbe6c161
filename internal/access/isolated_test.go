package access

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/pod-security-admission/api"
	"sigs.k8s.io/yaml"

	"github.com/crossplane-contrib/provider-kitops/internal/access/accesstest"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestIsolatedRuns checks the namespace for runs in examples/install, and which addresses
// a run there reaches.
func TestIsolatedRuns(t *testing.T) {
	ns, quota, limits := &corev1.Namespace{}, &corev1.ResourceQuota{}, &corev1.LimitRange{}
	runs, registry, identity := &networkingv1.NetworkPolicy{}, &networkingv1.NetworkPolicy{}, &networkingv1.NetworkPolicy{}
	read(t, "isolated-runs.yaml", ns, quota, limits, runs, registry, identity)
	if ns.GetName() != accesstest.RunNamespace || ns.GetLabels()[api.EnforceLevelLabel] != string(api.LevelRestricted) {
		t.Errorf("the namespace is %q with labels %v", ns.GetName(), ns.GetLabels())
	}
	for _, in := range []string{quota.GetNamespace(), limits.GetNamespace(), runs.GetNamespace(), registry.GetNamespace(), identity.GetNamespace()} {
		if in != accesstest.RunNamespace {
			t.Errorf("an object is in namespace %q", in)
		}
	}
	if len(runs.Spec.Ingress) != 1 || runs.Spec.Ingress[0].Ports[0].Port.IntValue() != outcome.ProgressPort {
		t.Errorf("the provider should reach the port of a run's progress, got %v", runs.Spec.Ingress)
	}
	for _, p := range []*networkingv1.NetworkPolicy{runs, registry, identity} {
		if !slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
			t.Errorf("policy %q does not restrict what runs reach", p.GetName())
		}
	}
	cases := map[string]struct {
		reason  string
		args    []string
		reaches bool
	}{
		"Public":    {reason: "The Hub and public registries should be reached.", args: []string{"1.1.1.1", "8.8.8.8", "203.0.113.7", "2606:4700::1111"}, reaches: true},
		"Private":   {reason: "Private networks, with the cluster's Pods and Services, should not be reached.", args: []string{"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd00::1"}},
		"LinkLocal": {reason: "A cloud's metadata service should not be reached.", args: []string{"169.254.169.254", "169.254.170.2", "fe80::1", "fd00:ec2::254"}},
		"Local":     {reason: "The Pod's node should not be reached by an address of its own.", args: []string{"127.0.0.1", "0.0.0.0", "::", "::1"}},
		"Multicast": {reason: "Groups should not be reached.", args: []string{"224.0.0.1", "255.255.255.255", "ff02::1"}},
		"Mapped":    {reason: "Private addresses should not be reached by their IPv6 addresses of NAT64.", args: []string{"64:ff9b::a00:1"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, a := range tc.args {
				if got := reaches(t, runs, netip.MustParseAddr(a)); got != tc.reaches {
					t.Errorf("\n%s\n%s: want %t, got %t", tc.reason, a, tc.reaches, got)
				}
			}
		})
	}
}

// reaches reports whether a policy allows to reach an address on port 443.
func reaches(t *testing.T, p *networkingv1.NetworkPolicy, a netip.Addr) bool {
	t.Helper()
	for _, rule := range p.Spec.Egress {
		if !slices.ContainsFunc(rule.Ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.IntValue() == 443 }) {
			continue
		}
		for _, to := range rule.To {
			within := func(cidr string) bool { return to.IPBlock != nil && netip.MustParsePrefix(cidr).Contains(a) }
			if within(to.IPBlock.CIDR) && !slices.ContainsFunc(to.IPBlock.Except, within) {
				return true
			}
		}
	}
	return false
}

// A ciliumPolicy has the fields of a CiliumNetworkPolicy that examples/install uses
// (https://docs.cilium.io/en/stable/security/policy/language/).
type ciliumPolicy struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct{ Name, Namespace string }
	Spec       struct {
		EndpointSelector *ciliumSelector `json:"endpointSelector"`
		Ingress          []struct {
			FromEndpoints []ciliumSelector `json:"fromEndpoints"`
			ToPorts       []ciliumPorts    `json:"toPorts"`
		} `json:"ingress"`
		Egress []struct {
			ToEndpoints []ciliumSelector `json:"toEndpoints"`
			ToFQDNs     []struct {
				MatchName    string `json:"matchName"`
				MatchPattern string `json:"matchPattern"`
			} `json:"toFQDNs"`
			ToPorts []ciliumPorts `json:"toPorts"`
		} `json:"egress"`
	}
}

type ciliumSelector struct {
	MatchLabels      map[string]string `json:"matchLabels"`
	MatchExpressions []struct {
		Key      string   `json:"key"`
		Operator string   `json:"operator"`
		Values   []string `json:"values"`
	} `json:"matchExpressions"`
}

type ciliumPorts struct {
	Ports []struct {
		Port     string `json:"port"`
		Protocol string `json:"protocol"`
	} `json:"ports"`
	Rules *struct {
		DNS []struct {
			MatchPattern string `json:"matchPattern"`
		} `json:"dns"`
	} `json:"rules"`
}

// TestIsolatedRunsCilium checks the variant of the policy with host names.
func TestIsolatedRunsCilium(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "examples", "install", "isolated-runs-cilium.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p := ciliumPolicy{}
	if err := yaml.UnmarshalStrict(data, &p); err != nil {
		t.Fatal(err)
	}
	if p.APIVersion != "cilium.io/v2" || p.Kind != "CiliumNetworkPolicy" || p.Metadata.Namespace != accesstest.RunNamespace || p.Spec.EndpointSelector == nil {
		t.Errorf("got %s %s in namespace %q", p.APIVersion, p.Kind, p.Metadata.Namespace)
	}
	names, dns := 0, false
	for _, rule := range p.Spec.Egress {
		names += len(rule.ToFQDNs)
		for _, n := range rule.ToFQDNs {
			if (n.MatchName == "") == (n.MatchPattern == "") || strings.Contains(n.MatchName, "*") || strings.Contains(n.MatchPattern, "**") {
				t.Errorf("host %+v", n)
			}
		}
		for _, ports := range rule.ToPorts {
			// Without a rule for DNS Cilium learns no addresses of names.
			dns = dns || ports.Rules != nil && len(ports.Rules.DNS) > 0
		}
	}
	if names == 0 || !dns {
		t.Errorf("want names and a rule for DNS, got %d and %t", names, dns)
	}
}
