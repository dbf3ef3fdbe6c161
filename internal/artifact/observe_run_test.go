package artifact

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestObserveRun(t *testing.T) {
	limit := jobFailedBy(batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded, "Job has reached the specified backoff limit")
	late := jobFailedBy(batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded, "Job was active longer than specified deadline")
	running := []corev1.Pod{podWith("a", corev1.PodRunning)}
	cases := map[string]struct {
		reason string
		args   RunState
		want   outcome.Reason
		phase  modelv1alpha1.ArtifactPhase
	}{
		"NoJob":     {reason: "Without a Job there is nothing to add.", want: outcome.JobNotCreated, phase: modelv1alpha1.PhasePending},
		"PodGone":   {reason: "A Job that failed and whose Pod is gone lost it.", args: RunState{Job: limit}, want: outcome.PodLost, phase: modelv1alpha1.PhaseFailed},
		"OtherPod":  {reason: "Another Job's Pod is none of this one's.", args: RunState{Job: limit, Pods: []corev1.Pod{ofOtherJob(podWith("a", corev1.PodFailed))}}, want: outcome.PodLost, phase: modelv1alpha1.PhaseFailed},
		"PodBehind": {reason: "A Pod that has not ended, of a Job that has, is seen as it was.", args: RunState{Job: limit, Pods: running}, want: "Creating", phase: modelv1alpha1.PhaseRunning},
		"DoneFirst": {reason: "So it is where the Job went well: its result is to be read.", args: RunState{Job: jobDone(), Pods: running}, want: "Creating", phase: modelv1alpha1.PhaseRunning},
		"Late":      {reason: "A deadline needs no Pod to be told.", args: RunState{Job: late, Pods: running}, want: outcome.DeadlineExceeded, phase: modelv1alpha1.PhaseFailed},
		"LateGone":  {reason: "A deadline stays one when its Pod is gone.", args: RunState{Job: late}, want: outcome.DeadlineExceeded, phase: modelv1alpha1.PhaseFailed},
		"Silent":    {reason: "A Pod that failed and says nothing was not lost.", args: RunState{Job: limit, Pods: []corev1.Pod{podWith("a", corev1.PodFailed)}}, want: outcome.JobFailed, phase: modelv1alpha1.PhaseFailed},
		"Done":      {reason: "A run that went well did.", args: RunState{Job: jobDone(), Pods: []corev1.Pod{podWith("a", corev1.PodSucceeded, ended(1, pushedResult))}}, want: "Available", phase: modelv1alpha1.PhaseSucceeded},
		"Overdue":   {reason: "A run that keeps credentials and does not start is over.", args: RunState{Job: active(), Pods: noNode("0/1 nodes are available: 1 Insufficient cpu."), Overdue: true}, want: outcome.NotStarted, phase: modelv1alpha1.PhaseFailed},
		"Overtaken": {reason: "One that has started meanwhile is not.", args: RunState{Job: active(), Pods: running, Overdue: true}, want: "Creating", phase: modelv1alpha1.PhaseRunning},
		"Told":      {reason: "What a worker says stands.", args: RunState{Job: limit, Pods: []corev1.Pod{podWith("a", corev1.PodFailed, ended(1, gatedResult))}}, want: outcome.Gated, phase: modelv1alpha1.PhaseFailed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ObserveRun(tc.args, "", "")
			if got.Reason != string(tc.want) || got.Phase != tc.phase {
				t.Errorf("\n%s\nObserveRun(...): want %s %s, got %+v", tc.reason, tc.phase, tc.want, got)
			}
		})
	}
}

