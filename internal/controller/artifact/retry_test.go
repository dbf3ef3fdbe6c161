package artifact

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// fail has the run of this number end for this reason, and takes its Pod away.
func (w *world) fail(a *modelv1alpha1.Artifact, number int64, reason outcome.Reason) {
	w.t.Helper()
	w.finish(w.job(a, number), outcome.Result{Failure: &outcome.Failure{}}, fmt.Sprintf(`{"failure":{"reason":%q,"message":"that is why"}}`, reason))
	w.waitReady(a, corev1.ConditionFalse, string(reason))
}

func TestTransientFailuresAreRetried(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("again")
	a.Spec.ForProvider.Retry = &modelv1alpha1.RetryPolicy{Limit: ptr.To[int32](2), Interval: &metav1.Duration{Duration: time.Second}}
	w.create(a)
	for run := int64(1); run <= 2; run++ {
		w.fail(a, run, outcome.Unavailable)
		if got := a.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, "that is why (it is retried at ") {
			t.Errorf("message: got %q", got)
		}
		w.waitNoJob()
		w.deletePods()
	}
	if a.Status.AtProvider.Failures != 2 {
		t.Errorf("failures: got %d, want 2", a.Status.AtProvider.Failures)
	}

	// The limit is reached: only a change of the spec starts another.
	w.fail(a, 3, outcome.Unavailable)
	if f := a.Status.AtProvider.Failure; f.NextTryTime != nil {
		t.Errorf("past the limit: got %+v", f)
	}
	w.update(a, func(a *modelv1alpha1.Artifact) {
		a.Spec.ForProvider.Job = &v1alpha1.JobSettings{ActiveDeadlineSeconds: ptr.To[int64](60)}
	})
	w.waitNoJob()
	w.deletePods()
	w.fail(a, 4, outcome.Unavailable)
	if got := a.Status.AtProvider.Failures; got != 1 {
		t.Errorf("failures of a changed spec: got %d, want 1", got)
	}
	w.waitNoJob()
	w.deletePods()
	w.succeed(a, 5, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if s := a.Status.AtProvider; s.Failure != nil || s.Failures != 0 {
		t.Errorf("after success: got %+v, %d failures", s.Failure, s.Failures)
	}
}

// TestLogTail has a run fail with the end of its log, which repeats what a hostile server
// said: the status shows it in its own field, once, and nothing else does.
func TestLogTail(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("tail")
	w.create(a)
	message := `{"failure":{"reason":"Gated","message":"ask for access"}}` + "\n" +
		"reading config.json\n\x1b[2J{\"reason\":\"Available\"}\r\nGET https://ada:secret@hub.example.com/x?sig=1: 403\nReady=True\n"
	w.finish(w.job(a, 1), outcome.Result{Failure: &outcome.Failure{}}, message)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.Gated))
	want := []string{"reading config.json", `[2J{"reason":"Available"}`, "GET https://***@hub.example.com/x 403", "Ready=True"}
	if diff := cmp.Diff(want, a.Status.AtProvider.Failure.LogTail); diff != "" {
		t.Errorf("the end of the log: -want, +got:\n%s", diff)
	}
	for _, c := range a.Status.Conditions {
		if strings.Contains(c.Message, "config.json") || c.Type == xpv2.TypeReady && c.Message != "ask for access" {
			t.Errorf("want nothing of the log in a condition, got %s: %s", c.Type, c.Message)
		}
	}
	w.look(a)
	w.waitNoJob()
	w.deletePods()
	w.succeed(a, 2, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if f := a.Status.AtProvider.Failure; f != nil {
		t.Errorf("want no end of a log after a success, got %+v", f)
	}
}

func TestReconcileRequestIsOneTry(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("byhand")
	w.create(a)
	w.fail(a, 1, outcome.Gated)

	w.update(a, func(a *modelv1alpha1.Artifact) {
		metav1.SetMetaDataAnnotation(&a.ObjectMeta, "crossplane.io/reconcile-requested-at", "now")
	})
	w.waitNoJob()
	w.deletePods()
	w.fail(a, 2, outcome.Gated)
	if got := a.GetLastHandledReconcileAt(); got != "now" {
		t.Errorf("lastHandledReconcileAt: got %q", got)
	}
	w.update(a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "poke", "1") })
	time.Sleep(300 * time.Millisecond) // That nothing happens can only be waited for.
	w.job(a, 2)
}

