package artifact

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// withShares has the Artifact's runs be divided.
func withShares(n int32) artifactModifier {
	return withParameters(func(p *modelv1alpha1.ArtifactParameters) {
		p.Pipeline, p.Job = modelv1alpha1.PipelineStream, &v1alpha1.JobSettings{Parallelism: n}
	})
}

// withSharesDone has the status know which shares of so many are done.
func withSharesDone(of int32, done ...int32) artifactModifier {
	return func(a *modelv1alpha1.Artifact) {
		a.Status.AtProvider.Shares = &modelv1alpha1.SharesObservation{Of: of, Done: done, RunHash: RunHash(a)}
	}
}

func TestNextShares(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   Shares
	}{
		"One":      {reason: "A run has one Pod unless the spec asks for more.", args: newArtifact(withStream())},
		"Explicit": {reason: "A parallelism of 1 should divide no run.", args: newArtifact(withShares(1))},
		"Several":  {reason: "Each Pod should transfer a share.", args: newArtifact(withShares(3)), want: Shares{Of: 3, Indexes: []int{0, 1, 2}}},
		"Kit": {
			reason: "Runs of pipeline Kit should have one Pod, whatever the config's default is.",
			args:   newArtifact(withEffective(modelv1alpha1.Effective{Job: &v1alpha1.JobSettings{Parallelism: 4}})),
		},
		"Config": {
			reason: "The config's parallelism should be the default.",
			args:   newArtifact(withStream(), withEffective(modelv1alpha1.Effective{Job: &v1alpha1.JobSettings{Parallelism: 2}})),
			want:   Shares{Of: 2, Indexes: []int{0, 1}},
		},
		"Own": {
			reason: "The Artifact's parallelism should take precedence.",
			args:   newArtifact(withShares(1), withEffective(modelv1alpha1.Effective{Job: &v1alpha1.JobSettings{Parallelism: 2}})),
		},
		"Retry":   {reason: "Only shares that are not done should be transferred again.", args: newArtifact(withShares(4), withSharesDone(4, 0, 2)), want: Shares{Of: 4, Indexes: []int{1, 3}}},
		"AllDone": {reason: "One Pod should complete the run once all shares are done.", args: newArtifact(withShares(4), withSharesDone(4, 0, 1, 2, 3)), want: Shares{Of: 4}},
		"Changed": {
			reason: "Another parallelism should count for the shares that are left, which are others then.",
			args:   newArtifact(withShares(3), withSharesDone(4, 0, 2)),
			want:   Shares{Of: 3, Indexes: []int{0, 1, 2}},
		},
		"ChangedAllDone": {reason: "Another parallelism should not have shares transferred again that are all done.", args: newArtifact(withShares(3), withSharesDone(2, 0, 1)), want: Shares{Of: 2}},
		"ChangedToOne":   {reason: "One Pod should transfer what is left, and find what is done.", args: newArtifact(withShares(1), withSharesDone(4, 0, 2)), want: Shares{Of: 4}},
		"OtherSpec": {
			reason: "Shares of another spec should not count.",
			args:   newArtifact(withShares(2), withSharesDone(2, 0, 1), withModel("other/model", "main")),
			want:   Shares{Of: 2, Indexes: []int{0, 1}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := NextShares(tc.args)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nNextShares(...): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want, SharesOf(BuildJob(tc.args, testKitImage, nil))); diff != "" {
				t.Errorf("A Job's shares should be readable from it.\nSharesOf(...): -want, +got:\n%s", diff)
			}
		})
	}
}

func TestParallelismIsNotHashed(t *testing.T) {
	if one, four := RunHash(newArtifact(withShares(1))), RunHash(newArtifact(withShares(4))); one != four {
		t.Errorf("A change of the parallelism should start no run: run hashes %s and %s", one, four)
	}
}

