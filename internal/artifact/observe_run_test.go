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
		"NoJob":     {reason: "A pending run without a Job should be JobNotCreated.", want: outcome.JobNotCreated, phase: modelv1alpha1.PhasePending},
		"PodGone":   {reason: "A failed Job without a Pod should be reported as a lost Pod.", args: RunState{Job: limit}, want: outcome.PodLost, phase: modelv1alpha1.PhaseFailed},
		"OtherPod":  {reason: "The Pod of another Job should not count as this one's.", args: RunState{Job: limit, Pods: []corev1.Pod{ofOtherJob(podWith("a", corev1.PodFailed))}}, want: outcome.PodLost, phase: modelv1alpha1.PhaseFailed},
		"PodBehind": {reason: "A Pod that has not ended in the cache should delay the end of a failed Job.", args: RunState{Job: limit, Pods: running}, want: "Creating", phase: modelv1alpha1.PhaseRunning},
		"DoneFirst": {reason: "A Pod that has not ended in the cache should delay the end of a Job that succeeded.", args: RunState{Job: jobDone(), Pods: running}, want: "Creating", phase: modelv1alpha1.PhaseRunning},
		"Late":      {reason: "An exceeded deadline should be reported without a Pod's end.", args: RunState{Job: late, Pods: running}, want: outcome.DeadlineExceeded, phase: modelv1alpha1.PhaseFailed},
		"LateGone":  {reason: "An exceeded deadline should still be reported after the Pod's deletion.", args: RunState{Job: late}, want: outcome.DeadlineExceeded, phase: modelv1alpha1.PhaseFailed},
		"Silent":    {reason: "A failed Pod without a message should not be reported as lost.", args: RunState{Job: limit, Pods: []corev1.Pod{podWith("a", corev1.PodFailed)}}, want: outcome.JobFailed, phase: modelv1alpha1.PhaseFailed},
		"Done":      {reason: "A run that succeeded should be reported so.", args: RunState{Job: jobDone(), Pods: []corev1.Pod{podWith("a", corev1.PodSucceeded, ended(1, pushedResult))}}, want: "Available", phase: modelv1alpha1.PhaseSucceeded},
		"Overdue":   {reason: "A run with copied credentials that does not start should fail.", args: RunState{Job: active(), Pods: noNode("0/1 nodes are available: 1 Insufficient cpu."), Overdue: true}, want: outcome.NotStarted, phase: modelv1alpha1.PhaseFailed},
		"Overtaken": {reason: "A run with copied credentials that has started meanwhile should continue.", args: RunState{Job: active(), Pods: running, Overdue: true}, want: "Creating", phase: modelv1alpha1.PhaseRunning},
		"Told":      {reason: "The worker's own failure should be reported.", args: RunState{Job: limit, Pods: []corev1.Pod{podWith("a", corev1.PodFailed, ended(1, gatedResult))}}, want: outcome.Gated, phase: modelv1alpha1.PhaseFailed},
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
		"New":     {reason: "A run should have time to start.", job: job("x"), after: time.Minute},
		"Old":     {reason: "A run with copied credentials should be overdue after the timeout.", job: job("x"), after: time.Hour, want: true},
		"Waiting": {reason: "A pending Pod should not count as started.", job: job("x"), pods: creating("ImagePullBackOff", ""), after: time.Hour, want: true},
		"NoCopy":  {reason: "A run without copied credentials should never be overdue.", job: job(""), after: time.Hour},
		"Started": {reason: "A run that has started should never be overdue.", job: job("x"), pods: []corev1.Pod{podWith("a", corev1.PodRunning)}, after: time.Hour},
		"Ready":   {reason: "The Job's count of ready Pods should decide if Pods are unknown.", job: ready, after: time.Hour},
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
		"Evicted":      {reason: "An eviction for lack of a resource should be reported.", args: pod("Evicted", "The node was low on resource: ephemeral-storage. Threshold quantity: 12Gi, available: 3Gi."), want: outcome.Evicted, says: "low on ephemeral-storage"},
		"Shutdown":     {reason: "A node's shutdown should be reported as an eviction.", args: pod("Terminated", "Pod was terminated in response to imminent node shutdown."), want: outcome.Evicted, says: "The node"},
		"NotTaken":     {reason: "A Pod that the kubelet rejects should be reported as evicted.", args: pod("OutOfcpu", "Node didn't have enough resource: cpu"), want: outcome.Evicted, says: "The node"},
		"Preempted":    {reason: "A preempted Pod should be reported as evicted.", args: taken("PreemptionByScheduler"), want: outcome.Evicted, says: "PreemptionByScheduler"},
		"Drained":      {reason: "A drained Pod should be reported as evicted.", args: taken("EvictionByEvictionAPI"), want: outcome.Evicted, says: "EvictionByEvictionAPI"},
		"Tainted":      {reason: "A Pod on an unreachable node should be reported as lost.", args: taken("DeletionByTaintManager"), want: outcome.PodLost, says: "node was lost"},
		"Collected":    {reason: "A Pod on a deleted node should be reported as lost.", args: taken("DeletionByPodGC"), want: outcome.PodLost, says: "node was lost"},
		"NodeLost":     {reason: "The reason NodeLost of older clusters should be recognised.", args: pod("NodeLost", ""), want: outcome.PodLost, says: "node was lost"},
		"Unknown":      {reason: "A container with an unknown end should be reported as lost.", args: container("ContainerStatusUnknown", "The container could not be located"), want: outcome.PodLost, says: "node was lost"},
		"OutOfMemory":  {reason: "A container that was killed for its memory should be reported.", args: container("OOMKilled", ""), want: outcome.OutOfMemory, says: "limits.memory"},
		"StartError":   {reason: "A runtime's start error should not be taken for the worker's message.", args: container("StartError", "failed to create task: exec: no such file"), want: outcome.ImageUnusable, says: "kitImage"},
		"NothingKnown": {reason: "A container that failed by itself should get no guessed reason.", args: container("Error", ""), want: outcome.JobFailed, says: "backoff"},
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
		"Quota":    {reason: "The quota that refuses an object should be named.", args: forbid("exceeded quota: team, requested: count/jobs.batch=1, used: count/jobs.batch=5, limited: count/jobs.batch=5"), want: outcome.QuotaExceeded, says: `ResourceQuota "team" leaves no room for Job "run", which asks for count/jobs.batch=1`},
		"Right":    {reason: "A permission that the provider lacks should be named.", args: kerrors.NewForbidden(jobs, "", errors.New(`User "system:serviceaccount:x:y" cannot create resource "jobs" in API group "batch" in the namespace "z"`)), want: outcome.PermissionMissing, says: "may not create jobs.batch: apply the ClusterRole in examples/install/rbac.yaml and bind it to ServiceAccount x/y"},
		"Policy":   {reason: "The admission policy that refuses an object should be named.", args: forbid("ValidatingAdmissionPolicy 'no-jobs' denied request"), want: outcome.Refused, says: "no-jobs"},
		"Invalid":  {reason: "The invalid field should be named.", args: kerrors.NewInvalid(schema.GroupKind{Group: "batch", Kind: "Job"}, "run", nil), want: outcome.Refused, says: `Job "run"`},
		"Webhook":  {reason: "The webhook that refuses an object should be named, whatever its status.", args: kerrors.NewInternalError(errors.New(`admission webhook "x.example.com" denied the request: no`)), want: outcome.Refused, says: "x.example.com"},
		"Queue":    {reason: "A webhook of Kueue that does not answer should be named, and be transient.", args: kerrors.NewInternalError(errors.New(`failed calling webhook "mjob.kb.io": failed to call webhook: Post "https://kueue-webhook-service.kueue-system.svc:443/mutate-batch-v1-job?timeout=10s": no endpoints available for service "kueue-webhook-service"`)), want: outcome.QueueUnavailable, says: "Kueue's webhook does not answer"},
		"Mesh":     {reason: "Another webhook that does not answer should not be taken for Kueue's.", args: kerrors.NewInternalError(errors.New(`failed calling webhook "mjob.kb.io.example.com": x`)), want: outcome.Internal, says: "cannot create Job"},
		"Passing":  {reason: "A transient error should not be a refusal.", args: kerrors.NewServiceUnavailable("down"), want: outcome.Internal, says: "cannot create Job"},
		"Conflict": {reason: "A conflict should not be a refusal.", args: kerrors.NewConflict(jobs, "run", errors.New("x")), want: outcome.Internal, says: "cannot create Job"},
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
		"NoJob":   {reason: "Nothing should be read without a Job.", after: time.Hour},
		"New":     {reason: "A run should have time to start.", job: job, pods: waiting, after: time.Second},
		"Started": {reason: "Nothing should be read for a run that has started.", job: job, pods: []corev1.Pod{podWith("a", corev1.PodRunning)}, after: time.Hour},
		"NoPod":   {reason: "The Job's events should be read if it has no Pod.", job: unmade, after: time.Hour, want: []string{"of-job"}, asked: true},
		"NoNode":  {reason: "The workspace's events should be read for a Pod without a node.", job: job, pods: waiting, after: time.Hour, want: []string{"of-pvc"}, asked: true},
		"OnNode":  {reason: "The Pod's events should be read if it has a node.", job: job, pods: creating("ContainerCreating", ""), after: time.Hour, want: []string{"of-pod"}, asked: true},
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
		"Same":    {reason: "A run that would be the same should not be restarted.", was: newArtifact(nowhere), is: newArtifact(nowhere)},
		"Removed": {reason: "A removed node selector should restart the run.", was: newArtifact(nowhere), is: newArtifact(), want: true},
		"Memory":  {reason: "Changed resources should restart the run.", was: newArtifact(), is: newArtifact(settings(v1alpha1.JobSettings{Resources: &corev1.ResourceRequirements{}})), want: true},
		"Image":   {reason: "Another image should restart a run whose image cannot be pulled.", was: newArtifact(), is: newArtifact(), image: "kit:2", change: func(s *RunState) { s.Pods = creating("ErrImagePull", "") }, want: true},
		"Upgrade": {reason: "Another image should not restart a run that waits for a node.", was: newArtifact(nowhere), is: newArtifact(nowhere), image: "kit:2"},
		"Env":     {reason: "Changed settings of a ClusterProviderConfig should restart the run.", was: newArtifact(), is: newArtifact(withEffective(modelv1alpha1.Effective{Env: []corev1.EnvVar{{Name: "A", Value: "b"}}})), want: true},
		"Mounts":  {reason: "Other artifacts to mount blobs from should not restart the run.", was: newArtifact(withStream(), withEffective(modelv1alpha1.Effective{MountFrom: []string{"models/other@sha256:00"}})), is: newArtifact(withStream())},
		"Labels":  {reason: "Changed labels, which a policy may require, should restart the run.", was: newArtifact(), is: newArtifact(settings(v1alpha1.JobSettings{Labels: map[string]string{"a": "b"}})), want: true},
		"Secret": {reason: "Another Secret should restart the run.", was: newArtifact(), is: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
			p.Target.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "other"}
		})), want: true},
		"Admission": {reason: "Changes of the Job by admission should not restart the run.", was: newArtifact(nowhere), is: newArtifact(nowhere), change: func(s *RunState) { admit(s.Job) }},
		"AdmittedImage": {reason: "An image that admission replaced should not restart the run.", was: newArtifact(), is: newArtifact(), change: func(s *RunState) {
			s.Pods = creating("ErrImagePull", "")
			admit(s.Job)
		}},
		"Copied": {
			reason: "The random name of the Secret with copied credentials should not restart the run.",
			was:    newArtifact(withEffective(modelv1alpha1.Effective{HubToken: SecretKey(CopiedSecret, "hub-token"), CopiedSecretName: "random"})),
			is:     newArtifact(withEffective(modelv1alpha1.Effective{HubToken: SecretKey(CopiedSecret, "hub-token")})),
		},
		"Storage": {reason: "Another StorageClass should restart the run.", was: newArtifact(), is: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
			p.Storage = &v1alpha1.StorageSettings{StorageClassName: ptr.To("other")}
		})), want: true},
		"NoClaim":  {reason: "A workspace that was deleted manually should restart the run.", was: newArtifact(), is: newArtifact(), change: func(s *RunState) { s.Workspace = nil }, want: true},
		"Streamed": {reason: "A missing workspace should not restart a run that needs none.", was: newArtifact(withStream()), is: newArtifact(withStream()), change: func(s *RunState) { s.Workspace = nil }},
		"NotAsked": {reason: "A workspace that was not read should not restart the run.", was: newArtifact(nowhere), is: newArtifact(), change: func(s *RunState) { s.Asked = false }},
		"Starting": {reason: "A run that is starting should not be restarted.", was: newArtifact(nowhere), is: newArtifact(), change: func(s *RunState) { s.Pods = creating("ContainerCreating", "") }},
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

