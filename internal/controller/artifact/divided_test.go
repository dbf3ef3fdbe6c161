package artifact

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// dividedBetween has an Artifact's runs be divided between so many Pods.
func dividedBetween(n int32) func(*modelv1alpha1.Artifact) {
	return func(a *modelv1alpha1.Artifact) {
		a.Spec.ForProvider.Job = &v1alpha1.JobSettings{Parallelism: n}
	}
}

// divided creates an Artifact whose runs are divided, and returns the Job of its first one.
func (w *world) divided(name string, n int32) (*modelv1alpha1.Artifact, *batchv1.Job) {
	w.t.Helper()
	a := w.artifact(name)
	dividedBetween(n)(a)
	w.create(a)
	return a, w.job(a, 1)
}

// endShare has the Pod with a completion index of a Job end with a message.
func (w *world) endShare(job *batchv1.Job, index int, phase corev1.PodPhase, message string) {
	w.t.Helper()
	indexed := job.DeepCopy()
	metav1.SetMetaDataLabel(&indexed.Spec.Template.ObjectMeta, batchv1.JobCompletionIndexAnnotation, strconv.Itoa(index))
	pod := w.podFor(indexed)
	pod.Status.Phase = phase
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name:  pod.Spec.Containers[0].Name,
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: message, FinishedAt: metav1.Now()}},
	}}
	if err := w.client.Status().Update(w.t.Context(), pod); err != nil {
		w.t.Fatal(err)
	}
}

// shareStatus plays the Job controller: so many Pods are active, and these indexes have
// completed and failed. With none active the Job has ended.
func (w *world) shareStatus(job *batchv1.Job, active int, completed, failed string) {
	w.t.Helper()
	now := metav1.Now()
	count := func(indexes string) int32 {
		return int32(len(strings.FieldsFunc(indexes, func(r rune) bool { return r == ',' })))
	}
	w.changeStatus(job, func() {
		s := &job.Status
		s.StartTime = ptr.To(ptr.Deref(s.StartTime, now))
		s.Active, s.Ready = int32(active), ptr.To(int32(active))
		s.Succeeded, s.Failed = count(completed), count(failed)
		s.CompletedIndexes, s.FailedIndexes = completed, ptr.To(failed)
		s.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
		switch {
		case active > 0:
		case failed != "":
			s.Conditions = []batchv1.JobCondition{
				{Type: batchv1.JobFailureTarget, Status: corev1.ConditionTrue, LastTransitionTime: now},
				{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: batchv1.JobReasonFailedIndexes, LastTransitionTime: now},
			}
		default:
			s.CompletionTime = &now
			s.Conditions = []batchv1.JobCondition{
				{Type: batchv1.JobSuccessCriteriaMet, Status: corev1.ConditionTrue, LastTransitionTime: now},
				{Type: batchv1.JobComplete, Status: corev1.ConditionTrue, LastTransitionTime: now},
			}
		}
	})
}

// lastJob waits for the Job that completes the run of this number.
func (w *world) lastJob(a *modelv1alpha1.Artifact, number int64) *batchv1.Job {
	w.t.Helper()
	var out *batchv1.Job
	w.eventually("the Job that completes the run", func() string {
		w.deleteEndedPods()
		jobs := &batchv1.JobList{}
		if err := w.client.List(w.t.Context(), jobs, client.InNamespace(w.runNamespace()), client.MatchingLabels(artifact.SelectorLabelsForArtifact(a.GetName()))); err != nil {
			return err.Error()
		}
		if len(jobs.Items) != 1 || !artifact.IsLast(&jobs.Items[0]) || artifact.RunOf(&jobs.Items[0]).Number != number {
			return fmt.Sprintf("there are %d Jobs", len(jobs.Items))
		}
		out = &jobs.Items[0]
		return ""
	})
	return out
}

// deleteEndedPods plays the garbage collector for Pods whose Job is gone.
func (w *world) deleteEndedPods() {
	w.t.Helper()
	pods := &corev1.PodList{}
	if err := w.client.List(w.t.Context(), pods, client.InNamespace(w.runNamespace())); err != nil {
		w.t.Fatal(err)
	}
	for i := range pods.Items {
		job := &batchv1.Job{}
		owner := metav1.GetControllerOf(&pods.Items[i])
		err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: pods.Items[i].GetNamespace(), Name: owner.Name}, job)
		if err != nil || job.GetUID() != owner.UID {
			_ = w.client.Delete(w.t.Context(), &pods.Items[i], client.GracePeriodSeconds(0))
		}
	}
}