func TestJobWithShares(t *testing.T) {
	job := BuildJob(newArtifact(withShares(4), withSharesDone(4, 0, 2)), testKitImage, nil)
	want := batchv1.JobSpec{
		CompletionMode: ptr.To(batchv1.IndexedCompletion), Completions: ptr.To[int32](2), Parallelism: ptr.To[int32](2), BackoffLimitPerIndex: ptr.To[int32](0),
		PodReplacementPolicy: ptr.To(batchv1.Failed), TTLSecondsAfterFinished: ptr.To(DefaultJobTTLSeconds),
		PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			Action:          batchv1.PodFailurePolicyActionIgnore,
			OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
		}}},
	}
	got := job.Spec.DeepCopy()
	got.Template = corev1.PodTemplateSpec{}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("\nA Job of several Pods should be an Indexed one, each of whose indexes fails alone.\nBuildJob(...).Spec: -want, +got:\n%s", diff)
	}
	args := job.Spec.Template.Spec.Containers[0].Args
	for _, flag := range []string{"--shares=4", "--share-indexes=1,3"} {
		if !slices.Contains(args, flag) {
			t.Errorf("The worker should be told which shares are left: want %s among %q", flag, args)
		}
	}

	limited := BuildJob(newArtifact(withShares(4), withEffective(modelv1alpha1.Effective{MaxPods: 3})), testKitImage, nil)
	if p, n := *limited.Spec.Parallelism, *limited.Spec.Completions; p != 3 || n != 4 {
		t.Errorf("A run should have no more Pods at a time than a limit allows: want parallelism 3 of 4 completions, got %d of %d", p, n)
	}
	if got := PodsOf(limited); got != 3 {
		t.Errorf("PodsOf(...): want 3, got %d", got)
	}
	limited.Spec.Parallelism = ptr.To[int32](1000)
	if got := PodsOf(limited); got != 4 {
		t.Errorf("A Job should not count for more Pods than it has shares: want 4, got %d", got)
	}
}

func TestPartialAdmission(t *testing.T) {
	build := func(n int32) map[string]string {
		return BuildJob(newArtifact(withShares(n), withParameters(func(p *modelv1alpha1.ArtifactParameters) {
			p.Job.Annotations = map[string]string{annotationMinParallelism: "2", annotationEqualCompletions: "true"}
		})), testKitImage, nil).GetAnnotations()
	}
	if got := build(3); got[annotationMinParallelism] != "2" || got[annotationEqualCompletions] != "" {
		t.Errorf("\nKueue may admit fewer Pods at a time, and not have fewer shares: got %q", got)
	}
	for _, n := range []int32{1, 2} {
		if got := build(n)[annotationMinParallelism]; got != "" {
			t.Errorf("\nKueue refuses a least parallelism that is not less than the Job's, which is %d: got %q", n, got)
		}
	}
}

func TestJobNamesFitIndexes(t *testing.T) {
	for _, name := range []string{"qwen3", "qwen3-0.6b", strings.Repeat("a.b-", 60) + "c"} {
		job := JobName(newArtifact(withName(name)))
		generated := BuildJob(newArtifact(withName(name)), testKitImage, nil).GetGenerateName() + "x2b4c"
		for _, object := range []string{job, generated} {
			if errs := validation.IsDNS1123Label(object + "-" + strconv.Itoa(v1alpha1.MaxParallelism-1)); len(errs) > 0 {
				t.Errorf("The host name of each Pod of Job %q must be valid: %v", object, errs)
			}
		}
	}
}

// indexedJob returns the Job of four shares, or of those that are not done, in a state.
func indexedJob(state func(*batchv1.Job), done ...int32) *batchv1.Job {
	modify := []artifactModifier{withShares(4)}
	if len(done) > 0 {
		modify = append(modify, withSharesDone(4, done...))
	}
	job := BuildJob(newArtifact(modify...), testKitImage, nil)
	job.Name, job.UID = "qwen3", "job"
	if state != nil {
		state(job)
	}
	return job
}

func withCondition(t batchv1.JobConditionType, reason string) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: t, Status: corev1.ConditionTrue, Reason: reason, Message: "Job has failed indexes"})
	}
}

