package artifact

import (
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestUpToDate(t *testing.T) {
	ended := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	follow := func(a *modelv1alpha1.Artifact) {
		a.Spec.ForProvider.Source.RevisionPolicy = modelv1alpha1.RevisionFollow
	}
	had := func(status corev1.ConditionStatus, reason xpv2.ConditionReason, after time.Duration) func(*modelv1alpha1.Artifact) {
		return func(a *modelv1alpha1.Artifact) {
			c := upToDate(a, status, reason, "")
			c.LastTransitionTime = metav1.NewTime(ended.Add(after))
			a.SetConditions(c)
		}
	}
	is := func(status corev1.ConditionStatus, reason xpv2.ConditionReason) string {
		return string(status) + " " + string(reason)
	}
	tagged := observation{tag: on(ours), manifest: true}
	looked := func(change func(*observation)) observation {
		o := tagged
		change(&o)
		return o
	}
	cases := map[string]struct {
		reason string
		change []func(*modelv1alpha1.Artifact)
		seen   observation
		want   string // Empty for no condition.
	}{
		"Pinned":  {reason: "An Artifact that follows nothing has no such condition.", seen: tagged},
		"NoMore":  {reason: "The condition of one that follows no more goes.", change: []func(*modelv1alpha1.Artifact){had("False", "NotFound", time.Minute)}, seen: tagged},
		"New":     {reason: "A run has just read what the source has.", change: []func(*modelv1alpha1.Artifact){follow}, seen: tagged, want: is("True", reasonCurrent)},
		"Rebuilt": {reason: "So has a run that followed a move.", change: []func(*modelv1alpha1.Artifact){follow, had("False", reasonRebuilding, -time.Minute)}, seen: tagged, want: is("True", reasonCurrent)},
		"Restart": {reason: "What was told is true until the source is looked up again.", change: []func(*modelv1alpha1.Artifact){follow, had("False", "NotFound", time.Minute)}, seen: tagged, want: is("False", "NotFound")},
		"Answer":  {reason: "An answer ends the trouble.", change: []func(*modelv1alpha1.Artifact){follow, had("False", "NotFound", time.Minute)}, seen: looked(func(o *observation) { o.answered = true }), want: is("True", reasonCurrent)},
		"Trouble": {reason: "The reason why the source cannot be looked up is that of the condition.", change: []func(*modelv1alpha1.Artifact){follow, had("True", reasonCurrent, time.Minute)}, seen: looked(func(o *observation) { o.trouble = outcome.Errorf(outcome.Unauthorized, "no") }), want: is("False", "Unauthorized")},
		"Moved":   {reason: "What has moved is rebuilt.", change: []func(*modelv1alpha1.Artifact){follow, had("True", reasonCurrent, time.Minute)}, seen: looked(func(o *observation) { o.moved, o.answered = "there", true }), want: is("False", reasonRebuilding)},
		"MayNot": {reason: "Without the policy Update it is not.", change: []func(*modelv1alpha1.Artifact){follow, func(a *modelv1alpha1.Artifact) {
			a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve, xpv2.ManagementActionCreate, xpv2.ManagementActionDelete}
		}}, seen: looked(func(o *observation) { o.moved, o.answered = "there", true }), want: is("False", "NotAllowed")},
		"Refused": {reason: "A source that a policy refuses is not followed.", change: []func(*modelv1alpha1.Artifact){follow}, seen: looked(func(o *observation) { o.forbidden = outcome.Errorf(outcome.PolicyViolation, "no") }), want: is("False", "PolicyViolation")},
		"Failed": {reason: "A rebuild that failed has the reason of the run.", change: []func(*modelv1alpha1.Artifact){follow, func(a *modelv1alpha1.Artifact) {
			a.Status.AtProvider.Phase = modelv1alpha1.PhaseFailed
			a.Status.AtProvider.Failure = &modelv1alpha1.FailureObservation{Reason: "Gated"}
		}}, seen: tagged, want: is("False", "Gated")},
		"Running": {reason: "While a run rebuilds the artifact, nothing is told anew.", change: []func(*modelv1alpha1.Artifact){follow, had("False", reasonRebuilding, -time.Minute)}, seen: looked(func(o *observation) {
			o.run = &artifact.ObservationResult{Phase: modelv1alpha1.PhaseRunning}
		}), want: is("False", reasonRebuilding)},
		"Expected": {reason: "With expectedDigest, the artifact stays as it is.", change: []func(*modelv1alpha1.Artifact){follow, func(a *modelv1alpha1.Artifact) {
			a.Spec.ForProvider.ExpectedDigest = a.Status.AtProvider.Digest
		}}, seen: looked(func(o *observation) { o.moved = "there" })},
		"Lost": {reason: "Of an artifact that has no tag, nothing is told.", change: []func(*modelv1alpha1.Artifact){follow}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := decided(pushed)
			a.Status.AtProvider.Source = &modelv1alpha1.SourceObservation{Revision: testCommit}
			a.Status.AtProvider.CompletionTime = &ended
			for _, change := range tc.change {
				change(a)
			}
			a.Status.AtProvider.RunHash = artifact.RunHash(a)
			e := &external{}
			e.setUpToDate(a, tc.seen)
			got := ""
			if hasCondition(a, modelv1alpha1.TypeUpToDate) {
				c := a.GetCondition(modelv1alpha1.TypeUpToDate)
				got = is(c.Status, c.Reason)
			}
			if got != tc.want {
				t.Errorf("\n%s\nsetUpToDate(...): want %q, got %q", tc.reason, tc.want, got)
			}
			before := a.DeepCopy()
			e.setUpToDate(a, tc.seen)
			if diff := cmp.Diff(before.Status, a.Status); diff != "" {
				t.Errorf("\n%s\nThe same observation should change nothing: -before, +after:\n%s", tc.reason, diff)
			}
		})
	}
}
