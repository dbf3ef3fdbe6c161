package apiserver

import (
	"context"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ChangeOnAdmission has the API server change what is created of a kind in a
// namespace, until the test ends, as queues, meshes and policy engines do. The
// expression is the JSON patch of a MutatingAdmissionPolicy
// (https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/).
// The API server takes some seconds until it applies a policy: the caller must
// wait for that.
func ChangeOnAdmission(t testing.TB, c client.Client, namespace, group, resource, expression string) {
	t.Helper()
	addPolicy(t, c, namespace, group, resource, "MutatingAdmissionPolicy", map[string]any{
		"reinvocationPolicy": "Never",
		"mutations":          []any{map[string]any{"patchType": "JSONPatch", "jsonPatch": map[string]any{"expression": expression}}},
	}, nil)
}

// RefuseOnAdmission has the API server refuse what is created of a kind in a namespace
// unless the expression of a ValidatingAdmissionPolicy holds
// (https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/),
// until the test ends. The caller must wait, as for ChangeOnAdmission, whose changes it
// sees.
func RefuseOnAdmission(t testing.TB, c client.Client, namespace, group, resource, expression string) {
	t.Helper()
	addPolicy(t, c, namespace, group, resource, "ValidatingAdmissionPolicy", map[string]any{
		"validations": []any{map[string]any{"expression": expression}},
	}, map[string]any{"validationActions": []any{"Deny"}})
}

// addPolicy adds an admission policy of a kind and its binding to a namespace, with the
// fields that other kinds do not have.
func addPolicy(t testing.TB, c client.Client, namespace, group, resource, kind string, policy, binding map[string]any) {
	t.Helper()
	name := namespace + "-" + resource
	spec := map[string]any{
		"failurePolicy": "Fail",
		"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
			"apiGroups": []any{group}, "apiVersions": []any{"v1"}, "resources": []any{resource}, "operations": []any{"CREATE"},
		}}},
	}
	maps.Copy(spec, policy)
	bound := map[string]any{
		"policyName": name,
		"matchResources": map[string]any{"namespaceSelector": map[string]any{
			"matchLabels": map[string]any{corev1.LabelMetadataName: namespace},
		}},
	}
	maps.Copy(bound, binding)
	for kind, spec := range map[string]map[string]any{kind: spec, kind + "Binding": bound} {
		o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
		o.SetAPIVersion("admissionregistration.k8s.io/v1")
		o.SetKind(kind)
		o.SetName(name)
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Delete(context.Background(), o) }) // They hold for this namespace only.
	}
}
