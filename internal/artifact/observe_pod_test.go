package artifact

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

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
