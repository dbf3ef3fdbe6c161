package e2e

import (
	"fmt"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// nowhere is a node selector that no node has.
func nowhere(n *tenant) map[string]string {
	return map[string]string{"e2e.kitops/" + n.namespace: "yes"}
}

// stuck returns an Artifact whose Pod waits for a node that is not there, and
// its Job.
func (n *tenant) stuck(name string, change func(*modelv1alpha1.Artifact)) (*modelv1alpha1.Artifact, *batchv1.Job) {
	n.t.Helper()
	a := n.artifact(name, modelv1alpha1.PipelineStream, modelv1alpha1.PackFormatModelPack)
	withJob(a, v1alpha1.JobSettings{NodeSelector: nowhere(n)})
	change(a)
	n.create(a)
	n.waitReady(a, corev1.ConditionFalse, string(outcome.Unschedulable))
	return a, n.job()
}

// job returns the tenant's one Job.
func (n *tenant) job() *batchv1.Job {
	n.t.Helper()
	jobs := &batchv1.JobList{}
	if err := local.Client.List(n.t.Context(), jobs, client.InNamespace(n.namespace)); err != nil {
		n.t.Fatal(err)
	}
	if len(jobs.Items) != 1 {
		n.t.Fatalf("Jobs: got %d, want 1", len(jobs.Items))
	}
	return &jobs.Items[0]
}

// waitOtherJob waits until another Job has taken the place of this one.
func (n *tenant) waitOtherJob(was *batchv1.Job) {
	n.t.Helper()
	n.eventually("another Job", func() string {
		jobs := &batchv1.JobList{}
		if err := local.Client.List(n.t.Context(), jobs, client.InNamespace(n.namespace)); err != nil {
			return err.Error()
		}
		if len(jobs.Items) > 1 {
			n.t.Fatalf("two Jobs at a time: %v", n.names(jobs))
		}
		if len(jobs.Items) == 0 || jobs.Items[0].GetUID() == was.GetUID() {
			return fmt.Sprintf("there are %d Jobs", len(jobs.Items))
		}
		return ""
	})
}

// letIn gives the cluster's node what the tenant's Pods look for.
func (n *tenant) letIn() {
	n.t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: local.Cluster.NodeName()}}
	for key := range nowhere(n) {
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:"yes"}}}`, key)
		if err := local.Client.Patch(n.t.Context(), node, client.RawPatch(types.MergePatchType, patch)); err != nil {
			n.t.Fatal(err)
		}
	}
}

func TestStuckRunIsCured(t *testing.T) {
	t.Run("by-a-node", func(t *testing.T) {
		t.Parallel()
		n := newTenant(t)
		a, job := n.stuck("stuck", func(*modelv1alpha1.Artifact) {})
		n.letIn()
		n.waitReady(a, corev1.ConditionTrue, "Available")
		if n.job().GetUID() != job.GetUID() {
			t.Error("A run that the cluster can start was made anew")
		}
		n.deleteAndCheck(a)
	})
	t.Run("by-the-spec", func(t *testing.T) {
		t.Parallel()
		n := newTenant(t)
		a, _ := n.stuck("stuck", func(*modelv1alpha1.Artifact) {})
		a.Spec.ForProvider.Job = nil
		if err := local.Client.Update(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		n.waitReady(a, corev1.ConditionTrue, "Available")
		n.deleteAndCheck(a)
	})
	t.Run("by-a-storage-class", func(t *testing.T) {
		t.Parallel()
		n := newTenant(t)
		a := n.artifact("stuck", modelv1alpha1.PipelineKit, modelv1alpha1.PackFormatModelPack)
		a.Spec.ForProvider.Storage = &v1alpha1.StorageSettings{StorageClassName: ptr.To("nowhere")}
		n.create(a)
		n.waitReady(a, corev1.ConditionFalse, string(outcome.WorkspaceUnbound))
		a.Spec.ForProvider.Storage = nil
		if err := local.Client.Update(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		n.waitReady(a, corev1.ConditionTrue, "Available")
		n.deleteAndCheck(a)
	})
}

func TestJobDeletedByHand(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	a, job := n.stuck("job", func(*modelv1alpha1.Artifact) {})
	if err := local.Client.Delete(t.Context(), job, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		t.Fatal(err)
	}
	n.waitOtherJob(job)
	n.letIn()
	n.waitReady(a, corev1.ConditionTrue, "Available")
	n.deleteAndCheck(a)
}

func TestPodDeletedByHand(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	a, job := n.stuck("pod", func(a *modelv1alpha1.Artifact) {
		a.Spec.ForProvider.Retry = &modelv1alpha1.RetryPolicy{Interval: &metav1.Duration{Duration: 5 * time.Second}}
	})
	if err := local.Client.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(n.namespace)); err != nil {
		t.Fatal(err)
	}
	n.waitReady(a, corev1.ConditionFalse, string(outcome.PodLost))
	t.Log(a.GetCondition(xpv2.TypeReady).Message)
	n.waitOtherJob(job)
	n.letIn()
	n.waitReady(a, corev1.ConditionTrue, "Available")
	n.deleteAndCheck(a)
}

func TestSecretGoneAfterTheJobWasMade(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	a, _ := n.stuck("secret", func(a *modelv1alpha1.Artifact) { n.withToken(a, "hf_let_in") })
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "token", Namespace: n.namespace}}
	if err := local.Client.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	n.letIn()
	n.checkFailure(a, failureCase{
		reason: "A Secret that a Pod waits for is named.",
		want:   outcome.ConfigMissing,
		says:   []string{`Secret "token"`, "create it"},
	})
	n.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "token", Namespace: n.namespace},
		StringData: map[string]string{"token": "hf_let_in"},
	})
	n.waitReady(a, corev1.ConditionTrue, "Available")
	n.deleteArtifact(a)
}
