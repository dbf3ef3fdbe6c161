package artifact

import (
	"context"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/controller"
	"github.com/crossplane/crossplane-runtime/v2/pkg/feature"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"github.com/crossplane/crossplane-runtime/v2/pkg/ratelimiter"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// TestTwoManagers has two whole providers with caches and queues of their own
// work on one Artifact all the time.
func TestTwoManagers(t *testing.T) {
	w := startControllers(t)
	startAnother(t, w.namespace)
	history := w.watchJobs()
	a := w.artifact("shared")
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	w.update(a, revision("v2"))
	w.waitNoJob()
	w.deletePods()
	pod := w.podFor(w.job(a, 2))
	w.update(a, revision("v3"))
	w.waitGone(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: metav1.GetControllerOf(pod).Name, Namespace: w.namespace}})
	w.deletePods()
	w.succeed(a, 2, "three")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	w.remove(a)
	w.waitNoJob()
	w.deletePods()
	w.waitGone(a)
	if made := history(); made != 3 {
		t.Errorf("Jobs: got %d, want 3", made)
	}
}

// watchJobs has the test fail where there are two live Jobs at any time. It
// returns what says how many were made until all were gone.
func (w *world) watchJobs() func() int {
	w.t.Helper()
	watcher, err := newBase(w.t).Watch(w.t.Context(), &batchv1.JobList{}, client.InNamespace(w.namespace))
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

// startAnother starts another provider for a namespace, as startControllers
// starts the first.
func startAnother(t *testing.T, namespace string) {
	t.Helper()
	mgr, err := ctrl.NewManager(apiserver.Config(t), ctrl.Options{
		Scheme:     apiserver.Scheme(t),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}},
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Controller: ctrlConfig(),
		// As in startControllers.
		GracefulShutdownTimeout: ptr.To[time.Duration](0),
	})
	if err != nil {
		t.Fatal(err)
	}
	features := &feature.Flags{}
	features.Enable(feature.EnableBetaManagementPolicies)
	o := controller.Options{
		Logger:                  logging.NewNopLogger(),
		MaxConcurrentReconciles: 4,
		PollInterval:            time.Hour,
		GlobalRateLimiter:       ratelimiter.NewGlobal(100),
		Features:                features,
	}
	if err := Setup(mgr, Options{Options: o, Images: Images{Kit: "kit:test", Worker: "worker:test"}}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
