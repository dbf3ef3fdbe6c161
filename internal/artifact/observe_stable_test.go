package artifact

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// TestObserveHostileText checks that a text that nobody controls stays short,
// one line and readable.
func TestObserveHostileText(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   string
		want   string
	}{
		"Long":       {reason: "A condition is not a log.", args: strings.Repeat("a", 4096), want: "aaaa"},
		"MultiByte":  {reason: "A text is cut between runes.", args: strings.Repeat("ä", 2048), want: "ää"},
		"Lines":      {reason: "A condition is one line.", args: "first\r\nsecond\n\tthird", want: "first second third"},
		"Controls":   {reason: "A terminal must not obey it.", args: "a\x1b[31mb\x00c\x7fd", want: "a [31mb c d"},
		"NoUTF8":     {reason: "The API server refuses what is no UTF-8.", args: "kit \xff\xfe failed", want: "failed"},
		"ResultCopy": {reason: "A result that says nothing of a failure is no message for people.", args: pushedResult, want: ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job := jobFailedBy(batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded, "Job has reached the specified backoff limit")
			got := ObserveJobStatus(job, []corev1.Pod{podWith("a", corev1.PodFailed, ended(1, tc.args))}, "", "").Message
			if !strings.Contains(got, tc.want) || len(got) > 1024 || got == "" {
				t.Errorf("\n%s\nmessage: want about %q, got %d bytes: %q", tc.reason, tc.want, len(got), got)
			}
			if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("\n%s\nmessage: %q", tc.reason, got)
			}
			if strings.Contains(got, `{"digest"`) {
				t.Errorf("\n%s\nmessage: %q", tc.reason, got)
			}
		})
	}
}

// TestObserveAnyOrder checks that the order in which Pods and their containers
// are listed, which is a cache's whim, decides nothing.
func TestObserveAnyOrder(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []corev1.Pod
	}{
		"Times":    {reason: "Pods that ended one after the other.", args: []corev1.Pod{podWith("a", corev1.PodFailed, ended(1, gatedResult)), podWith("b", corev1.PodFailed, ended(2, "second")), podWith("c", corev1.PodFailed, ended(3, "third"))}},
		"SameTime": {reason: "Pods that ended in the same second.", args: []corev1.Pod{podWith("a", corev1.PodFailed, ended(1, "first")), podWith("b", corev1.PodFailed, ended(1, "second"))}},
		"NoTime":   {reason: "Pods of which nobody knows when they ended.", args: []corev1.Pod{podWith("a", corev1.PodFailed, ended(0, "first")), podWith("b", corev1.PodFailed, ended(0, gatedResult))}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job := jobFailedBy(batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded, "")
			forwards := ObserveJobStatus(job, tc.args, "", "")
			reversed := copied(tc.args)
			slices.Reverse(reversed)
			if diff := cmp.Diff(forwards, ObserveJobStatus(job, reversed, "", "")); diff != "" {
				t.Errorf("\n%s\nObserveJobStatus(): -forwards, +backwards:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestObserveNeverGoesBack follows a run as the caches of Jobs and Pods show
// it, one of them behind the other, and checks that it only goes on.
func TestObserveNeverGoesBack(t *testing.T) {
	rank := map[modelv1alpha1.ArtifactPhase]int{
		modelv1alpha1.PhasePending: 0, modelv1alpha1.PhaseRunning: 1, modelv1alpha1.PhaseSucceeded: 2, modelv1alpha1.PhaseFailed: 2,
	}
	ready := func(n int32) *batchv1.Job { return jobWith(batchv1.JobStatus{Active: 1, Ready: ptr.To(n)}) }
	pod := func(p corev1.PodPhase, c ...corev1.ContainerStatus) []corev1.Pod {
		return []corev1.Pod{podWith("a", p, c...)}
	}
	done := pod(corev1.PodSucceeded, ended(1, pushedResult))
	failed := pod(corev1.PodFailed, ended(1, gatedResult))
	failedJob := jobFailedBy(batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded, "limit")
	targetJob := jobFailedBy(batchv1.JobFailureTarget, batchv1.JobReasonBackoffLimitExceeded, "limit")

	cases := map[string]struct {
		reason string
		args   []observeArgs
	}{
		"Succeeds": {
			reason: "A run that goes well.",
			args: []observeArgs{
				{job: jobWith(batchv1.JobStatus{})}, {job: ready(0)}, {job: ready(0), pods: pod(corev1.PodPending)},
				{job: ready(0), pods: pod(corev1.PodRunning)}, {job: ready(1), pods: pod(corev1.PodRunning)},
				{job: ready(1), pods: done}, {job: jobWith(batchv1.JobStatus{Succeeded: 1}), pods: done}, {job: jobDone(), pods: done},
			},
		},
		"PodsSeenFirst": {
			reason: "The Pods' cache is ahead of the Jobs'.",
			args: []observeArgs{
				{job: jobWith(batchv1.JobStatus{}), pods: pod(corev1.PodPending)}, {job: ready(0), pods: pod(corev1.PodRunning)},
				{job: jobDone(), pods: done},
			},
		},
		"Fails": {
			reason: "A run that goes badly.",
			args: []observeArgs{
				{job: ready(0)}, {job: ready(0), pods: pod(corev1.PodPending)}, {job: ready(1), pods: pod(corev1.PodRunning)},
				{job: ready(1), pods: failed}, {job: targetJob, pods: failed}, {job: failedJob, pods: failed},
			},
		},
		"FailsSilently": {
			reason: "A run whose Pod is gone before it was seen.",
			args:   []observeArgs{{job: ready(0)}, {job: targetJob}, {job: failedJob}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			last := ObservationResult{}
			for i, a := range tc.args {
				got := ObserveJobStatus(a.job, a.pods, last.Phase, last.Digest)
				if rank[got.Phase] < rank[last.Phase] {
					t.Errorf("\n%s\nstep %d: phase %s after %s", tc.reason, i, got.Phase, last.Phase)
				}
				if rank[last.Phase] == 2 && got != last {
					t.Errorf("\n%s\nstep %d: an end changes: -before, +after:\n%s", tc.reason, i, cmp.Diff(last, got))
				}
				last = got
			}
		})
	}
}