func TestIsOverdue(t *testing.T) {
	made := time.Unix(1000, 0)
	job := func(credentials string) *batchv1.Job {
		j := active()
		j.SetCreationTimestamp(metav1.NewTime(made))
		j.SetAnnotations(map[string]string{AnnotationCredentials: credentials})
		j.Status.Ready = ptr.To[int32](0)
		return j
	}
	ready := job("x")
	ready.Status.Ready = ptr.To[int32](1)
	cases := map[string]struct {
		reason string
		job    *batchv1.Job
		pods   []corev1.Pod
		after  time.Duration
		want   bool
	}{
		"New":     {reason: "A run has its time to start.", job: job("x"), after: time.Minute},
		"Old":     {reason: "No run keeps credentials for longer without starting.", job: job("x"), after: time.Hour, want: true},
		"Waiting": {reason: "A Pod that waits has not started.", job: job("x"), pods: creating("ImagePullBackOff", ""), after: time.Hour, want: true},
		"NoCopy":  {reason: "A run without a copy may wait for ever.", job: job(""), after: time.Hour},
		"Started": {reason: "A run that has started may take its time.", job: job("x"), pods: []corev1.Pod{podWith("a", corev1.PodRunning)}, after: time.Hour},
		"Ready":   {reason: "The Job's count tells where Pods are not known.", job: ready, after: time.Hour},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := IsOverdue(tc.job, tc.pods, made.Add(tc.after), CopyTimeout); got != tc.want {
				t.Errorf("\n%s\nIsOverdue(...): got %t", tc.reason, got)
			}
		})
	}
}

func TestObservePodsEnd(t *testing.T) {
	pod := func(reason, message string) corev1.Pod {
		p := podWith("a", corev1.PodFailed)
		p.Status.Reason, p.Status.Message = reason, message
		return p
	}
	taken := func(reason string) corev1.Pod {
		p := podWith("a", corev1.PodFailed)
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason}}
		return p
	}
	container := func(reason, message string) corev1.Pod {
		s := ended(1, message)
		s.Name, s.Image, s.State.Terminated.Reason = "kit", "kit:1", reason
		return podWith("a", corev1.PodFailed, s)
	}
	cases := map[string]struct {
		reason string
		args   corev1.Pod
		want   outcome.Reason
		says   string
	}{
		"Evicted":      {reason: "The kubelet evicts where the node lacks something.", args: pod("Evicted", "The node was low on resource: ephemeral-storage. Threshold quantity: 12Gi, available: 3Gi."), want: outcome.Evicted, says: "low on ephemeral-storage"},
		"Shutdown":     {reason: "A node that shuts down ends its Pods.", args: pod("Terminated", "Pod was terminated in response to imminent node shutdown."), want: outcome.Evicted, says: "The node"},
		"NotTaken":     {reason: "The kubelet may refuse what the scheduler gave it.", args: pod("OutOfcpu", "Node didn't have enough resource: cpu"), want: outcome.Evicted, says: "The node"},
		"Preempted":    {reason: "The scheduler makes room.", args: taken("PreemptionByScheduler"), want: outcome.Evicted, says: "PreemptionByScheduler"},
		"Drained":      {reason: "A node is drained.", args: taken("EvictionByEvictionAPI"), want: outcome.Evicted, says: "EvictionByEvictionAPI"},
		"Tainted":      {reason: "A node that does not answer is lost.", args: taken("DeletionByTaintManager"), want: outcome.PodLost, says: "node was lost"},
		"Collected":    {reason: "So is one that was deleted.", args: taken("DeletionByPodGC"), want: outcome.PodLost, says: "node was lost"},
		"NodeLost":     {reason: "Old clusters say it otherwise.", args: pod("NodeLost", ""), want: outcome.PodLost, says: "node was lost"},
		"Unknown":      {reason: "After a node's restart nobody knows how a container ended.", args: container("ContainerStatusUnknown", "The container could not be located"), want: outcome.PodLost, says: "node was lost"},
		"OutOfMemory":  {reason: "The kernel ends what uses too much memory.", args: container("OOMKilled", ""), want: outcome.OutOfMemory, says: "limits.memory"},
		"StartError":   {reason: "What a runtime says when it finds no program is not the worker's word.", args: container("StartError", "failed to create task: exec: no such file"), want: outcome.ImageUnusable, says: "kitImage"},
		"NothingKnown": {reason: "A container that failed by itself is not guessed about.", args: container("Error", ""), want: outcome.JobFailed, says: "backoff"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job := jobFailedBy(batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded, "backoff limit")
			got := ObserveJobStatus(job, []corev1.Pod{tc.args}, "", "")
			if got.Reason != string(tc.want) || !strings.Contains(got.Message, tc.says) || got.Phase != modelv1alpha1.PhaseFailed {
				t.Errorf("\n%s\nObserveJobStatus(...): want %s with %q, got %+v", tc.reason, tc.want, tc.says, got)
			}
			if strings.Contains(got.Message, "Gi") {
				t.Errorf("\n%s\nmessage: it has an amount: %q", tc.reason, got.Message)
			}
		})
	}
}

