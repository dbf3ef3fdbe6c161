package artifact

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestClaimedReference has a younger Artifact ask for an older one's reference.
func TestClaimedReference(t *testing.T) {
	cases := map[string]struct {
		reason  string
		younger func(*world, *modelv1alpha1.Artifact)
		release func(w *world, older *modelv1alpha1.Artifact)
	}{
		"Deleted": {
			reason:  "The younger one goes on when the older one is gone.",
			younger: func(*world, *modelv1alpha1.Artifact) {},
			release: func(w *world, older *modelv1alpha1.Artifact) {
				w.remove(older)
				w.waitGoneWithPods(older)
			},
		},
		"Renamed": {
			reason: "It goes on when the older one has another tag.",
			younger: func(_ *world, a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Target.ConflictPolicy = modelv1alpha1.ConflictOverwrite
			},
			release: func(w *world, older *modelv1alpha1.Artifact) {
				w.update(older, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Target.Tag = "v2" })
			},
		},
		"NamedRegistry": {
			reason: "Who names the ProviderConfig's registry means the same reference.",
			younger: func(w *world, a *modelv1alpha1.Artifact) {
				a.Spec.ForProvider.Target.Registry = v1alpha1.RegistryHost(w.host)
			},
			release: func(w *world, older *modelv1alpha1.Artifact) {
				w.remove(older)
				w.waitGoneWithPods(older)
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := startControllers(t)
			older := w.artifact("older")
			w.create(older)
			w.job(older, 1)
			w.eventually("a later second", func() string {
				// Creation is told to the second.
				if time.Now().Unix() <= older.GetCreationTimestamp().Unix() {
					return "it is the same"
				}
				return ""
			})
			younger := w.artifact("younger")
			younger.Spec.ForProvider.Target.Repository = older.Spec.ForProvider.Target.Repository
			tc.younger(w, younger)
			w.create(younger)
			w.waitReady(younger, corev1.ConditionFalse, string(outcome.TagConflict))
			w.stays(younger, tc.reason)
			tc.release(w, older)
			w.job(younger, 1)
		})
	}
}
