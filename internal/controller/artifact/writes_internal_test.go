package artifact

import (
	"context"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// A countingUpdater counts calls, keeps the annotations and the phase of the last, and answers
// with an error if it has one.
type countingUpdater struct {
	client.Client

	calls       int
	annotations map[string]string
	phase       modelv1alpha1.ArtifactPhase
	err         error
}

func (u *countingUpdater) UpdateCriticalAnnotations(_ context.Context, o client.Object) error {
	u.calls++
	u.annotations = o.GetAnnotations()
	return nil
}

func (u *countingUpdater) Update(ctx context.Context, o client.Object, _ ...client.UpdateOption) error {
	if a, ok := o.(*modelv1alpha1.Artifact); ok {
		u.phase = a.Status.AtProvider.Phase
	}
	return errors.Join(u.UpdateCriticalAnnotations(ctx, o), u.err)
}

func TestCreationUpdater(t *testing.T) {
	cases := map[string]struct {
		reason string
		set    func(*modelv1alpha1.Artifact)
		calls  int
	}{
		"Succeeded": {reason: "That a Create succeeded is not worth a write.", set: func(a *modelv1alpha1.Artifact) { meta.SetExternalCreateSucceeded(a, start) }},
		"Again": {
			reason: "That a Create succeeded which failed before is not, either.",
			set: func(a *modelv1alpha1.Artifact) {
				meta.SetExternalCreateFailed(a, start)
				meta.SetExternalCreateSucceeded(a, start.Add(time.Minute))
			},
		},
		"Failed": {reason: "That it failed is written.", set: func(a *modelv1alpha1.Artifact) { meta.SetExternalCreateFailed(a, start) }, calls: 1},
		"FailedLater": {
			reason: "That it failed is written after one that succeeded.", calls: 1,
			set: func(a *modelv1alpha1.Artifact) {
				meta.SetExternalCreateSucceeded(a, start)
				meta.SetExternalCreateFailed(a, start.Add(time.Minute))
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, next := &modelv1alpha1.Artifact{}, &countingUpdater{}
			tc.set(a)
			if err := (creationUpdater{next}).UpdateCriticalAnnotations(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			if next.calls != tc.calls {
				t.Errorf("\n%s\nUpdateCriticalAnnotations(...): want %d writes, got %d", tc.reason, tc.calls, next.calls)
			}
		})
	}
}

func TestPendingCreateIsNotWritten(t *testing.T) {
	next := &countingUpdater{}
	a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"kept": "1"}}}
	meta.SetExternalCreatePending(a, start)
	if err := (&statusClient{Client: next}).Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"kept": "1"}, next.annotations); diff != "" {
		t.Errorf("A Create that is about to be called should leave nothing that says it is not finished: -want, +got:\n%s", diff)
	}
}

func TestStatusIsNotSentWithTheRest(t *testing.T) {
	cases := map[string]struct {
		reason string
		err    error
	}{
		"Written": {reason: "What was observed should stay, to be written by itself."},
		"Failed":  {reason: "So it should after an error.", err: errors.New("refused")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			next, a := &countingUpdater{err: tc.err, phase: "none"}, &modelv1alpha1.Artifact{}
			a.Status.AtProvider.Phase = modelv1alpha1.PhasePending
			if err := (&statusClient{Client: next}).Update(t.Context(), a); !errors.Is(err, tc.err) {
				t.Errorf("\n%s\nUpdate(...): want error %v, got %v", tc.reason, tc.err, err)
			}
			if next.phase != "" {
				t.Errorf("\n%s\nUpdate(...): want no status to be sent, got phase %q", tc.reason, next.phase)
			}
			if got := a.Status.AtProvider.Phase; got != modelv1alpha1.PhasePending {
				t.Errorf("\n%s\nUpdate(...): want phase %q, got %q", tc.reason, modelv1alpha1.PhasePending, got)
			}
		})
	}
}

// A listRecorder keeps the reasons of events.
type listRecorder struct {
	event.Recorder

	reasons []event.Reason
}

func (r *listRecorder) Event(_ runtime.Object, e event.Event) {
	r.reasons = append(r.reasons, e.Reason)
}

func TestQuietRecorder(t *testing.T) {
	a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{UID: "uid"}}
	cases := map[string]struct {
		reason string
		action action
		want   []event.Reason
	}{
		"StartRun": {reason: "A run that starts has its own event.", action: actionStartRun},
		"Commit":   {reason: "A commit has its own event.", action: actionCommit},
		"Retag":    {reason: "A tag has its own event.", action: actionRetag},
		"Renew":    {reason: "Credentials that are renewed have none.", action: actionRenew, want: []event.Reason{reasonUpdated}},
		"Adopt":    {reason: "An adoption may have none.", action: actionAdopt, want: []event.Reason{reasonUpdated}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			known, to := &told{}, &listRecorder{}
			if tc.action.isTold() {
				known.put(a.GetUID(), struct{}{})
			}
			r := quietRecorder{Recorder: to, told: known}
			r.Event(a, event.Normal(reasonUpdated, "Successfully requested update of external resource"))
			if diff := cmp.Diff(tc.want, to.reasons); diff != "" {
				t.Errorf("\n%s\nEvent(...): -want, +got:\n%s", tc.reason, diff)
			}
			r.Event(a, event.Normal(reasonCreated, "Successfully requested creation of external resource"))
			if len(to.reasons) != len(tc.want)+1 {
				t.Error("Only the event of the step itself should be left out.")
			}
		})
	}
}
