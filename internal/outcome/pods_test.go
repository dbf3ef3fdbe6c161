package outcome

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ended returns a container's state after it ended, at the supplied second.
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
		"None":          {reason: "Without Pods nobody speaks."},
		"Running":       {reason: "Who runs has not spoken.", args: []corev1.Pod{pod(running())}},
		"Silent":        {reason: "Who ends may say nothing.", args: []corev1.Pod{pod(ended(1, ""))}},
		"Success":       {reason: "A result is read.", args: []corev1.Pod{pod(ended(1, success))}, want: read},
		"Failure":       {reason: "A failure is read.", args: []corev1.Pod{pod(ended(1, failure))}, want: bad},
		"Text":          {reason: "What is no result is a text.", args: []corev1.Pod{pod(ended(1, "a\nb"))}, want: want{Text: "a b"}},
		"SilentLater":   {reason: "Who says nothing hides nobody.", args: []corev1.Pod{pod(ended(1, success), ended(2, ""))}, want: read},
		"RunningBeside": {reason: "A sidecar that runs hides nobody.", args: []corev1.Pod{pod(running(), ended(1, success))}, want: read},
		"AfterInit":     {reason: "The work comes after the preparation.", args: []corev1.Pod{withInit(pod(ended(2, success)), ended(1, "copied"))}, want: read},
		"AtOnce":        {reason: "The work comes after the preparation, in the same second too.", args: []corev1.Pod{withInit(pod(ended(1, failure)), ended(1, success))}, want: bad},
		"Init":          {reason: "A preparation that failed speaks.", args: []corev1.Pod{withInit(pod(), ended(1, "cannot copy"))}, want: want{Text: "cannot copy"}},
		"LastPod":       {reason: "The last that ended speaks.", args: []corev1.Pod{pod(ended(1, success)), pod(ended(3, failure)), pod(ended(2, success))}, want: bad},
		"FirstPod":      {reason: "The last that ended speaks, wherever it stands.", args: []corev1.Pod{pod(ended(3, failure)), pod(ended(2, success))}, want: bad},
		"TextLater":     {reason: "A text hides no result.", args: []corev1.Pod{pod(ended(1, success), ended(2, "proxy has ended"))}, want: read},
		"LastText":      {reason: "Of texts alone the last holds.", args: []corev1.Pod{pod(ended(1, "first"), ended(2, "second"))}, want: want{Text: "second"}},
		"NoTime":        {reason: "Who ended at an unknown time speaks, too.", args: []corev1.Pod{pod(corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: success}}})}, want: read},
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
