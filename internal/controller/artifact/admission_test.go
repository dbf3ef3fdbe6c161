package artifact

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// Changes to what is admitted, as queues, meshes and policy engines make them.
const (
	changeJobs = `[
		JSONPatch{op: "add", path: "/spec/template/spec/nodeSelector", value: {"flavor": "spot"}},
		JSONPatch{op: "add", path: "/spec/template/spec/tolerations", value: [{"key": "spot", "operator": "Exists"}]},
		JSONPatch{op: "add", path: "/spec/template/spec/imagePullSecrets", value: [{"name": "mirror"}]},
		JSONPatch{op: "add", path: "/spec/template/spec/priorityClassName", value: "system-cluster-critical"},
		JSONPatch{op: "add", path: "/spec/template/spec/initContainers/0", value: Object.spec.template.spec.initContainers{name: "mesh", image: "mesh:1", restartPolicy: "Always"}},
		JSONPatch{op: "replace", path: "/spec/template/spec/containers/0/image", value: "mirror.example.com/kit:1"},
		JSONPatch{op: "add", path: "/spec/template/spec/containers/0/resources/limits", value: {"cpu": "2"}},
		JSONPatch{op: "add", path: "/spec/template/spec/containers/0/env/0", value: {"name": "INJECTED", "value": "yes"}},
		JSONPatch{op: "add", path: "/metadata/labels/example.com~1policy", value: "applied"}
	]`
	changeClaims = `[
		JSONPatch{op: "add", path: "/spec/storageClassName", value: "encrypted"},
		JSONPatch{op: "replace", path: "/spec/resources/requests/storage", value: "60Gi"}
	]`
)

// waitAdmission waits until what the controller would create is changed.
func (w *world) waitAdmission(a *modelv1alpha1.Artifact) {
	w.t.Helper()
	w.eventually("admission policies", func() string {
		job, pvc := artifact.BuildJob(a, "kit:test", nil), artifact.BuildPVC(a, nil)
		job.Labels = map[string]string{"any": "label"}
		for _, o := range []client.Object{job, pvc} {
			if err := w.client.Create(w.t.Context(), o, client.DryRunAll); err != nil {
				return err.Error()
			}
		}
		if len(job.Spec.Template.Spec.Tolerations) == 0 || pvc.Spec.Resources.Requests.Storage().String() != "60Gi" {
			return "nothing was changed"
		}
		return ""
	})
}

// It is slow because the API server reads admission policies every few seconds.
func TestRunThatAdmissionChangedIsNotRebuilt(t *testing.T) {
	w := startControllers(t)
	apiserver.ChangeOnAdmission(t, w.client, w.namespace, batchv1.GroupName, "jobs", changeJobs)
	apiserver.ChangeOnAdmission(t, w.client, w.namespace, corev1.GroupName, "persistentvolumeclaims", changeClaims)
	a := w.artifact("admitted")
	a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
	w.waitAdmission(a)

	w.create(a)
	job := w.job(a, 1)
	if diff := cmp.Diff(map[string]string{"flavor": "spot"}, job.Spec.Template.Spec.NodeSelector); diff != "" {
		t.Fatalf("The Job is to be changed by admission: nodeSelector: -want, +got:\n%s", diff)
	}
	pvc := &corev1.PersistentVolumeClaim{}
	pvc.SetNamespace(w.namespace)
	pvc.SetName(artifact.PVCName(a.GetName()))
	if err := w.get(pvc); err != nil {
		t.Fatal(err)
	}
	waitsForNode(w, job)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.Unschedulable))
	time.Sleep(time.Second) // That nothing happens can only be waited for.
	for _, o := range []client.Object{job, pvc} {
		uid := o.GetUID()
		if err := w.get(o); err != nil || o.GetUID() != uid || o.GetDeletionTimestamp() != nil {
			t.Fatalf("a %T that admission changed was rebuilt: %v", o, err)
		}
	}

	// A change of the spec still is the cure.
	w.update(a, func(a *modelv1alpha1.Artifact) {
		a.Spec.ForProvider.Job = &v1alpha1.JobSettings{NodeSelector: map[string]string{"disk": "fast"}}
	})
	w.waitGone(job)
	w.deletePods()
	if again := w.job(a, 1); again.GetUID() == job.GetUID() {
		t.Error("the Job was not rebuilt for another spec")
	}
	if uid := pvc.GetUID(); w.get(pvc) != nil || pvc.GetUID() != uid {
		t.Error("the workspace was rebuilt for another nodeSelector")
	}
}

// waitsForNode has the Job's Pod wait for a node, as Job controller and
// scheduler would.
func waitsForNode(w *world, job *batchv1.Job) {
	w.t.Helper()
	pod := w.podFor(job)
	pod.Status.Phase = corev1.PodPending
	pod.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
		Message: "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
	}}
	if err := w.client.Status().Update(w.t.Context(), pod); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("Job status", func() string {
		if err := w.get(job); err != nil {
			return err.Error()
		}
		job.Status.Active, job.Status.Ready = 1, ptr.To[int32](0)
		if err := w.client.Status().Update(w.t.Context(), job); err != nil {
			return fmt.Sprint(err)
		}
		return ""
	})
}
