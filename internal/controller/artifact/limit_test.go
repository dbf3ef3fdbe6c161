package artifact

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	runqueue "github.com/crossplane-contrib/provider-kitops/internal/queue"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// A limitedWorld has two namespaces whose Artifacts use one ClusterProviderConfig.
type limitedWorld struct {
	*world

	other  *world
	config *v1alpha1.ClusterProviderConfig
}

// newLimitedWorld returns one without controllers, in which so many runs may execute at a
// time.
func newLimitedWorld(t *testing.T, most int32) *limitedWorld {
	t.Helper()
	w := newWorld(t)
	other := *w
	other.namespace = apiserver.Namespace(t, w.client)
	config := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-limited"}}
	config.Spec.Registry = v1alpha1.ClusterRegistryConfig{
		Host: v1alpha1.RegistryHost(w.host), PlainHTTP: true,
		Credentials: v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceNone},
	}
	config.Spec.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{MaxRuns: ptr.To(most), MaxPriority: 10}}
	w.create(config)
	return &limitedWorld{world: w, other: &other, config: config}
}

// start starts the controllers for both namespaces, until the test ends.
func (l *limitedWorld) start(t *testing.T, cfg *rest.Config, o Options) {
	t.Helper()
	o.Images = testImages
	startManagerAs(t, cfg, []string{l.namespace, l.other.namespace}, o)
}

// limited creates an Artifact of the limited config.
func (l *limitedWorld) limited(w *world, name string, change ...func(*modelv1alpha1.Artifact)) *modelv1alpha1.Artifact {
	l.t.Helper()
	a := w.artifact(name)
	a.Spec.ForProvider.Target.Repository = "models/" + w.namespace + "-" + name
	a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: l.config.GetName()}
	for _, c := range change {
		c(a)
	}
	l.create(a)
	return a
}

// waitQueued waits until Artifacts wait for room.
func (l *limitedWorld) waitQueued(all ...*modelv1alpha1.Artifact) {
	l.t.Helper()
	for _, a := range all {
		l.waitReady(a, corev1.ConditionFalse, string(outcome.Queued))
		if a.Status.AtProvider.Phase != modelv1alpha1.PhasePending {
			l.t.Errorf("the phase of a run that waits should be Pending, got %q", a.Status.AtProvider.Phase)
		}
	}
}

// active returns the names of the Artifacts that have a Job in progress. There must never
// be more than the limit.
func (l *limitedWorld) active() []string {
	l.t.Helper()
	var out []string
	for _, ns := range []string{l.namespace, l.other.namespace} {
		jobs := &batchv1.JobList{}
		if err := l.client.List(l.t.Context(), jobs, client.InNamespace(ns)); err != nil {
			l.t.Fatal(err)
		}
		for i := range jobs.Items {
			if artifact.IsActive(&jobs.Items[i]) {
				out = append(out, jobs.Items[i].GetAnnotations()[artifact.AnnotationArtifact])
			}
		}
	}
	if most := int(ptr.Deref(l.config.Spec.Job.MaxRuns, 0)); most > 0 && len(out) > most {
		l.t.Fatalf("there are %d runs, and %d may be: %s", len(out), most, strings.Join(out, ", "))
	}
	return out
}

// waitActive waits until the runs of these Artifacts are in progress, and no others.
func (l *limitedWorld) waitActive(reason string, want ...string) {
	l.t.Helper()
	l.eventually(reason, func() string {
		got := l.active()
		for _, name := range want {
			if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+name+" ") {
				return "runs in progress: " + strings.Join(got, ", ")
			}
		}
		return ""
	})
	if got := l.active(); len(got) != len(want) {
		l.t.Fatalf("%s: want runs of %v, got %v", reason, want, got)
	}
}

func TestMaxRuns(t *testing.T) {
	t.Parallel()
	l := newLimitedWorld(t, 2)
	l.start(t, apiserver.Config(t), Options{})
	a1 := l.limited(l.world, "a1")
	l.waitActive("The first run should start.", "a1")
	a2 := l.limited(l.world, "a2")
	l.waitActive("There is room for a second one.", "a1", "a2")
	a3 := l.limited(l.world, "a3")
	b1, b2, b3 := l.limited(l.other, "b1"), l.limited(l.other, "b2"), l.limited(l.other, "b3")
	l.waitQueued(a3, b1, b2, b3)
	if got := a3.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, "job.maxRuns of ClusterProviderConfig") || !strings.Contains(got, l.config.GetName()) {
		t.Errorf("message %q should name the limit", got)
	}
	l.waitActive("There should be no more runs than the limit.", "a1", "a2")

	l.succeed(a1, 1, "a1")
	l.waitActive("The namespace without a run should be next.", "a2", "b1")
	l.succeed(a2, 1, "a2")
	l.waitActive("Then it is the other one's turn.", "b1", "a3")
	l.other.succeed(b1, 1, "b1")
	l.waitActive("In a namespace the oldest should be next.", "a3", "b2")
	l.succeed(a3, 1, "a3")
	l.waitActive("The last should start when there is room.", "b2", "b3")
	l.waitReady(a1, corev1.ConditionTrue, "Available")
	l.waitReady(a3, corev1.ConditionTrue, "Available")
}

