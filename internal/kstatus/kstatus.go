// Package kstatus derives from an object's condition Ready what tools read that wait for
// objects of any kind: status.observedGeneration and the conditions Reconciling and
// Stalled (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md).
// Without them, an object that is not ready is in progress for ever, and one whose spec has
// just changed is done.
package kstatus

import (
	"slices"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
)

// Types of conditions beside Crossplane's. Absent means False.
const (
	// TypeReconciling is True for an object that is not ready and becomes so without a
	// person.
	TypeReconciling xpv2.ConditionType = "Reconciling"

	// TypeStalled is True for an object that is not ready and waits for a person.
	TypeStalled xpv2.ConditionType = "Stalled"
)

// Derive sets the observed generation to the one that Ready is about, and the condition
// that Ready False calls for: Stalled or Reconciling, with the reason and message of
// Ready. All others of the two are removed: of two that are True, tools believe the one
// that comes first. It changes nothing that it has derived already, and nothing at all
// before there is a Ready.
func Derive(s *xpv2.ConditionedStatus, observedGeneration *int64, stalled bool) {
	ready := s.GetCondition(xpv2.TypeReady)
	if ready.Status == corev1.ConditionUnknown {
		return
	}
	if ready.ObservedGeneration > 0 {
		*observedGeneration = ready.ObservedGeneration
	}
	want := xpv2.ConditionType("")
	switch {
	case ready.Status == corev1.ConditionTrue:
	case stalled:
		want = TypeStalled
	default:
		want = TypeReconciling
	}
	s.Conditions = slices.DeleteFunc(s.Conditions, func(c xpv2.Condition) bool {
		return c.Type != want && (c.Type == TypeReconciling || c.Type == TypeStalled)
	})
	if want == "" {
		return
	}
	c := ready
	c.Type, c.Status = want, corev1.ConditionTrue
	if was := s.GetCondition(want); was.Status == c.Status {
		c.LastTransitionTime = was.LastTransitionTime
	}
	s.SetConditions(c)
}