func TestObserveShares(t *testing.T) {
	running := func(message string) ObservationResult {
		return ObservationResult{Phase: modelv1alpha1.PhaseRunning, Ready: metav1.ConditionUnknown, Reason: "Creating", Message: message}
	}
	cases := map[string]struct {
		reason string
		job    *batchv1.Job
		want   ObservationResult
	}{
		"OneOfFour": {
			reason: "A Pod that has succeeded should not be taken for the end of the run.",
			job: indexedJob(func(j *batchv1.Job) {
				j.Status = batchv1.JobStatus{Active: 3, Succeeded: 1, CompletedIndexes: "0", Ready: ptr.To[int32](3)}
			}),
			want: running(`Job "qwen3" is running: 1 of 4 Pods have finished`),
		},
		"OneFailed": {
			reason: "A Pod that has failed should not end the run while others run.",
			job: indexedJob(func(j *batchv1.Job) {
				j.Status = batchv1.JobStatus{Active: 1, Succeeded: 2, Failed: 1, CompletedIndexes: "0,3", FailedIndexes: ptr.To("1"), Ready: ptr.To[int32](1)}
			}),
			want: running(`Job "qwen3" is running: 2 of 4 Pods have finished, and 1 failed`),
		},
		"Retried": {
			reason: "Shares that were done before should count.",
			job: indexedJob(func(j *batchv1.Job) {
				j.Status = batchv1.JobStatus{Active: 1, Succeeded: 1, CompletedIndexes: "1", Ready: ptr.To[int32](1)}
			}, 0, 1),
			want: running(`Job "qwen3" is running: 3 of 4 Pods have finished`),
		},
		"Complete": {
			reason: "The end of the Job should not be taken for that of the run, which one Pod completes.",
			job:    indexedJob(withCondition(batchv1.JobComplete, "CompletionsReached")),
			want:   running("All 4 Pods have finished, and the run is completed next"),
		},
		"Queued": {
			reason: "A Job that was stopped by its queue has not ended, although a Pod had failed.",
			job: indexedJob(func(j *batchv1.Job) {
				j.Spec.Suspend, j.Status.Failed, j.Status.FailedIndexes = ptr.To(true), 1, ptr.To("2")
				j.Labels = map[string]string{LabelQueueName: "models"}
			}),
			want: ObservationResult{Phase: modelv1alpha1.PhasePending, Ready: metav1.ConditionFalse, Reason: string(outcome.Queued), Message: `Job "qwen3" waits in LocalQueue "models" of Kueue`},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, ObserveRun(RunState{Job: tc.job}, "", "")); diff != "" {
				t.Errorf("\n%s\nObserveRun(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestSharesThatCannotStart has Pods of a divided run wait for a node, while others have ended.
func TestSharesThatCannotStart(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	pod := func(phase corev1.PodPhase, age time.Duration) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now.Add(-age))}, Status: corev1.PodStatus{Phase: phase}}
		if phase == corev1.PodPending {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/3 nodes are available: 3 Insufficient cpu."}}
		}
		return p
	}
	type want struct {
		Phase  modelv1alpha1.ArtifactPhase
		Reason string
		Past   bool
	}
	cases := map[string]struct {
		reason string
		pods   []corev1.Pod
		want   want
	}{
		"OthersRun": {
			reason: "A run should be in progress as long as one of its Pods is.",
			pods:   []corev1.Pod{pod(corev1.PodRunning, time.Hour), pod(corev1.PodPending, time.Hour)},
			want:   want{Phase: modelv1alpha1.PhaseRunning, Reason: "Creating"},
		},
		"OthersEnded": {
			reason: "A Pod that cannot start should be shown, and not have started, once no other one runs.",
			pods:   []corev1.Pod{pod(corev1.PodSucceeded, time.Hour), pod(corev1.PodPending, time.Hour)},
			want:   want{Phase: modelv1alpha1.PhasePending, Reason: string(outcome.Unschedulable), Past: true},
		},
		"New": {
			reason: "A Pod that was made a moment ago should have the time that each has to start.",
			pods:   []corev1.Pod{pod(corev1.PodSucceeded, time.Hour), pod(corev1.PodPending, time.Minute)},
			want:   want{Phase: modelv1alpha1.PhasePending, Reason: string(outcome.Unschedulable)},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job := indexedJob(func(j *batchv1.Job) {
				j.Status = batchv1.JobStatus{Active: 1, Succeeded: 1, CompletedIndexes: "0", StartTime: ptr.To(metav1.NewTime(now.Add(-2 * time.Hour)))}
			})
			o := ObserveJobStatus(job, tc.pods, "", "")
			got := want{Phase: o.Phase, Reason: o.Reason, Past: HasNotStarted(job, tc.pods, now, 15*time.Minute)}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// endedPod returns a Pod with a completion index that has failed with a message.
func endedPod(index int, message string) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod-" + strconv.Itoa(index), Labels: map[string]string{batchv1.JobCompletionIndexAnnotation: strconv.Itoa(index)}}}
	p.Status.Phase = corev1.PodFailed
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: workerContainer, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: message}}}}
	return p
}

