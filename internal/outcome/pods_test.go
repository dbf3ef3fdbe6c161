package outcome

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ended returns the status of a container that terminated at a second.
func ended(second int64, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		Message:    message,
		FinishedAt: metav1.Unix(second, 0),
	}}}
}

func running() corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
}

func pod(containers ...corev1.ContainerStatus) corev1.Pod {
	return corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: containers}}
}

func withInit(p corev1.Pod, containers ...corev1.ContainerStatus) corev1.Pod {
	p.Status.InitContainerStatuses = containers
	return p
}

func TestFromPods(t *testing.T) {
	type want struct {
		Result Result
		Text   string
		OK     bool
	}
	success := `{"digest":"` + testDigest + `"}`
	failure := `{"failure":{"reason":"Gated","message":"ask"}}`
	read := want{Result: Result{Digest: testDigest}, Text: success, OK: true}
	bad := want{Result: Result{Failure: &Failure{Reason: Gated, Message: "ask"}}, Text: failure, OK: true}

	cases := map[string]struct {
		reason string
		args   []corev1.Pod
		want   want
	}{
		"None":          {reason: "There should be no result without Pods."},
		"Running":       {reason: "There should be no result while the container is running.", args: []corev1.Pod{pod(running())}},
		"Silent":        {reason: "There should be no result without a termination message.", args: []corev1.Pod{pod(ended(1, ""))}},
		"Success":       {reason: "A success should be returned.", args: []corev1.Pod{pod(ended(1, success))}, want: read},
		"Failure":       {reason: "A failure should be returned.", args: []corev1.Pod{pod(ended(1, failure))}, want: bad},
		"Text":          {reason: "A message that is no result should be returned as text.", args: []corev1.Pod{pod(ended(1, "a\nb"))}, want: want{Text: "a b"}},
		"SilentLater":   {reason: "A later container without a message should not hide a result.", args: []corev1.Pod{pod(ended(1, success), ended(2, ""))}, want: read},
		"RunningBeside": {reason: "A running sidecar should not hide a result.", args: []corev1.Pod{pod(running(), ended(1, success))}, want: read},
		"AfterInit":     {reason: "The result of a container should be preferred to the message of an init container.", args: []corev1.Pod{withInit(pod(ended(2, success)), ended(1, "copied"))}, want: read},
		"AtOnce":        {reason: "The result of a container should be preferred to an init container's of the same second.", args: []corev1.Pod{withInit(pod(ended(1, failure)), ended(1, success))}, want: bad},
		"Init":          {reason: "The message of a failed init container should be returned.", args: []corev1.Pod{withInit(pod(), ended(1, "cannot copy"))}, want: want{Text: "cannot copy"}},
		"LastPod":       {reason: "The result of the container that terminated last should be returned.", args: []corev1.Pod{pod(ended(1, success)), pod(ended(3, failure)), pod(ended(2, success))}, want: bad},
		"FirstPod":      {reason: "The result of the container that terminated last should be returned in any order of Pods.", args: []corev1.Pod{pod(ended(3, failure)), pod(ended(2, success))}, want: bad},
		"TextLater":     {reason: "A later text should not hide a result.", args: []corev1.Pod{pod(ended(1, success), ended(2, "proxy has ended"))}, want: read},
		"LastText":      {reason: "The latest of several texts should be returned.", args: []corev1.Pod{pod(ended(1, "first"), ended(2, "second"))}, want: want{Text: "second"}},
		"NoTime":        {reason: "The result of a container that terminated at an unknown time should be returned.", args: []corev1.Pod{pod(corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: success}}})}, want: read},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r, text, ok := FromPods(tc.args)
			if diff := cmp.Diff(tc.want, want{Result: r, Text: text, OK: ok}); diff != "" {
				t.Errorf("\n%s\nFromPods(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFromPodsBoundsText(t *testing.T) {
	_, text, ok := FromPods([]corev1.Pod{pod(ended(1, strings.Repeat("ä\x1b\n", 2000)))})
	if ok || text == "" {
		t.Errorf("FromPods(): %q, %t", text, ok)
	}
	checkText(t, "A text is a bounded line.", text)
}