func TestMaxRunsAfterRestart(t *testing.T) {
	t.Parallel()
	l := newLimitedWorld(t, 2)
	var a1, a2, a3, b1 *modelv1alpha1.Artifact
	t.Run("Before", func(t *testing.T) {
		l.start(t, apiserver.Config(t), Options{})
		a1, a2 = l.limited(l.world, "a1"), l.limited(l.world, "a2")
		l.waitActive("Two runs should start.", "a1", "a2")
		a3 = l.limited(l.world, "a3")
		l.waitQueued(a3)
		b1 = l.limited(l.other, "b1")
		l.waitQueued(b1)
	})
	// One run ends while there is no provider.
	l.succeed(a1, 1, "a1")
	l.start(t, apiserver.Config(t), Options{})
	l.waitActive("After a restart, the order should be as it was, and the limit hard.", "a2", "b1")
	l.waitReady(a1, corev1.ConditionTrue, "Available")
	l.waitQueued(a3)
	l.succeed(a2, 1, "a2")
	l.waitActive("The end of a run from before should start the next.", "b1", "a3")
}

func TestPriority(t *testing.T) {
	t.Parallel()
	l := newLimitedWorld(t, 1)
	l.start(t, apiserver.Config(t), Options{})
	priority := func(p int32) func(*modelv1alpha1.Artifact) {
		return func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Priority = p }
	}
	first := l.limited(l.world, "first")
	l.waitActive("The first run should start.", "first")
	low := l.limited(l.world, "low", priority(-1))
	l.waitQueued(low)
	urgent := l.limited(l.other, "urgent", priority(10))
	l.waitQueued(urgent)
	l.waitRefused(l.limited(l.other, "greedy", priority(11)), outcome.NotAllowed, "spec.forProvider.priority of 11, but 10 at most", "job.maxPriority")

	l.succeed(first, 1, "first")
	l.waitActive("The higher priority should come first.", "urgent")

	// A lower one that is raised while it waits.
	l.limited(l.world, "plain")
	l.update(low, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Priority = 5 })
	l.waitQueued(low)
	l.other.succeed(urgent, 1, "urgent")
	l.waitActive("A priority should count as it is now.", "low")
}

// TestRoomIsFreed checks what else than the end of a run starts the next.
func TestRoomIsFreed(t *testing.T) {
	cases := map[string]struct {
		reason string
		free   func(l *limitedWorld, running *modelv1alpha1.Artifact)
	}{
		"Deleted": {
			reason: "Deleting an Artifact whose run is in progress should start the next.",
			free: func(l *limitedWorld, running *modelv1alpha1.Artifact) {
				if err := l.client.Delete(l.t.Context(), running); err != nil {
					l.t.Fatal(err)
				}
			},
		},
		"Failed": {
			reason: "A run that fails should leave its room until it is retried.",
			free: func(l *limitedWorld, running *modelv1alpha1.Artifact) {
				l.finish(l.job(running, 1), outcome.Result{Failure: &outcome.Failure{Reason: outcome.Unavailable}}, `{"failure":{"reason":"Unavailable","message":"The Hub does not answer"}}`)
			},
		},
		"Raised": {
			reason: "A raised limit should start the next at once.",
			free: func(l *limitedWorld, _ *modelv1alpha1.Artifact) {
				l.updateLimit(2)
			},
		},
		"Removed": {
			reason: "Without a limit the next should start.",
			free: func(l *limitedWorld, _ *modelv1alpha1.Artifact) {
				l.updateLimit(0)
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLimitedWorld(t, 1)
			l.start(t, apiserver.Config(t), Options{})
			running := l.limited(l.world, "running")
			l.waitActive("The first run should start.", "running")
			next := l.limited(l.other, "next")
			l.waitQueued(next)
			tc.free(l, running)
			l.eventually(tc.reason, func() string {
				if got := l.active(); !strings.Contains(strings.Join(got, " "), "next") {
					return fmt.Sprintf("runs in progress: %v", got)
				}
				return ""
			})
		})
	}
}

// updateLimit changes the limit; 0 removes it.
func (l *limitedWorld) updateLimit(most int32) {
	l.t.Helper()
	l.change(l.config, func() {
		l.config.Spec.Job.MaxRuns = nil
		if most > 0 {
			l.config.Spec.Job.MaxRuns = ptr.To(most)
		}
	})
}

