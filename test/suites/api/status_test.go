package api

import (
	"context"
	"testing"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// TestNotReconciledYet checks that what no controller has seen is not taken for done:
// without an observed generation, kstatus, Flux and Argo CD say that it is.
func TestNotReconciledYet(t *testing.T) {
	const registry = "registry: {host: registry.example.com, credentials: {source: None}}"
	cases := map[string]struct {
		reason string
		gvk    schema.GroupVersionKind
		spec   string
		status string // A patch of the status, empty for none.
	}{
		"Artifact":              {reason: "A new Artifact is not done.", gvk: modelv1alpha1.ArtifactGroupVersionKind, spec: minimal},
		"ProviderConfig":        {reason: "A new ProviderConfig is not done.", gvk: v1alpha1.ProviderConfigGroupVersionKind, spec: registry},
		"ClusterProviderConfig": {reason: "A new ClusterProviderConfig is not done.", gvk: v1alpha1.ClusterProviderConfigGroupVersionKind, spec: registry},
		"OtherFieldsWritten": {
			reason: "A status of which something else was written first has no observed generation yet.",
			gvk:    modelv1alpha1.ArtifactGroupVersionKind, spec: minimal, status: `{"status": {"atProvider": {"phase": "Pending"}}}`,
		},
		"Emptied": {
			reason: "A status that somebody has emptied says nothing.",
			gvk:    modelv1alpha1.ArtifactGroupVersionKind, spec: minimal, status: `{"status": {"observedGeneration": null, "conditions": null}}`,
		},
		"Removed": {
			reason: "A status that somebody has removed says nothing.",
			gvk:    modelv1alpha1.ArtifactGroupVersionKind, spec: minimal, status: `{"status": null}`,
		},
		"ReadyWithoutGeneration": {
			reason: "A Ready that nobody says the generation of is about no spec that is known.",
			gvk:    modelv1alpha1.ArtifactGroupVersionKind, spec: minimal,
			status: `{"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Available", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}`,
		},
	}
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ns := namespace
			if tc.gvk == v1alpha1.ClusterProviderConfigGroupVersionKind {
				ns = ""
			}
			u := object(t, tc.gvk, ns, tc.spec, nil)
			// Clients of typed objects send a status, which is not taken.
			u.Object["status"] = map[string]any{"conditions": []any{}}
			if err := c.Create(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Delete(context.Background(), u) })
			if tc.status != "" {
				if err := c.Status().Patch(t.Context(), u, client.RawPatch(types.MergePatchType, []byte(tc.status))); err != nil {
					t.Fatal(err)
				}
			}
			there := &unstructured.Unstructured{}
			there.SetGroupVersionKind(tc.gvk)
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(u), there); err != nil {
				t.Fatal(err)
			}
			for place, o := range map[string]*unstructured.Unstructured{"the answer": u, "what is stored": there} {
				got, err := kstatus.Compute(o)
				if err != nil {
					t.Fatal(err)
				}
				if got.Status != kstatus.InProgressStatus {
					t.Errorf("\n%s\nkstatus of %s: want %s, got %s: %s", tc.reason, place, kstatus.InProgressStatus, got.Status, got.Message)
				}
			}
		})
	}
}
