package artifact

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// mostWrites is how often an Artifact may be written from its creation until it is
// Ready: before and after the Create that makes the Job, once each for a run that
// waits, runs and has staged, and once for the committed artifact. One more is for what
// caches that are behind show in between.
const mostWrites = 6 + 1

func TestWritesOfAShortRun(t *testing.T) {
	cases := map[string]struct {
		reason   string
		pipeline modelv1alpha1.PipelineType
	}{
		"Stream": {
			reason:   "Whoever composes an Artifact gets a watch event for each write, and Crossplane stops watching a composite resource that gets too many.",
			pipeline: modelv1alpha1.PipelineStream,
		},
		"Kit": {
			reason:   "A run with a workspace should write its Artifact as rarely as one without.",
			pipeline: modelv1alpha1.PipelineKit,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := startControllers(t)
			a := w.artifact("short")
			a.Spec.ForProvider.Pipeline = tc.pipeline
			writes := w.watchWrites()
			w.create(a)
			w.runShortly(w.job(a, 1), w.stageFor(w.job(a, 1).Spec.Template.Spec, a.Spec.ForProvider.Target.Repository, "one"))
			w.waitReady(a, corev1.ConditionTrue, "Available")
			if got := writes(a.GetResourceVersion()); len(got) > mostWrites {
				t.Errorf("\n%s\nwrites from creation to Ready: got %d, want at most %d:\n%s", tc.reason, len(got), mostWrites, strings.Join(got, "\n"))
			}
		})
	}
}

// runShortly has a Job run as in a cluster, where its own status, its Pod's and then
// again its own change a few times within seconds, and report the digest.
func (w *world) runShortly(job *batchv1.Job, digest string) {
	w.t.Helper()
	status := func(o client.Object, change func()) {
		w.t.Helper()
		change()
		if err := w.client.Status().Update(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
	}
	now := metav1.Now()
	status(job, func() { job.Status.StartTime = &now })
	pod := w.podFor(job)
	status(job, func() { job.Status.Active = 1 })
	container := corev1.ContainerStatus{Name: pod.Spec.Containers[0].Name}
	for _, change := range []func(){
		func() {
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
		},
		func() { container.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"} },
		func() {
			pod.Status.Phase = corev1.PodRunning
			container.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
		},
	} {
		status(pod, func() { change(); pod.Status.ContainerStatuses = []corev1.ContainerStatus{container} })
	}
	status(job, func() { job.Status.Ready = new(int32(1)) })
	w.finishPod(job, pod, outcome.Result{}, fmt.Sprintf(`{"digest":%q,"size":42,"files":3,"revision":%q,"license":"mit"}`, digest, testCommit))
}

// A written is a write of an Artifact.
type written struct {
	version string
	diff    string // To the version before.
}

// watchWrites watches the namespace's one Artifact. What it returns waits for the write
// of a resource version, and returns the diffs of all writes until then.
func (w *world) watchWrites() func(until string) []string {
	w.t.Helper()
	watcher, err := newBase(w.t).Watch(w.t.Context(), &modelv1alpha1.ArtifactList{}, client.InNamespace(w.namespace))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(watcher.Stop)
	var mu sync.Mutex
	var all []written
	go func() {
		var last *modelv1alpha1.Artifact
		for e := range watcher.ResultChan() {
			a, ok := e.Object.(*modelv1alpha1.Artifact)
			if !ok {
				continue
			}
			a.SetManagedFields(nil)
			if e.Type == watch.Modified {
				mu.Lock()
				all = append(all, written{version: a.GetResourceVersion(), diff: cmp.Diff(last, a)})
				mu.Unlock()
			}
			last = a
		}
	}()
	return func(until string) []string {
		w.t.Helper()
		var diffs []string
		w.eventually("the write of "+until, func() string {
			mu.Lock()
			defer mu.Unlock()
			diffs = nil
			for _, one := range all {
				diffs = append(diffs, one.diff)
				if one.version == until {
					return ""
				}
			}
			return "it is not seen"
		})
		return diffs
	}
}
