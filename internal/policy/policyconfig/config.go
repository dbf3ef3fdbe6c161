// Package policyconfig reads policies from configs of the API. It is a package of its own, so
// that the worker, which gets its policies as JSON, does not link Kubernetes' clients.
package policyconfig

import (
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
)

// Policy returns the policy of a config, whose name is for messages. Without one, the
// policy has no rule.
func Policy(of string, c *v1alpha1.ContentPolicy) policy.Policy {
	out := policy.Policy{Of: of}
	if c == nil {
		return out
	}
	if m := c.Models; m != nil {
		out.Models = policy.Rules{Allow: words(m.Allow), Deny: words(m.Deny)}
	}
	if l := c.Licenses; l != nil {
		out.Licenses = policy.Rules{Allow: words(l.Allow), Deny: words(l.Deny)}
		out.DeclaredLicenses = l.Declared == v1alpha1.DeclaredLicensesAllow
	}
	if f := c.Files; f != nil {
		out.Files = policy.Rules{Allow: words(f.Allow), Deny: words(f.Deny)}
	}
	out.HubScan, out.RequireAttestedSource = policy.HubScan(c.HubScan), c.RequireAttestedSource
	if c.MaxSize != nil {
		out.MaxSize = max(c.MaxSize.Value(), 1)
	}
	return out
}

// words returns values as strings.
func words[T ~string](all []T) []string {
	var out []string
	for _, one := range all {
		out = append(out, string(one))
	}
	return out
}
