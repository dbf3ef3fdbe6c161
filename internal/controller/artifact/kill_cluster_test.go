package artifact

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// move moves the cluster by one step.
func (l *life) move() {
	l.t.Helper()
	jobs, pods := l.runs()
	jobs = l.collectAbandoned(jobs)
	live, known, busy := 0, map[string]bool{}, map[string]bool{}
	for i := range pods {
		busy[string(metav1.GetControllerOf(&pods[i]).UID)] = true
	}
	for i := range jobs {
		known[string(jobs[i].GetUID())] = true
		if !isLive(&jobs[i]) {
			continue
		}
		live++
		if !busy[string(jobs[i].GetUID())] {
			l.work(&jobs[i])
		}
	}
	if live > 1 {
		l.t.Errorf("there are %d live Jobs", live)
	}
	for i := range pods {
		if !known[string(metav1.GetControllerOf(&pods[i]).UID)] {
			l.collect(&pods[i])
		}
	}
	l.release(len(pods))
}

// collectAbandoned deletes what an Artifact owns that is gone and has none
// of its name after it. It returns the Jobs that are left.
func (l *life) collectAbandoned(jobs []batchv1.Job) []batchv1.Job {
	l.t.Helper()
	if err := l.get(l.a.DeepCopy()); !kerrors.IsNotFound(err) {
		return jobs
	}
	if left := l.leftOver(); left != "" && l.leavesNothing {
		l.t.Errorf("the Artifact is gone and %s", left)
	}
	for i := range jobs {
		l.remove(&jobs[i])
	}
	pvc, secrets := l.belongings()
	if pvc != nil && pvc.GetDeletionTimestamp() == nil {
		l.remove(pvc)
	}
	for i := range secrets {
		l.remove(&secrets[i])
	}
	return nil
}

// work has a Job's Pod do what it does.
func (l *life) work(job *batchv1.Job) {
	switch how := l.goes(job); how {
	case waits:
	case stillRunning:
		l.podFor(job)
	case succeeds:
		d := l.workFor(job, job.Spec.Template.Spec)
		l.finish(job, outcome.Result{}, fmt.Sprintf(`{"digest":%q,"size":42,"files":3,"revision":"0123456789012345678901234567890123456789"}`, d))
	default:
		l.finish(job, outcome.Result{Failure: &outcome.Failure{}}, fmt.Sprintf(`{"failure":{"reason":%q,"message":"that is why"}}`, how))
	}
}

// workFor pushes what a run makes, and returns its digest.
func (l *life) workFor(o client.Object, pod corev1.PodSpec) string {
	run := artifact.RunOf(o)
	d := l.stageFor(pod, l.a.Spec.ForProvider.Target.Repository, run.Hash)
	l.pushed[run.Hash] = d
	return d
}

// collect deletes a Pod whose Job is gone, not at once, and one that was at
// work pushes with its last breath.
func (l *life) collect(pod *corev1.Pod) {
	if !l.orphans[pod.GetName()] {
		l.orphans[pod.GetName()] = true
		return
	}
	if pod.Status.Phase == corev1.PodPending {
		l.workFor(pod, pod.Spec)
	}
	if err := l.base.Delete(l.t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		l.t.Fatal(err)
	}
}

// release lets go of claims that are being deleted and that no Pod uses.
func (l *life) release(pods int) {
	if pods > 0 {
		return
	}
	for _, ns := range l.runsIn {
		pvc := l.claim(ns)
		if l.get(pvc) != nil || pvc.GetDeletionTimestamp() == nil {
			continue
		}
		pvc.SetFinalizers(nil)
		if err := l.base.Update(l.t.Context(), pvc); client.IgnoreNotFound(err) != nil {
			l.t.Fatal(err)
		}
	}
}
