package access

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/access/accesstest"
)

// TestRolesUnderCrossplane: what examples/install grants is what is needed less
// what Crossplane grants, and what an old version's Pod hands its work over
// with once Crossplane has taken its grant away.
func TestRolesUnderCrossplane(t *testing.T) {
	crossplane := accesstest.Crossplane(t)
	lease := Need{Group: "coordination.k8s.io", Resource: "leases", Name: LeaderElectionID, Own: true}
	want := []string{
		permission("get", lease),
		permission("update", lease),
	}
	for _, n := range Needs() {
		for _, verb := range n.Verbs {
			if !slices.ContainsFunc(crossplane, func(r rbacv1.PolicyRule) bool { return covers(r, verb, n) }) {
				want = append(want, permission(verb, n))
			}
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, granted(t, "rbac.yaml")); diff != "" {
		t.Errorf("rbac.yaml: -needed, +granted:\n%s", diff)
	}
}

// TestRolesWithoutCrossplane: the roles there are exactly what is needed.
func TestRolesWithoutCrossplane(t *testing.T) {
	var want []string
	for _, n := range Needs() {
		for _, verb := range n.Verbs {
			want = append(want, permission(verb, n))
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, granted(t, "without-crossplane.yaml")); diff != "" {
		t.Errorf("without-crossplane.yaml: -needed, +granted:\n%s", diff)
	}
}

// TestNeedsNameEachThingOnce: two needs of one resource would hide each other.
func TestNeedsNameEachThingOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range Needs() {
		if key := n.Group + "/" + n.Resource + "/" + n.Name; seen[key] {
			t.Errorf("%s is there twice", key)
		} else {
			seen[key] = true
		}
		if len(n.Verbs) == 0 || len(slices.Compact(slices.Sorted(slices.Values(n.Verbs)))) != len(n.Verbs) {
			t.Errorf("%s: verbs %v", n.Resource, n.Verbs)
		}
	}
}

// permission is one verb of a need.
func permission(verb string, n Need) string {
	p := n.Group + "/" + n.Resource + " " + verb
	if n.Name != "" {
		p += " named " + n.Name
	}
	if n.Own {
		p += " in its own namespace"
	}
	return p
}

// granted returns what the roles of a file of examples/install grant, sorted.
func granted(t *testing.T, file string) []string {
	t.Helper()
	var out []string
	everywhere, own := accesstest.Installed(t, file)
	for _, r := range everywhere {
		out = append(out, permissions(t, r, false)...)
	}
	for _, r := range own {
		out = append(out, permissions(t, r, true)...)
	}
	slices.Sort(out)
	return out
}

// permissions returns all that a rule grants. URLs are not what anything here
// needs.
func permissions(t *testing.T, r rbacv1.PolicyRule, own bool) []string {
	t.Helper()
	if len(r.NonResourceURLs) > 0 {
		t.Errorf("a rule with URLs: %v", r)
	}
	names := r.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	var out []string
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			for _, name := range names {
				for _, verb := range r.Verbs {
					out = append(out, permission(verb, Need{Group: group, Resource: resource, Name: name, Own: own}))
				}
			}
		}
	}
	return out
}

// covers reports whether a rule of a ClusterRole grants a verb of a need.
func covers(r rbacv1.PolicyRule, verb string, n Need) bool {
	in := func(list []string, s string) bool { return slices.Contains(list, s) || slices.Contains(list, "*") }
	_, sub, found := strings.Cut(n.Resource, "/")
	return in(r.APIGroups, n.Group) && in(r.Verbs, verb) &&
		(in(r.Resources, n.Resource) || found && slices.Contains(r.Resources, "*/"+sub))
}
