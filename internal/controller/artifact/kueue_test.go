package artifact

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// queuedArtifact creates an Artifact whose runs wait in a queue, and returns its Job.
func (w *world) queuedArtifact(name string, change ...func(*modelv1alpha1.Artifact)) (*modelv1alpha1.Artifact, *batchv1.Job) {
	w.t.Helper()
	a := w.artifact(name)
	a.Spec.ForProvider.Job = &v1alpha1.JobSettings{Labels: map[string]string{artifact.LabelQueueName: "team"}}
	for _, c := range change {
		c(a)
	}
	w.create(a)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.Queued))
	return a, w.job(a, 1)
}

// admit plays Kueue that starts a queued Job on the nodes of a flavor, and the Job
// controller. It returns the Job's Pod, which is running.
func (w *world) admit(job *batchv1.Job) *corev1.Pod {
	w.t.Helper()
	w.change(job, func() {
		job.Spec.Suspend = ptr.To(false)
		pod := &job.Spec.Template
		pod.Spec.NodeSelector = map[string]string{"example.com/pool": "spot"}
		pod.Spec.Tolerations = []corev1.Toleration{{Key: "spot", Operator: corev1.TolerationOpExists}}
		metav1.SetMetaDataLabel(&pod.ObjectMeta, "kueue.x-k8s.io/podset", "main")
	})
	pod := w.podFor(job)
	pod.Status.Phase = corev1.PodRunning
	if err := w.client.Status().Update(w.t.Context(), pod); err != nil {
		w.t.Fatal(err)
	}
	w.changeStatus(job, func() {
		job.Status = batchv1.JobStatus{Active: 1, Ready: ptr.To[int32](1), StartTime: ptr.To(metav1.Now()), Conditions: []batchv1.JobCondition{
			{Type: batchv1.JobSuspended, Status: corev1.ConditionFalse, Reason: "JobResumed", LastTransitionTime: metav1.Now()},
		}}
	})
	return pod
}

// preempt plays Kueue that stops a running Job, and the Job controller.
func (w *world) preempt(job *batchv1.Job, pod *corev1.Pod) {
	w.t.Helper()
	w.change(job, func() { job.Spec.Suspend = ptr.To(true) })
	w.changeStatus(job, func() {
		job.Status = batchv1.JobStatus{Ready: ptr.To[int32](0), Conditions: []batchv1.JobCondition{
			{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue, Reason: "JobSuspended", LastTransitionTime: metav1.Now()},
		}}
	})
	// What the worker reports when it is stopped.
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: pod.Spec.Containers[0].Name, State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: `{"failure":{"reason":"Internal","message":"interrupted"}}`, FinishedAt: metav1.Now()},
	}}}
	pod.Status.Phase = corev1.PodFailed
	if err := w.client.Status().Update(w.t.Context(), pod); err != nil {
		w.t.Fatal(err)
	}
	w.deletePods()
	w.change(job, func() { job.Spec.Template.Spec.NodeSelector, job.Spec.Template.Spec.Tolerations = nil, nil })
}

// changeStatus changes a Job's status.
func (w *world) changeStatus(job *batchv1.Job, change func()) {
	w.t.Helper()
	w.eventually("status of the Job", func() string {
		if err := w.get(job); err != nil {
			return err.Error()
		}
		change()
		if err := w.client.Status().Update(w.t.Context(), job); err != nil {
			return err.Error()
		}
		return ""
	})
}

// waitPhase waits for a phase of the Artifact's run.
func (w *world) waitPhase(a *modelv1alpha1.Artifact, want modelv1alpha1.ArtifactPhase) {
	w.t.Helper()
	w.eventually("phase "+string(want), func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if got := a.Status.AtProvider.Phase; got != want {
			return fmt.Sprintf("it is %s: %s", got, a.GetCondition(xpv2.TypeReady).Message)
		}
		return ""
	})
}

