package artifact

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Labels of Kueue (https://kueue.sigs.k8s.io/docs/reference/labels-and-annotations/).
const (
	// LabelQueueName of a Job names the LocalQueue in its namespace that it waits in.
	LabelQueueName = "kueue.x-k8s.io/queue-name"

	// labelQueuePriority of a Job names its WorkloadPriorityClass.
	labelQueuePriority = "kueue.x-k8s.io/priority-class"

	// labelJobUID of a Workload has the UID of the Job that it is for.
	labelJobUID = "kueue.x-k8s.io/job-uid"
)

// queueGracePeriod is the time that Kueue has to make a Workload for a Job before its
// absence is reported: longer than a restart of Kueue takes.
const queueGracePeriod = time.Minute

// jobWithQueue has a Job with a queue be made suspended, so that only Kueue starts it:
// where Kueue is not there to suspend it, it must not bypass the queue. The Pod gets no
// label of the queue, since Kueue would queue the Pod too where it manages Pods.
func jobWithQueue() jobOverride {
	return func(j *batchv1.Job) {
		if j.Labels[LabelQueueName] == "" {
			return
		}
		j.Spec.Suspend = ptr.To(true)
		delete(j.Spec.Template.Labels, LabelQueueName)
		delete(j.Spec.Template.Labels, labelQueuePriority)
	}
}

// UsesQueueOf reports whether the Artifact's runs wait in the queue of Kueue that its
// config's job settings name.
func UsesQueueOf(s *v1alpha1.JobSettings, a *modelv1alpha1.Artifact) bool {
	queue := queueOf(s)
	return queue != "" && settingsFor(a).Labels[LabelQueueName] == queue
}

// WaitsInQueueOf reports whether a Job waits in the queue of Kueue that its config's job
// settings name.
func WaitsInQueueOf(s *v1alpha1.JobSettings, job *batchv1.Job) bool {
	queue := queueOf(s)
	return queue != "" && job.GetLabels()[LabelQueueName] == queue
}

// IsQueuedFor reports whether a Job is queued for more than this time.
func IsQueuedFor(job *batchv1.Job, now time.Time, timeout time.Duration) bool {
	return IsQueued(job) && isPast(job, suspendedSince(job), now, timeout)
}

// queueOf returns the queue that a config's job settings name; empty for none.
func queueOf(s *v1alpha1.JobSettings) string {
	if s == nil {
		return ""
	}
	return s.Labels[LabelQueueName]
}

// IsQueued reports whether a Job is suspended and has not ended: it has not started, or
// was stopped to make room for another. What its Pods report then says nothing about the
// run.
func IsQueued(job *batchv1.Job) bool {
	if !ptr.Deref(job.Spec.Suspend, false) || job.Status.Failed > 0 && !isIndexed(job) || jobSucceeded(job) {
		return false
	}
	for _, end := range []batchv1.JobConditionType{batchv1.JobFailed, batchv1.JobFailureTarget, batchv1.JobSuccessCriteriaMet} {
		if jobCondition(job, end) != nil {
			return false
		}
	}
	return true
}

// suspendedSince returns since when a queued Job is suspended; nil if it is not queued, or
// if the Job controller has not seen it yet.
func suspendedSince(job *batchv1.Job) *metav1.Time {
	if c := jobCondition(job, batchv1.JobSuspended); c != nil && IsQueued(job) {
		return &c.LastTransitionTime
	}
	return nil
}

// A WorkloadState is what is known of the Workload of a Job.
type WorkloadState string

// What may be known of a Workload. The zero value is nothing.
const (
	// WorkloadFound: it exists.
	WorkloadFound WorkloadState = "Found"

	// WorkloadMissing: Kueue has not made it.
	WorkloadMissing WorkloadState = "Missing"

	// WorkloadForbidden: the provider may not look for it.
	WorkloadForbidden WorkloadState = "Forbidden"

	// WorkloadUnserved: the cluster has no Kueue.
	WorkloadUnserved WorkloadState = "Unserved"
)

// A Workload is the object by which Kueue queues a Job
// (https://kueue.sigs.k8s.io/docs/concepts/workload/), as far as it is known.
type Workload struct {
	State WorkloadState

	// Name of the Workload; empty unless it was found.
	Name string

	// Deactivated reports whether somebody, or Kueue, has taken it out of its queue.
	Deactivated bool

	// Conditions of the Workload: types, statuses, reasons and messages.
	Conditions []metav1.Condition
}

// Types and reasons of a Workload's conditions (sigs.k8s.io/kueue v0.19,
// apis/kueue/v1beta2/workload_types.go).
const (
	workloadQuotaReserved = "QuotaReserved"
	workloadAdmitted      = "Admitted"
	workloadEvicted       = "Evicted"
	workloadFinished      = "Finished"

	workloadSucceeded = "Succeeded"
	workloadFailed    = "Failed"
)

const (
	// maxWorkloads is the number of Workloads that are read for a Job. Kueue makes
	// one, and another while it replaces that.
	maxWorkloads = 10

	// maxWorkloadConditions is the number of conditions that are read of a Workload.
	maxWorkloadConditions = 32
)

// workloadKind is the kind of Workloads. Which version is served depends on the
// release of Kueue.
var workloadKind = schema.GroupKind{Group: "kueue.x-k8s.io", Kind: "Workload"}

// readWorkload returns what is known of a Job's Workload. It returns no error, since a
// Workload explains why a Job waits, which it does just the same if that cannot be read.
func readWorkload(ctx context.Context, c client.Client, job *batchv1.Job) Workload {
	mapping, err := c.RESTMapper().RESTMapping(workloadKind)
	switch {
	case meta.IsNoMatchError(err):
		return Workload{State: WorkloadUnserved}
	case err != nil:
		return Workload{}
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(mapping.GroupVersionKind.GroupVersion().WithKind(workloadKind.Kind + "List"))
	err = c.List(ctx, list, client.InNamespace(job.GetNamespace()), client.MatchingLabels{labelJobUID: string(job.GetUID())}, client.Limit(maxWorkloads))
	switch {
	case kerrors.IsForbidden(err):
		return Workload{State: WorkloadForbidden}
	case err != nil:
		return Workload{}
	}
	var latest *unstructured.Unstructured
	for i := range list.Items {
		if w := &list.Items[i]; metav1.IsControlledBy(w, job) && (latest == nil || latest.GetCreationTimestamp().Time.Before(w.GetCreationTimestamp().Time)) {
			latest = w
		}
	}
	if latest == nil {
		return Workload{State: WorkloadMissing}
	}
	return workloadOf(latest)
}

// workloadOf returns what is used of a Workload. What is not as expected is left out.
func workloadOf(u *unstructured.Unstructured) Workload {
	active, found, err := unstructured.NestedBool(u.Object, "spec", "active")
	out := Workload{State: WorkloadFound, Name: u.GetName(), Deactivated: found && err == nil && !active}
	conditions, _, err := unstructured.NestedSlice(u.Object, "status", "conditions")
	if err != nil {
		return out
	}
	for _, c := range conditions[:min(len(conditions), maxWorkloadConditions)] {
		fields, ok := c.(map[string]any)
		if !ok {
			continue
		}
		text := func(key string) string { s, _ := fields[key].(string); return s }
		out.Conditions = append(out.Conditions, metav1.Condition{
			Type: text("type"), Status: metav1.ConditionStatus(text("status")), Reason: text("reason"), Message: text("message"),
		})
	}
	return out
}

// queued returns the state of a run whose Job is queued. It has not failed.
func queued(job *batchv1.Job, w Workload) ObservationResult {
	return waiting(*failure(outcome.Errorf(outcome.Queued, "%s", queueMessage(job, w))))
}

// queueMessage says what a queued Job waits for, and what to do where it would wait for
// ever. It stays the same while the cause does: Kueue's own messages have numbers that
// change with the load.
func queueMessage(job *batchv1.Job, w Workload) string {
	queue := job.GetLabels()[LabelQueueName]
	suspended := fmt.Sprintf("Job %q is suspended for LocalQueue %q", job.GetName(), queue)
	waits := fmt.Sprintf("Job %q waits in LocalQueue %q of Kueue", job.GetName(), queue)
	if queue == "" {
		return fmt.Sprintf("Job %q is suspended, and has no queue: resume it, or set the label %s in job.labels if Kueue has suspended it", job.GetName(), LabelQueueName)
	}
	switch w.State {
	case WorkloadUnserved:
		return fmt.Sprintf("%s, and the cluster has no Kueue that could start it: install Kueue, or remove the label %s from job.labels", suspended, LabelQueueName)
	case WorkloadMissing:
		return fmt.Sprintf("%s, and Kueue has made no Workload for it: see that Kueue's controller manager is running, and that its configuration has batch/job in integrations.frameworks and manages namespace %q", suspended, job.GetNamespace())
	case WorkloadForbidden:
		return waits + "; why is not known, since the provider may not list workloads.kueue.x-k8s.io: apply examples/install/rbac.yaml"
	case WorkloadFound:
		return workloadMessage(waits, w)
	}
	return waits
}

// workloadMessage says what the Job of a Workload waits for.
func workloadMessage(waits string, w Workload) string {
	reserved, evicted := w.condition(workloadQuotaReserved), w.condition(workloadEvicted)
	switch {
	case w.Deactivated:
		return fmt.Sprintf("%s, and its Workload is deactivated (%s): set spec.active of Workload %q to true", waits, word(evicted.Reason), w.Name)
	case w.condition(workloadAdmitted).Status == metav1.ConditionTrue:
		return waits + ", is admitted, and starts next"
	case reserved.Status == metav1.ConditionTrue:
		return waits + ", has its quota reserved, and waits for admission checks"
	case evicted.Status == metav1.ConditionTrue:
		return fmt.Sprintf("%s again, since it was stopped (%s); what it has transferred is kept", waits, word(evicted.Reason))
	case reserved.Reason != "":
		return fmt.Sprintf("%s: %s", waits, described(reserved))
	}
	return waits
}

// neverStarts returns the failure of a queued Job that Kueue has given up: nothing
// starts it any more. It returns nil if Kueue has not, or if the Job has ended and the
// cache does not have that yet.
func (w Workload) neverStarts(job *batchv1.Job) *outcome.Failure {
	c := w.condition(workloadFinished)
	if c.Status != metav1.ConditionTrue || c.Reason == workloadSucceeded || c.Reason == workloadFailed {
		return nil
	}
	return failure(outcome.Errorf(outcome.JobFailed,
		"Kueue does not start Job %q (%s): change spec.forProvider.job (nodeSelector, labels, annotations) or the ResourceFlavor, which must not contradict each other", job.GetName(), described(c)))
}

// condition returns the Workload's condition of this type; a zero one if it has none.
func (w Workload) condition(conditionType string) metav1.Condition {
	if c := meta.FindStatusCondition(w.Conditions, conditionType); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// reasonWord matches the reasons of conditions.
var reasonWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,62}$`)

// word returns a condition's reason if it is a word that may be shown.
func word(reason string) string {
	if !reasonWord.MatchString(reason) {
		return "no reason given"
	}
	return reason
}

// described returns a condition's reason and the beginning of its message, which ends
// before what changes with the load: quantities and other Workloads' names.
func described(c metav1.Condition) string {
	head := c.Message
	if i := strings.IndexAny(head, ",;("); i >= 0 {
		head = head[:i]
	}
	head = strings.TrimRight(outcome.Shorten(strings.TrimSpace(head)), ".")
	if head == "" {
		return word(c.Reason)
	}
	return word(c.Reason) + ": " + head
}
