package artifact

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	podUID = types.UID("pod")
	pvcUID = types.UID("pvc")
)

// pendingPod returns the Job's Pod, in this state.
func pendingPod(change func(*corev1.PodStatus)) []corev1.Pod {
	p := podWith("run-abcde", corev1.PodPending)
	p.SetUID(podUID)
	change(&p.Status)
	return []corev1.Pod{p}
}

// noNode returns an unschedulable Pod with this message of the scheduler.
func noNode(message string) []corev1.Pod {
	return pendingPod(func(s *corev1.PodStatus) {
		s.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message}}
	})
}

// creating returns a Pod whose container waits for this reason.
func creating(reason, message string) []corev1.Pod {
	return pendingPod(func(s *corev1.PodStatus) {
		s.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "kit", Image: "kit:1",
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}
	})
}

// pendingPVC returns a claim of this class without a volume.
func pendingPVC(class *string) *corev1.PersistentVolumeClaim {
	pvc := newPVC()
	pvc.SetUID(pvcUID)
	pvc.Spec.StorageClassName = class
	pvc.Status.Phase = corev1.ClaimPending
	return pvc
}

// said returns an event of the object with this UID, at the supplied second.
func said(uid types.UID, second int64, reason, message string) corev1.Event {
	return corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: reason + message},
		InvolvedObject: corev1.ObjectReference{UID: uid},
		Reason:         reason,
		Message:        message,
		LastTimestamp:  metav1.Unix(second, 0),
	}
}

// often returns the event as seen n times.
func often(e corev1.Event, n int32) corev1.Event {
	e.Count = n
	return e
}

type waitingArgs struct {
	pods   []corev1.Pod
	pvc    *corev1.PersistentVolumeClaim
	events []corev1.Event
}

// A waitingCase is a state in which a run does not start, with the reason and parts
// of the message that are wanted.
type waitingCase struct {
	reason string
	args   waitingArgs
	want   outcome.Reason
	says   []string
}

// TestWaitingForCopy deletes a Secret with copied credentials, which only the provider
// can create.
func TestWaitingForCopy(t *testing.T) {
	job := active()
	job.SetAnnotations(map[string]string{AnnotationCredentials: "qwen3-credentials-x"})
	got := ObserveWaiting(job, creating("CreateContainerConfigError", `secret "qwen3-credentials-x" not found`), nil, nil)
	if got == nil || got.Reason != outcome.ConfigMissing || strings.Contains(got.Message, "create it") || strings.Contains(got.Message, "qwen3-credentials-x") {
		t.Errorf("ObserveWaiting(...): want no advice that nobody can follow, got %+v", got)
	}
}

