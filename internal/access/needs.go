// Package access lists the permissions that the provider needs in its cluster,
// checks which of them are missing, and explains how to grant them.
package access

import (
	"fmt"
	"slices"
	"strings"
)

// A Need is a permission that the provider needs.
type Need struct {
	// Group and Resource as in an RBAC rule: with the subresource, if any, for
	// example artifacts/status.
	Group, Resource string

	// Name of the one object to which the permission applies; empty for all.
	Name string

	// Verbs that are needed.
	Verbs []string

	// Own reports whether the permission is needed in the provider's own
	// namespace only, rather than in all.
	Own bool

	// Runs reports whether the permission is needed only in the namespaces in which
	// runs execute, if the provider is restricted to some.
	Runs bool

	// Namespace of a permission that is checked in one; empty for all.
	Namespace string

	// Optional reports whether the provider works without the permission.
	Optional bool
}

// LeaderElectionID names the Lease by which replicas elect a leader.
const LeaderElectionID = "crossplane-leader-election-provider-kitops"

// SigningKeyName names the Secret with the key by which the provider signs, and the
// ConfigMap with its public key, in the provider's own namespace.
const SigningKeyName = "provider-kitops-signing-key"

// API groups of the provider's kinds.
const (
	groupConfig = "kitops.m.crossplane.io"
	groupModel  = "model.kitops.m.crossplane.io"
)

// Needs returns all permissions that a provider needs, which may be restricted to some
// namespaces for runs (--run-namespace). Tests compare the roles in examples/install,
// and those that Crossplane grants to a package, with it. It leaves out access reviews,
// which every authenticated account may create.
func Needs(restricted bool) []Need {
	all := needs()
	if restricted {
		return append(all,
			// The provider's own Pod, and the Secret with its private key.
			Need{Resource: "pods", Verbs: []string{"get"}, Own: true},
			Need{Resource: "secrets", Name: SigningKeyName, Verbs: []string{"update"}, Own: true},
		)
	}
	var out []Need
	for _, n := range all {
		n.Runs = false
		i := slices.IndexFunc(out, func(o Need) bool {
			return o.Group == n.Group && o.Resource == n.Resource && o.Name == n.Name && o.Own == n.Own && o.Optional == n.Optional
		})
		if i < 0 {
			out = append(out, n)
			continue
		}
		out[i].Verbs = append(out[i].Verbs, n.Verbs...)
	}
	return out
}

// needs returns what a provider needs in either case.
func needs() []Need {
	read := []string{"get", "list", "watch"}
	and := func(verbs ...string) []string { return append(slices.Clone(read), verbs...) }
	return []Need{
		// Own kinds. Finalizers are added by an update, and runs are recorded in
		// annotations by a patch.
		{Group: groupModel, Resource: "artifacts", Verbs: and("update", "patch")},
		{Group: groupModel, Resource: "artifacts/status", Verbs: []string{"update"}},
		// Owner references that block an Artifact's deletion need this.
		{Group: groupModel, Resource: "artifacts/finalizers", Verbs: []string{"update"}},
		{Group: groupConfig, Resource: "providerconfigs", Verbs: and("update")},
		{Group: groupConfig, Resource: "providerconfigs/status", Verbs: []string{"update"}},
		{Group: groupConfig, Resource: "clusterproviderconfigs", Verbs: and("update")},
		{Group: groupConfig, Resource: "clusterproviderconfigs/status", Verbs: []string{"update"}},
		{Group: groupConfig, Resource: "providerconfigusages", Verbs: and("create", "update", "delete")},

		// The objects of a run. The provider also reads its own Pod.
		{Group: "batch", Resource: "jobs", Verbs: and("create", "delete"), Runs: true},
		{Resource: "persistentvolumeclaims", Verbs: and("create", "delete"), Runs: true},
		{Resource: "pods", Verbs: read, Runs: true},
		// Credentials are read when they are needed; only the metadata of
		// Secrets is watched. Connection details are created, and written by a
		// patch, and a run of a ClusterProviderConfig gets a Secret of its own.
		{Resource: "secrets", Verbs: and("create", "patch")},
		{Resource: "secrets", Verbs: []string{"update", "delete"}, Runs: true},
		// What a source is verified by may be in a ConfigMap, which a run in
		// another namespace gets a copy of.
		{Resource: "configmaps", Verbs: []string{"get"}, Optional: true},
		// Namespaces tell whether they are being deleted, and their labels
		// decide which may use a ClusterProviderConfig. Only the metadata is
		// watched.
		{Resource: "namespaces", Verbs: read},
		// Events tell why a run does not start.
		{Resource: "events", Verbs: []string{"create", "patch"}},
		{Resource: "events", Verbs: []string{"list"}, Runs: true},
		// Workloads tell why Kueue does not start a run.
		{Group: "kueue.x-k8s.io", Resource: "workloads", Verbs: []string{"list"}, Runs: true, Optional: true},

		// The leader election's Lease. RBAC cannot restrict create to a name
		// (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources).
		{Group: "coordination.k8s.io", Resource: "leases", Verbs: []string{"create"}, Own: true},
		{Group: "coordination.k8s.io", Resource: "leases", Name: LeaderElectionID, Verbs: []string{"get", "update"}, Own: true},

		// The published key by which artifacts are signed. The private one is in a
		// Secret, which the rule above covers.
		{Resource: "configmaps", Verbs: []string{"create"}, Own: true},
		{Resource: "configmaps", Name: SigningKeyName, Verbs: []string{"get", "update"}, Own: true},

		// Authentication and authorization of metrics with --metrics-secure.
		{Group: "authentication.k8s.io", Resource: "tokenreviews", Verbs: []string{"create"}, Optional: true},
		{Group: "authorization.k8s.io", Resource: "subjectaccessreviews", Verbs: []string{"create"}, Optional: true},
		Kinds(),
	}
}

// Kinds returns the permission to watch CustomResourceDefinitions. Without it,
// the provider's own must exist before it starts.
func Kinds() Need {
	return Need{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Verbs: []string{"get", "list", "watch"}, Optional: true}
}

// String returns the permission in the form "list, watch jobs.batch".
func (n Need) String() string {
	resource, subresource, found := strings.Cut(n.Resource, "/")
	if n.Group != "" {
		resource += "." + n.Group
	}
	if found {
		resource += "/" + subresource
	}
	out := strings.Join(n.Verbs, ", ") + " " + resource
	if n.Namespace != "" {
		out += fmt.Sprintf(" in namespace %q", n.Namespace)
	}
	return out
}
