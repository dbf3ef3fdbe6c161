package access

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pkgv1 "github.com/crossplane/crossplane/apis/v2/pkg/v1"
	"github.com/crossplane/crossplane/apis/v2/pkg/v1beta1"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/crossplane-contrib/provider-kitops/internal/access/accesstest"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// TestInstallFitsTogether checks that the files of examples/install refer to each
// other's objects and to the published image.
func TestInstallFitsTogether(t *testing.T) {
	provider, config, binding := &pkgv1.Provider{}, &v1beta1.DeploymentRuntimeConfig{}, &rbacv1.ClusterRoleBinding{}
	read(t, "provider.yaml", provider)
	read(t, "runtimeconfig.yaml", config)
	lent := &rbacv1.RoleBinding{}
	read(t, "rbac.yaml", &rbacv1.ClusterRole{}, binding, &rbacv1.Role{}, lent)

	if image, _, _ := strings.Cut(version.Image(), ":"); !strings.HasPrefix(provider.Spec.Package, image+":") {
		t.Errorf("the package is %s, and the published image %s", provider.Spec.Package, image)
	}
	if got := provider.Spec.RuntimeConfigReference; got == nil || got.Name != config.GetName() {
		t.Errorf("the Provider names the runtime config %v, and there is %q", got, config.GetName())
	}
	if got := ptr.Deref(config.Spec.ServiceAccountTemplate.Metadata.Name, ""); got != binding.Subjects[0].Name {
		t.Errorf("the provider runs as %q, and the role is bound to %q", got, binding.Subjects[0].Name)
	}
	if diff := cmp.Diff(binding.Subjects, lent.Subjects); diff != "" {
		t.Errorf("the roles are bound to different accounts: %s", diff)
	}
	if roleFile != "examples/install/rbac.yaml" {
		t.Errorf("messages name %s", roleFile)
	}
}

// TestInstalledPodIsAdmitted checks that the restricted Pod security standard
// admits the provider's own Pods, and that they have probes and requests.
func TestInstalledPodIsAdmitted(t *testing.T) {
	config := &v1beta1.DeploymentRuntimeConfig{}
	read(t, "runtimeconfig.yaml", config)
	deployment := &appsv1.Deployment{}
	read(t, "without-crossplane.yaml", &corev1.Namespace{}, &corev1.ServiceAccount{}, &rbacv1.ClusterRole{},
		&rbacv1.ClusterRoleBinding{}, &rbacv1.Role{}, &rbacv1.RoleBinding{}, deployment)

	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for name, template := range map[string]corev1.PodTemplateSpec{
		"runtimeconfig.yaml":      config.Spec.DeploymentTemplate.Spec.Template,
		"without-crossplane.yaml": deployment.Spec.Template,
	} {
		result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec))
		if !result.Allowed {
			t.Errorf("%s: the restricted Pod security standard refuses the Pod: %s", name, result.ForbiddenDetail())
		}
		c := template.Spec.Containers[0]
		if c.LivenessProbe == nil || c.ReadinessProbe == nil || len(c.Resources.Requests) == 0 {
			t.Errorf("%s: the container has no probes, or asks for nothing", name)
		}
		if !ptr.Deref(c.SecurityContext.ReadOnlyRootFilesystem, false) || ptr.Deref(template.Spec.SecurityContext.RunAsUser, 0) == 0 {
			t.Errorf("%s: the container can write its root, or its user has no number", name)
		}
	}
}

// read reads the objects of a file of examples/install, in their order. A field
// that their types do not have is an error.
func read(t *testing.T, file string, into ...runtime.Object) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "examples", "install", file))
	if err != nil {
		t.Fatal(err)
	}
	documents := bytes.Split(data, []byte("\n---\n"))
	if len(documents) != len(into) {
		t.Fatalf("%s has %d objects, want %d", file, len(documents), len(into))
	}
	for i, d := range documents {
		if err := yaml.UnmarshalStrict(d, into[i]); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
}

// TestRolesUnderCrossplane checks that examples/install grants exactly the needed
// permissions that Crossplane does not grant, and those by which the Pod of an old
// version releases its Lease after Crossplane has revoked its grant.
func TestRolesUnderCrossplane(t *testing.T) {
	crossplane := accesstest.Crossplane(t)
	lease := Need{Group: "coordination.k8s.io", Resource: "leases", Name: LeaderElectionID, Own: true}
	for file, restricted := range map[string]bool{roleFile: false, restrictedRoleFile: true} {
		want := []string{
			permission("get", lease),
			permission("update", lease),
		}
		for _, n := range Needs(restricted) {
			for _, verb := range n.Verbs {
				if !slices.ContainsFunc(crossplane, func(r rbacv1.PolicyRule) bool { return covers(r, verb, n) }) {
					want = append(want, permission(verb, n))
				}
			}
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, granted(t, filepath.Base(file))); diff != "" {
			t.Errorf("%s: -needed, +granted:\n%s", file, diff)
		}
	}
}

// TestRolesWithoutCrossplane checks that the roles for an installation without
// Crossplane grant exactly the needed permissions.
func TestRolesWithoutCrossplane(t *testing.T) {
	for file, restricted := range map[string]bool{"without-crossplane.yaml": false, "without-crossplane-run-namespace.yaml": true} {
		var want []string
		for _, n := range Needs(restricted) {
			for _, verb := range n.Verbs {
				want = append(want, permission(verb, n))
			}
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, granted(t, file)); diff != "" {
			t.Errorf("%s: -needed, +granted:\n%s", file, diff)
		}
	}
}

// TestNeedsAreUnique checks that no two needs are of the same resource in the same
// namespaces.
func TestNeedsAreUnique(t *testing.T) {
	for _, restricted := range []bool{false, true} {
		seen := map[string]bool{}
		for _, n := range Needs(restricted) {
			if key := fmt.Sprint(n.Group, "/", n.Resource, "/", n.Name, n.Own, n.Runs); seen[key] {
				t.Errorf("%s is there twice", key)
			} else {
				seen[key] = true
			}
			if len(n.Verbs) == 0 || len(slices.Compact(slices.Sorted(slices.Values(n.Verbs)))) != len(n.Verbs) {
				t.Errorf("%s: verbs %v", n.Resource, n.Verbs)
			}
		}
	}
}

// permission returns one verb of a need as a text.
func permission(verb string, n Need) string {
	p := n.Group + "/" + n.Resource + " " + verb
	if n.Name != "" {
		p += " named " + n.Name
	}
	if n.Own {
		p += " in its own namespace"
	}
	if n.Runs {
		p += " in the namespace for runs"
	}
	return p
}

// granted returns what the roles of a file of examples/install grant, sorted.
func granted(t *testing.T, file string) []string {
	t.Helper()
	var out []string
	roles := accesstest.InstalledRoles(t, file)
	for _, r := range roles.Everywhere {
		out = append(out, permissions(t, r, Need{})...)
	}
	for _, r := range roles.Own {
		out = append(out, permissions(t, r, Need{Own: true})...)
	}
	for _, r := range roles.Runs {
		out = append(out, permissions(t, r, Need{Runs: true})...)
	}
	slices.Sort(out)
	return out
}

// permissions returns all permissions that a rule grants where this need is. It fails the
// test for a rule with URLs, which the provider does not need.
func permissions(t *testing.T, r rbacv1.PolicyRule, in Need) []string {
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
					out = append(out, permission(verb, Need{Group: group, Resource: resource, Name: name, Own: in.Own, Runs: in.Runs}))
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
