package artifact

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// start is when a provider starts in these tests.
var start = time.Date(2026, 11, 2, 10, 30, 0, 0, time.UTC)

func TestUntilTurn(t *testing.T) {
	const poll = 10 * time.Minute
	for i := range 100 {
		uid := types.UID(fmt.Sprint("artifact-", i))
		wait := untilTurn(uid, poll, start)
		if wait < 0 || wait >= poll {
			t.Fatalf("A turn should come within a poll, and %s comes after %s.", uid, wait)
		}
		for _, later := range []time.Duration{time.Second, wait / 2, wait} {
			if later > wait {
				continue
			}
			if got := untilTurn(uid, poll, start.Add(later)); got != wait-later {
				t.Errorf("A provider that is restarted %s later should leave the turn where it was: want %s, got %s.", later, wait-later, got)
			}
		}
		if got := untilTurn(uid, poll, start.Add(wait+poll)); got != 0 {
			t.Errorf("A turn should recur after a poll, and is %s later.", got)
		}
	}
	if got := untilTurn("any", 0, start); got != 0 {
		t.Errorf("Without polls nobody should wait, and one waits for %s.", got)
	}
}

// TestTurnsAreSpread checks that no second has much more turns than another.
func TestTurnsAreSpread(t *testing.T) {
	const n, poll = 10_000, 2 * time.Minute
	seconds := make([]int, int(poll/time.Second))
	for i := range n {
		// UIDs as the API server gives them differ in all digits.
		uid := types.UID(fmt.Sprintf("%08x-0000-4000-8000-%012x", i*2654435761%(1<<32), i))
		seconds[int(untilTurn(uid, poll, start)/time.Second)]++
	}
	if most, mean := slices.Max(seconds), n/len(seconds); most > 2*mean {
		t.Errorf("The fullest second has %d turns, more than twice the mean of %d.", most, mean)
	}
}

// settled returns an Artifact that is settled, changed.
func settled(change ...func(*modelv1alpha1.Artifact)) *modelv1alpha1.Artifact {
	a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "model", UID: "uid", Generation: 2}}
	meta.AddFinalizer(a, managed.FinalizerName)
	a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionAll}
	a.SetConditions(xpv2.Available(), xpv2.ReconcileSuccess())
	a.Status.ObservedGeneration = 2
	a.Status.AtProvider.Phase = modelv1alpha1.PhaseSucceeded
	for _, c := range change {
		c(a)
	}
	return a
}