// TestRetriesAndRebuildsWait checks that every run waits, not only the first.
func TestRetriesAndRebuildsWait(t *testing.T) {
	t.Parallel()
	l := newLimitedWorld(t, 1)
	l.start(t, apiserver.Config(t), Options{})

	ready := l.limited(l.world, "ready")
	l.succeed(ready, 1, "one")
	l.waitReady(ready, corev1.ConditionTrue, "Available")
	failed := l.limited(l.world, "failed")
	l.finish(l.job(failed, 1), outcome.Result{Failure: &outcome.Failure{Reason: outcome.NotFound}}, `{"failure":{"reason":"NotFound","message":"There is no such model"}}`)
	l.waitReady(failed, corev1.ConditionFalse, string(outcome.NotFound))

	blocker := l.limited(l.other, "blocker")
	l.waitActive("The other namespace's run should start.", "blocker")
	l.update(failed, func(a *modelv1alpha1.Artifact) {
		metav1.SetMetaDataAnnotation(&a.ObjectMeta, "crossplane.io/reconcile-requested-at", "now")
	})
	l.waitQueued(failed)
	if got := failed.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, "the last run failed: There is no such model") {
		t.Errorf("message %q should name the last failure", got)
	}
	if got := failed.Status.AtProvider.Run; got != 2 {
		t.Errorf("run %d should wait, got %d", 2, got)
	}
	l.update(ready, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "next" })
	l.waitQueued(ready)
	l.update(ready, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "main" })
	l.waitReady(ready, corev1.ConditionTrue, "Available")
	if got := ready.Status.AtProvider.Phase; got != modelv1alpha1.PhaseSucceeded {
		t.Errorf("the phase of an Artifact whose run is not wanted any more should be Succeeded, got %q", got)
	}

	l.other.succeed(blocker, 1, "blocker")
	l.deletePods() // Of the first run.
	l.waitActive("The retry should start when there is room.", "failed")
	l.succeed(failed, 2, "two")
	l.waitReady(failed, corev1.ConditionTrue, "Available")
}

// requestCounter counts the requests to the API server but for watches.
type requestCounter struct {
	http.RoundTripper

	requests *atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (c requestCounter) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("watch") == "" {
		c.requests.Add(1)
	}
	return c.RoundTripper.RoundTrip(r)
}

// TestWaitingCostsNothing checks that reconciles of Artifacts that wait ask neither the API
// server nor the registry anything. It counts what all controllers of the process do.
func TestWaitingCostsNothing(t *testing.T) {
	l := newLimitedWorld(t, 1)
	requests := &atomic.Int64{}
	cfg := apiserver.Config(t)
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		return requestCounter{RoundTripper: rt, requests: requests}
	})
	queue := runqueue.New(0)
	l.start(t, cfg, Options{Queue: queue})
	l.limited(l.world, "running")
	l.waitActive("The first run should start.", "running")
	waiting := []*modelv1alpha1.Artifact{l.limited(l.world, "w1"), l.limited(l.world, "w2"), l.limited(l.other, "w3")}
	l.waitQueued(waiting...)
	l.waitIdle()
	if got := queue.Counts()[l.namespace]; got.Queued != 2 || got.Running != 1 || !got.OldestSince.Equal(waiting[0].GetCreationTimestamp().Time) {
		t.Errorf("Counts(): want 2 runs that wait since the first was created, and 1 that runs, got %+v", got)
	}

	reconciles, before, _ := reconciled(t), requests.Load(), l.requests.take()
	for _, a := range waiting {
		l.update(a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "touched", "yes") })
	}
	l.eventually("reconciles", func() string {
		if n := reconciled(t) - reconciles; int(n) < len(waiting) {
			return fmt.Sprintf("%v", n)
		}
		return ""
	})
	if n := requests.Load() - before; n > 0 {
		t.Errorf("requests to the API server for Artifacts that wait: want none, got %d", n)
	}
	if asked := l.requests.take(); len(asked) > 0 {
		t.Errorf("requests to the registry for Artifacts that wait: want none, got %v", asked)
	}
}

// waitIdle waits until no controller reconciles anything any more.
func (l *limitedWorld) waitIdle() {
	l.t.Helper()
	last, same := -1.0, 0
	l.eventually("no reconciles", func() string {
		if now := reconciled(l.t); now != last {
			last, same = now, 0
		}
		if same++; same < 10 {
			return "something is reconciled still"
		}
		return ""
	})
}

// reconciled returns how many reconciles have ended.
func reconciled(t *testing.T) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0.0
	for _, f := range families {
		if f.GetName() == "controller_runtime_reconcile_total" {
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// TestStuckRunLeavesItsRoom checks that a run which does not start is stopped while others
// wait, and not otherwise.
func TestStuckRunLeavesItsRoom(t *testing.T) {
	t.Parallel()
	l := newLimitedWorld(t, 1)
	l.start(t, apiserver.Config(t), Options{startPatience: 1})
	stuck := l.limited(l.world, "stuck")
	job := l.job(stuck, 1)
	l.poll(stuck, "alone")
	if err := l.get(job); err != nil || job.GetDeletionTimestamp() != nil {
		t.Fatalf("a run that nobody waits for should go on, got %v", err)
	}
	next := l.limited(l.other, "next")
	l.waitQueued(next)
	l.poll(stuck, "contended")
	l.waitReady(stuck, corev1.ConditionFalse, string(outcome.NotStarted))
	if got := stuck.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, "other runs wait for its room") {
		t.Errorf("message %q should say why the run was stopped", got)
	}
	l.waitActive("The next run should start.", "next")
}
