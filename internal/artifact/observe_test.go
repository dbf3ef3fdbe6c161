package artifact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	pushedDigest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	oldDigest    = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
	pushedResult = `{"digest":"` + pushedDigest + `","size":7,"files":1}`
	gatedResult  = `{"failure":{"reason":"Gated","message":"Ask for access"}}`
)

type observeArgs struct {
	job    *batchv1.Job
	pods   []corev1.Pod
	phase  modelv1alpha1.ArtifactPhase
	digest string
}

type observeCase struct {
	reason string
	args   observeArgs
	want   ObservationResult
}

// checkObserved compares results but for their messages, of which the wanted
// one is a part; and checks that observing changes nothing.
func checkObserved(t *testing.T, cases map[string]observeCase) {
	t.Helper()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job, pods := tc.args.job.DeepCopy(), copied(tc.args.pods)
			got := ObserveJobStatus(job, pods, tc.args.phase, tc.args.digest)
			again := ObserveJobStatus(job, pods, tc.args.phase, tc.args.digest)
			if diff := cmp.Diff(got, again); diff != "" {
				t.Errorf("\n%s\nObserveJobStatus() twice: -first, +second:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.args.job, job); diff != "" {
				t.Errorf("\n%s\nthe Job: -before, +after:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.args.pods, pods); diff != "" {
				t.Errorf("\n%s\nthe Pods: -before, +after:\n%s", tc.reason, diff)
			}
			if !strings.Contains(got.Message, tc.want.Message) || (got.Ready == metav1.ConditionTrue && got.Message != "") {
				t.Errorf("\n%s\nmessage: want %q, got %q", tc.reason, tc.want.Message, got.Message)
			}
			got.Message = tc.want.Message
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nObserveJobStatus(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func copied(pods []corev1.Pod) []corev1.Pod {
	var out []corev1.Pod
	for i := range pods {
		out = append(out, *pods[i].DeepCopy())
	}
	return out
}

// jobWith returns the Artifact's Job with this status.
func jobWith(s batchv1.JobStatus) *batchv1.Job {
	j := newJob("run", ownedBy(testUID))
	j.SetUID("job")
	j.Status = s
	return j
}

func active() *batchv1.Job { return jobWith(batchv1.JobStatus{Active: 1}) }

func jobDone() *batchv1.Job {
	return jobWith(batchv1.JobStatus{Succeeded: 1, Conditions: []batchv1.JobCondition{
		{Type: batchv1.JobSuccessCriteriaMet, Status: corev1.ConditionTrue},
		{Type: batchv1.JobComplete, Status: corev1.ConditionTrue},
	}})
}

// jobFailedBy returns a Job that failed with this condition.
func jobFailedBy(c batchv1.JobConditionType, reason, message string) *batchv1.Job {
	return jobWith(batchv1.JobStatus{Failed: 1, Conditions: []batchv1.JobCondition{
		{Type: c, Status: corev1.ConditionTrue, Reason: reason, Message: message},
	}})
}

// ended returns a container's state after it ended, at the supplied second.
func ended(second int64, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		Message:    message,
		FinishedAt: metav1.Unix(second, 0),
	}}}
}

// podWith returns a Pod of the Job, with these containers.
func podWith(name string, phase corev1.PodPhase, containers ...corev1.ContainerStatus) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "batch/v1", Kind: "Job", Name: "run", UID: "job", Controller: ptr.To(true),
		}}},
		Status: corev1.PodStatus{Phase: phase, ContainerStatuses: containers},
	}
}

func ofOtherJob(p corev1.Pod) corev1.Pod {
	p.OwnerReferences[0].UID = "other"
	return p
}

// Results that several cases want.
var (
	isPending = ObservationResult{Phase: modelv1alpha1.PhasePending, Ready: metav1.ConditionUnknown, Reason: "Creating", Message: `"run"`}
	isRunning = ObservationResult{Phase: modelv1alpha1.PhaseRunning, Ready: metav1.ConditionUnknown, Reason: "Creating", Message: `"run"`}
	isMissing = ObservationResult{Phase: modelv1alpha1.PhasePending, Ready: metav1.ConditionFalse, Reason: "JobNotCreated", Message: "Job"}
)

func isDone(digest string) ObservationResult {
	return ObservationResult{Phase: modelv1alpha1.PhaseSucceeded, Ready: metav1.ConditionTrue, Reason: "Available", Digest: digest}
}

func isFailed(reason outcome.Reason, message string) ObservationResult {
	return ObservationResult{Phase: modelv1alpha1.PhaseFailed, Ready: metav1.ConditionFalse, Reason: string(reason), Message: message}
}