func TestIsSettled(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*modelv1alpha1.Artifact)
		want   bool
	}{
		"Ready": {reason: "Who was ready and in step waits.", change: func(*modelv1alpha1.Artifact) {}, want: true},
		"Observed": {
			reason: "Who is only observed has no finalizer, and waits.", want: true,
			change: func(a *modelv1alpha1.Artifact) {
				a.SetFinalizers(nil)
				a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve}
			},
		},
		"New":       {reason: "Who was never reconciled goes first.", change: func(a *modelv1alpha1.Artifact) { a.Status.Conditions = nil }},
		"NotReady":  {reason: "Who is not ready goes first.", change: func(a *modelv1alpha1.Artifact) { a.SetConditions(xpv2.Unavailable()) }},
		"NotSynced": {reason: "Who failed last goes first.", change: func(a *modelv1alpha1.Artifact) { a.SetConditions(xpv2.ReconcileError(context.Canceled)) }},
		"Changed":   {reason: "A spec that was not observed goes first.", change: func(a *modelv1alpha1.Artifact) { a.Generation++ }},
		"Running":   {reason: "A run may have ended meanwhile.", change: func(a *modelv1alpha1.Artifact) { a.Status.AtProvider.Phase = modelv1alpha1.PhaseRunning }},
		"Pending":   {reason: "There may be room for a run by now.", change: func(a *modelv1alpha1.Artifact) { a.Status.AtProvider.Phase = modelv1alpha1.PhasePending }},
		"Staged":    {reason: "What a run staged is to be committed.", change: func(a *modelv1alpha1.Artifact) { a.Status.AtProvider.Staged = &modelv1alpha1.StagedArtifact{} }},
		"Failed":    {reason: "A failed rebuild may be due for a retry.", change: func(a *modelv1alpha1.Artifact) { a.Status.AtProvider.Failure = &modelv1alpha1.FailureObservation{} }},
		"OutOfDate": {reason: "A source that has moved is to be followed.", change: func(a *modelv1alpha1.Artifact) {
			a.SetConditions(xpv2.Condition{Type: modelv1alpha1.TypeUpToDate, Status: corev1.ConditionFalse})
		}},
		"Requested": {reason: "A person waits.", change: func(a *modelv1alpha1.Artifact) {
			meta.AddAnnotations(a, map[string]string{meta.AnnotationKeyReconcileRequestedAt: "now"})
		}},
		"Deleted": {reason: "A deletion goes on.", change: func(a *modelv1alpha1.Artifact) { a.SetDeletionTimestamp(ptr.To(metav1.NewTime(start))) }},
		"Paused": {reason: "That it is paused is written at once.", change: func(a *modelv1alpha1.Artifact) {
			meta.AddAnnotations(a, map[string]string{meta.AnnotationKeyReconciliationPaused: "true"})
		}},
		"NoFinalizer": {reason: "Without its finalizer, a deletion would leave all behind.", change: func(a *modelv1alpha1.Artifact) { a.SetFinalizers(nil) }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := isSettled(settled(tc.change)); got != tc.want {
				t.Errorf("\n%s\nisSettled(...): want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

// A recordingQueue keeps what is added to it.
type recordingQueue struct {
	priorityqueue.PriorityQueue[reconcile.Request]

	added []added
}

// added is how a request was added.
type added struct {
	Name     string
	After    time.Duration
	Priority int
}

func (q *recordingQueue) AddWithOpts(o priorityqueue.AddOpts, requests ...reconcile.Request) {
	for _, r := range requests {
		q.added = append(q.added, added{Name: r.Name, After: o.After, Priority: ptr.Deref(o.Priority, 0)})
	}
}

func (q *recordingQueue) Add(r reconcile.Request) { q.AddWithOpts(priorityqueue.AddOpts{}, r) }

func TestTurnsOfArtifacts(t *testing.T) {
	const poll = 10 * time.Minute
	turn := func(poll time.Duration) time.Duration { return untilTurn("uid", poll, start) }
	cases := map[string]struct {
		reason   string
		artifact *modelv1alpha1.Artifact
		later    bool // It was created after the start.
		want     added
	}{
		"Settled": {
			reason:   "Who is settled should wait for its turn.",
			artifact: settled(), want: added{After: turn(poll), Priority: afterNew},
		},
		"OwnInterval": {
			reason: "A poll interval of its own should be that of its turns.",
			artifact: settled(func(a *modelv1alpha1.Artifact) {
				meta.AddAnnotations(a, map[string]string{meta.AnnotationKeyPollInterval: "90s"})
			}),
			want: added{After: turn(90 * time.Second), Priority: afterNew},
		},
		"Follows": {
			reason: "Who follows its source more often than it polls should be asked for as often.",
			artifact: settled(func(a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Source = &modelv1alpha1.Source{RevisionPolicy: modelv1alpha1.RevisionFollow, FollowInterval: &metav1.Duration{Duration: 5 * time.Minute}}
			}),
			want: added{After: turn(5 * time.Minute), Priority: afterNew},
		},
		"Unsettled": {
			reason:   "Who may have something to do should go at once.",
			artifact: settled(func(a *modelv1alpha1.Artifact) { a.SetConditions(xpv2.Unavailable()) }), want: added{Priority: handler.LowPriority},
		},
		"Created": {
			reason:   "Who comes after the start should not wait, whatever its status is.",
			artifact: settled(), later: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			q := &recordingQueue{}
			h := (&turns{poll: poll, now: func() time.Time { return start }}).artifacts(newFirst())
			h.Create(t.Context(), event.CreateEvent{Object: tc.artifact, IsInInitialList: !tc.later}, q)
			tc.want.Name = tc.artifact.GetName()
			if diff := cmp.Diff([]added{tc.want}, q.added); diff != "" {
				t.Errorf("\n%s\nCreate(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTurnsOfRuns(t *testing.T) {
	ended := batchv1.JobStatus{CompletionTime: ptr.To(metav1.NewTime(start))}
	of := func(o client.Object) client.Object {
		o.SetNamespace("team-a")
		o.SetAnnotations(map[string]string{artifact.AnnotationArtifact: "model"})
		return o
	}
	cases := map[string]struct {
		reason   string
		object   client.Object
		artifact *modelv1alpha1.Artifact
		later    bool
		waits    bool
	}{
		"EndedJob":   {reason: "What came of an ended Job is known.", object: &batchv1.Job{Status: ended}, artifact: settled(), waits: true},
		"EndedPod":   {reason: "What came of an ended Pod is known.", object: &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed}}, artifact: settled(), waits: true},
		"Going":      {reason: "What is going needs nothing.", object: &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: ptr.To(metav1.NewTime(start))}}, artifact: settled(), waits: true},
		"Claim":      {reason: "A workspace that is still there is to be deleted.", object: &corev1.PersistentVolumeClaim{}, artifact: settled()},
		"RunningJob": {reason: "A Job that runs is to be looked at.", object: &batchv1.Job{}, artifact: settled()},
		"RunningPod": {reason: "A Pod that runs is to be looked at.", object: &corev1.Pod{}, artifact: settled()},
		"Unsettled": {
			reason: "Of who is not settled, all is to be looked at.", object: &batchv1.Job{Status: ended},
			artifact: settled(func(a *modelv1alpha1.Artifact) { a.Status.AtProvider.Phase = modelv1alpha1.PhaseRunning }),
		},
		"Later": {reason: "What comes after the start is news.", object: &batchv1.Job{Status: ended}, artifact: settled(), later: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			q := &recordingQueue{}
			reader := onlyReader{artifact: tc.artifact}
			h := (&turns{cached: reader}).runs(handler.EnqueueRequestsFromMapFunc((&requeuer{cached: reader}).forRun))
			h.Create(t.Context(), event.CreateEvent{Object: of(tc.object), IsInInitialList: !tc.later}, q)
			if waits := len(q.added) == 0; waits != tc.waits {
				t.Errorf("\n%s\nCreate(...): want the Artifact to wait: %t, got %t", tc.reason, tc.waits, waits)
			}
		})
	}
}
