package queue

import (
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestEntryOfSince(t *testing.T) {
	queued := func(since int) xpv2.Condition {
		return xpv2.Condition{Type: xpv2.TypeReady, Status: corev1.ConditionFalse, Reason: xpv2.ConditionReason(outcome.Queued), LastTransitionTime: metav1.NewTime(at(since))}
	}
	cases := map[string]struct {
		reason string
		run    int64
		ready  xpv2.Condition
		want   time.Time
	}{
		"New":    {reason: "A first run should wait since the Artifact's creation.", want: at(10)},
		"Later":  {reason: "A later run should begin to wait now.", run: 2, want: at(30)},
		"Queued": {reason: "A later run that waits should wait since its condition says so.", run: 2, ready: queued(20), want: at(20)},
		"Forged": {reason: "A status should not have a run wait since before the Artifact's creation.", run: 2, ready: queued(-5000), want: at(10)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := &modelv1alpha1.Artifact{}
			a.SetCreationTimestamp(metav1.NewTime(at(10)))
			a.Status.AtProvider.Run = tc.run
			a.Status.Conditions = []xpv2.Condition{tc.ready}
			if got := EntryOf(a, at(30)).Since; !got.Equal(tc.want) {
				t.Errorf("\n%s\nEntryOf(...): want %s, got %s", tc.reason, tc.want, got)
			}
		})
	}
}