func TestObserveNoJob(t *testing.T) {
	failed := isFailed(outcome.JobFailed, "")
	failed.Digest = oldDigest
	checkObserved(t, map[string]observeCase{
		"Nothing":   {reason: "A run without a Job should be JobNotCreated.", want: isMissing},
		"Pending":   {reason: "A pending run without a Job should be JobNotCreated.", args: observeArgs{phase: modelv1alpha1.PhasePending}, want: isMissing},
		"Running":   {reason: "A running run without a Job should be JobNotCreated.", args: observeArgs{phase: modelv1alpha1.PhaseRunning, digest: oldDigest}, want: isMissing},
		"Unknown":   {reason: "An unknown phase should be JobNotCreated.", args: observeArgs{phase: "Other"}, want: isMissing},
		"Succeeded": {reason: "A run should stay Succeeded after its Job's deletion.", args: observeArgs{phase: modelv1alpha1.PhaseSucceeded, digest: oldDigest}, want: isDone(oldDigest)},
		"Failed":    {reason: "A run should stay Failed after its Job's deletion.", args: observeArgs{phase: modelv1alpha1.PhaseFailed, digest: oldDigest}, want: failed},
		"StalePods": {reason: "Pods should be ignored without a Job.", args: observeArgs{pods: []corev1.Pod{podWith("a", corev1.PodSucceeded, ended(1, pushedResult))}}, want: isMissing},
	})
}

func TestObserveActiveJob(t *testing.T) {
	done := modelv1alpha1.PhaseSucceeded
	checkObserved(t, map[string]observeCase{
		"New":        {reason: "A new Job should be Pending.", args: observeArgs{job: jobWith(batchv1.JobStatus{})}, want: isPending},
		"PodPending": {reason: "A Job with a pending Pod should be Pending.", args: observeArgs{job: active(), pods: []corev1.Pod{podWith("a", corev1.PodPending)}}, want: isPending},
		"PodRunning": {reason: "A Job with a running Pod should be Running.", args: observeArgs{job: active(), pods: []corev1.Pod{podWith("a", corev1.PodRunning)}}, want: isRunning},
		"PodEnded":   {reason: "An ended Pod should not end the run before the Job does.", args: observeArgs{job: active(), pods: []corev1.Pod{podWith("a", corev1.PodSucceeded, ended(1, pushedResult))}}, want: isRunning},
		"Uncounted": {
			reason: "A Job that does not count a Pod's end yet should not become Pending again.",
			args:   observeArgs{job: jobWith(batchv1.JobStatus{UncountedTerminatedPods: &batchv1.UncountedTerminatedPods{Succeeded: []types.UID{"pod"}}})},
			want:   isRunning,
		},
		"SeveralPods":  {reason: "A Job with one running Pod of several should be Running.", args: observeArgs{job: active(), pods: []corev1.Pod{podWith("a", corev1.PodPending), podWith("b", corev1.PodRunning)}}, want: isRunning},
		"NewAfterOld":  {reason: "The recorded state of an earlier run should be ignored.", args: observeArgs{job: jobWith(batchv1.JobStatus{}), phase: done, digest: oldDigest}, want: isPending},
		"RunsAfterOld": {reason: "The recorded state of an earlier run should be ignored.", args: observeArgs{job: active(), pods: []corev1.Pod{podWith("a", corev1.PodRunning)}, phase: done, digest: oldDigest}, want: isRunning},
		"FalseCondition": {
			reason: "A condition that is not true should be ignored.",
			args: observeArgs{job: jobWith(batchv1.JobStatus{Active: 1, Conditions: []batchv1.JobCondition{
				{Type: batchv1.JobFailed, Status: corev1.ConditionFalse}, {Type: batchv1.JobComplete, Status: corev1.ConditionUnknown},
			}}), pods: []corev1.Pod{podWith("a", corev1.PodRunning)}},
			want: isRunning,
		},
	})
}

