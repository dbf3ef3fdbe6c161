package artifact

import (
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

func TestPollInterval(t *testing.T) {
	const poll = 100 * time.Second
	next := time.Now().Add(10 * time.Second)
	cases := map[string]struct {
		reason   string
		jitter   int
		only     bool
		at       modelv1alpha1.ArtifactObservation
		from, to time.Duration
	}{
		"Exact":   {reason: "Without jitter polls are regular.", from: poll, to: poll},
		"Jitter":  {reason: "Jitter is in percent of the Artifact's own interval.", jitter: 10, from: 90 * time.Second, to: 110 * time.Second},
		"Pending": {reason: "A run that does not start is looked at often.", at: modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhasePending, StartTime: ptr.To(metav1.Now())}, from: startPoll, to: startPoll},
		"PendingLong": {
			reason: "Who has waited for long is looked at less often.",
			at:     modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhasePending, StartTime: ptr.To(metav1.NewTime(time.Now().Add(-2 * time.Minute)))},
			from:   29 * time.Second, to: 32 * time.Second,
		},
		"PendingForever": {
			reason: "An Artifact's own poll is soon enough for who waits for ever.",
			at:     modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhasePending, StartTime: ptr.To(metav1.NewTime(time.Now().Add(-time.Hour)))},
			from:   poll, to: poll,
		},
		"Retry": {
			reason: "A failed run is retried at its time.",
			at:     modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhaseFailed, Failure: &modelv1alpha1.FailureObservation{NextTryTime: ptr.To(metav1.NewTime(next))}},
			from:   8 * time.Second, to: 10 * time.Second,
		},
		"Due": {
			reason: "Where a try is due and something else stands in its way, there is no hurry.",
			at:     modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhaseFailed, Failure: &modelv1alpha1.FailureObservation{NextTryTime: ptr.To(metav1.NewTime(time.Unix(0, 0)))}},
			from:   startPoll, to: startPoll,
		},
		"Observed": {
			reason: "What is only observed has no tries.",
			at:     modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhaseFailed, Failure: &modelv1alpha1.FailureObservation{NextTryTime: ptr.To(metav1.NewTime(time.Unix(0, 0)))}},
			only:   true, from: poll, to: poll,
		},
		"Waits": {
			reason: "What waits for a person is polled as all is.",
			at:     modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhaseFailed, Failure: &modelv1alpha1.FailureObservation{}},
			from:   poll, to: poll,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := &modelv1alpha1.Artifact{Status: modelv1alpha1.ArtifactStatus{AtProvider: tc.at}}
			a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionAll}
			if tc.only {
				a.Spec.ManagementPolicies = xpv2.ManagementPolicies{xpv2.ManagementActionObserve}
			}
			for range 100 {
				if got := pollInterval(tc.jitter, newMemory(connection.NewHosts(), 0, nil, nil))(a, poll); got < tc.from || got > tc.to {
					t.Fatalf("%s: got %s, want from %s to %s", tc.reason, got, tc.from, tc.to)
				}
			}
		})
	}
}

func TestPollIntervalAnnotation(t *testing.T) {
	w := startControllers(t) // Its own poll is an hour.
	a := w.artifact("polled")
	a.SetAnnotations(map[string]string{"crossplane.io/poll-interval": "1s"}) // The shortest is taken.
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if err := w.registry.Untag(t.Context(), "models/polled", "v1"); err != nil {
		t.Fatal(err)
	}
	w.eventually("tag put back", func() string {
		if _, err := w.registry.Resolve(t.Context(), "models/polled", "v1"); err != nil {
			return err.Error()
		}
		return ""
	})
}