// TestObserveHostileText checks that a text from outside stays short,
// one line and readable.
func TestObserveHostileText(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   string
		want   string
	}{
		"Long":       {reason: "A long text should be truncated.", args: strings.Repeat("a", 4096), want: "aaaa"},
		"MultiByte":  {reason: "A text should be truncated between runes.", args: strings.Repeat("ä", 2048), want: "ää"},
		"Lines":      {reason: "A text should become one line.", args: "first\r\nsecond\n\tthird", want: "first second third"},
		"Controls":   {reason: "Control characters should be removed.", args: "a\x1b[31mb\x00c\x7fd", want: "a [31mb c d"},
		"NoUTF8":     {reason: "Invalid UTF-8 should be removed.", args: "kit \xff\xfe failed", want: "failed"},
		"ResultCopy": {reason: "A result without a failure should not be shown as a message.", args: pushedResult, want: ""},
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
		"Times":    {reason: "The order of Pods that ended one after the other should not matter.", args: []corev1.Pod{podWith("a", corev1.PodFailed, ended(1, gatedResult)), podWith("b", corev1.PodFailed, ended(2, "second")), podWith("c", corev1.PodFailed, ended(3, "third"))}},
		"SameTime": {reason: "The order of Pods that ended in the same second should not matter.", args: []corev1.Pod{podWith("a", corev1.PodFailed, ended(1, "first")), podWith("b", corev1.PodFailed, ended(1, "second"))}},
		"NoTime":   {reason: "The order of Pods with unknown end times should not matter.", args: []corev1.Pod{podWith("a", corev1.PodFailed, ended(0, "first")), podWith("b", corev1.PodFailed, ended(0, gatedResult))}},
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
			reason: "The phases of a successful run should never go back.",
			args: []observeArgs{
				{job: jobWith(batchv1.JobStatus{})}, {job: ready(0)}, {job: ready(0), pods: pod(corev1.PodPending)},
				{job: ready(0), pods: pod(corev1.PodRunning)}, {job: ready(1), pods: pod(corev1.PodRunning)},
				{job: ready(1), pods: done}, {job: jobWith(batchv1.JobStatus{Succeeded: 1}), pods: done}, {job: jobDone(), pods: done},
			},
		},
		"PodsSeenFirst": {
			reason: "The phases should never go back if the cache of Pods is ahead of that of Jobs.",
			args: []observeArgs{
				{job: jobWith(batchv1.JobStatus{}), pods: pod(corev1.PodPending)}, {job: ready(0), pods: pod(corev1.PodRunning)},
				{job: jobDone(), pods: done},
			},
		},
		"Fails": {
			reason: "The phases of a failed run should never go back.",
			args: []observeArgs{
				{job: ready(0)}, {job: ready(0), pods: pod(corev1.PodPending)}, {job: ready(1), pods: pod(corev1.PodRunning)},
				{job: ready(1), pods: failed}, {job: targetJob, pods: failed}, {job: failedJob, pods: failed},
			},
		},
		"FailsSilently": {
			reason: "The phases should never go back if the Pod is deleted before it was observed.",
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