func TestRefusal(t *testing.T) {
	jobs := schema.GroupResource{Group: "batch", Resource: "jobs"}
	forbid := func(why string) error { return kerrors.NewForbidden(jobs, "run", errors.New(why)) }
	cases := map[string]struct {
		reason string
		args   error
		want   outcome.Reason
		says   string
	}{
		"Quota":    {reason: "A quota is named.", args: forbid("exceeded quota: team, requested: count/jobs.batch=1, used: count/jobs.batch=5, limited: count/jobs.batch=5"), want: outcome.QuotaExceeded, says: `ResourceQuota "team" leaves no room for Job "run", which asks for count/jobs.batch=1`},
		"Right":    {reason: "A right that the provider lacks is told.", args: kerrors.NewForbidden(jobs, "", errors.New(`User "system:serviceaccount:x:y" cannot create resource "jobs" in API group "batch" in the namespace "z"`)), want: outcome.PermissionMissing, says: "may not create jobs.batch: apply the ClusterRole in examples/install/rbac.yaml and bind it to ServiceAccount x/y"},
		"Policy":   {reason: "A policy is told.", args: forbid("ValidatingAdmissionPolicy 'no-jobs' denied request"), want: outcome.Refused, says: "no-jobs"},
		"Invalid":  {reason: "What is not valid is told.", args: kerrors.NewInvalid(schema.GroupKind{Group: "batch", Kind: "Job"}, "run", nil), want: outcome.Refused, says: `Job "run"`},
		"Webhook":  {reason: "A webhook is named, whatever status it gives.", args: kerrors.NewInternalError(errors.New(`admission webhook "x.example.com" denied the request: no`)), want: outcome.Refused, says: "x.example.com"},
		"Passing":  {reason: "What may pass is no refusal.", args: kerrors.NewServiceUnavailable("down"), want: outcome.Internal, says: "cannot create Job"},
		"Conflict": {reason: "Nor is a conflict.", args: kerrors.NewConflict(jobs, "run", errors.New("x")), want: outcome.Internal, says: "cannot create Job"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Refusal(tc.args, `Job "run"`)
			if outcome.ReasonOf(got) != tc.want || !strings.Contains(got.Error(), tc.says) {
				t.Errorf("\n%s\nRefusal(...): want %s with %q, got %v", tc.reason, tc.want, tc.says, got)
			}
			if !errors.Is(got, tc.args) {
				t.Errorf("\n%s\nRefusal(...): the cause is lost", tc.reason)
			}
		})
	}
	if Refusal(nil, "x") != nil {
		t.Error("Where nothing went wrong nothing was refused")
	}
}

