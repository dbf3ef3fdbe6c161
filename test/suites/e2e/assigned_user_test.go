package e2e

import (
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"oras.land/oras-go/v2/registry/remote/auth"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// assignedID is in the range that OpenShift gives to a namespace.
const assignedID = int64(1000650000)

// TestAssignedUser: where the cluster assigns each Pod a user and a group of its volumes
// and refuses others, as OpenShift's SecurityContextConstraints restricted-v2 do, runs of
// both pipelines wait until the config leaves both to the cluster, and succeed then.
func TestAssignedUser(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	n.assignUsers()
	all := []*modelv1alpha1.Artifact{
		n.artifact("packed", modelv1alpha1.PipelineKit, modelv1alpha1.PackFormatModelKit),
		n.artifact("streamed", modelv1alpha1.PipelineStream, modelv1alpha1.PackFormatModelPack),
	}
	for _, a := range all {
		n.create(a)
	}
	for _, a := range all {
		n.waitReady(a, corev1.ConditionFalse, string(outcome.Refused))
	}
	pc := &v1alpha1.ClusterProviderConfig{}
	if err := local.Client.Get(t.Context(), client.ObjectKey{Name: n.namespace}, pc); err != nil {
		t.Fatal(err)
	}
	patch := client.MergeFrom(pc.DeepCopy())
	pc.Spec.Job.PodSecurityContext = &v1alpha1.PodSecurityContext{}
	if err := local.Client.Patch(t.Context(), pc, patch); err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		n.waitReady(a, corev1.ConditionTrue, "Available")
		n.checkFiles(a, auth.EmptyCredential, n.files)
	}
	pods := &corev1.PodList{}
	if err := local.Client.List(t.Context(), pods, client.InNamespace(n.namespace)); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != len(all) {
		t.Errorf("want %d Pods, got %d", len(all), len(pods.Items))
	}
	for i := range pods.Items {
		if s := pods.Items[i].Spec.SecurityContext; ptr.Deref(s.RunAsUser, 0) != assignedID || ptr.Deref(s.FSGroup, 0) != assignedID || s.RunAsGroup != nil {
			t.Errorf("Pod %s is not who the cluster assigned: %+v", pods.Items[i].GetName(), s)
		}
	}
	for _, a := range all {
		n.deleteArtifact(a)
	}
}

// assignUsers has the API server assign the user and the volumes' group of Pods in the
// tenant's namespace, and refuse others, and waits until it does.
func (n *tenant) assignUsers() {
	n.t.Helper()
	var patches, assigned []string
	for _, field := range []string{"runAsUser", "fsGroup"} {
		at, id := "object.spec.securityContext."+field, strconv.FormatInt(assignedID, 10)
		patches = append(patches, `JSONPatch{op: "add", path: "/spec/securityContext/`+field+`", value: has(`+at+`) ? `+at+` : `+id+`}`)
		assigned = append(assigned, at+" == "+id)
	}
	apiserver.ChangeOnAdmission(n.t, local.Client, n.namespace, corev1.GroupName, "pods", "["+strings.Join(patches, ", ")+"]")
	apiserver.RefuseOnAdmission(n.t, local.Client, n.namespace, corev1.GroupName, "pods", strings.Join(assigned, " && "))
	n.eventually("the admission policies", func() string {
		pod := n.pod("probe", corev1.PodSpec{Containers: []corev1.Container{{Name: "probe", Image: "probe"}}})
		if err := local.Client.Create(n.t.Context(), pod.DeepCopy(), client.DryRunAll); err == nil {
			return "a user of one's own is not refused"
		}
		pod.Spec.SecurityContext.RunAsUser = nil
		if err := local.Client.Create(n.t.Context(), pod, client.DryRunAll); err != nil {
			return err.Error()
		}
		return ""
	})
}
