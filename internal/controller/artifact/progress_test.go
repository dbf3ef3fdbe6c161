package artifact

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/progress"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// start has the Job's Pod run, as kubelet and Job controller would.
func (w *world) start(job *batchv1.Job) *corev1.Pod {
	w.t.Helper()
	pod := w.podFor(job)
	pod.Status.Phase = corev1.PodRunning
	pod.Status.PodIP = "10.1.2.3"
	pod.Status.PodIPs = []corev1.PodIP{{IP: "10.1.2.3"}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: pod.Spec.Containers[0].Name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}
	if err := w.client.Status().Update(w.t.Context(), pod); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("Job status", func() string {
		if err := w.get(job); err != nil {
			return err.Error()
		}
		now := metav1.Now()
		job.Status.StartTime, job.Status.Active, job.Status.Ready = &now, 1, new(int32)
		if err := w.client.Status().Update(w.t.Context(), job); err != nil {
			return err.Error()
		}
		return ""
	})
	return pod
}

// waitProgress waits for a progress in the status, nil for none.
func (w *world) waitProgress(a *modelv1alpha1.Artifact, want *modelv1alpha1.ProgressObservation) {
	w.t.Helper()
	w.eventually("progress", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		return cmp.Diff(want, a.Status.AtProvider.Progress)
	})
}

func TestProgressOfARunIsShownWhileItRuns(t *testing.T) {
	w := newWorld(t)
	var percent, asked atomic.Int64
	percent.Store(10)
	const interval = 300 * time.Millisecond
	poller := progress.New(progress.Options{WritesPerMinute: 6000, Interval: interval, Ask: func(_ context.Context, address netip.Addr) (outcome.Progress, error) {
		if address != netip.MustParseAddr("10.1.2.3") {
			t.Errorf("want the run's Pod to be asked, got %s", address)
		}
		asked.Add(1)
		return outcome.ParseProgress(fmt.Appendf(nil, `{"step":"copy","percent":%d,"bytesDone":%[1]d,"bytesTotal":100}`, percent.Load()))
	}})
	startManagerAs(t, apiserver.Config(t), []string{w.namespace}, Options{Images: testImages, poller: poller}, setupConfigs)
	a := w.artifact("measured")
	w.create(a)
	job := w.job(a, 1)
	w.start(job)
	w.waitProgress(a, &modelv1alpha1.ProgressObservation{Step: "copy", Percent: 10, BytesDone: 10, BytesTotal: 100})
	if a.Status.AtProvider.Phase != modelv1alpha1.PhaseRunning || a.GetCondition(xpv2.TypeSynced).Status != corev1.ConditionTrue {
		t.Errorf("status: got %+v", a.Status)
	}

	before, times := a.GetResourceVersion(), asked.Load()
	w.eventually("further questions", func() string {
		if asked.Load() < times+3 {
			return "it is not asked"
		}
		return ""
	})
	if err := w.get(a); err != nil {
		t.Fatal(err)
	}
	if a.GetResourceVersion() != before {
		t.Errorf("A run that does not get on should be written once: resourceVersion went from %s to %s", before, a.GetResourceVersion())
	}
	percent.Store(60)
	w.waitProgress(a, &modelv1alpha1.ProgressObservation{Step: "copy", Percent: 60, BytesDone: 60, BytesTotal: 100})

	w.deletePods()
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.waitProgress(a, nil)
	times = asked.Load()
	time.Sleep(2 * interval) // That nothing happens can only be waited for.
	if got := asked.Load(); got != times {
		t.Errorf("Nobody should be asked after the run's end: %d questions more", got-times)
	}
}

func TestProgressGoesWithTheRun(t *testing.T) {
	w := newWorld(t)
	poller := progress.New(progress.Options{WritesPerMinute: 6000, Interval: 100 * time.Millisecond, Ask: func(context.Context, netip.Addr) (outcome.Progress, error) {
		return outcome.Progress{Percent: 7}, nil
	}})
	startManagerAs(t, apiserver.Config(t), []string{w.namespace}, Options{Images: testImages, poller: poller}, setupConfigs)
	a := w.artifact("changed-in-mid-run")
	w.create(a)
	job := w.job(a, 1)
	w.start(job)
	w.waitProgress(a, &modelv1alpha1.ProgressObservation{Percent: 7})

	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "v2" })
	w.waitGone(job)
	w.waitProgress(a, nil)
	w.deletePods()
	w.finish(w.job(a, 1), outcome.Result{Failure: &outcome.Failure{}}, `{"failure":{"reason":"Gated","message":"accept its terms"}}`)
	w.waitReady(a, corev1.ConditionFalse, "Gated")
	w.waitProgress(a, nil)
}