func TestQueuedRunIsAdmittedPreemptedAndResumed(t *testing.T) {
	for name, pipeline := range map[string]modelv1alpha1.PipelineType{"stream": modelv1alpha1.PipelineStream, "kit": modelv1alpha1.PipelineKit} {
		t.Run(name, func(t *testing.T) {
			w := startControllers(t)
			a, job := w.queuedArtifact(name, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Pipeline = pipeline })
			if !ptr.Deref(job.Spec.Suspend, false) || job.GetLabels()[artifact.LabelQueueName] != "team" {
				t.Fatalf("The Job should be made suspended for its queue, got suspend %v and labels %v", job.Spec.Suspend, job.GetLabels())
			}
			if got := a.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, `waits in LocalQueue "team" of Kueue`) {
				t.Errorf("Ready should say what the run waits for, got %q", got)
			}
			if got := a.Status.AtProvider; got.Phase != modelv1alpha1.PhasePending || got.StartTime != nil {
				t.Errorf("A queued run should be pending, got %s, started at %v", got.Phase, got.StartTime)
			}

			pod := w.admit(job)
			w.waitPhase(a, modelv1alpha1.PhaseRunning)
			w.preempt(job, pod)
			w.waitReady(a, corev1.ConditionFalse, string(outcome.Queued))
			w.waitPhase(a, modelv1alpha1.PhasePending)
			if s := a.Status.AtProvider; s.Failure != nil || s.Failures != 0 || s.Run != 1 || s.Progress != nil || s.StartTime != nil {
				t.Errorf("A preempted run should not have failed, nor show progress: got %+v", s)
			}
			w.waitEvent(a, "Run 1 was stopped by its queue and waits there again")
			if pipeline == modelv1alpha1.PipelineKit {
				pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: artifact.PVCName(a.GetName())}}
				if err := w.get(pvc); err != nil || pvc.GetDeletionTimestamp() != nil {
					t.Errorf("A preempted run should keep its workspace: %v", err)
				}
			}

			again := w.admit(job)
			w.waitPhase(a, modelv1alpha1.PhaseRunning)
			now := w.job(a, 1)
			if now.GetUID() != job.GetUID() {
				t.Error("The Job should not be replaced because Kueue has changed its template")
			}
			digest := w.stageFor(now.Spec.Template.Spec, a.Spec.ForProvider.Target.Repository, "one")
			w.finishPod(now, again, outcome.Result{}, fmt.Sprintf(`{"digest":%q,"size":42,"files":3,"revision":%q}`, digest, testCommit))
			w.waitReady(a, corev1.ConditionTrue, "Available")
		})
	}
}

func TestChangedRunLeavesItsPlaceInTheQueue(t *testing.T) {
	w := startControllers(t)
	a, job := w.queuedArtifact("changed")
	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "v2" })
	w.waitGone(job)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.Queued))
	if next := w.job(a, 1); !ptr.Deref(next.Spec.Suspend, false) {
		t.Error("The next run's Job should be queued, too")
	}
}

func TestQueuedArtifactIsDeleted(t *testing.T) {
	w := startControllers(t)
	a, job := w.queuedArtifact("deleted")
	if err := w.client.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	w.waitGone(job)
	w.waitGone(a)
}

// TestQueueUnavailable plays a cluster whose Kueue is down: the API server cannot ask
// its webhook.
func TestQueueUnavailable(t *testing.T) {
	w := startControllers(t)
	webhook := &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-kueue"},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name:                    "mjob.kb.io",
			AdmissionReviewVersions: []string{"v1"},
			SideEffects:             ptr.To(admissionv1.SideEffectClassNone),
			FailurePolicy:           ptr.To(admissionv1.Fail),
			// Port 9 (discard) is not listened on.
			ClientConfig:      admissionv1.WebhookClientConfig{URL: ptr.To("https://127.0.0.1:9/mutate-batch-v1-job")},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.namespace}},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{"batch"}, APIVersions: []string{"v1"}, Resources: []string{"jobs"}},
			}},
		}},
	}
	w.create(webhook)
	t.Cleanup(func() { _ = w.client.Delete(context.Background(), webhook) }) // It is for this namespace only.
	probe := artifact.BuildJob(w.artifact("probe"), "kit:test", nil)
	w.eventually("the API server asks the webhook", func() string {
		if err := w.client.Create(t.Context(), probe.DeepCopy(), client.DryRunAll); err == nil {
			return "not yet"
		}
		return ""
	})

	// Whether it is in a queue or not.
	a := w.artifact("down")
	w.create(a)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.QueueUnavailable))
	if s := a.Status.AtProvider; s.Failure != nil || s.Failures != 0 {
		t.Errorf("A run that could not begin should not count as failed: got %+v", s.Failure)
	}
	if err := w.client.Delete(t.Context(), webhook); err != nil {
		t.Fatal(err)
	}
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

// TestIsolatedRunWaitsInTheConfigsQueue checks that a tenant can neither leave the queue of
// runs in an administrator's namespace, nor has its run stopped while that waits with a
// copy of credentials.
func TestIsolatedRunWaitsInTheConfigsQueue(t *testing.T) {
	w, pc := isolate(t, Options{})
	w.change(pc, func() { pc.Spec.Job.Labels = map[string]string{artifact.LabelQueueName: "runs"} })
	a := w.isolated("model")
	a.Spec.ForProvider.Job = &v1alpha1.JobSettings{Labels: map[string]string{artifact.LabelQueueName: "mine"}}
	w.create(a)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.NotAllowed))
	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Job = nil })
	w.waitReady(a, corev1.ConditionFalse, string(outcome.Queued))
	job := w.job(a, 1)
	if got := job.GetLabels()[artifact.LabelQueueName]; got != "runs" || job.GetNamespace() != w.runs {
		t.Errorf("The run should wait in LocalQueue %q of namespace %s, got %q in %s", "runs", w.runs, got, job.GetNamespace())
	}
	if artifact.IsOverdue(job, nil, time.Now().Add(24*time.Hour), artifact.CopyTimeout) || len(w.copies(a)) != 1 {
		t.Error("The run should wait as long as its queue has it wait, with its copy of credentials")
	}
	w.admit(job)
	w.waitPhase(a, modelv1alpha1.PhaseRunning)
}
