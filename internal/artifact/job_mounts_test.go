package artifact

import (
	"testing"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// TestMountsAreNotExpanded has a value name a variable, which the kubelet would
// put the value of in its place.
func TestMountsAreNotExpanded(t *testing.T) {
	a := newArtifact(withStream(), withEffective(modelv1alpha1.Effective{MountFrom: []string{"models/$(HF_TOKEN)@sha256:00"}}))
	for _, e := range BuildJob(a, "kit:1", nil).Spec.Template.Spec.Containers[0].Env {
		if e.Name != EnvMountFrom {
			continue
		}
		if want := "models/$$(HF_TOKEN)@sha256:00"; e.Value != want {
			t.Errorf("want %q, got %q", want, e.Value)
		}
		return
	}
	t.Errorf("want the variable %s", EnvMountFrom)
}
