package artifact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestObserveOtherWorker checks what is observed of a run whose image has the
// worker of another version.
func TestObserveOtherWorker(t *testing.T) {
	const (
		// oldOutput is what a worker without the flag prints, to the letter.
		oldOutput = "worker: error: unknown long flag '--contract', try --help\n"
		refusal   = `{"failure":{"reason":"TooOld","message":"the worker's image is older than the provider: remove job.workerImage"}}`
	)
	type want struct {
		reason   outcome.Reason
		messages []string
	}
	stream := newArtifact(withStream(), withEffective(modelv1alpha1.Effective{WorkerImage: "example.com/worker:old"}))
	kit := newArtifact(withEffective(modelv1alpha1.Effective{WorkerImage: "example.com/worker:old"}))
	ended := func(name, message string, code int32) []corev1.Pod {
		return []corev1.Pod{{Status: corev1.PodStatus{
			Phase: corev1.PodFailed,
			ContainerStatuses: []corev1.ContainerStatus{{
				Name:  name,
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: code, Message: message}},
			}},
		}}}
	}
	cases := map[string]struct {
		reason   string
		artifact *modelv1alpha1.Artifact
		pods     []corev1.Pod
		want     want
	}{
		"UnknownFlag": {
			reason:   "A worker that does not know a flag should be named with the way out.",
			artifact: stream,
			pods:     ended("worker", oldOutput, 1),
			want:     want{outcome.TooOld, []string{"example.com/worker:old", "--contract", "remove job.workerImage"}},
		},
		"UnknownFlagOfKit": {
			reason:   "In pipeline Kit the worker comes from the init container's image, not from kit's.",
			artifact: kit,
			pods:     ended("kit", oldOutput, 1),
			want:     want{outcome.TooOld, []string{"example.com/worker:old", "--contract", "remove job.workerImage"}},
		},
		"Contract": {
			reason:   "A worker that refuses the contract should be named by its image.",
			artifact: stream,
			pods:     ended("worker", refusal, 1),
			want:     want{outcome.TooOld, []string{"older than the provider", "(images: example.com/worker:old)"}},
		},
		"ContractOfKit": {
			reason:   "Both images of a run should be named, since either may be the older one.",
			artifact: kit,
			pods:     ended("kit", refusal, 1),
			want:     want{outcome.TooOld, []string{"(images: example.com/worker:old, " + testKitImage + ")"}},
		},
		"NoMessage": {
			reason:   "A worker that prints why it failed to its log only is most likely of another version.",
			artifact: stream,
			pods:     ended("worker", "", 1),
			want:     want{outcome.JobFailed, []string{"example.com/worker:old", "remove job.workerImage", "logs"}},
		},
		"Killed": {
			reason:   "A worker that was killed should not be taken for another version.",
			artifact: stream,
			pods:     ended("worker", "", 137),
			want:     want{outcome.JobFailed, []string{"backoff limit"}},
		},
		"Sidecar": {
			reason:   "An injected container that leaves no message should not be taken for the worker.",
			artifact: stream,
			pods:     ended("istio-proxy", "", 1),
			want:     want{outcome.JobFailed, []string{"backoff limit"}},
		},
		"Text": {
			reason:   "A text that only quotes the refusal should be shown as it is.",
			artifact: stream,
			pods:     ended("worker", "kit: unknown long flag '--contract'", 1),
			want:     want{outcome.JobFailed, []string{"kit: unknown long flag"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job := BuildJob(tc.artifact, testKitImage, nil)
			job.Status = batchv1.JobStatus{Failed: 1, Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Message: "backoff limit"}}}
			got := ObserveJobStatus(job, tc.pods, "", "")
			if diff := cmp.Diff(string(tc.want.reason), got.Reason); diff != "" {
				t.Errorf("\n%s\nreason: -want, +got:\n%s", tc.reason, diff)
			}
			for _, m := range tc.want.messages {
				if !strings.Contains(got.Message, m) {
					t.Errorf("\n%s\nmessage: want %q, got %q", tc.reason, m, got.Message)
				}
			}
			if strings.ContainsAny(got.Message, "\n\r") {
				t.Errorf("\n%s\nmessage: want one line, got %q", tc.reason, got.Message)
			}
			if outcome.Reason(got.Reason).Passes() {
				t.Errorf("\n%s\nA run by another worker should not be retried, got reason %s", tc.reason, got.Reason)
			}
		})
	}
}

func TestObserveWhatTheWorkerCannotSay(t *testing.T) {
	waiting := func(reason string) []corev1.Pod {
		return []corev1.Pod{{Status: corev1.PodStatus{
			Phase: corev1.PodPending,
			InitContainerStatuses: []corev1.ContainerStatus{{
				Name:  "install",
				Image: "worker:1",
				State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
			}},
		}}}
	}
	killed := []corev1.Pod{{Status: corev1.PodStatus{
		Phase: corev1.PodFailed,
		ContainerStatuses: []corev1.ContainerStatus{{
			Name:  "kit",
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}},
		}},
	}}}
	preempted := []corev1.Pod{{Status: corev1.PodStatus{
		Phase:      corev1.PodFailed,
		Conditions: []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
	}}}
	active := batchv1.JobStatus{Active: 1}
	over := batchv1.JobStatus{Failed: 1, Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Message: "backoff limit"}}}

	cases := map[string]struct {
		reason string
		status batchv1.JobStatus
		pods   []corev1.Pod
		want   ObservationResult
	}{
		"ImagePull": {
			reason: "An image that cannot be pulled is named while the Pod waits.",
			status: active,
			pods:   waiting("ErrImagePull"),
			want:   ObservationResult{Phase: modelv1alpha1.PhasePending, Ready: metav1.ConditionFalse, Reason: string(outcome.ImagePull)},
		},
		"ImagePullBackOff": {
			reason: "The kubelet's back-off changes nothing, so that the condition does not flap.",
			status: active,
			pods:   waiting("ImagePullBackOff"),
			want:   ObservationResult{Phase: modelv1alpha1.PhasePending, Ready: metav1.ConditionFalse, Reason: string(outcome.ImagePull)},
		},
		"ContainerCreating": {
			reason: "A Pod that is being made waits for nobody.",
			status: active,
			pods:   waiting("ContainerCreating"),
			want:   ObservationResult{Phase: modelv1alpha1.PhasePending, Ready: metav1.ConditionUnknown, Reason: "Creating"},
		},
		"OutOfMemory": {
			reason: "A worker that was killed for its memory cannot speak.",
			status: over,
			pods:   killed,
			want:   ObservationResult{Phase: modelv1alpha1.PhaseFailed, Ready: metav1.ConditionFalse, Reason: string(outcome.OutOfMemory)},
		},
		"Preempted": {
			reason: "A Pod that the cluster took away did nothing wrong.",
			status: over,
			pods:   preempted,
			want:   ObservationResult{Phase: modelv1alpha1.PhaseFailed, Ready: metav1.ConditionFalse, Reason: string(outcome.Evicted)},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ObserveJobStatus(&batchv1.Job{Status: tc.status}, tc.pods, "", "")
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(ObservationResult{}, "Message")); diff != "" {
				t.Errorf("\n%s\nObserveJobStatus(...): -want, +got:\n%s", tc.reason, diff)
			}
			if got.Message == "" || got.Message == "backoff limit" {
				t.Errorf("\n%s\nmessage: got %q", tc.reason, got.Message)
			}
		})
	}
}
