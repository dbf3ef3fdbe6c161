package artifact

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A tenant sees all that a tenant with full rights in a namespace can.
type tenant struct {
	mu    sync.Mutex
	seen  int
	found []string
}

// watchAsTenant looks at each version of each Secret, Pod, Job, claim, event, ConfigMap and
// Artifact of the world's namespace until the test ends.
func (w *world) watchAsTenant() *tenant {
	w.t.Helper()
	kube := newBase(w.t)
	out := &tenant{}
	for _, list := range []client.ObjectList{
		&corev1.SecretList{}, &corev1.PodList{}, &batchv1.JobList{}, &corev1.PersistentVolumeClaimList{},
		&corev1.EventList{}, &corev1.ConfigMapList{}, &modelv1alpha1.ArtifactList{},
	} {
		events, err := kube.Watch(w.t.Context(), list, client.InNamespace(w.namespace))
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(events.Stop)
		go func() {
			for e := range events.ResultChan() {
				if o, ok := e.Object.(client.Object); ok && e.Type != watch.Bookmark {
					out.look(o)
				}
			}
		}()
	}
	return out
}

// look looks for what must not be in the tenant's namespace.
func (t *tenant) look(o client.Object) {
	text, err := json.Marshal(o)
	if err != nil {
		text = []byte(err.Error())
	}
	all := string(text)
	if s, ok := o.(*corev1.Secret); ok {
		for _, value := range s.Data {
			all += string(value)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen++
	for _, secret := range []string{adminPassword, adminToken} {
		if strings.Contains(all, secret) {
			t.found = append(t.found, fmt.Sprintf("%T %q has a credential of the administrator's", o, o.GetName()))
		}
	}
	switch o.(type) {
	case *corev1.Pod, *batchv1.Job, *corev1.PersistentVolumeClaim:
		t.found = append(t.found, fmt.Sprintf("%T %q could mount a credential", o, o.GetName()))
	case *corev1.Secret:
		if o.GetName() != "mine" && !strings.HasPrefix(o.GetName(), "details-") {
			t.found = append(t.found, fmt.Sprintf("Secret %q is not the tenant's own", o.GetName()))
		}
	}
}

// check reports what the tenant found.
func (t *tenant) check(w *world) {
	w.t.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen == 0 {
		w.t.Error("The tenant should see at least the Artifacts.")
	}
	for _, f := range slices.Compact(t.found) {
		w.t.Error(f)
	}
}

// TestTenantFindsNoCredentials has a tenant with full rights in a namespace look at
// everything there through runs, a failure, a pause, a deletion and a removed finalizer.
func TestTenantFindsNoCredentials(t *testing.T) {
	w, _ := isolate(t, Options{})
	tenant := w.watchAsTenant()
	w.create(credentialsSecret(w.namespace, "mine", map[string]string{"token": "tenants-token"}))

	// A run that succeeds, of each pipeline, with connection details.
	for _, pipeline := range []modelv1alpha1.PipelineType{modelv1alpha1.PipelineKit, modelv1alpha1.PipelineStream} {
		a := w.isolated(strings.ToLower(string(pipeline)))
		a.Spec.ForProvider.Pipeline = pipeline
		a.Spec.WriteConnectionSecretToReference = &xpv2.LocalSecretReference{Name: "details-" + a.GetName()}
		w.create(a)
		w.hasCredentials(a)
		w.succeed(a, 1, "one")
		w.waitReady(a, corev1.ConditionTrue, string(xpv2.ReasonAvailable))
	}

	// A run that fails, and is tried again.
	failing := w.isolated("failing")
	failing.Spec.ForProvider.Retry = &modelv1alpha1.RetryPolicy{Interval: &metav1.Duration{Duration: time.Second}}
	w.create(failing)
	w.hasCredentials(failing)
	w.fail(failing, 1, outcome.Unavailable)
	w.waitNoCopies(failing)
	w.deletePods()
	w.succeed(failing, 2, "two")
	w.waitReady(failing, corev1.ConditionTrue, string(xpv2.ReasonAvailable))

	// One that is paused in mid-run, and deleted then.
	paused := w.isolated("paused")
	w.create(paused)
	w.hasCredentials(paused)
	w.start(w.job(paused, 1))
	w.change(paused, func() { meta.AddAnnotations(paused, map[string]string{meta.AnnotationKeyReconciliationPaused: "true"}) })
	w.eventually("paused", func() string {
		if err := w.get(paused); err != nil || paused.GetCondition(xpv2.TypeSynced).Reason != xpv2.ReasonReconcilePaused {
			return fmt.Sprintf("Synced: %s, %v", paused.GetCondition(xpv2.TypeSynced).Reason, err)
		}
		return ""
	})
	w.change(paused, func() { meta.RemoveAnnotations(paused, meta.AnnotationKeyReconciliationPaused) })
	w.remove(paused)
	w.waitGoneWithPods(paused)

	// One whose finalizer is removed in mid-run.
	stripped := w.isolated("stripped")
	w.create(stripped)
	w.hasCredentials(stripped)
	job := w.job(stripped, 1)
	w.remove(stripped)
	w.strip(stripped)
	w.waitGone(job)
	tenant.check(w)
}

// hasCredentials waits until the run of an Artifact has a copy of the administrator's
// credentials, so that there is something to be found.
func (w *world) hasCredentials(a *modelv1alpha1.Artifact) {
	w.t.Helper()
	w.eventually("credentials in the namespace for runs", func() string {
		for _, s := range w.copies(a) {
			if strings.Contains(string(s.Data[corev1.DockerConfigJsonKey]), adminPassword) && string(s.Data["hub-token"]) == adminToken {
				return ""
			}
		}
		return "there are none"
	})
}
