package kueue

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// TestRunWaitsForRoom has two Artifacts run one after the other, by both pipelines.
func TestRunWaitsForRoom(t *testing.T) {
	n := newTeam(t)
	n.addQueue()
	_, endpoint := n.slowHub()
	slow := n.config("slow", func(c *v1alpha1.ClusterProviderConfigSpec) {
		c.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{Endpoint: endpoint}
	})
	fast := n.config("fast", func(*v1alpha1.ClusterProviderConfigSpec) {})

	first := n.artifact("first", slow, slowModel, modelv1alpha1.PipelineStream)
	n.waitRunning(first)
	if got := n.job(first).Spec.Template.Spec.NodeSelector[corev1.LabelHostname]; got != local.Cluster.NodeName() {
		t.Errorf("Kueue should have admitted the Job to its flavor's nodes, got node selector %q", got)
	}
	second := n.artifact("second", fast, speech, modelv1alpha1.PipelineKit)
	n.waitReady(second, corev1.ConditionFalse, "Queued", `waits in LocalQueue "runs" of Kueue`)
	if job := n.job(second); !ptr.Deref(job.Spec.Suspend, false) || job.Status.Active != 0 {
		t.Errorf("The second Job should wait, got suspend %v with %d active Pods", job.Spec.Suspend, job.Status.Active)
	}
	n.waitReady(first, corev1.ConditionTrue, "Available", "")
	n.waitReady(second, corev1.ConditionTrue, "Available", "")
	n.checkFirstRun(first)
	n.checkFirstRun(second)
	n.delete(first, second)
}

// TestPreemptedRunResumes has a run be stopped in mid-transfer for one of a higher
// priority.
func TestPreemptedRunResumes(t *testing.T) {
	n := newTeam(t)
	n.addQueue()
	hub, endpoint := n.slowHub()
	low := n.config("low", func(c *v1alpha1.ClusterProviderConfigSpec) {
		c.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{Endpoint: endpoint}
		c.Job.Labels[labelPriority] = "low"
	})
	high := n.config("high", func(c *v1alpha1.ClusterProviderConfigSpec) { c.Job.Labels[labelPriority] = "high" })

	preempted := n.artifact("preempted", low, slowModel, modelv1alpha1.PipelineStream)
	n.waitRunning(preempted)
	job := n.job(preempted)
	n.eventually("more than half is there", func() string {
		if sent := hub.Sent(); sent < slowTotal*5/8 {
			return "the Hub has not sent that"
		}
		return ""
	})
	urgent := n.artifact("urgent", high, speech, modelv1alpha1.PipelineStream)
	n.waitReady(preempted, corev1.ConditionFalse, "Queued", `waits in LocalQueue "runs" of Kueue`)
	if s := preempted.Status.AtProvider; s.Phase != modelv1alpha1.PhasePending || s.Progress != nil || s.StartTime != nil {
		t.Errorf("A preempted run should be pending, without progress: got phase %s, progress %+v, started at %v", s.Phase, s.Progress, s.StartTime)
	}
	n.checkFirstRun(preempted)
	n.waitReady(urgent, corev1.ConditionTrue, "Available", "")
	n.waitReady(preempted, corev1.ConditionTrue, "Available", "")
	n.checkFirstRun(preempted)
	if got := n.job(preempted); got.GetUID() != job.GetUID() {
		t.Error("The Job should be resumed and not replaced")
	}
	if sent, most := hub.Sent(), int64(slowTotal+slowInFlight+slowTotal/10); sent > most {
		t.Errorf("the Hub sent %d bytes, want no more than the files in flight twice: %d", sent, most)
	}
	out, err := local.Cluster.Kubectl(t.Context(), "get", "events", "--namespace="+n.namespace, "--output=jsonpath={.items[*].reason}").Output()
	if err != nil || !strings.Contains(string(out), "RunRequeued") {
		t.Errorf("An event should say that the run was stopped, got %q, error %v", out, err)
	}
	n.delete(preempted, urgent)
}

// TestQueueUnavailable ends Kueue, without which no Job can be created.
func TestQueueUnavailable(t *testing.T) {
	n := newTeam(t)
	n.addQueue()
	queued := n.config("queued", func(*v1alpha1.ClusterProviderConfigSpec) {})
	without := n.config("without", func(c *v1alpha1.ClusterProviderConfigSpec) { c.Job.Labels = nil })
	kueue.stop()
	t.Cleanup(func() {
		if kueue.process == nil {
			t.Error("Kueue is down for the tests that follow")
		}
	})
	all := []*modelv1alpha1.Artifact{
		n.artifact("queued", queued, speech, modelv1alpha1.PipelineStream),
		n.artifact("without", without, speech, modelv1alpha1.PipelineStream),
	}
	for _, a := range all {
		n.waitReady(a, corev1.ConditionFalse, "QueueUnavailable", "Kueue's webhook does not answer")
	}
	if err := kueue.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		n.waitReady(a, corev1.ConditionTrue, "Available", "")
		n.checkFirstRun(a)
	}
	n.delete(all...)
}

// TestMissingLocalQueue has a run wait for a queue that is created later.
func TestMissingLocalQueue(t *testing.T) {
	n := newTeam(t)
	a := n.artifact("early", n.config("early", func(*v1alpha1.ClusterProviderConfigSpec) {}), speech, modelv1alpha1.PipelineStream)
	n.waitReady(a, corev1.ConditionFalse, "Queued", "LocalQueue runs doesn't exist")
	n.addQueue()
	n.waitReady(a, corev1.ConditionTrue, "Available", "")
	n.checkFirstRun(a)
	n.delete(a)
}

// TestUncoveredResource has a run request what its queue does not have.
func TestUncoveredResource(t *testing.T) {
	n := newTeam(t)
	n.addQueue()
	config := n.config("uncovered", func(c *v1alpha1.ClusterProviderConfigSpec) {
		c.Job.Resources = &corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("1Gi")}}
	})
	a := n.artifact("uncovered", config, speech, modelv1alpha1.PipelineStream)
	n.waitReady(a, corev1.ConditionFalse, "Queued", "resource ephemeral-storage unavailable in ClusterQueue")
	n.delete(a)
}

// TestRunThatKueueGivesUp has a Job contradict what Kueue sets when it starts it.
func TestRunThatKueueGivesUp(t *testing.T) {
	n := newTeam(t)
	n.addQueue()
	config := n.config("contradiction", func(c *v1alpha1.ClusterProviderConfigSpec) {
		c.Job.Labels["kueue.x-k8s.io/podset"] = "other"
	})
	a := n.artifact("contradiction", config, speech, modelv1alpha1.PipelineStream)
	n.waitReady(a, corev1.ConditionFalse, "JobFailed", "FailedToStart")
	n.delete(a)
}

// TestExamples has Kueue take examples/kueue/queues.yaml, and its queue be active.
func TestExamples(t *testing.T) {
	n := &team{t: t}
	n.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kitops-runs"}})
	manifest, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "kueue", "queues.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	n.apply(string(manifest))
	for _, queue := range []string{"clusterqueue/models", "localqueue/models"} {
		out, err := local.Cluster.Kubectl(t.Context(), "wait", queue, "--namespace=kitops-runs", "--for=condition=Active", "--timeout=1m").CombinedOutput()
		if err != nil {
			t.Errorf("%s should be active: %s", queue, out)
		}
	}
}
