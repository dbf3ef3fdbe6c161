//go:build linux

package node

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/crossplane-contrib/provider-kitops/test/cluster"
)

func TestCrossplaneRunsAndLeavesNothing(t *testing.T) {
	needE2E(t)
	before := lookAround(t)
	dir := filepath.Join(t.TempDir(), "state")
	t.Cleanup(func() {
		if err := Down(context.Background(), dir); err != nil {
			t.Errorf("Down(...): %v", err)
		}
	})
	c, err := Up(t.Context(), Options{Dir: dir, Log: t.Output(), Attached: true, Crossplane: &Crossplane{Activations: []string{"*.example.org"}}})
	if err != nil {
		t.Fatalf("Up(...): %v", err)
	}
	inside := namespacesOf(t, c)
	for what, tc := range map[string]struct {
		args []string
		want string
	}{
		"the policy that was asked for": {args: []string{"get", "managedresourceactivationpolicy", "default", "--output=jsonpath={.spec.activate}"}, want: `["*.example.org"]`},
		"what packages run with":        {args: []string{"get", "deploymentruntimeconfig", "default", "--output=name"}, want: "deploymentruntimeconfig.pkg.crossplane.io/default"},
	} {
		if out, err := c.Kubectl(t.Context(), tc.args...).CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != tc.want {
			t.Errorf("%s: want %s, got %s, error %v", what, tc.want, out, err)
		}
	}
	definition(t, c)
	if out, err := c.CrossplaneCLI(t.Context(), "resource", "trace", "managedresourceactivationpolicy/default").CombinedOutput(); err != nil {
		t.Errorf("c.CrossplaneCLI(...): %v: %s", err, out)
	}
	if err := Down(t.Context(), c.Dir()); err != nil {
		t.Fatalf("Down(...): %v", err)
	}
	inside.gone(t)
	before.same(t, c.Dir())
}

// definition makes a CompositeResourceDefinition, of which core makes a CRD and
// the RBAC manager a ClusterRole.
func definition(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	cmd := c.Kubectl(t.Context(), "apply", "--filename=-")
	cmd.Stdin = strings.NewReader(`
apiVersion: apiextensions.crossplane.io/v2
kind: CompositeResourceDefinition
metadata: {name: things.example.org}
spec:
  scope: Namespaced
  group: example.org
  names: {kind: Thing, plural: things}
  versions:
    - {name: v1, served: true, referenceable: true, schema: {openAPIV3Schema: {type: object}}}
`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl apply: %v: %s", err, out)
	}
	var out []byte
	if err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		var err error
		out, err = c.Kubectl(ctx, "get", "crd/things.example.org", "clusterrole/crossplane:composite:things.example.org:aggregate-to-edit").CombinedOutput()
		return err == nil, nil
	}); err != nil {
		t.Errorf("Crossplane does not work: %v: %s", err, out)
	}
}
