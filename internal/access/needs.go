// Package access knows what the provider has to be allowed in its cluster, finds
// out what it is not, and says how to grant it.
package access

import (
	"slices"
	"strings"
)

// A Need is something that the provider has to be allowed.
type Need struct {
	// Group and Resource as RBAC has them: with the subresource, if any, as in
	// artifacts/status.
	Group, Resource string

	// Name of the one object that they are needed for; empty for any.
	Name string

	// Verbs that are needed.
	Verbs []string

	// Own says that they are needed in the provider's own namespace only, and
	// not in all.
	Own bool

	// Optional says that the provider works without.
	Optional bool
}

// LeaderElectionID names the Lease by which one of several replicas is elected.
const LeaderElectionID = "crossplane-leader-election-provider-kitops"

// API groups of the provider's kinds.
const (
	groupConfig = "kitops.m.crossplane.io"
	groupModel  = "model.kitops.m.crossplane.io"
)

// Needs is all that the provider has to be allowed. The roles in
// examples/install and those that Crossplane grants to a package are held
// against it. Each authenticated account may ask what it is allowed, which is
// not part of it.
func Needs() []Need {
	read := []string{"get", "list", "watch"}
	and := func(verbs ...string) []string { return append(slices.Clone(read), verbs...) }
	return []Need{
		// Own kinds: finalizers are added by an update, and runs are written to
		// annotations by a patch.
		{Group: groupModel, Resource: "artifacts", Verbs: and("update", "patch")},
		{Group: groupModel, Resource: "artifacts/status", Verbs: []string{"update"}},
		// What an Artifact owns blocks its deletion.
		{Group: groupModel, Resource: "artifacts/finalizers", Verbs: []string{"update"}},
		{Group: groupConfig, Resource: "providerconfigs", Verbs: and("update")},
		{Group: groupConfig, Resource: "providerconfigs/status", Verbs: []string{"update"}},
		{Group: groupConfig, Resource: "clusterproviderconfigs", Verbs: and("update")},
		{Group: groupConfig, Resource: "clusterproviderconfigs/status", Verbs: []string{"update"}},
		{Group: groupConfig, Resource: "providerconfigusages", Verbs: and("create", "update", "delete")},

		// What a run consists of. The provider also reads its own Pod.
		{Group: "batch", Resource: "jobs", Verbs: and("create", "delete")},
		{Resource: "persistentvolumeclaims", Verbs: and("create", "delete")},
		{Resource: "pods", Verbs: read},
		// Credentials are read when they are needed, and the metadata is
		// watched. A run of a ClusterProviderConfig gets a Secret of its own,
		// and connection details are written by a patch.
		{Resource: "secrets", Verbs: and("create", "update", "patch", "delete")},
		// Whether a namespace is being deleted, and the labels by which a
		// ClusterProviderConfig admits it. Only the metadata is watched.
		{Resource: "namespaces", Verbs: read},
		// Why a run does not start is read from events.
		{Resource: "events", Verbs: []string{"list", "create", "patch"}},

		// Which of several replicas works. RBAC cannot tie create to a name
		// (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources).
		{Group: "coordination.k8s.io", Resource: "leases", Verbs: []string{"create"}, Own: true},
		{Group: "coordination.k8s.io", Resource: "leases", Name: LeaderElectionID, Verbs: []string{"get", "update"}, Own: true},

		// Who asks for metrics, and whether they may, with --metrics-secure.
		{Group: "authentication.k8s.io", Resource: "tokenreviews", Verbs: []string{"create"}, Optional: true},
		{Group: "authorization.k8s.io", Resource: "subjectaccessreviews", Verbs: []string{"create"}, Optional: true},
		Kinds(),
	}
}

// Kinds is to watch which kinds there are. Without it, the provider's own have
// to be there before it starts.
func Kinds() Need {
	return Need{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Verbs: []string{"get", "list", "watch"}, Optional: true}
}

// String returns the need as in "list, watch jobs.batch".
func (n Need) String() string {
	resource, subresource, found := strings.Cut(n.Resource, "/")
	if n.Group != "" {
		resource += "." + n.Group
	}
	if found {
		resource += "/" + subresource
	}
	return strings.Join(n.Verbs, ", ") + " " + resource
}