func TestObserveSucceededJob(t *testing.T) {
	one := func(message string) []corev1.Pod {
		return []corev1.Pod{podWith("a", corev1.PodSucceeded, ended(1, message))}
	}
	checkObserved(t, map[string]observeCase{
		"Result":      {reason: "The digest should be read from the worker's result.", args: observeArgs{job: jobDone(), pods: one(pushedResult)}, want: isDone(pushedDigest)},
		"CountOnly":   {reason: "The count of successes should be enough before the Job's condition.", args: observeArgs{job: jobWith(batchv1.JobStatus{Succeeded: 1}), pods: one(pushedResult)}, want: isDone(pushedDigest)},
		"BareDigest":  {reason: "A bare digest, as other tools write it, should be read.", args: observeArgs{job: jobDone(), pods: one(pushedDigest + "\n")}, want: isDone(pushedDigest)},
		"Unreadable":  {reason: "An unreadable message should not change a success; its digest is unknown.", args: observeArgs{job: jobDone(), pods: one("all went well")}, want: isDone("")},
		"Silent":      {reason: "A missing message should not change a success.", args: observeArgs{job: jobDone(), pods: one("")}, want: isDone("")},
		"NoPods":      {reason: "A missing Pod should not change a success.", args: observeArgs{job: jobDone()}, want: isDone("")},
		"NewNotOld":   {reason: "The digest of an earlier run should be replaced.", args: observeArgs{job: jobDone(), pods: one(pushedResult), phase: modelv1alpha1.PhaseSucceeded, digest: oldDigest}, want: isDone(pushedDigest)},
		"TextNotOld":  {reason: "The digest of an earlier run should not be reported for a run without one.", args: observeArgs{job: jobDone(), pods: one("all went well"), phase: modelv1alpha1.PhaseSucceeded, digest: oldDigest}, want: isDone("")},
		"Failure":     {reason: "A failure in the result should not change the Job's success, without a digest.", args: observeArgs{job: jobDone(), pods: one(gatedResult)}, want: isDone("")},
		"LastPod":     {reason: "The result of the Pod that ended last should be used.", args: observeArgs{job: jobDone(), pods: []corev1.Pod{podWith("a", corev1.PodSucceeded, ended(2, pushedResult)), podWith("b", corev1.PodFailed, ended(1, gatedResult))}}, want: isDone(pushedDigest)},
		"Sidecar":     {reason: "The message of an injected container should not hide the result.", args: observeArgs{job: jobDone(), pods: []corev1.Pod{podWith("a", corev1.PodSucceeded, ended(1, pushedResult), ended(2, "proxy has ended"))}}, want: isDone(pushedDigest)},
		"OlderRun":    {reason: "Pods of another Job should be ignored.", args: observeArgs{job: jobDone(), pods: []corev1.Pod{ofOtherJob(podWith("old", corev1.PodSucceeded, ended(1, `{"digest":"`+oldDigest+`"}`)))}}, want: isDone("")},
		"OwnerUnsaid": {reason: "A Pod without an owner should be used.", args: observeArgs{job: jobDone(), pods: []corev1.Pod{{Status: one(pushedResult)[0].Status}}}, want: isDone(pushedDigest)},
	})
}

