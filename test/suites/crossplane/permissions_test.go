package crossplane

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
)

// testPermissions starts the provider without the right to Jobs, which neither
// Crossplane nor an administrator grants it at first, and grants it later.
func testPermissions(t *testing.T) {
	installed(t, v1)
	revoke(t, "batch")
	former := providerPod(t)
	if err := local.Client.Delete(t.Context(), former); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another Pod of the provider", func(ctx context.Context) string {
		pods, err := providerPods(ctx)
		if err != nil || len(pods) != 1 || pods[0].GetUID() == former.GetUID() {
			return fmt.Sprintf("%d Pods, error %v", len(pods), err)
		}
		return ""
	})
	waitInstalled(t, v1)
	pod := providerPod(t)

	n := newTenant(t)
	n.create("waiting")
	a := n.waitReady("waiting", "False", "PermissionMissing")
	message := a.GetCondition(xpv2.TypeReady).Message
	for what, text := range map[string]string{"the Artifact": message, "the provider's log": providerLog(t)} {
		for _, want := range []string{"create", "watch", "jobs.batch", "examples/install/rbac.yaml"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q: %s", what, want, text)
			}
		}
	}

	apply(t, v1)
	n.waitReady("waiting", "True", "Available")
	after := providerPod(t)
	if after.GetUID() != pod.GetUID() || after.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Error("the provider went on with the permission only after a restart")
	}
}

// revoke takes an API group out of the ClusterRole of examples/install.
func revoke(t *testing.T, group string) {
	t.Helper()
	role := &rbacv1.ClusterRole{}
	if err := local.Client.Get(t.Context(), types.NamespacedName{Name: providerName}, role); err != nil {
		t.Fatal(err)
	}
	role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.APIGroups, group) })
	if err := local.Client.Update(t.Context(), role); err != nil {
		t.Fatal(err)
	}
}
