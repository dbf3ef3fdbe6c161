package artifact

import (
	"context"
	"fmt"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// A view is what a cache knew at one time.
type view struct {
	artifact *modelv1alpha1.Artifact
	jobs     []batchv1.Job
	pods     []corev1.Pod
}

// look returns what a cache that does not lag behind knows.
func (l *life) look() view {
	v := view{}
	a := l.a.DeepCopy()
	if l.get(a) == nil {
		v.artifact = a
	}
	v.jobs, v.pods = l.runs()
	return v
}

// cacheAt returns a cache that knows what at says, for Artifact, Jobs and Pods.
func (l *life) cacheAt(direct client.WithWatch, at func() view) client.WithWatch {
	return interceptor.NewClient(likeCache(direct, l.namespace), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			// It is asked in any case, for the error where nothing was known yet.
			err := c.Get(ctx, key, o, opts...)
			a, ok := o.(*modelv1alpha1.Artifact)
			if known := at().artifact; ok && known != nil {
				known.DeepCopyInto(a)
				a.SetGroupVersionKind(modelv1alpha1.ArtifactGroupVersionKind)
				return nil
			}
			return err
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			switch list := list.(type) {
			case *batchv1.JobList:
				list.Items = at().jobs
				return nil
			case *corev1.PodList:
				list.Items = at().pods
				return nil
			}
			return c.List(ctx, list, opts...)
		},
	})
}

// lagging returns a provider whose cache is some rounds behind.
func (l *life) lagging(rounds int) {
	var views []view
	direct := l.fuse.client(l.base, l.checkCreate)
	cache := l.cacheAt(direct, func() view { return views[max(0, len(views)-1-rounds)] })
	l.provider = l.newProviderOn(cache, direct)
	l.onRound = func() { views = append(views, l.look()) }
}

func TestStaleCacheMakesNoSecondJob(t *testing.T) {
	base := newBase(t)
	for name, tc := range lives {
		for _, rounds := range []int{1, 3} {
			t.Run(fmt.Sprintf("%sBy%d", name, rounds), func(t *testing.T) {
				l := newLife(t, base, &fuse{})
				l.lagging(rounds)
				tc.live(l)
			})
		}
	}
}

func TestOldViewStopsNoNewRun(t *testing.T) {
	cases := map[string]struct {
		reason string
		stale  func(then, now view) view
	}{
		"Artifact": {
			reason: "A cache may be behind for the Artifact alone.",
			stale:  func(then, now view) view { return view{artifact: then.artifact, jobs: now.jobs, pods: now.pods} },
		},
		"All": {
			reason: "A cache may be behind for all.",
			stale:  func(then, _ view) view { return then },
		},
		"Jobs": {
			reason: "A cache may be behind for Jobs alone.",
			stale:  func(then, now view) view { return view{artifact: now.artifact, jobs: then.jobs, pods: then.pods} },
		},
	}
	base := newBase(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, base, &fuse{})
			l.goes = func(j *batchv1.Job) string {
				if runningOn("v2")(j) == stillRunning || runningOn("v3")(j) == stillRunning {
					return stillRunning
				}
				return succeeds
			}
			l.create(l.a)
			l.reachReady()
			l.update(l.a, revision("v2"))
			l.reach("the run of v2 begun", func() string { return l.begun() })
			then := l.look()
			l.update(l.a, revision("v3"))
			l.reach("run of v3", func() string { return l.atWork() })
			now := l.look()

			direct := l.fuse.client(l.base, l.checkCreate)
			old := l.newProviderOn(l.cacheAt(direct, func() view { return tc.stale(then, now) }), direct)
			for range 4 {
				_, _ = old.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(l.a)})
				l.move()
			}
			jobs, _ := l.runs()
			if len(jobs) != 1 || jobs[0].GetUID() != now.jobs[0].GetUID() {
				t.Errorf("%s The run of v3 was stopped by a provider that knew v2 only: %d Jobs", tc.reason, len(jobs))
			}
		})
	}
}