func TestReadRunState(t *testing.T) {
	made := time.Unix(1000, 0)
	job, unmade := active(), jobWith(batchv1.JobStatus{})
	job.SetCreationTimestamp(metav1.NewTime(made))
	unmade.SetCreationTimestamp(metav1.NewTime(made))
	event := func(uid types.UID) *corev1.Event {
		e := said(uid, 1, "FailedCreate", "")
		e.Name, e.Namespace = "of-"+string(uid), testNamespace
		return &e
	}
	c := fake.NewClientBuilder().WithScheme(newScheme(t)).WithObjects(event("job"), event(podUID), event(pvcUID), event("other"), pendingPVC(nil)).
		WithIndex(&corev1.Event{}, "involvedObject.uid", func(o client.Object) []string {
			e, ok := o.(*corev1.Event)
			if !ok {
				return nil
			}
			return []string{string(e.InvolvedObject.UID)}
		}).Build()
	waiting := noNode("0/1 nodes are available: 1 Insufficient cpu.")

	cases := map[string]struct {
		reason string
		job    *batchv1.Job
		pods   []corev1.Pod
		after  time.Duration
		want   []string
		asked  bool
	}{
		"NoJob":   {reason: "Without a Job nothing is asked.", after: time.Hour},
		"New":     {reason: "A run has its time to start.", job: job, pods: waiting, after: time.Second},
		"Started": {reason: "A run that has started is not asked why not.", job: job, pods: []corev1.Pod{podWith("a", corev1.PodRunning)}, after: time.Hour},
		"NoPod":   {reason: "A Job without a Pod says why.", job: unmade, after: time.Hour, want: []string{"of-job"}, asked: true},
		"NoNode":  {reason: "A Pod without a node may wait for the workspace; the scheduler's word is in the Pod.", job: job, pods: waiting, after: time.Hour, want: []string{"of-pvc"}, asked: true},
		"OnNode":  {reason: "A Pod with a node waits for what the kubelet says.", job: job, pods: creating("ContainerCreating", ""), after: time.Hour, want: []string{"of-pod"}, asked: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ReadRunState(t.Context(), c, newArtifact(), tc.job, tc.pods, made.Add(tc.after))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for i := range got.Events {
				names = append(names, got.Events[i].GetName())
			}
			if diff := cmp.Diff(tc.want, names); diff != "" {
				t.Errorf("\n%s\nevents: -want, +got:\n%s", tc.reason, diff)
			}
			if got.Asked != tc.asked || (got.Workspace != nil) != tc.asked {
				t.Errorf("\n%s\nReadRunState(...): got asked %t, workspace %t", tc.reason, got.Asked, got.Workspace != nil)
			}
		})
	}
}

// admit changes a Job as admission policies and queues do.
func admit(j *batchv1.Job) {
	pod := &j.Spec.Template.Spec
	pod.NodeSelector = map[string]string{"flavor": "spot"}
	pod.Tolerations = append(pod.Tolerations, corev1.Toleration{Key: "spot", Operator: corev1.TolerationOpExists})
	pod.ImagePullSecrets = append(pod.ImagePullSecrets, corev1.LocalObjectReference{Name: "mirror"})
	pod.PriorityClassName = "batch"
	pod.InitContainers = append(pod.InitContainers, corev1.Container{Name: "sidecar", Image: "mesh:1"})
	for i := range pod.Containers {
		pod.Containers[i].Image = "mirror/" + pod.Containers[i].Image
		pod.Containers[i].Resources = corev1.ResourceRequirements{}
		pod.Containers[i].Env = append(pod.Containers[i].Env, corev1.EnvVar{Name: "INJECTED", Value: "yes"})
	}
}