func checkWaiting(t *testing.T, cases map[string]waitingCase) {
	t.Helper()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job := active()
			if len(tc.args.pods) == 0 {
				job = jobWith(batchv1.JobStatus{})
			}
			got := ObserveWaiting(job, tc.args.pods, tc.args.pvc, tc.args.events)
			if tc.want == "" {
				if got != nil {
					t.Errorf("\n%s\nObserveWaiting(...): want nothing, got %+v", tc.reason, got)
				}
				return
			}
			if got == nil || got.Reason != tc.want {
				t.Fatalf("\n%s\nObserveWaiting(...): want %s, got %+v", tc.reason, tc.want, got)
			}
			for _, part := range tc.says {
				if !strings.Contains(got.Message, part) {
					t.Errorf("\n%s\nmessage: want %q in it, got %q", tc.reason, part, got.Message)
				}
			}
			if strings.Contains(got.Message, "run-abcde") {
				t.Errorf("\n%s\nmessage: it has the name of a Pod: %q", tc.reason, got.Message)
			}
			backwards := slices.Clone(tc.args.events)
			slices.Reverse(backwards)
			if diff := cmp.Diff(got, ObserveWaiting(job, tc.args.pods, tc.args.pvc, backwards)); diff != "" {
				t.Errorf("\n%s\nevents in another order: -first, +second:\n%s", tc.reason, diff)
			}
			o := ObserveRun(RunState{Job: job, Pods: tc.args.pods, Workspace: tc.args.pvc, Events: tc.args.events}, "", "")
			want := ObservationResult{Phase: modelv1alpha1.PhasePending, Ready: metav1.ConditionFalse, Reason: string(tc.want), Message: got.Message}
			if diff := cmp.Diff(want, o); diff != "" {
				t.Errorf("\n%s\nObserveRun(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestWaitingForPod(t *testing.T) {
	const quota = `Error creating: pods "run-abcde" is forbidden: exceeded quota: team, requested: pods=1, used: pods=3, limited: pods=3`
	refused := func(message string) waitingArgs {
		return waitingArgs{events: []corev1.Event{said("job", 1, "FailedCreate", message)}}
	}
	checkWaiting(t, map[string]waitingCase{
		"Nothing":   {reason: "A new Job should have no failure."},
		"Quota":     {reason: "A quota should be named with what was requested, without what is used.", args: refused(quota), want: outcome.QuotaExceeded, says: []string{`ResourceQuota "team"`, "pods=1", "raise the quota"}},
		"QuotaMust": {reason: "A quota that requires limits should be named.", args: refused(`Error creating: pods "run-abcde" is forbidden: failed quota: team: must specify limits.cpu for: kit`), want: outcome.QuotaExceeded, says: []string{`ResourceQuota "team"`, "must specify limits.cpu", "resources"}},
		"Security":  {reason: "The reason of an admission policy should be shown.", args: refused(`Error creating: pods "run-abcde" is forbidden: violates PodSecurity "restricted:latest": seccompProfile`), want: outcome.Refused, says: []string{"PodSecurity", "seccompProfile", "policy"}},
		"OpenShift": {reason: "OpenShift's refusal should name the field that lets it assign the user.", args: refused(`Error creating: pods "run-abcde" is forbidden: unable to validate against any security context constraint: [provider "anyuid": Forbidden: not usable by user or serviceaccount, provider restricted-v2: .spec.securityContext.fsGroup: Invalid value: []int64{1001}: 1001 is not an allowed group]`), want: outcome.Refused, says: []string{"SecurityContextConstraints", "job.podSecurityContext: {}"}},
		"Webhook":   {reason: "A webhook's message should be shown without the Pod's generated name.", args: refused(`Error creating: admission webhook "images.example.com" denied the request: Pod run-abcde uses kit:1`), want: outcome.Refused, says: []string{"images.example.com", "uses kit:1"}},
		"Account":   {reason: "A missing service account should be named.", args: refused(`Error creating: pods "run-abcde" is forbidden: error looking up service account default/runs: serviceaccount "runs" not found`), want: outcome.Refused, says: []string{`serviceaccount "runs" not found`}},
		"MadeSince": {reason: "A Pod that was created since should clear the failure.", args: waitingArgs{events: []corev1.Event{said("job", 1, "FailedCreate", quota), said("job", 1, "SuccessfulCreate", "Created pod: run-abcde")}}},
		"OtherJob":  {reason: "Events of an earlier Job with the same name should be ignored.", args: waitingArgs{events: []corev1.Event{said("other", 1, "FailedCreate", quota)}}},
		"Latest": {
			reason: "The later of two causes should be shown.",
			args: waitingArgs{events: []corev1.Event{
				said("job", 1, "FailedCreate", quota),
				said("job", 2, "FailedCreate", `Error creating: pods "run-abcde" is forbidden: no PriorityClass with name x was found`),
			}},
			want: outcome.Refused, says: []string{"no PriorityClass with name x was found"},
		},
	})
}

func TestWaitingForContainer(t *testing.T) {
	const mount = `MountVolume.SetUp failed for volume "credentials" : `
	checkWaiting(t, map[string]waitingCase{
		"Pull":        {reason: "An image that cannot be pulled should be named.", args: waitingArgs{pods: creating("ErrImagePull", "rpc error: 1")}, want: outcome.ImagePull, says: []string{`"kit:1"`, `"kit"`, "imagePullSecrets"}},
		"PullBackOff": {reason: "The kubelet's back-off should not change the message.", args: waitingArgs{pods: creating("ImagePullBackOff", "Back-off 20s")}, want: outcome.ImagePull, says: []string{`"kit:1"`}},
		"Start":       {reason: "An image without the container's command should be named.", args: waitingArgs{pods: creating("CreateContainerError", "no such file")}, want: outcome.ImageUnusable, says: []string{`"kit:1"`, "kitImage"}},
		"Creating":    {reason: "A Pod whose containers are being created should have no failure.", args: waitingArgs{pods: creating("ContainerCreating", "")}},
		"Secret":      {reason: "A missing Secret should be named.", args: waitingArgs{pods: creating("CreateContainerConfigError", `secret "hf" not found`)}, want: outcome.ConfigMissing, says: []string{`Secret "hf"`, "create it"}},
		"Key":         {reason: "A missing key of a Secret should be named.", args: waitingArgs{pods: creating("CreateContainerConfigError", `couldn't find key token in Secret team-a/hf`)}, want: outcome.ConfigMissing, says: []string{`Secret "hf"`, `"token"`, "add it"}},
		"OtherConfig": {reason: "Another missing object of a container should be named.", args: waitingArgs{pods: creating("CreateContainerConfigError", `configmap "x" not found`)}, want: outcome.ConfigMissing, says: []string{`configmap "x" not found`, "job.env"}},
		"MountSecret": {
			reason: "The kubelet's alternating events should give one message.",
			args: waitingArgs{pods: creating("ContainerCreating", ""), events: []corev1.Event{
				said(podUID, 2, "FailedMount", mount+`secret "registry" not found`),
				said(podUID, 3, "FailedMount", "Unable to attach or mount volumes: unmounted volumes=[credentials]"),
			}},
			want: outcome.ConfigMissing, says: []string{`Secret "registry"`, "create it"},
		},
		"MountKey": {
			reason: "A missing key for a volume should be named.",
			args:   waitingArgs{pods: creating("ContainerCreating", ""), events: []corev1.Event{said(podUID, 2, "FailedMount", mount+`references non-existent secret key: ca.crt`)}},
			want:   outcome.ConfigMissing, says: []string{`"ca.crt"`, "add it"},
		},
		"MountConfigMap": {
			reason: "A missing ConfigMap should be named.",
			args:   waitingArgs{pods: creating("ContainerCreating", ""), events: []corev1.Event{said(podUID, 2, "FailedMount", mount+`configmap "keys" not found`)}},
			want:   outcome.ConfigMissing, says: []string{`ConfigMap "keys"`, "create it"},
		},
		"MountConfigMapKey": {
			reason: "A missing key of a ConfigMap should be named.",
			args:   waitingArgs{pods: creating("ContainerCreating", ""), events: []corev1.Event{said(podUID, 2, "FailedMount", mount+"configmap references non-existent config key: cosign.pub")}},
			want:   outcome.ConfigMissing, says: []string{`"cosign.pub"`, "add it"},
		},
		"MountVolume": {
			reason: "A volume that cannot be attached should be reported as the workspace's.",
			args:   waitingArgs{pods: creating("ContainerCreating", ""), events: []corev1.Event{said(podUID, 2, "FailedAttachVolume", "Multi-Attach error for volume pvc-1")}},
			want:   outcome.WorkspaceUnbound, says: []string{"mount", "kubectl describe"},
		},
		"MountedSince": {
			reason: "A Pod that pulls its image should not be reported as waiting for volumes.",
			args: waitingArgs{pods: creating("ContainerCreating", ""), events: []corev1.Event{
				said(podUID, 2, "FailedMount", mount+`secret "registry" not found`), said(podUID, 2, "Pulling", "Pulling image"),
			}},
		},
	})
}

func TestWaitingForNode(t *testing.T) {
	const (
		tail      = ". no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
		immediate = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims" + tail
		unbound   = "0/3 nodes are available: 3 node(s) didn't find available persistent volumes to bind" + tail
	)
	class := ptr.To("fast")
	of := func(message string, pvc *corev1.PersistentVolumeClaim, events ...corev1.Event) waitingArgs {
		return waitingArgs{pods: noNode(message), pvc: pvc, events: events}
	}
	lost := pendingPVC(class)
	lost.Status.Phase = corev1.ClaimLost
	bound := pendingPVC(class)
	bound.Status.Phase = corev1.ClaimBound

	checkWaiting(t, map[string]waitingCase{
		"Selector":   {reason: "The scheduler's causes should be shown without numbers of nodes.", args: of("0/3 nodes are available: 1 Insufficient memory, 2 node(s) didn't match Pod's node affinity/selector"+tail, nil), want: outcome.Unschedulable, says: []string{"(Insufficient memory; didn't match Pod's node affinity/selector)", "nodeSelector"}},
		"WaitsFirst": {reason: "A volume that is provisioned for a node should not be reported as missing.", args: of("0/1 nodes are available: 1 Insufficient cpu.", pendingPVC(class)), want: outcome.Unschedulable, says: []string{"Insufficient cpu"}},
		"Silent":     {reason: "A missing cause should be reported as such.", args: of("", nil), want: outcome.Unschedulable, says: []string{"no cause is given"}},
		"NewClaim":   {reason: "A claim without warnings should have no failure.", args: of(immediate, pendingPVC(class))},
		"Unknown":    {reason: "An unknown claim should have no failure.", args: of(immediate, nil)},
		"NoClass":    {reason: "A StorageClass that does not exist should be named.", args: of(immediate, pendingPVC(class), said(pvcUID, 1, "ProvisioningFailed", `storageclass.storage.k8s.io "fast" not found`)), want: outcome.WorkspaceUnbound, says: []string{`StorageClass "fast", which does not exist`, "storageClassName"}},
		"NoDefault":  {reason: "A missing default StorageClass should be reported.", args: of(immediate, pendingPVC(nil), said(pvcUID, 1, "FailedBinding", "no persistent volumes available for this claim and no storage class is set")), want: outcome.WorkspaceUnbound, says: []string{"no default one", "storageClassName"}},
		"Failing":    {reason: "A provisioner's message, which has changing numbers, should not be shown.", args: of(immediate, pendingPVC(class), said(pvcUID, 1, "ProvisioningFailed", "rpc error: request 4711")), want: outcome.WorkspaceUnbound, says: []string{`"fast"`, "kubectl describe"}},
		"Waiting":    {reason: "A provisioner should have time.", args: of(immediate, pendingPVC(class), often(said(pvcUID, 1, "ExternalProvisioning", "Waiting"), 2))},
		"NoProvider": {reason: "A provisioner that does not respond should be reported.", args: of(immediate, pendingPVC(class), often(said(pvcUID, 1, "ExternalProvisioning", "Waiting"), 20)), want: outcome.WorkspaceUnbound, says: []string{"provisioner runs"}},
		"NoVolume":   {reason: "A lack of static volumes should be reported.", args: of(unbound, pendingPVC(class)), want: outcome.WorkspaceUnbound, says: []string{`"fast"`, "has room"}},
		"Lost":       {reason: "A claim whose volume is lost should be reported.", args: of(immediate, lost), want: outcome.WorkspaceUnbound, says: []string{"lost its volume"}},
		"Elsewhere":  {reason: "A volume that no suitable node can reach should be reported.", args: of("0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity.", bound), want: outcome.Unschedulable, says: []string{"volume"}},
		"Gone":       {reason: "A claim that was deleted manually should be reported.", args: of(`0/1 nodes are available: persistentvolumeclaim "model-workspace" not found`+tail, nil), want: outcome.WorkspaceUnbound, says: []string{"is missing", "Job"}},
	})
}

// TestWaitingIsStable checks that what changes without the cause changing is in
// no message.
func TestWaitingIsStable(t *testing.T) {
	node := func(message string) waitingArgs { return waitingArgs{pods: noNode(message)} }
	pod := func(message string) waitingArgs {
		return waitingArgs{events: []corev1.Event{said("job", 1, "FailedCreate", message)}}
	}
	cases := map[string]struct {
		reason string
		args   [2]waitingArgs
	}{
		"Pull":    {reason: "The message should not change between the kubelet's retries.", args: [2]waitingArgs{{pods: creating("ErrImagePull", "failed")}, {pods: creating("ImagePullBackOff", "Back-off 5m0s")}}},
		"Nodes":   {reason: "The message should not change with the number of nodes.", args: [2]waitingArgs{node("0/3 nodes are available: 3 Insufficient cpu."), node("0/12 nodes are available: 12 Insufficient cpu. preemption: 0/12 nodes are available.")}},
		"PodName": {reason: "The message should not change with the names of refused Pods.", args: [2]waitingArgs{pod(`Error creating: admission webhook "x.example.com" denied the request: run-abcde is bad`), pod(`Error creating: admission webhook "x.example.com" denied the request: run-fghij is bad`)}},
		"Used":    {reason: "The message should not change with the use of a quota.", args: [2]waitingArgs{pod(`Error creating: pods "run-abcde" is forbidden: exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3`), pod(`Error creating: pods "run-fghij" is forbidden: exceeded quota: q, requested: pods=1, used: pods=4, limited: pods=3`)}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			first := ObserveWaiting(active(), tc.args[0].pods, nil, tc.args[0].events)
			second := ObserveWaiting(active(), tc.args[1].pods, nil, tc.args[1].events)
			if diff := cmp.Diff(first, second); diff != "" || first == nil {
				t.Errorf("\n%s\nObserveWaiting(...): -first, +second:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLastSeen(t *testing.T) {
	at := func(s int64) metav1.Time { return metav1.Unix(s, 0) }
	cases := map[string]struct {
		reason string
		args   corev1.Event
		want   int64
	}{
		"Created": {reason: "An event without times should have its creation's.", args: corev1.Event{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: at(1)}}, want: 1},
		"Last":    {reason: "A counted event should have its last time.", args: corev1.Event{LastTimestamp: at(2)}, want: 2},
		"New":     {reason: "An event of the newer API should have its event time.", args: corev1.Event{EventTime: metav1.NewMicroTime(time.Unix(3, 5))}, want: 3},
		"Series":  {reason: "An event series should have its last time.", args: corev1.Event{EventTime: metav1.NewMicroTime(time.Unix(3, 0)), Series: &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(time.Unix(4, 0))}}, want: 4},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := lastSeen(&tc.args); got.Unix() != tc.want {
				t.Errorf("\n%s\nlastSeen(...): want %d, got %d", tc.reason, tc.want, got.Unix())
			}
		})
	}
}
