package artifact

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// conflictPatience is how long two providers may take that write the same Artifact all
// the time: a conflict has it requeued with a backoff of up to a minute
// (crossplane-runtime 2.4, pkg/ratelimiter), which only a reconcile without one resets.
const conflictPatience = 2*time.Minute + patience

// TestTwoManagers has two whole providers with caches and queues of their own
// work on one Artifact all the time.
func TestTwoManagers(t *testing.T) {
	w := startControllers(t)
	w.patience = conflictPatience
	startManager(t, w.namespace)
	w.checkShared(w.artifact("shared"))
}

// TestTwoManagersIsolated has two whole providers, each with a sweeper, work on one
// Artifact whose runs execute in another namespace.
func TestTwoManagersIsolated(t *testing.T) {
	w, _ := isolate(t, Options{})
	w.patience = conflictPatience
	startManagerAs(t, apiserver.Config(t), []string{w.namespace, w.runs}, Options{Images: testImages}, setupConfigs)
	w.checkShared(w.isolated("shared"))
	w.checkNothing(w.namespace)
	w.checkNothing(w.runs)
}

// checkShared takes an Artifact that two providers work on through three runs, of which one
// is stopped, and its deletion.
func (w *world) checkShared(a *modelv1alpha1.Artifact) {
	w.t.Helper()
	history := w.watchJobs()
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	w.update(a, revision("v2"))
	w.waitNoJob()
	w.deletePods()
	pod := w.podFor(w.job(a, 2))
	w.update(a, revision("v3"))
	w.waitGone(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: metav1.GetControllerOf(pod).Name, Namespace: pod.GetNamespace()}})
	w.deletePods()
	w.succeed(a, 2, "three")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	w.remove(a)
	w.waitGoneWithPods(a)
	if made := history(); made != 3 {
		w.t.Errorf("Jobs: got %d, want 3", made)
	}
}

// watchJobs has the test fail where there are two live Jobs at any time. It
// returns what says how many were made until all were gone.
func (w *world) watchJobs() func() int {
	w.t.Helper()
	watcher, err := newBase(w.t).Watch(w.t.Context(), &batchv1.JobList{}, client.InNamespace(w.runNamespace()))
	if err != nil {
		w.t.Fatal(err)
	}
	made := make(chan int, 1)
	go func() {
		n, live := 0, map[string]bool{}
		for e := range watcher.ResultChan() {
			job, ok := e.Object.(*batchv1.Job)
			if !ok {
				continue
			}
			if e.Type == watch.Added {
				n++
			}
			delete(live, string(job.GetUID()))
			if e.Type != watch.Deleted && isLive(job) {
				live[string(job.GetUID())] = true
			}
			if len(live) > 1 {
				w.t.Errorf("Job %q of run %+v is made while another is live", job.GetName(), artifact.RunOf(job))
			}
		}
		made <- n
	}()
	return func() int {
		watcher.Stop()
		return <-made
	}
}
