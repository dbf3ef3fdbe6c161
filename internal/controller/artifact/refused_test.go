package artifact

import (
	"fmt"
	"strings"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// forbid sets a quota of 0 for a resource in the world's namespace, as the quota
// controller would.
func (w *world) forbid(name corev1.ResourceName) *corev1.ResourceQuota {
	w.t.Helper()
	hard := corev1.ResourceList{name: resource.MustParse("0")}
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "none", Namespace: w.namespace}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	w.create(q)
	q.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: hard}
	if err := w.client.Status().Update(w.t.Context(), q); err != nil {
		w.t.Fatal(err)
	}
	return q
}

// TestRefusedRunLeavesNothing checks that a run that the API server does not let
// start is given neither a workspace nor credentials, not even for a moment. It
// is slow because the runtime waits longer before each try.
func TestRefusedRunLeavesNothing(t *testing.T) {
	cases := map[string]struct {
		reason string
		kind   corev1.ResourceName
	}{
		"Job":    {reason: "A Job that is refused needs no claim and no Secret.", kind: "count/jobs.batch"},
		"Claim":  {reason: "Without a workspace no Secret is needed.", kind: corev1.ResourcePersistentVolumeClaims},
		"Secret": {reason: "Without credentials no workspace is needed.", kind: corev1.ResourceSecrets},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			startManager(t, w.namespace)
			// Its Secrets are another namespace's, so that runs get copies.
			elsewhere := apiserver.Namespace(t, w.client)
			w.create(credentialsSecret(elsewhere, "hub", map[string]string{"token": "t"}))
			a := w.shared("refused-"+strings.ToLower(name), func(s *v1alpha1.ClusterProviderConfigSpec) {
				s.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{TokenSecretRef: &xpv2.SecretKeySelector{
					SecretReference: xpv2.SecretReference{Namespace: elsewhere, Name: "hub"}, Key: "token",
				}}
			})
			a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
			quota := w.forbid(tc.kind)
			made := w.countMade(&corev1.SecretList{}, &corev1.PersistentVolumeClaimList{})
			w.create(a)
			w.waitReady(a, corev1.ConditionFalse, string(outcome.QuotaExceeded))
			w.tries(a, 3)
			if n := made(); n > 0 {
				t.Errorf("%s\nclaims and Secrets: want none, got %d", tc.reason, n)
			}

			w.remove(quota)
			w.job(a, 1)
			if n := made(); n != 2 {
				t.Errorf("claims and Secrets of a run that starts: want 2, got %d", n)
			}
		})
	}
}

// TestRunRefusedAfterAnother checks that a run which the API server refuses, although it has
// just admitted another in its namespace and was not asked first, leaves neither a workspace
// nor credentials.
func TestRunRefusedAfterAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	startManager(t, w.namespace)
	kit := func(name string) *modelv1alpha1.Artifact {
		a := w.artifact(name)
		a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
		w.create(a)
		return a
	}
	w.job(kit("admitted"), 1)
	w.forbid("count/jobs.batch")
	a := kit("refused")
	w.eventually("refused, and no workspace", func() string {
		pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: artifact.WorkspaceName(a)}}
		if err := w.get(pvc); err == nil {
			if pvc.GetDeletionTimestamp() != nil {
				// As the controller manager does, once no Pod uses it.
				pvc.SetFinalizers(nil)
				_ = w.client.Update(t.Context(), pvc)
			}
			return "the workspace is there"
		}
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if c := a.GetCondition(xpv2.TypeReady); c.Reason != xpv2.ConditionReason(outcome.QuotaExceeded) {
			return string(c.Reason) + ": " + c.Message
		}
		return ""
	})
	w.tries(a, 2)
}

// tries waits until the runtime has called Create this many times more.
func (w *world) tries(a *modelv1alpha1.Artifact, n int) {
	w.t.Helper()
	seen := map[string]bool{}
	w.eventually("further tries", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		seen[a.GetAnnotations()["crossplane.io/external-create-failed"]] = true
		if len(seen) <= n {
			return fmt.Sprintf("%d tries", len(seen)-1)
		}
		return ""
	})
}

// countMade counts the objects of these lists that are made in the world's
// namespace from now on, also those that are deleted again.
func (w *world) countMade(lists ...client.ObjectList) func() int {
	w.t.Helper()
	c, err := client.NewWithWatch(apiserver.Config(w.t), client.Options{Scheme: apiserver.Scheme(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	seen := make(chan string, 1000)
	for _, l := range lists {
		watching, err := c.Watch(w.t.Context(), l, client.InNamespace(w.namespace))
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(watching.Stop)
		go func() {
			for e := range watching.ResultChan() {
				if o, ok := e.Object.(client.Object); ok && e.Type == "ADDED" {
					seen <- string(o.GetUID())
				}
			}
		}()
	}
	return func() int {
		time.Sleep(500 * time.Millisecond) // That nothing comes can only be waited for.
		return len(seen)
	}
}