func TestObserveFailedJob(t *testing.T) {
	const backoff, deadline = batchv1.JobReasonBackoffLimitExceeded, batchv1.JobReasonDeadlineExceeded
	one := func(message string) []corev1.Pod {
		return []corev1.Pod{podWith("a", corev1.PodFailed, ended(1, message))}
	}
	failed := jobFailedBy(batchv1.JobFailed, backoff, "Job has reached the specified backoff limit")
	late := jobFailedBy(batchv1.JobFailed, deadline, "Job was active longer than specified deadline")
	soonLate := jobFailedBy(batchv1.JobFailureTarget, deadline, "Job was active longer than specified deadline")
	interrupted := `{"failure":{"reason":"Evicted","message":"The run was stopped before its end"}}`

	checkObserved(t, map[string]observeCase{
		"Result":           {reason: "The failure should be read from the worker's result.", args: observeArgs{job: failed, pods: one(gatedResult)}, want: isFailed(outcome.Gated, "Ask for access")},
		"CountOnly":        {reason: "The count of failures should be enough before the Job's condition, since Jobs do not retry.", args: observeArgs{job: jobWith(batchv1.JobStatus{Failed: 1}), pods: one(gatedResult)}, want: isFailed(outcome.Gated, "Ask for access")},
		"ConditionOnly":    {reason: "A Job that fails without a failed Pod should be Failed.", args: observeArgs{job: jobWith(batchv1.JobStatus{Conditions: failed.Status.Conditions})}, want: isFailed(outcome.JobFailed, "backoff limit")},
		"PlainText":        {reason: "A text should be shown without a guess at its reason.", args: observeArgs{job: failed, pods: one("401 unauthorized")}, want: isFailed(outcome.JobFailed, "401 unauthorized")},
		"BareDigest":       {reason: "A digest should not be a failure's message.", args: observeArgs{job: failed, pods: one(pushedDigest)}, want: isFailed(outcome.JobFailed, "")},
		"Silent":           {reason: "The Job's message should be shown if the worker left none.", args: observeArgs{job: failed, pods: one("")}, want: isFailed(outcome.JobFailed, "backoff limit")},
		"AllSilent":        {reason: "Without any message the next step should be named.", args: observeArgs{job: jobWith(batchv1.JobStatus{Failed: 1})}, want: isFailed(outcome.JobFailed, "kubectl describe")},
		"Deadline":         {reason: "An exceeded deadline should name the field.", args: observeArgs{job: late}, want: isFailed(outcome.DeadlineExceeded, "activeDeadlineSeconds")},
		"DeadlineWithText": {reason: "The text of an interrupted program should not replace the deadline.", args: observeArgs{job: late, pods: one("terminated")}, want: isFailed(outcome.DeadlineExceeded, "activeDeadlineSeconds")},
		"DeadlineStopped":  {reason: "The result of an interrupted worker should not replace the deadline.", args: observeArgs{job: late, pods: one(interrupted)}, want: isFailed(outcome.DeadlineExceeded, "activeDeadlineSeconds")},
		"DeadlineSoon":     {reason: "The cause should be the same before and after the Job's last condition.", args: observeArgs{job: soonLate, pods: one("")}, want: isFailed(outcome.DeadlineExceeded, "activeDeadlineSeconds")},
		"BackoffSoon":      {reason: "The cause should be the same before and after the Job's last condition.", args: observeArgs{job: jobFailedBy(batchv1.JobFailureTarget, backoff, "Job has reached the specified backoff limit")}, want: isFailed(outcome.JobFailed, "backoff limit")},
		"InitContainer":    {reason: "The message of a failed init container should be shown.", args: observeArgs{job: failed, pods: []corev1.Pod{{Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{ended(1, "cannot copy")}}}}}, want: isFailed(outcome.JobFailed, "cannot copy")},
		"LastPod":          {reason: "The result of the Pod that ended last should be used.", args: observeArgs{job: failed, pods: []corev1.Pod{podWith("a", corev1.PodFailed, ended(2, gatedResult)), podWith("b", corev1.PodFailed, ended(1, "earlier"))}}, want: isFailed(outcome.Gated, "Ask for access")},
		"Sidecar":          {reason: "The message of an injected container should not hide the result.", args: observeArgs{job: failed, pods: []corev1.Pod{podWith("a", corev1.PodFailed, ended(1, gatedResult), ended(2, "proxy has ended"))}}, want: isFailed(outcome.Gated, "Ask for access")},
		"OlderRun":         {reason: "Pods of another Job should be ignored.", args: observeArgs{job: failed, pods: []corev1.Pod{ofOtherJob(podWith("old", corev1.PodFailed, ended(1, gatedResult)))}}, want: isFailed(outcome.JobFailed, "backoff limit")},
		"OldIsGone":        {reason: "A failed run should have no digest, even if an earlier one had.", args: observeArgs{job: failed, pods: one(gatedResult), phase: modelv1alpha1.PhaseSucceeded, digest: oldDigest}, want: isFailed(outcome.Gated, "Ask for access")},
	})
}

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
			reason:   "A worker that does not know a flag should be named with the cure.",
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
			if outcome.Reason(got.Reason).Transient() {
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
			reason: "An image that cannot be pulled should be named while the Pod waits.",
			status: active,
			pods:   waiting("ErrImagePull"),
			want:   ObservationResult{Phase: modelv1alpha1.PhasePending, Ready: metav1.ConditionFalse, Reason: string(outcome.ImagePull)},
		},
		"ImagePullBackOff": {
			reason: "The kubelet's back-off should not change the condition.",
			status: active,
			pods:   waiting("ImagePullBackOff"),
			want:   ObservationResult{Phase: modelv1alpha1.PhasePending, Ready: metav1.ConditionFalse, Reason: string(outcome.ImagePull)},
		},
		"ContainerCreating": {
			reason: "A Pod whose containers are being created should have no failure.",
			status: active,
			pods:   waiting("ContainerCreating"),
			want:   ObservationResult{Phase: modelv1alpha1.PhasePending, Ready: metav1.ConditionUnknown, Reason: "Creating"},
		},
		"OutOfMemory": {
			reason: "A container that was killed for its memory should be reported without a message.",
			status: over,
			pods:   killed,
			want:   ObservationResult{Phase: modelv1alpha1.PhaseFailed, Ready: metav1.ConditionFalse, Reason: string(outcome.OutOfMemory)},
		},
		"Preempted": {
			reason: "A preempted Pod should be reported as evicted.",
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
