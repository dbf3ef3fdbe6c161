package artifact

import (
	"slices"
	"sync"
	"testing"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestToolsFollowALife has kstatus read every version of an Artifact that the API server
// ever shows: tools that wait must neither be told that something is done before it is,
// nor give up on a spec that was just corrected.
func TestToolsFollowALife(t *testing.T) {
	w := startControllers(t)
	seen := w.watchKstatus()
	a := w.artifact("life")
	w.create(a)
	w.fail(a, 1, outcome.Gated)
	seen("a run fails that waits for a person", a, kstatus.InProgressStatus, kstatus.FailedStatus)

	w.update(a, func(a *modelv1alpha1.Artifact) {
		a.Spec.ForProvider.Job = &v1alpha1.JobSettings{ActiveDeadlineSeconds: ptr.To[int64](60)}
	})
	w.waitNoJob()
	w.deletePods()
	w.succeed(a, 2, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	seen("the next one succeeds", a, kstatus.InProgressStatus, kstatus.CurrentStatus)

	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "v2" })
	w.waitNoJob()
	w.deletePods()
	w.fail(a, 3, outcome.Gated)
	seen("a changed spec fails", a, kstatus.InProgressStatus, kstatus.FailedStatus)

	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "main" })
	w.waitReady(a, corev1.ConditionTrue, "Available")
	seen("the spec is as it was", a, kstatus.InProgressStatus, kstatus.CurrentStatus)
}

// watchKstatus watches the namespace's one Artifact. What it returns waits for the version
// of an Artifact, and checks what kstatus has made of the versions since the last call.
func (w *world) watchKstatus() func(what string, a *modelv1alpha1.Artifact, want ...kstatus.Status) {
	w.t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(modelv1alpha1.ArtifactGroupVersionKind)
	watcher, err := newBase(w.t).Watch(w.t.Context(), list, client.InNamespace(w.namespace))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(watcher.Stop)
	var mu sync.Mutex
	var versions []*unstructured.Unstructured
	go func() {
		for e := range watcher.ResultChan() {
			if u, ok := e.Object.(*unstructured.Unstructured); ok && e.Type != watch.Deleted {
				mu.Lock()
				versions = append(versions, u)
				mu.Unlock()
			}
		}
	}()
	return func(what string, a *modelv1alpha1.Artifact, want ...kstatus.Status) {
		w.t.Helper()
		var all []*unstructured.Unstructured
		w.eventually("the version of "+what, func() string {
			mu.Lock()
			defer mu.Unlock()
			at := slices.IndexFunc(versions, func(u *unstructured.Unstructured) bool { return u.GetResourceVersion() == a.GetResourceVersion() })
			if at < 0 {
				return "it is not seen"
			}
			all, versions = versions[:at+1], versions[at+1:]
			return ""
		})
		var got []kstatus.Status
		for _, u := range all {
			result, err := kstatus.Compute(u)
			if err != nil {
				w.t.Fatal(err)
			}
			got = append(got, result.Status)
		}
		if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
			w.t.Errorf("%s: kstatus of %d versions: -want, +got:\n%s", what, len(all), diff)
		}
	}
}
