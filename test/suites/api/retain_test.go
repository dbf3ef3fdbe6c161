package api

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// TestRetainByDefault has the API server apply examples/gitops/retain-by-default.yaml.
func TestRetainByDefault(t *testing.T) {
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	objects := map[string]string{}
	addObjects(objects, "", read(t, "../../../examples/gitops/retain-by-default.yaml"))
	for _, text := range objects {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		if o.GetKind() == "MutatingAdmissionPolicyBinding" {
			// Other tests create Artifacts, too.
			if err := unstructured.SetNestedStringMap(o.Object, map[string]string{corev1.LabelMetadataName: namespace}, "spec", "matchResources", "namespaceSelector", "matchLabels"); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Delete(context.Background(), o) })
	}

	all := []string{"*"}
	retained := []string{"Observe", "Create", "Update", "LateInitialize"}
	// The API server takes some seconds until it applies a policy.
	if err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		a := artifact(t, namespace, minimal, nil)
		err := c.Create(ctx, a, client.DryRunAll)
		return slices.Equal(policiesOf(t, a), retained), err
	}); err != nil {
		t.Fatalf("the policy is not applied: %v", err)
	}

	cases := map[string]struct {
		reason      string
		created     []string
		annotations map[string]string
		updated     []string // Nil for no update.
		want        []string
	}{
		"Default":     {reason: "An Artifact that says nothing keeps its model.", want: retained},
		"All":         {reason: "An Artifact that asks for all that is usual keeps its model.", created: all, want: retained},
		"Delete":      {reason: "Of what is asked for, all else stays.", created: []string{"Observe", "Delete"}, want: []string{"Observe"}},
		"ObserveOnly": {reason: "What does not delete anything stays as it is.", created: []string{"Observe"}, want: []string{"Observe"}},
		"Annotated": {
			reason: "Who says so deletes the model.", annotations: map[string]string{"example.org/delete-model": "true"}, want: all,
		},
		"AnnotatedOtherwise": {
			reason: "Any other annotation keeps the model.", annotations: map[string]string{"example.org/delete-model": "false"}, want: retained,
		},
		"AskedForLater": {reason: "Delete is not let in later either.", updated: all, want: retained},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			set := func(a *unstructured.Unstructured, policies []string) {
				if policies == nil {
					return
				}
				if err := unstructured.SetNestedStringSlice(a.Object, policies, "spec", "managementPolicies"); err != nil {
					t.Fatal(err)
				}
			}
			a := artifact(t, namespace, minimal, nil)
			a.SetAnnotations(tc.annotations)
			set(a, tc.created)
			if err := c.Create(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			if tc.updated != nil {
				set(a, tc.updated)
				if err := c.Update(t.Context(), a); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tc.want, policiesOf(t, a)); diff != "" {
				t.Errorf("\n%s\nmanagementPolicies: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// policiesOf returns the management policies of an Artifact.
func policiesOf(t *testing.T, a *unstructured.Unstructured) []string {
	t.Helper()
	policies, _, err := unstructured.NestedStringSlice(a.Object, "spec", "managementPolicies")
	if err != nil {
		t.Fatal(err)
	}
	return policies
}