// waitMessage waits for a part of the message of Ready.
func (w *world) waitMessage(a *modelv1alpha1.Artifact, want string) {
	w.t.Helper()
	w.eventually("message "+want, func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if got := a.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, want) {
			return "it is: " + got
		}
		return ""
	})
}

func TestDividedRun(t *testing.T) {
	w := startControllers(t)
	a, job := w.divided("large-0.6b", 3)
	if s := job.Spec; ptr.Deref(s.CompletionMode, "") != batchv1.IndexedCompletion || *s.Completions != 3 || *s.Parallelism != 3 || *s.BackoffLimitPerIndex != 0 {
		t.Fatalf("The run should have an Indexed Job of three, got %+v", s)
	}

	w.shareStatus(job, 3, "", "")
	w.waitMessage(a, "0 of 3 Pods have finished")
	w.waitPhase(a, modelv1alpha1.PhaseRunning)
	part := func(i int) string { return "sha256:" + strings.Repeat(strconv.Itoa(i), 64) }
	report := func(i int) string {
		return fmt.Sprintf(`{"share":{"index":%d,"of":3,"bytes":7,"part":%q}}`, i, part(i))
	}
	w.endShare(job, 0, corev1.PodSucceeded, report(0))
	w.shareStatus(job, 2, "0", "")
	w.waitMessage(a, "1 of 3 Pods have finished")

	// A change during the run counts for the next one.
	w.update(a, dividedBetween(2))
	w.waitReady(a, corev1.ConditionFalse, "Creating")
	w.update(a, dividedBetween(3))

	w.endShare(job, 1, corev1.PodFailed, `{"failure":{"reason":"Unavailable","message":"The Hub does not answer"}}`)
	w.shareStatus(job, 1, "0", "1")
	w.waitMessage(a, "1 of 3 Pods have finished, and 1 failed")
	if now := w.job(a, 1); now.GetUID() != job.GetUID() {
		t.Error("A share that fails should not end the others, nor a change of the parallelism")
	}
	w.endShare(job, 2, corev1.PodSucceeded, report(2))
	w.shareStatus(job, 0, "0,2", "1")
	w.waitReady(a, corev1.ConditionFalse, string(outcome.Unavailable))
	want := &modelv1alpha1.SharesObservation{Of: 3, Done: []int32{0, 2}, Parts: []string{part(0), part(2)}, RunHash: artifact.RunHash(a)}
	if diff := cmp.Diff(want, a.Status.AtProvider.Shares); diff != "" || a.Status.AtProvider.Failures != 1 {
		t.Errorf("What is done should be recorded with one failure, got %d.\nshares: -want, +got:\n%s", a.Status.AtProvider.Failures, diff)
	}

	// Its time has come, as far as the spec says.
	w.update(a, func(a *modelv1alpha1.Artifact) {
		metav1.SetMetaDataAnnotation(&a.ObjectMeta, "crossplane.io/reconcile-requested-at", "now")
	})
	w.waitGone(job)
	w.deletePods()
	job = w.job(a, 2)
	if got := job.Spec.Template.Spec.Containers[0].Args; *job.Spec.Completions != 1 || !slices.Contains(got, "--share-indexes=1") || !slices.Contains(got, "--shares=3") {
		t.Fatalf("Only the share that failed should be retried, got %d completions and %q", *job.Spec.Completions, got)
	}
	w.endShare(job, 0, corev1.PodSucceeded, report(1))
	w.shareStatus(job, 0, "0", "")

	last := w.lastJob(a, 2)
	if args := last.Spec.Template.Spec.Containers[0].Args; ptr.Deref(last.Spec.CompletionMode, "") == batchv1.IndexedCompletion || !slices.Contains(args, "--shares=3") {
		t.Errorf("One Pod should complete the run, got %q", args)
	} else if !slices.Equal(args[len(args)-3:], []string{"--share-part=" + part(0), "--share-part=" + part(2), "--share-part=" + part(1)}) {
		t.Errorf("It should be told what the shares have recorded, got %q", args)
	}
	if err := w.get(a); err != nil || a.Status.AtProvider.Failures != 1 || a.Status.AtProvider.Run != 2 {
		t.Errorf("The Job that completes a run should be no retry: got run %d, %d failures, %v", a.Status.AtProvider.Run, a.Status.AtProvider.Failures, err)
	}
	w.waitEvent(a, "Run 2 is completed as Job")
	digest := w.succeed(a, 2, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if s := a.Status.AtProvider; s.Digest != digest || s.Shares != nil || s.Failure != nil {
		t.Errorf("status: got digest %s, shares %+v and failure %+v", s.Digest, s.Shares, s.Failure)
	}
}

// TestDividedRunIsLost deletes the Job of some shares by hand, and then all that is in the
// cluster once the shares are done.
func TestDividedRunIsLost(t *testing.T) {
	w := startControllers(t)
	a, job := w.divided("lost", 2)
	w.shareStatus(job, 1, "1", "")
	w.waitMessage(a, "1 of 2 Pods have finished")
	remove := func(job *batchv1.Job) {
		t.Helper()
		if err := w.client.Delete(t.Context(), job, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
			t.Fatal(err)
		}
	}
	remove(job)
	w.eventually("the share that is left", func() string {
		now := w.job(a, 1)
		if got := artifact.SharesOf(now).Indexes; now.GetUID() == job.GetUID() || len(got) != 1 || got[0] != 0 {
			return fmt.Sprintf("the Job has shares %v", got)
		}
		job = now
		return ""
	})
	w.shareStatus(job, 0, "0", "")
	last := w.lastJob(a, 1)
	remove(last)
	w.eventually("another Job that completes the run", func() string {
		if now := w.lastJob(a, 1); now.GetUID() == last.GetUID() {
			return "it is the same"
		}
		return ""
	})
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

// TestDividedIsolatedRun checks that both Jobs of a run in an administrator's namespace have
// copies of the credentials, which go with them.
func TestDividedIsolatedRun(t *testing.T) {
	w, _ := isolate(t, Options{})
	a := w.isolated("model")
	dividedBetween(2)(a)
	w.create(a)
	job := w.job(a, 1)
	hasCopy := func(job *batchv1.Job) {
		t.Helper()
		w.eventually("a Secret of the Job's", func() string {
			if !slices.ContainsFunc(w.copies(a), func(s corev1.Secret) bool { return metav1.IsControlledBy(&s, job) }) {
				return "there is none"
			}
			return ""
		})
	}
	hasCopy(job)
	w.endShare(job, 0, corev1.PodSucceeded, "")
	w.endShare(job, 1, corev1.PodSucceeded, "")
	w.shareStatus(job, 0, "0,1", "")
	hasCopy(w.lastJob(a, 1))
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.waitNoCopies(a)
}

func TestDividedRunIsStopped(t *testing.T) {
	w := startControllers(t)
	a, job := w.divided("stopped", 2)
	w.shareStatus(job, 2, "", "")
	w.waitPhase(a, modelv1alpha1.PhaseRunning)
	w.remove(a)
	w.waitGone(job)
	w.waitGoneWithPods(a)
}

func TestParallelismIsBounded(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("greedy")
	dividedBetween(9)(a)
	w.create(a)
	w.waitRefused(a, outcome.NotAllowed, "spec.forProvider.job.parallelism of 9, but 8 at most", "job.maxParallelism")
}

// TestDividedRunsAndLimits checks that each Pod counts, and that a run has no more Pods at a
// time than there is room for when it starts.
func TestDividedRunsAndLimits(t *testing.T) {
	t.Parallel()
	l := newLimitedWorld(t, 3)
	l.start(t, apiserver.Config(t), Options{})
	pods := func(reason string, job *batchv1.Job, want, of int32) {
		t.Helper()
		if s := job.Spec; *s.Completions != of || *s.Parallelism != want {
			t.Errorf("\n%s\nwant %d of %d Pods at a time, got %d of %d", reason, want, of, *s.Parallelism, *s.Completions)
		}
	}
	a := l.limited(l.world, "a", dividedBetween(4))
	job := l.job(a, 1)
	pods("A run that is larger than the limit should have as many Pods at a time as that allows.", job, 3, 4)
	l.shareStatus(job, 3, "", "")
	b := l.limited(l.other, "b", dividedBetween(2))
	l.waitQueued(b)

	// Room of one Pod is kept for the Job that completes the run.
	l.shareStatus(job, 0, "0,1,2,3", "")
	last := l.lastJob(a, 1)
	pods("There should be room for both Pods of the next run.", l.other.job(b, 1), 2, 2)
	c := l.limited(l.other, "c", dividedBetween(4))
	l.waitQueued(c)
	l.succeed(a, 1, "a")
	l.waitReady(a, corev1.ConditionTrue, "Available")
	if last.GetUID() != l.job(a, 1).GetUID() {
		t.Error("The Job that completes the run should not be replaced")
	}
	pods("A run should start with fewer Pods if there is room for no more.", l.other.job(c, 1), 1, 4)
}
