package plugin

import (
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

func TestPlaceOf(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	artifact := func(namespace, name, config string, phase modelv1alpha1.ArtifactPhase, age time.Duration) modelv1alpha1.Artifact {
		a := modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + name), CreationTimestamp: metav1.NewTime(now.Add(-age))}}
		a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: config}
		a.Status.AtProvider.Phase = phase
		if phase == modelv1alpha1.PhasePending {
			a.Status.SetConditions(xpv2.Condition{Type: xpv2.TypeReady, Status: corev1.ConditionFalse, Reason: "Queued"})
		}
		return a
	}
	all := []modelv1alpha1.Artifact{
		artifact("busy", "running", "shared", modelv1alpha1.PhaseRunning, time.Hour),
		artifact("busy", "old", "shared", modelv1alpha1.PhasePending, 50*time.Minute),
		artifact("idle", "new", "shared", modelv1alpha1.PhasePending, time.Minute),
		artifact("idle", "done", "shared", modelv1alpha1.PhaseSucceeded, time.Hour),
		artifact("idle", "other", "own", modelv1alpha1.PhasePending, 2*time.Hour),
		artifact("busy", "urgent", "shared", modelv1alpha1.PhasePending, time.Second),
	}
	all[5].Spec.ForProvider.Priority = 7
	cases := map[string]struct {
		reason    string
		of        int
		place, in int
	}{
		"Urgent": {reason: "A higher priority should come first.", of: 5, place: 1, in: 3},
		"Idle":   {reason: "A namespace in which less runs should come before one in which more does.", of: 2, place: 2, in: 3},
		"Busy":   {reason: "Then the rest should come.", of: 1, place: 3, in: 3},
		"Other":  {reason: "Another config has a limit of its own.", of: 4, place: 1, in: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			place, in := placeOf(&all[tc.of], all, now)
			if place != tc.place || in != tc.in {
				t.Errorf("\n%s\nplaceOf(...): want %d of %d, got %d of %d", tc.reason, tc.place, tc.in, place, in)
			}
		})
	}
}

// TestPlaceOfTurns checks whose turn it is where one run fits, so that none runs while others
// wait.
func TestPlaceOfTurns(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	artifact := func(namespace, name string, began time.Duration) modelv1alpha1.Artifact {
		a := modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + name), CreationTimestamp: metav1.NewTime(now.Add(-time.Hour))}}
		if began > 0 {
			at := metav1.NewTime(now.Add(-began))
			a.Status.AtProvider.Phase, a.Status.AtProvider.StartTime = modelv1alpha1.PhaseSucceeded, &at
			return a
		}
		a.Status.SetConditions(xpv2.Condition{Type: xpv2.TypeReady, Status: corev1.ConditionFalse, Reason: "Queued"})
		return a
	}
	all := []modelv1alpha1.Artifact{
		artifact("a", "done", time.Minute), artifact("b", "done", 10*time.Minute), artifact("b", "earlier", 20*time.Minute),
		artifact("a", "waits", 0), artifact("b", "waits", 0), artifact("c", "waits", 0),
	}
	for i, want := range map[int]int{5: 1, 4: 2, 3: 3} {
		if place, of := placeOf(&all[i], all, now); place != want || of != 3 {
			t.Errorf("The namespace that has run longest ago should come first: want %s/%s at %d of 3, got %d of %d", all[i].Namespace, all[i].Name, want, place, of)
		}
	}
}