func TestSharesFailure(t *testing.T) {
	const (
		busy   = `{"failure":{"reason":"Unavailable","message":"The Hub does not answer","retryAfterSeconds":7}}`
		denied = `{"failure":{"reason":"Unauthorized","message":"The registry refuses the push"}}`
	)
	hasFailed := func(indexes string) func(*batchv1.Job) {
		return func(j *batchv1.Job) {
			withCondition(batchv1.JobFailed, "FailedIndexes")(j)
			j.Status.FailedIndexes = &indexes
		}
	}
	cases := map[string]struct {
		reason string
		job    *batchv1.Job
		pods   []corev1.Pod
		want   outcome.Failure
		done   []int32
	}{
		"Permanent": {
			reason: "A permanent failure should be the run's, although another share failed first.",
			job: indexedJob(func(j *batchv1.Job) {
				hasFailed("0-1,3")(j)
				j.Status.CompletedIndexes = "2"
			}),
			pods: []corev1.Pod{endedPod(3, denied), endedPod(1, busy), endedPod(0, busy)},
			want: outcome.Failure{Reason: outcome.Unauthorized, Message: "The registry refuses the push (3 of 4 Pods failed: 0, 1, 3)", RetryAfterSeconds: 7},
			done: []int32{2},
		},
		"First": {
			reason: "Of transient failures the first share's should be the run's.",
			job: indexedJob(func(j *batchv1.Job) {
				hasFailed("1,2")(j)
				j.Status.CompletedIndexes = "0,3"
			}),
			pods: []corev1.Pod{endedPod(2, `{"failure":{"reason":"RateLimited","message":"Too many requests"}}`), endedPod(1, busy)},
			want: outcome.Failure{Reason: outcome.Unavailable, Message: "The Hub does not answer (2 of 4 Pods failed: 1, 2)", RetryAfterSeconds: 7},
			done: []int32{0, 3},
		},
		"RetriedFailed": {
			reason: "The completion indexes of a Job of some shares should be mapped to these.",
			job:    indexedJob(func(j *batchv1.Job) { hasFailed("1")(j); j.Status.CompletedIndexes = "0" }, 0, 2),
			pods:   []corev1.Pod{endedPod(1, busy)},
			want:   outcome.Failure{Reason: outcome.Unavailable, Message: "The Hub does not answer (1 of 4 Pods failed: 3)", RetryAfterSeconds: 7},
			done:   []int32{0, 1, 2},
		},
		"PodGone": {
			reason: "A share whose Pod is gone should be retried as one whose Pod was lost.",
			job:    indexedJob(func(j *batchv1.Job) { hasFailed("0")(j); j.Status.CompletedIndexes = "1-3" }),
			want:   outcome.Failure{Reason: outcome.PodLost, Message: "The run's Pod was deleted, or its node was lost, before the run ended (1 of 4 Pods failed: 0)"},
			done:   []int32{1, 2, 3},
		},
		"Deadline": {
			reason: "A Job that was ended at its deadline has no failed indexes.",
			job: indexedJob(func(j *batchv1.Job) {
				withCondition(batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded)(j)
				j.Status.CompletedIndexes = "1"
			}),
			want: outcome.Failure{Reason: outcome.DeadlineExceeded, Message: "The run took longer than job.activeDeadlineSeconds: raise it, or see the Pod's logs for what is slow"},
			done: []int32{1},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, FailureOf(tc.job, tc.pods)); diff != "" {
				t.Errorf("\n%s\nFailureOf(...): -want, +got:\n%s", tc.reason, diff)
			}
			o := ObserveJobStatus(tc.job, tc.pods, "", "")
			if o.Phase != modelv1alpha1.PhaseFailed || o.Reason != string(tc.want.Reason) {
				t.Errorf("\n%s\nObserveJobStatus(...): got %+v", tc.reason, o)
			}
			if diff := cmp.Diff(tc.done, SharesDone(tc.job)); diff != "" {
				t.Errorf("Shares that are done should be known after a failure.\nSharesDone(...): -want, +got:\n%s", diff)
			}
		})
	}
}

func FuzzParseIndexes(f *testing.F) {
	for _, text := range []string{"", "0", "1,3-5,7", "5-3", "0-4294967295", "-1", "1,,2", "a-b", "63,64", "3,1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := parseIndexes(text)
		if len(got) > v1alpha1.MaxParallelism || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("parseIndexes(%q): got %v", text, got)
		}
		for _, i := range got {
			if i < 0 || i >= v1alpha1.MaxParallelism {
				t.Errorf("parseIndexes(%q): no run has share %d", text, i)
			}
		}
	})
}

func TestMostShares(t *testing.T) {
	cases := map[string]struct {
		reason      string
		parallelism int32
		of          int32 // Of the status; 0 for none.
		want        int
	}{
		"OnePod":  {reason: "A run of one Pod has no shares.", parallelism: 1},
		"Spec":    {reason: "Each Pod that the spec asks for may have left a part.", parallelism: 3, want: 3},
		"Lowered": {reason: "A run that began with more Pods should count for these.", parallelism: 1, of: 5, want: 5},
		"Raised":  {reason: "The spec should count if it asks for more.", parallelism: 6, of: 5, want: 6},
		"Forged":  {reason: "No run has more shares than are allowed.", parallelism: 2, of: 1000, want: v1alpha1.MaxParallelism},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := &modelv1alpha1.Artifact{}
			a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineStream
			a.Spec.ForProvider.Job = &v1alpha1.JobSettings{Parallelism: tc.parallelism}
			if tc.of > 0 {
				a.Status.AtProvider.Shares = &modelv1alpha1.SharesObservation{Of: tc.of}
			}
			if got := MostShares(a); got != tc.want {
				t.Errorf("\n%s\nMostShares(...): want %d, got %d", tc.reason, tc.want, got)
			}
		})
	}
}
