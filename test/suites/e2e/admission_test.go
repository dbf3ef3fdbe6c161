package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// twoPolls is longer than it took to rebuild a run that waits, twice.
const twoPolls = 35 * time.Second

// TestRunChangedByAdmission: a run whose Job and workspace a policy changes as
// they are created waits for its node, and starts there.
func TestRunChangedByAdmission(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	for key := range nowhere(n) {
		n.changeOnAdmission(batchv1.GroupName, "jobs", fmt.Sprintf(`[
			JSONPatch{op: "add", path: "/spec/template/spec/nodeSelector", value: {%q: "yes"}},
			JSONPatch{op: "add", path: "/spec/template/spec/tolerations", value: [{"key": "spot", "operator": "Exists"}]},
			JSONPatch{op: "add", path: "/spec/template/spec/imagePullSecrets", value: [{"name": "mirror"}]},
			JSONPatch{op: "add", path: "/spec/template/spec/containers/0/env/0", value: {"name": "INJECTED", "value": "yes"}}
		]`, key))
	}
	n.changeOnAdmission(corev1.GroupName, "persistentvolumeclaims", `[
		JSONPatch{op: "add", path: "/metadata/labels/example.com~1policy", value: "applied"}
	]`)
	a := n.artifact("admitted", modelv1alpha1.PipelineKit, modelv1alpha1.PackFormatModelPack)
	n.create(a)
	n.waitReady(a, corev1.ConditionFalse, string(outcome.Unschedulable))
	job := n.job()
	if len(job.Spec.Template.Spec.Tolerations) == 0 {
		t.Fatal("the policy did not change the Job")
	}
	// That nothing happens can only be waited for.
	err := wait.PollUntilContextTimeout(t.Context(), time.Second, twoPolls, true, func(context.Context) (bool, error) {
		return n.job().GetUID() != job.GetUID(), nil
	})
	if !wait.Interrupted(err) {
		t.Fatalf("a Job that a policy had changed was rebuilt: %v", err)
	}
	n.letIn()
	n.waitReady(a, corev1.ConditionTrue, "Available")
	if n.job().GetUID() != job.GetUID() {
		t.Error("a run that the cluster can start was rebuilt")
	}
	n.deleteAndCheck(a)
}

// changeOnAdmission has the API server change what is created in the tenant's
// namespace (https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/)
// until the test ends, and waits until it does so with Jobs.
func (n *tenant) changeOnAdmission(group, resource, expression string) {
	n.t.Helper()
	apiserver.ChangeOnAdmission(n.t, local.Client, n.namespace, group, resource, expression)
	if group != batchv1.GroupName {
		return
	}
	n.eventually("the admission policy", func() string {
		job := &batchv1.Job{}
		job.SetNamespace(n.namespace)
		job.SetName("probe")
		job.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{
			Name: "probe", Image: "probe", Env: []corev1.EnvVar{{Name: "A", Value: "b"}},
		}}}
		if err := local.Client.Create(n.t.Context(), job, client.DryRunAll); err != nil {
			return err.Error()
		}
		if len(job.Spec.Template.Spec.Tolerations) == 0 {
			return "nothing was changed"
		}
		return ""
	})
}
