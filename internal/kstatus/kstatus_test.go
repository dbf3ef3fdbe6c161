package kstatus

import (
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDerive(t *testing.T) {
	at := func(minute int) metav1.Time { return metav1.NewTime(time.Unix(int64(60*minute), 0)) }
	condition := func(kind xpv2.ConditionType, status corev1.ConditionStatus, reason xpv2.ConditionReason, minute int) xpv2.Condition {
		return xpv2.Condition{Type: kind, Status: status, Reason: reason, Message: "why", LastTransitionTime: at(minute), ObservedGeneration: 3}
	}
	ready := func(status corev1.ConditionStatus, reason xpv2.ConditionReason) xpv2.Condition {
		return condition(xpv2.TypeReady, status, reason, 9)
	}
	synced := condition(xpv2.TypeSynced, corev1.ConditionFalse, "ReconcileError", 2)
	type status struct {
		Conditions         []xpv2.Condition
		ObservedGeneration int64
	}
	cases := map[string]struct {
		reason  string
		before  status
		stalled bool
		want    status
	}{
		"NotReadyYet": {
			reason: "Without a Ready condition the observed generation must not be set: tools would take that for done.",
			before: status{Conditions: []xpv2.Condition{synced}, ObservedGeneration: -1},
			want:   status{Conditions: []xpv2.Condition{synced}, ObservedGeneration: -1},
		},
		"Reconciling": {
			reason: "An object that is not ready and waits for nobody is reconciling, since Ready says so.",
			before: status{Conditions: []xpv2.Condition{synced, ready("False", "Creating")}, ObservedGeneration: -1},
			want: status{
				Conditions:         []xpv2.Condition{synced, ready("False", "Creating"), condition(TypeReconciling, "True", "Creating", 9)},
				ObservedGeneration: 3,
			},
		},
		"StillReconciling": {
			reason: "An object that is reconciling for another reason keeps the time since when it is.",
			before: status{Conditions: []xpv2.Condition{ready("False", "Unavailable"), condition(TypeReconciling, "True", "Creating", 1)}, ObservedGeneration: 2},
			want: status{
				Conditions:         []xpv2.Condition{ready("False", "Unavailable"), condition(TypeReconciling, "True", "Unavailable", 1)},
				ObservedGeneration: 3,
			},
		},
		"Stalls": {
			reason:  "An object that waits for a person is stalled and not reconciling: of two conditions tools believe the first.",
			before:  status{Conditions: []xpv2.Condition{condition(TypeReconciling, "True", "Creating", 1), ready("False", "Gated")}, ObservedGeneration: 3},
			stalled: true,
			want: status{
				Conditions:         []xpv2.Condition{ready("False", "Gated"), condition(TypeStalled, "True", "Gated", 9)},
				ObservedGeneration: 3,
			},
		},
		"Ready": {
			reason: "An object that is ready is neither: the conditions are removed, since absent and False mean the same.",
			before: status{
				Conditions: []xpv2.Condition{condition(TypeReconciling, "True", "Creating", 1), ready("True", "Available"), condition(TypeStalled, "True", "Gated", 1)},
			},
			want: status{Conditions: []xpv2.Condition{ready("True", "Available")}, ObservedGeneration: 3},
		},
		"OfNoGeneration": {
			reason: "A Ready that does not say which generation it is about changes nothing about what was observed.",
			before: status{Conditions: []xpv2.Condition{ready("True", "Available").WithObservedGeneration(0)}, ObservedGeneration: 2},
			want:   status{Conditions: []xpv2.Condition{ready("True", "Available").WithObservedGeneration(0)}, ObservedGeneration: 2},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, observed := &xpv2.ConditionedStatus{Conditions: tc.before.Conditions}, tc.before.ObservedGeneration
			// What was derived once stays as it is, or idle objects would be written.
			for range 2 {
				Derive(s, &observed, tc.stalled)
				if diff := cmp.Diff(tc.want, status{Conditions: s.Conditions, ObservedGeneration: observed}); diff != "" {
					t.Errorf("\n%s\nDerive(...): -want, +got:\n%s", tc.reason, diff)
				}
			}
		})
	}
}
