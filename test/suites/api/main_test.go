// Package api tests the provider's kinds on a real API server: what it
// refuses and what it says then, what it fills in, and what it keeps.
package api

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

func TestMain(m *testing.M) { os.Exit(apiserver.Main(m)) }

// minimal is the least that an Artifact's spec says.
const minimal = `
forProvider:
  source:
    huggingFace:
      model: Qwen/Qwen3-0.6B
  target:
    repository: models/qwen3
`

// observed is the spec of an Artifact that is only looked at.
const observed = `
managementPolicies: [Observe]
`

// A fields maps paths of fields, with dots, to their values. A nil value
// removes the field.
type fields map[string]any

// object returns an object of this kind whose spec is that of the YAML with
// the fields set.
func object(t *testing.T, gvk schema.GroupVersionKind, namespace, spec string, set fields) *unstructured.Unstructured {
	t.Helper()
	content := map[string]any{}
	if err := yaml.Unmarshal([]byte(spec), &content); err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": content}}
	u.SetGroupVersionKind(gvk)
	u.SetNamespace(namespace)
	u.SetGenerateName("test-")
	assign(t, u, set)
	return u
}

// artifact returns an Artifact with this spec.
func artifact(t *testing.T, namespace, spec string, set fields) *unstructured.Unstructured {
	t.Helper()
	return object(t, modelv1alpha1.ArtifactGroupVersionKind, namespace, spec, set)
}

// assign sets fields of an object's spec.
func assign(t *testing.T, u *unstructured.Unstructured, set fields) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(set)) {
		at := append([]string{"spec"}, strings.Split(path, ".")...)
		if set[path] == nil {
			unstructured.RemoveNestedField(u.Object, at...)
			continue
		}
		if err := unstructured.SetNestedField(u.Object, set[path], at...); err != nil {
			t.Fatal(err)
		}
	}
}

// A rule is one case of what the API server takes or refuses.
type rule struct {
	reason string
	args   fields

	// want is what the answer says, all of it; nil where the object is taken.
	want []string
}

// checkCreate asks the API server to create the spec with each rule's fields,
// and keeps nothing.
func checkCreate(t *testing.T, gvk schema.GroupVersionKind, spec string, cases map[string]rule) {
	t.Helper()
	c := apiserver.Client(t)
	namespace := ""
	if gvk.Kind != "ClusterProviderConfig" {
		namespace = apiserver.Namespace(t, c)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := c.Create(t.Context(), object(t, gvk, namespace, spec, tc.args), client.DryRunAll)
			checkAnswer(t, tc.reason, err, tc.want)
		})
	}
}

// checkAnswer compares the API server's answer with what it should say.
func checkAnswer(t *testing.T, reason string, err error, want []string) {
	t.Helper()
	if (err != nil) != (want != nil) {
		t.Fatalf("\n%s\nrefused: want %t, got %v", reason, want != nil, err)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("\n%s\nmessage: -want, +got:\n%s", reason, cmp.Diff(w, err.Error()))
		}
	}
}