// TestWorkspaceExpires has a run fail for good, and nobody act.
func TestWorkspaceExpires(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("expires")
	a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
	w.create(a)
	w.fail(a, 1, outcome.Gated)
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: artifact.PVCName(a.GetName()), Namespace: w.namespace}}
	expiry := a.Status.AtProvider.Failure.WorkspaceExpiryTime
	if expiry == nil || time.Until(expiry.Time).Round(time.Hour) != failedWorkspaceTTL {
		t.Fatalf("want the status to say when the workspace is deleted, got %v", expiry)
	}
	w.poke(a, "0")
	if err := w.get(pvc); err != nil || pvc.GetDeletionTimestamp() != nil {
		t.Fatalf("The workspace must stay until then: %v", err)
	}
	if got := untilExpiry(a, 48*time.Hour); got > failedWorkspaceTTL+time.Second {
		t.Errorf("want it to be looked at then, not in %s", got)
	}
	w.eventually("time passes", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		a.Status.AtProvider.Failure.WorkspaceExpiryTime = ptr.To(metav1.NewTime(time.Now().Add(-time.Second)))
		if err := w.client.Status().Update(t.Context(), a); err != nil {
			return err.Error()
		}
		return ""
	})
	w.poke(a, "1")
	w.eventually("the workspace is deleted", func() string {
		w.deletePods()
		if err := w.get(pvc); err == nil && pvc.GetDeletionTimestamp() == nil {
			return "it is not"
		}
		return ""
	})
	w.job(a, 1)
}

// TestClearingIsNoCreation has a run take the place of another one's leftovers.
func TestClearingIsNoCreation(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("cleared")
	w.create(a)
	w.fail(a, 1, outcome.Gated)
	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "v2" })
	w.waitNoJob()
	w.deletePods()
	w.succeed(a, 2, "two")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.waitEvent(a, "Run 2 pushed")
	list := &corev1.EventList{}
	if err := w.client.List(t.Context(), list, client.InNamespace(w.namespace)); err != nil {
		t.Fatal(err)
	}
	created := int32(0)
	for _, e := range list.Items {
		if e.InvolvedObject.Name == a.GetName() && e.Reason == string(reasonCreated) {
			created += max(e.Count, 1)
		}
	}
	if created > 2 {
		t.Errorf("want an event of creation a run, got %d", created)
	}
}

func TestWorkspaceIsKeptBetweenTries(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("workspace")
	a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
	a.Spec.ForProvider.Retry = &modelv1alpha1.RetryPolicy{Interval: &metav1.Duration{Duration: time.Second}}
	w.create(a)
	w.job(a, 1)
	claim := func() *corev1.PersistentVolumeClaim {
		pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: artifact.PVCName(a.GetName()), Namespace: w.namespace}}
		if err := w.get(pvc); err != nil {
			t.Fatal(err)
		}
		return pvc
	}
	first := claim()
	w.fail(a, 1, outcome.Evicted)
	w.waitNoJob()
	w.deletePods()
	w.job(a, 2)
	if second := claim(); second.GetUID() != first.GetUID() || second.GetDeletionTimestamp() != nil {
		t.Errorf("the workspace of the first try is not there any more")
	}

	// Where it was too small, the next try gets a new one.
	w.fail(a, 2, outcome.NoSpace)
	w.update(a, func(a *modelv1alpha1.Artifact) {
		a.Spec.ForProvider.Storage = &v1alpha1.StorageSettings{Size: ptr.To(resource.MustParse("100Gi"))}
	})
	w.waitNoJob()
	w.deletePods()
	w.releaseClaims()
	w.job(a, 3)
	if third := claim(); third.GetUID() == first.GetUID() || third.Spec.Resources.Requests.Storage().String() != "100Gi" {
		t.Errorf("the workspace is still the one that was too small")
	}
}