// TestOldViewKeepsLastJob has a cache be behind when the Job that completes a divided run was
// just made.
func TestOldViewKeepsLastJob(t *testing.T) {
	cases := map[string]struct {
		reason string
		stale  func(then, now view) view
	}{
		"NoJob":     {reason: "A cache may know of no Job.", stale: func(_, now view) view { return view{artifact: now.artifact} }},
		"FormerJob": {reason: "A cache may know the Job of the shares alone.", stale: func(then, now view) view { return view{artifact: now.artifact, jobs: then.jobs} }},
		"All":       {reason: "A cache may be behind for all.", stale: func(then, _ view) view { return then }},
	}
	base := newBase(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, base, &fuse{})
			l.a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineStream
			dividedBetween(2)(l.a)
			l.goes = func(*batchv1.Job) string { return waits }
			l.create(l.a)
			jobIs := func(last bool) func() string {
				return func() string {
					if jobs, _ := l.runs(); len(jobs) != 1 || artifact.IsLast(&jobs[0]) != last {
						return fmt.Sprintf("there are %d Jobs", len(jobs))
					}
					return ""
				}
			}
			l.reach("the Job of the shares", jobIs(false))
			jobs, _ := l.runs()
			l.shareStatus(&jobs[0], 0, "0,1", "")
			l.reach("shares that are recorded", func() string {
				if err := l.get(l.a); err != nil || !artifact.AwaitsLastOf(l.a) {
					return fmt.Sprintf("%+v, %v", l.a.Status.AtProvider.Shares, err)
				}
				return ""
			})
			then := l.look()
			l.reach("the last Job", jobIs(true))
			now := l.look()

			direct := l.fuse.client(l.base, l.checkCreate)
			old := l.newProviderOn(l.cacheAt(direct, func() view { return tc.stale(then, now) }), direct)
			for range 4 {
				_, _ = old.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(l.a)})
				l.move()
			}
			if jobs, _ := l.runs(); len(jobs) != 1 || jobs[0].GetUID() != now.jobs[0].GetUID() {
				t.Errorf("%s The Job that completes the run should stay, got %d Jobs", tc.reason, len(jobs))
			}
		})
	}
}

// begun reports whether the run that the spec asks for is in the Artifact's
// annotations, and its Job not yet made.
func (l *life) begun() string {
	if err := l.get(l.a); err != nil {
		return err.Error()
	}
	if run := artifact.RunOf(l.a); run.Hash != artifact.RunHash(l.a) {
		return fmt.Sprintf("the run is %+v", run)
	}
	return ""
}

// atWork reports whether the run that the spec asks for has its Pod.
func (l *life) atWork() string {
	if s := l.begun(); s != "" {
		return s
	}
	jobs, pods := l.runs()
	if len(jobs) != 1 || len(pods) != 1 || artifact.RunOf(&pods[0]) != artifact.RunOf(l.a) {
		return fmt.Sprintf("there are %d Jobs and %d Pods", len(jobs), len(pods))
	}
	return ""
}

// TestTwoProviders stops one provider before and after each call, as one that
// has lost its lease without knowing, while another one works; then the first
// goes on with what it knew.
func TestTwoProviders(t *testing.T) {
	cases := map[string]struct {
		reason string
		goes   func(*batchv1.Job) string
		before func(*life)
		during func(*life)
		after  func(*life)
	}{
		"FirstRun": {
			reason: "Both make the same Job.",
			before: func(l *life) { l.create(l.a) },
			during: func(*life) {},
			after:  func(l *life) { l.reachReady() },
		},
		"Changed": {
			reason: "The first still makes the run of the former spec.",
			goes:   func(*batchv1.Job) string { return stillRunning },
			before: func(l *life) { l.create(l.a) },
			during: func(l *life) { l.update(l.a, revision("v2")) },
			after:  func(l *life) { l.reach("the run of v2", l.atWork) },
		},
		"Deleted": {
			reason: "The first still makes a run.",
			goes:   func(*batchv1.Job) string { return stillRunning },
			before: func(l *life) { l.create(l.a) },
			during: func(l *life) { l.remove(l.a) },
			after:  func(l *life) { l.reachGone() },
		},
	}
	base := newBase(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			atEachPoint(t, fuse{}, func(t *testing.T, f *fuse) {
				t.Helper()
				l := newLife(t, base, f)
				if tc.goes != nil {
					l.goes = tc.goes
				}
				f.instead = func() { l.overtake(tc.during) }
				tc.before(l)
				f.lit = true
				for range 4 {
					l.reconcile()
				}
				f.lit = false
				if f.where == "" {
					return // Nothing was left to stop at.
				}
				l.move()
				tc.after(l)
				l.checkForeign()
				if t.Failed() {
					t.Logf("%s stopped %s", tc.reason, f.where)
				}
			})
		})
	}
}

