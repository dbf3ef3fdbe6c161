package apiserver

import (
	"context"
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
	name := namespace + "-" + resource
	policy := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"failurePolicy":      "Fail",
		"reinvocationPolicy": "Never",
		"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
			"apiGroups": []any{group}, "apiVersions": []any{"v1"}, "resources": []any{resource}, "operations": []any{"CREATE"},
		}}},
		"mutations": []any{map[string]any{"patchType": "JSONPatch", "jsonPatch": map[string]any{"expression": expression}}},
	}}}
	binding := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"policyName": name,
		"matchResources": map[string]any{"namespaceSelector": map[string]any{
			"matchLabels": map[string]any{corev1.LabelMetadataName: namespace},
		}},
	}}}
	for kind, o := range map[string]*unstructured.Unstructured{"MutatingAdmissionPolicy": policy, "MutatingAdmissionPolicyBinding": binding} {
		o.SetAPIVersion("admissionregistration.k8s.io/v1")
		o.SetKind(kind)
		o.SetName(name)
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Delete(context.Background(), o) }) // They hold for this namespace only.
	}
}
