package progress

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// sharePod returns a running Pod with a share of its run.
func sharePod(index int, change ...func(*corev1.Pod)) corev1.Pod {
	return runningPod(append([]func(*corev1.Pod){func(p *corev1.Pod) {
		p.UID = types.UID(fmt.Sprintf("pod-%d", index))
		p.Labels = map[string]string{batchv1.JobCompletionIndexAnnotation: fmt.Sprint(index)}
		p.Status.PodIP = fmt.Sprintf("10.1.2.%d", index+1)
	}}, change...)...)
}

// hasEnded has a Pod have succeeded, with what its worker reports.
func hasEnded(message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodSucceeded
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: message}}}}
	}
}

func TestProgressOfShares(t *testing.T) {
	w := newProgressWorld(t, plenty)
	a := artifactOf("a")
	a.Status.AtProvider.Shares = &modelv1alpha1.SharesObservation{Of: 3}
	pods := []corev1.Pod{sharePod(0), sharePod(1), sharePod(2, func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending })}
	w.Progress(a, pods)
	w.say("10.1.2.1", `{"percent":50,"bytesDone":500,"bytesTotal":1000,"bytesPerSecond":10}`)
	w.say("10.1.2.2", `{"percent":10,"bytesDone":100,"bytesTotal":1000,"bytesPerSecond":1}`)
	w.pass(5 * time.Second)
	w.expect("10.1.2.1", 1, 1, "Each Pod of a run should be asked, and the Artifact be requeued once.")
	w.expect("10.1.2.2", 1, 0, "Each Pod of a run should be asked.")
	check := func(reason string, want *modelv1alpha1.ProgressObservation) {
		t.Helper()
		if diff := cmp.Diff(want, w.Progress(a, pods)); diff != "" {
			t.Errorf("%s\nProgress(...): -want, +got:\n%s", reason, diff)
		}
	}
	check("While the size of a share is not known, each share should count the same.",
		&modelv1alpha1.ProgressObservation{Percent: 20, BytesDone: 600, BytesPerSecond: 11})

	pods[2].Status.Phase = corev1.PodRunning
	w.Progress(a, pods)
	w.say("10.1.2.3", `{"percent":25,"bytesDone":500,"bytesTotal":2000,"bytesPerSecond":100}`)
	w.pass(15 * time.Second)
	check("Bytes and rates should add up, and the run take as long as its slowest Pod.", &modelv1alpha1.ProgressObservation{
		Percent: 27, BytesDone: 1100, BytesTotal: 4000, BytesPerSecond: 111, TimeLeft: &metav1.Duration{Duration: 15 * time.Minute},
	})

	pods[0] = sharePod(0, hasEnded(""))
	a.Status.AtProvider.Shares.Done = []int32{0}
	w.Progress(a, pods)
	w.pass(15 * time.Second)
	check("A share whose Pod has succeeded should count as done, with what it said before.", &modelv1alpha1.ProgressObservation{
		Percent: 40, BytesDone: 1600, BytesTotal: 4000, BytesPerSecond: 101, TimeLeft: &metav1.Duration{Duration: 15 * time.Minute},
	})
	w.expect("10.1.2.1", 1, 2, "A Pod that has ended should not be asked.")

	if got := w.Progress(a, []corev1.Pod{runningPod()}); got != nil {
		t.Errorf("The Pod that completes the run has a progress of its own: got %+v", got)
	}
}

func TestSharesObserved(t *testing.T) {
	cases := map[string]struct {
		reason string
		shares *modelv1alpha1.SharesObservation
		pods   []corev1.Pod
		got    map[types.UID]outcome.Progress
		want   *modelv1alpha1.ProgressObservation
	}{
		"Retried": {
			reason: "Shares that were done by an earlier Job should count as done.",
			shares: &modelv1alpha1.SharesObservation{Of: 4, Done: []int32{0, 1, 3}},
			pods:   []corev1.Pod{sharePod(0)},
			got:    map[types.UID]outcome.Progress{"pod-0": {Percent: 40, BytesDone: 40, BytesTotal: 100}},
			want:   &modelv1alpha1.ProgressObservation{Percent: 85, BytesDone: 40},
		},
		"Reported": {
			reason: "A Pod that ended before it was asked should count with what it reports.",
			shares: &modelv1alpha1.SharesObservation{Of: 2, Done: []int32{0}},
			pods:   []corev1.Pod{sharePod(0, hasEnded(`{"share":{"index":0,"of":2,"bytes":300}}`)), sharePod(1)},
			got:    map[types.UID]outcome.Progress{"pod-1": {BytesDone: 50, BytesTotal: 100}},
			want:   &modelv1alpha1.ProgressObservation{Percent: 87, BytesDone: 350, BytesTotal: 400},
		},
		"Liars": {
			reason: "Numbers of Pods should not overflow their sum.",
			shares: &modelv1alpha1.SharesObservation{Of: 2},
			pods:   []corev1.Pod{sharePod(0), sharePod(1)},
			got: map[types.UID]outcome.Progress{
				"pod-0": {Percent: 100, BytesDone: math.MaxInt64, BytesTotal: math.MaxInt64, BytesPerSecond: math.MaxInt64},
				"pod-1": {Percent: 100, BytesDone: math.MaxInt64, BytesTotal: math.MaxInt64, BytesPerSecond: math.MaxInt64},
			},
			want: &modelv1alpha1.ProgressObservation{Percent: 100, BytesDone: 2 * mostBytes, BytesTotal: 2 * mostBytes, BytesPerSecond: 2 * mostBytes},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := artifactOf("a")
			a.Status.AtProvider.Shares = tc.shares
			var s *shares
			if diff := cmp.Diff(tc.want, s.of(a, tc.pods).observed(tc.got)); diff != "" {
				t.Errorf("\n%s\nobserved(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
