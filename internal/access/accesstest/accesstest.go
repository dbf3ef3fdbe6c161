// Package accesstest provides accounts for tests with exactly the permissions
// that a provider has in a cluster.
package accesstest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// An Account is a user of an API server that starts without any permission.
type Account struct {
	// Namespace and Name of the user's ServiceAccount.
	Namespace, Name string

	kube client.Client
}

// NewAccount returns the ServiceAccount provider-kitops of a namespace, which need
// not exist. The client must be an administrator's.
func NewAccount(kube client.Client, namespace string) *Account {
	return &Account{Namespace: namespace, Name: "provider-kitops", kube: kube}
}

// Config returns an administrator's configuration that impersonates the account.
func (a *Account) Config(admin *rest.Config) *rest.Config {
	c := rest.CopyConfig(admin)
	c.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + a.Namespace + ":" + a.Name}
	return c
}

// Grant grants the account these rules under a name, until the test ends or they
// are revoked.
func (a *Account) Grant(t testing.TB, name string, rules []rbacv1.PolicyRule) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: a.Namespace + "-" + name}
	t.Cleanup(func() { a.Revoke(t, name) })
	err := errors.Join(
		a.kube.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}),
		a.kube.Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: a.Name, Namespace: a.Namespace}},
		}))
	if err != nil {
		t.Fatal(err)
	}
}

// Revoke revokes the rules that were granted under a name.
func (a *Account) Revoke(t testing.TB, name string) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: a.Namespace + "-" + name}
	for _, o := range []client.Object{&rbacv1.ClusterRoleBinding{ObjectMeta: meta}, &rbacv1.ClusterRole{ObjectMeta: meta}} {
		// The test's own context has ended when it cleans up.
		if err := client.IgnoreNotFound(a.kube.Delete(context.WithoutCancel(t.Context()), o)); err != nil {
			t.Error(err)
		}
	}
}

// Crossplane returns what Crossplane v2.4's RBAC manager grants to a provider
// with this source tree's CustomResourceDefinitions and the capability
// safe-start (internal/controller/rbac/provider/roles of crossplane/crossplane).
func Crossplane(t testing.TB) []rbacv1.PolicyRule {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root(t), "package", "crds", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{"", "coordination.k8s.io"}, Resources: []string{"secrets", "configmaps", "events", "leases"}, Verbs: []string{"*"}},
		{APIGroups: []string{"apiextensions.k8s.io"}, Resources: []string{"customresourcedefinitions"}, Verbs: []string{"get", "list", "watch"}},
	}
	for _, file := range files {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		decode(t, read(t, file), crd)
		rules = append(rules,
			rbacv1.PolicyRule{
				APIGroups: []string{crd.Spec.Group},
				Resources: []string{crd.Spec.Names.Plural, crd.Spec.Names.Plural + "/status"},
				Verbs:     []string{"get", "list", "watch", "update", "patch", "create"},
			},
			rbacv1.PolicyRule{APIGroups: []string{crd.Spec.Group}, Resources: []string{"*/finalizers"}, Verbs: []string{"update"}})
	}
	return rules
}

// RunNamespace is the namespace for runs in examples/install.
const RunNamespace = "kitops-runs"

// Installed returns what the roles in a file of examples/install grant: everywhere, and
// in the provider's own namespace. Those in RunNamespace are left out.
func Installed(t testing.TB, file string) (everywhere, own []rbacv1.PolicyRule) {
	t.Helper()
	roles := InstalledRoles(t, file)
	return roles.Everywhere, roles.Own
}

// Roles are what the roles in a file of examples/install grant.
type Roles struct {
	// Everywhere, in the provider's own namespace, and in RunNamespace.
	Everywhere, Own, Runs []rbacv1.PolicyRule
}

// InstalledRoles returns what the roles in a file of examples/install grant.
func InstalledRoles(t testing.TB, file string) Roles {
	t.Helper()
	var out Roles
	data := read(t, filepath.Join(root(t), "examples", "install", file))
	for _, document := range bytes.Split(data, []byte("\n---\n")) {
		role := &rbacv1.ClusterRole{}
		decode(t, document, role)
		switch {
		case role.Kind == "ClusterRole":
			out.Everywhere = append(out.Everywhere, role.Rules...)
		case role.Kind == "Role" && role.GetNamespace() == RunNamespace:
			out.Runs = append(out.Runs, role.Rules...)
		case role.Kind == "Role":
			out.Own = append(out.Own, role.Rules...)
		}
	}
	return out
}

// GrantIn grants the account these rules in one namespace, until the test ends.
func (a *Account) GrantIn(t testing.TB, namespace, name string, rules []rbacv1.PolicyRule) {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: namespace, Name: a.Namespace + "-" + name}
	err := errors.Join(
		a.kube.Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}),
		a.kube.Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: a.Name, Namespace: a.Namespace}},
		}))
	if err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decode(t testing.TB, data []byte, into any) {
	t.Helper()
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// root returns the folder of the source tree that the working directory is in.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "package", "crds")); err == nil {
			return dir
		}
	}
	t.Fatal("cannot find package/crds: run the test inside of the source tree")
	return ""
}