func TestOutdated(t *testing.T) {
	job := func(a *modelv1alpha1.Artifact) *batchv1.Job {
		j := BuildJob(a, "kit:1", nil)
		j.SetUID("job")
		if err := useSecret(j, a.Effective.CopiedSecretName); err != nil {
			t.Fatal(err)
		}
		return j
	}
	settings := func(s v1alpha1.JobSettings) artifactModifier {
		return withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Job = &s })
	}
	nowhere := settings(v1alpha1.JobSettings{NodeSelector: map[string]string{"gpu": "yes"}})
	stuck := noNode("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.")
	workspace := func(a *modelv1alpha1.Artifact) *corev1.PersistentVolumeClaim { return BuildPVC(a, nil) }

	cases := map[string]struct {
		reason string
		was    *modelv1alpha1.Artifact
		is     *modelv1alpha1.Artifact
		image  string
		change func(*RunState)
		want   bool
	}{
		"Same":    {reason: "A run that would be made the same again is left waiting.", was: newArtifact(nowhere), is: newArtifact(nowhere)},
		"Removed": {reason: "A selector that was taken away may be the cure.", was: newArtifact(nowhere), is: newArtifact(), want: true},
		"Memory":  {reason: "So may other resources.", was: newArtifact(), is: newArtifact(settings(v1alpha1.JobSettings{Resources: &corev1.ResourceRequirements{}})), want: true},
		"Image":   {reason: "So may another image, where one cannot be pulled.", was: newArtifact(), is: newArtifact(), image: "kit:2", change: func(s *RunState) { s.Pods = creating("ErrImagePull", "") }, want: true},
		"Upgrade": {reason: "What waits for a node waits with any image.", was: newArtifact(nowhere), is: newArtifact(nowhere), image: "kit:2"},
		"Env":     {reason: "So may what a ClusterProviderConfig sets.", was: newArtifact(), is: newArtifact(withEffective(modelv1alpha1.Effective{Env: []corev1.EnvVar{{Name: "A", Value: "b"}}})), want: true},
		"Mounts":  {reason: "Where blobs may be is no task.", was: newArtifact(withStream(), withEffective(modelv1alpha1.Effective{MountFrom: []string{"models/other@sha256:00"}})), is: newArtifact(withStream())},
		"Labels":  {reason: "A policy may ask for a label.", was: newArtifact(), is: newArtifact(settings(v1alpha1.JobSettings{Labels: map[string]string{"a": "b"}})), want: true},
		"Secret": {reason: "So may another Secret.", was: newArtifact(), is: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
			p.Target.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "other"}
		})), want: true},
		"Admission": {reason: "What admission makes of a Job is no change of what was asked for.", was: newArtifact(nowhere), is: newArtifact(nowhere), change: func(s *RunState) { admit(s.Job) }},
		"AdmittedImage": {reason: "Nor is an image that admission replaced.", was: newArtifact(), is: newArtifact(), change: func(s *RunState) {
			s.Pods = creating("ErrImagePull", "")
			admit(s.Job)
		}},
		"Copied": {
			reason: "The name that the Secret with copied credentials was given is no part of what was asked for.",
			was:    newArtifact(withEffective(modelv1alpha1.Effective{HubToken: SecretKey(CopiedSecret, "hub-token"), CopiedSecretName: "random"})),
			is:     newArtifact(withEffective(modelv1alpha1.Effective{HubToken: SecretKey(CopiedSecret, "hub-token")})),
		},
		"Storage": {reason: "So may another class.", was: newArtifact(), is: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
			p.Storage = &v1alpha1.StorageSettings{StorageClassName: ptr.To("other")}
		})), want: true},
		"NoClaim":  {reason: "A claim that was deleted by hand is made again.", was: newArtifact(), is: newArtifact(), change: func(s *RunState) { s.Workspace = nil }, want: true},
		"Streamed": {reason: "What needs no claim misses none.", was: newArtifact(withStream()), is: newArtifact(withStream()), change: func(s *RunState) { s.Workspace = nil }},
		"NotAsked": {reason: "What was not looked at is not missing.", was: newArtifact(nowhere), is: newArtifact(), change: func(s *RunState) { s.Asked = false }},
		"Starting": {reason: "A run in whose way nothing is goes on.", was: newArtifact(nowhere), is: newArtifact(), change: func(s *RunState) { s.Pods = creating("ContainerCreating", "") }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := RunState{Job: job(tc.was), Pods: stuck, Workspace: workspace(tc.was), Asked: true}
			if tc.change != nil {
				tc.change(&s)
			}
			image := tc.image
			if image == "" {
				image = "kit:1"
			}
			if diff := cmp.Diff(tc.want, s.Outdated(tc.is, image)); diff != "" {
				t.Errorf("\n%s\nOutdated(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

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
