package artifact

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	runqueue "github.com/crossplane-contrib/provider-kitops/internal/queue"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// runningArtifact returns an Artifact whose status says that its run 3 is running, and the
// run's Job.
func runningArtifact() (*modelv1alpha1.Artifact, *batchv1.Job) {
	a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "qwen", UID: "uid"}}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace: "team", Name: artifact.JobName(a), UID: "job", Annotations: artifact.Run{Hash: "hash", Number: 3}.Annotations(),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(a, modelv1alpha1.ArtifactGroupVersionKind)},
	}}
	a.Status.AtProvider.Phase, a.Status.AtProvider.Run = modelv1alpha1.PhaseRunning, 3
	a.Status.AtProvider.JobRef = &modelv1alpha1.JobReference{Namespace: "team", Name: job.GetName()}
	return a, job
}

// limiterOf returns a limiter whose cache has these objects.
func limiterOf(t *testing.T, objects ...client.Object) *limiter {
	t.Helper()
	kube := fake.NewClientBuilder().WithScheme(apiserver.Scheme(t)).WithObjects(objects...).Build()
	return &limiter{cached: kube, queue: runqueue.New(1), runs: &requeuer{cached: kube}}
}

// TestIsRecorded checks which Jobs of before the provider's start are believed to be runs.
func TestIsRecorded(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(a *modelv1alpha1.Artifact, job *batchv1.Job)
		want   bool
	}{
		"Run":    {reason: "The run that the status says is in progress should count.", change: func(*modelv1alpha1.Artifact, *batchv1.Job) {}, want: true},
		"Name":   {reason: "A Job with another name should not count.", change: func(_ *modelv1alpha1.Artifact, j *batchv1.Job) { j.Name = "forged" }},
		"Number": {reason: "A Job of another run should not count.", change: func(_ *modelv1alpha1.Artifact, j *batchv1.Job) { j.Annotations[artifact.AnnotationRun] = "4" }},
		"Ended": {reason: "A Job of a run that has ended should not count.", change: func(a *modelv1alpha1.Artifact, _ *batchv1.Job) {
			a.Status.AtProvider.Phase = modelv1alpha1.PhaseSucceeded
		}},
		"NoRun": {reason: "A Job of an Artifact without a run should not count.", change: func(a *modelv1alpha1.Artifact, _ *batchv1.Job) { a.Status = modelv1alpha1.ArtifactStatus{} }},
		"Paused": {reason: "The status of a paused Artifact should not be believed.", change: func(a *modelv1alpha1.Artifact, _ *batchv1.Job) {
			a.Annotations = map[string]string{"crossplane.io/paused": "true"}
		}},
		"OtherUID":  {reason: "A Job of an earlier Artifact of the name should not count.", change: func(a *modelv1alpha1.Artifact, _ *batchv1.Job) { a.UID = "other" }},
		"Elsewhere": {reason: "A Job in another namespace than the status says should not count.", change: func(a *modelv1alpha1.Artifact, _ *batchv1.Job) { a.Status.AtProvider.JobRef.Namespace = "runs" }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, job := runningArtifact()
			tc.change(a, job)
			l := limiterOf(t, a)
			if got := l.isRecorded(t.Context(), client.ObjectKeyFromObject(a), job); got != tc.want {
				t.Errorf("\n%s\nisRecorded(...): want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

// TestJobWithoutParallelism checks that a Job that never has a Pod takes no room.
func TestJobWithoutParallelism(t *testing.T) {
	a, job := runningArtifact()
	l := limiterOf(t, a)
	l.jobChanged(t.Context(), job, true)
	if got := l.queue.Counts()["team"].Running; got != 1 {
		t.Fatalf("a run should count, got %d Pods", got)
	}
	job.Spec.Parallelism = ptr.To[int32](0)
	l.jobChanged(t.Context(), job, true)
	if got := l.queue.Counts()["team"].Running; got != 0 {
		t.Errorf("a Job without parallelism should not count, got %d Pods", got)
	}
}
