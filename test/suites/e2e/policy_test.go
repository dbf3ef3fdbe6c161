package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestChangedPolicy changes the policy that an artifact was made under, which is told and
// takes nothing away.
func TestChangedPolicy(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	a := n.ownArtifact("governed", modelv1alpha1.PipelineStream)
	n.withPolicy(a, v1alpha1.ContentPolicy{Licenses: &v1alpha1.LicenseRules{Allow: []v1alpha1.LicenseName{"MIT"}}})
	n.makeOwn(a)
	digest := a.Status.AtProvider.Digest
	n.clearRuns()
	for _, tc := range []struct {
		reason string
		policy v1alpha1.ContentPolicy
		status corev1.ConditionStatus
		want   string
		says   []string
	}{
		{
			reason: "What the policy allows is told.",
			policy: v1alpha1.ContentPolicy{Licenses: &v1alpha1.LicenseRules{Allow: []v1alpha1.LicenseName{"MIT"}}},
			status: corev1.ConditionTrue, want: "Compliant",
		},
		{
			reason: "A licence that is denied later is named.",
			policy: v1alpha1.ContentPolicy{Licenses: &v1alpha1.LicenseRules{Deny: []v1alpha1.LicenseName{"MIT"}}},
			status: corev1.ConditionFalse, want: string(outcome.PolicyViolation), says: []string{"MIT", "spec.policy.licenses.deny"},
		},
		{
			reason: "So is a file whose format is denied later.",
			policy: v1alpha1.ContentPolicy{Files: &v1alpha1.FileRules{Deny: []v1alpha1.FileFormat{"onnx"}}},
			status: corev1.ConditionFalse, want: string(outcome.PolicyViolation), says: []string{"onnx/model.onnx", "spec.policy.files.deny"},
		},
		{
			reason: "Without a policy nothing is held against the artifact.",
			status: corev1.ConditionTrue, want: "NoPolicy",
		},
	} {
		n.setPolicy(a, tc.policy)
		n.eventually(tc.reason, func() string {
			n.ask(a)
			c := a.GetCondition(modelv1alpha1.TypePolicyCompliant)
			if c.Status != tc.status || string(c.Reason) != tc.want {
				return fmt.Sprintf("PolicyCompliant=%s %s %q", c.Status, c.Reason, c.Message)
			}
			for _, part := range tc.says {
				if !strings.Contains(c.Message, part) {
					return fmt.Sprintf("%q does not name %s", c.Message, part)
				}
			}
			return ""
		})
		n.waitReady(a, corev1.ConditionTrue, "Available")
		if !exists(t, a, digest) {
			t.Errorf("%s\nThe artifact has lost its tag.", tc.reason)
		}
	}
	n.checkNoRun()
	n.deleteAndCheck(a)
}

// setPolicy changes the policy of an Artifact's ClusterProviderConfig.
func (n *tenant) setPolicy(a *modelv1alpha1.Artifact, p v1alpha1.ContentPolicy) {
	n.t.Helper()
	pc := &v1alpha1.ClusterProviderConfig{}
	if err := local.Client.Get(n.t.Context(), client.ObjectKey{Name: a.Spec.ProviderConfigReference.Name}, pc); err != nil {
		n.t.Fatal(err)
	}
	patch := client.MergeFrom(pc.DeepCopy())
	pc.Spec.Policy.ContentPolicy = p
	if err := local.Client.Patch(n.t.Context(), pc, patch); err != nil {
		n.t.Fatal(err)
	}
}