// overtake has another provider work for some rounds.
func (l *life) overtake(during func(*life)) {
	during(l)
	first := l.provider
	defer func() { l.provider = first }()
	l.provider = l.newProvider()
	for range 5 {
		l.reconcile()
		l.move()
	}
}

func TestAppliedTwiceIsOneRun(t *testing.T) {
	l := newLife(t, newBase(t), &fuse{})
	l.goes = func(*batchv1.Job) string { return stillRunning }
	l.create(l.a)
	for range 5 {
		l.reconcile()
		l.move()
		l.update(l.a, revision("main"))
		l.update(l.a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "applied", "again") })
	}
	if len(l.made) != 1 {
		t.Errorf("runs: got %+v, want 1", l.made)
	}
	l.checkForeign()
}

func TestRecreatedWhileOldJobRuns(t *testing.T) {
	cases := map[string]struct {
		reason   string
		goes     string
		pipeline modelv1alpha1.PipelineType
	}{
		"KitRunning":     {reason: "The old Job's Pod is running.", goes: stillRunning, pipeline: modelv1alpha1.PipelineKit},
		"KitWithoutPod":  {reason: "The old Job has no Pod yet.", goes: waits, pipeline: modelv1alpha1.PipelineKit},
		"StreamNotBegun": {reason: "The old Job has no Pod yet, and there is no workspace.", goes: waits, pipeline: modelv1alpha1.PipelineStream},
		"StreamRunning":  {reason: "The old Job's Pod is running, and there is no workspace.", goes: stillRunning, pipeline: modelv1alpha1.PipelineStream},
	}
	base := newBase(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, base, &fuse{})
			l.create(&v1alpha1.ProviderConfig{
				// What the old Artifact's run pushed is adopted.
				ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: l.namespace, Annotations: map[string]string{artifact.AnnotationAdopt: "true"}},
				Spec: v1alpha1.ProviderConfigSpec{Registry: v1alpha1.RegistryConfig{
					Host: v1alpha1.RegistryHost(l.host), PlainHTTP: true,
					Credentials: v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceNone},
				}},
			})
			l.a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ProviderConfig", Name: "default"}
			l.a.Spec.ForProvider.Pipeline = tc.pipeline
			l.goes = func(*batchv1.Job) string { return tc.goes }
			again := l.a.DeepCopy()
			l.create(l.a)
			l.reach("a Job", func() string {
				if jobs, _ := l.runs(); len(jobs) == 0 {
					return "there is none"
				}
				return ""
			})

			// Its deletion is forced, and the garbage collector is slow.
			l.update(l.a, func(a *modelv1alpha1.Artifact) { a.SetFinalizers(nil) })
			l.remove(l.a)
			l.a = again
			l.create(l.a)
			for range 4 {
				l.reconcile()
				l.move()
			}
			if len(l.made) != 1 {
				t.Errorf("%s runs: got %+v, want the old one", tc.reason, l.made)
			}

			l.goes = func(*batchv1.Job) string { return succeeds }
			l.collectOld()
			l.reachReady()
			l.checkForeign()
		})
	}
}

// collectOld deletes what an Artifact owns that is not there any more.
func (l *life) collectOld() {
	l.t.Helper()
	jobs, _ := l.runs()
	for i := range jobs {
		if !metav1.IsControlledBy(&jobs[i], l.a) {
			l.remove(&jobs[i])
		}
	}
	if pvc, _ := l.belongings(); pvc != nil && !metav1.IsControlledBy(pvc, l.a) {
		l.remove(pvc)
	}
}
