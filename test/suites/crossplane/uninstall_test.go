package crossplane

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// testUninstall deletes everything, Artifacts first, and looks for what is left
// of the provider.
func testUninstall(t *testing.T) {
	installed(t, v1)
	n := newTenant(t)
	n.create("last")
	n.waitReady("last", "True", "Available")

	for _, args := range [][]string{
		{"delete", "artifacts.model.kitops.m.crossplane.io", "--all", "--all-namespaces"},
		{"delete", "providerconfigs.kitops.m.crossplane.io", "--all", "--all-namespaces"},
		{"delete", "clusterproviderconfigs.kitops.m.crossplane.io", "--all"},
	} {
		kubectl(t, "", append(args, "--timeout="+patience.String())...)
	}
	for _, namespace := range tenants(t) {
		n := &tenant{t: t, namespace: namespace}
		// The counts of their uses are the garbage collector's.
		eventually(t, "nothing left in namespace "+namespace, func(context.Context) string { return strings.Join(n.left(), ", ") })
		kubectl(t, "", "delete", "namespace", namespace, "--timeout="+patience.String())
	}
	kubectl(t, example(t, "isolated-runs.yaml"), "delete", "--filename=-", "--ignore-not-found", "--timeout="+patience.String())
	kubectl(t, manifests(t, v1), "delete", "--filename=-", "--timeout="+patience.String())
	kubectl(t, activation, "delete", "--filename=-", "--timeout="+patience.String())
	// What the provider's own account made has no owner.
	kubectl(t, "", "delete", "lease", lease, "--namespace="+local.Cluster.CrossplaneNamespace())
	// The key stays, as long as what it signed may be verified.
	kubectl(t, "", "delete", "secret,configmap", "provider-kitops-signing-key", "--namespace="+local.Cluster.CrossplaneNamespace())

	before := ""
	eventually(t, "nothing left of the provider", func(ctx context.Context) string {
		left, err := traces(ctx)
		if err != nil {
			return err.Error() + "; before: " + before
		}
		before = strings.Join(left, "\n")
		return before
	})
}

// tenants are the namespaces that the tests made.
func tenants(t *testing.T) []string {
	t.Helper()
	var out []string
	list := &corev1.NamespaceList{}
	if err := local.Client.List(t.Context(), list, client.HasLabels{"pod-security.kubernetes.io/enforce"}); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if strings.HasPrefix(list.Items[i].GetName(), "tenant-") {
			out = append(out, list.Items[i].GetName())
		}
	}
	return out
}

// traces are the objects of whatever kind whose names tell that they are the
// provider's, but for its CRDs: those who delete them delete what is of them.
func traces(ctx context.Context) ([]string, error) {
	kinds, err := local.Cluster.Kubectl(ctx, "api-resources", "--verbs=list", "--output=name").Output()
	if err != nil {
		return nil, errors.Wrap(err, "cannot list the kinds of objects")
	}
	wanted := slices.DeleteFunc(strings.Fields(string(kinds)), func(k string) bool {
		return strings.HasPrefix(k, "events") || strings.HasPrefix(k, "customresourcedefinitions.")
	})
	// A kind may go between these two.
	objects, err := local.Cluster.Kubectl(ctx, "get", strings.Join(wanted, ","), "--all-namespaces", "--output=name", "--ignore-not-found").Output()
	return slices.DeleteFunc(strings.Fields(string(objects)), func(o string) bool { return !strings.Contains(o, "kitops") }),
		errors.Wrap(err, "cannot list objects")
}
