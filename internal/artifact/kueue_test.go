package artifact

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// queuedJob returns a Job that is suspended for a queue and has this status.
func queuedJob(s batchv1.JobStatus) *batchv1.Job {
	j := jobWith(s)
	j.SetLabels(map[string]string{LabelQueueName: "team"})
	j.Spec.Suspend = ptr.To(true)
	return j
}

// suspended is the status of a Job that is suspended.
func suspended() batchv1.JobStatus {
	return batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue, Reason: "JobSuspended"}}}
}

func TestBuildJobForQueue(t *testing.T) {
	labels := func(l map[string]string) artifactModifier {
		return withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Job = &v1alpha1.JobSettings{Labels: l} })
	}
	configured := func(namespace string, l map[string]string) artifactModifier {
		return withEffective(modelv1alpha1.Effective{RunNamespace: namespace, Job: &v1alpha1.JobSettings{Labels: l}})
	}
	cases := map[string]struct {
		reason    string
		a         *modelv1alpha1.Artifact
		suspended bool
		queue     string
		priority  string
	}{
		"NoQueue":  {reason: "A Job without a queue should start at once.", a: newArtifact()},
		"Artifact": {reason: "A Job with the Artifact's queue should be suspended.", a: newArtifact(labels(map[string]string{LabelQueueName: "team", "team": "a"})), suspended: true, queue: "team"},
		"Config": {
			reason: "A Job with its config's queue should be suspended, with the config's priority.",
			a:      newArtifact(configured("", map[string]string{LabelQueueName: "all", labelQueuePriority: "low"})), suspended: true, queue: "all", priority: "low",
		},
		"Another": {
			reason: "An Artifact should be able to name another queue of its namespace.",
			a:      newArtifact(configured("", map[string]string{LabelQueueName: "all"}), labels(map[string]string{LabelQueueName: "mine"})), suspended: true, queue: "mine",
		},
		"Left": {
			reason: "An Artifact should not be able to leave its config's queue for none.",
			a:      newArtifact(configured("", map[string]string{LabelQueueName: "all"}), labels(map[string]string{LabelQueueName: ""})), suspended: true, queue: "all",
		},
		"Isolated": {
			reason: "In an administrator's namespace the config's queue should be the one.",
			a:      newArtifact(configured("kitops-runs", map[string]string{LabelQueueName: "runs"}), labels(map[string]string{LabelQueueName: "mine"})), suspended: true, queue: "runs",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := BuildJob(tc.a, testKitImage, nil)
			if ptr.Deref(got.Spec.Suspend, false) != tc.suspended || got.GetLabels()[LabelQueueName] != tc.queue || got.GetLabels()[labelQueuePriority] != tc.priority {
				t.Errorf("\n%s\nBuildJob(...): got suspend %v, labels %v", tc.reason, got.Spec.Suspend, got.GetLabels())
			}
			if got.Spec.ManagedBy != nil {
				t.Errorf("\n%s\nBuildJob(...): the Job should be managed by Kubernetes' own controller, got %q", tc.reason, *got.Spec.ManagedBy)
			}
			for label := range got.Spec.Template.Labels {
				if strings.HasPrefix(label, "kueue.x-k8s.io/") {
					t.Errorf("\n%s\nBuildJob(...): the Pod has label %s", tc.reason, label)
				}
			}
		})
	}
}

func TestObserveQueuedJob(t *testing.T) {
	terminating := podWith("a", corev1.PodRunning, ended(1, `{"failure":{"reason":"Internal","message":"interrupted"}}`))
	terminating.DeletionTimestamp = ptr.To(metav1.Unix(1, 0))
	resumed := active()
	resumed.Spec.Suspend = ptr.To(false)
	targeted := queuedJob(batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailureTarget, Status: corev1.ConditionTrue}}})
	failedJob := jobFailedBy(batchv1.JobFailed, "", "")
	failedJob.Spec.Suspend = ptr.To(true)
	done := jobDone()
	done.Spec.Suspend = ptr.To(true)
	waits := ObservationResult{Phase: modelv1alpha1.PhasePending, Ready: metav1.ConditionFalse, Reason: string(outcome.Queued), Message: `Job "run" waits in LocalQueue "team" of Kueue`}
	checkObserved(t, map[string]observeCase{
		"New":       {reason: "A Job that was just made suspended should be queued.", args: observeArgs{job: queuedJob(batchv1.JobStatus{})}, want: waits},
		"Suspended": {reason: "A suspended Job should be queued.", args: observeArgs{job: queuedJob(suspended())}, want: waits},
		"Preempted": {
			reason: "A Job that was stopped should be queued, whatever its Pod reports at its end.",
			args:   observeArgs{job: queuedJob(batchv1.JobStatus{Active: 1, Ready: ptr.To[int32](1)}), pods: []corev1.Pod{terminating}, phase: modelv1alpha1.PhaseRunning},
			want:   waits,
		},
		"Resumed": {
			reason: "A Job that was admitted should be running once its Pod is.",
			args:   observeArgs{job: resumed, pods: []corev1.Pod{podWith("b", corev1.PodRunning)}},
			want:   ObservationResult{Phase: modelv1alpha1.PhaseRunning, Ready: metav1.ConditionUnknown, Reason: "Creating"},
		},
		"Failing": {
			reason: "A Job that is about to fail should not be queued.",
			args:   observeArgs{job: targeted},
			want:   ObservationResult{Phase: modelv1alpha1.PhasePending, Ready: metav1.ConditionUnknown, Reason: "Creating"},
		},
		"Failed": {
			reason: "A Job that failed before it was suspended has failed.",
			args:   observeArgs{job: failedJob},
			want:   ObservationResult{Phase: modelv1alpha1.PhaseFailed, Ready: metav1.ConditionFalse, Reason: string(outcome.JobFailed)},
		},
		"Done": {
			reason: "A Job that succeeded before it was suspended has succeeded.",
			args:   observeArgs{job: done, pods: []corev1.Pod{podWith("a", corev1.PodSucceeded, ended(1, pushedResult))}},
			want:   ObservationResult{Phase: modelv1alpha1.PhaseSucceeded, Ready: metav1.ConditionTrue, Reason: "Available", Digest: pushedDigest},
		},
	})
}

func TestQueuedRunIsOverdue(t *testing.T) {
	made := time.Unix(1000, 0)
	later := made.Add(24 * time.Hour)
	job := func(isolated, resumed bool, s batchv1.JobStatus) *batchv1.Job {
		j := queuedJob(s)
		j.SetCreationTimestamp(metav1.NewTime(made))
		j.SetAnnotations(map[string]string{AnnotationCredentials: "copy"})
		if isolated {
			j.Annotations[AnnotationArtifactNamespace] = "team"
		}
		j.Spec.Suspend = ptr.To(!resumed)
		return j
	}
	stopped := suspended()
	stopped.Conditions[0].LastTransitionTime = metav1.NewTime(later)
	resumed := batchv1.JobStatus{Active: 1, Ready: ptr.To[int32](0), StartTime: ptr.To(metav1.NewTime(later))}
	cases := map[string]struct {
		reason string
		job    *batchv1.Job
		now    time.Time
		want   bool
	}{
		"Isolated":  {reason: "A run in an administrator's namespace should wait as long as its queue has it wait.", job: job(true, false, suspended()), now: later},
		"Tenant":    {reason: "A tenant should not keep a copy of credentials by a queue.", job: job(false, false, suspended()), now: later, want: true},
		"New":       {reason: "A run in a tenant's namespace should have time to be admitted.", job: job(false, false, batchv1.JobStatus{}), now: made.Add(time.Minute)},
		"Preempted": {reason: "A run that was stopped should have time to be admitted again.", job: job(false, false, stopped), now: later.Add(time.Minute)},
		"Admitted":  {reason: "A run should have time to start after it was admitted.", job: job(true, true, resumed), now: later.Add(time.Minute)},
		"Late":      {reason: "A run that does not start after it was admitted should be overdue.", job: job(true, true, resumed), now: later.Add(CopyTimeout + time.Second), want: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := IsOverdue(tc.job, nil, tc.now, CopyTimeout); got != tc.want {
				t.Errorf("\n%s\nIsOverdue(...): got %t", tc.reason, got)
			}
		})
	}
	o := ObserveRun(RunState{Job: job(false, false, suspended()), Asked: true, Overdue: true}, "", "")
	if o.Reason != string(outcome.NotStarted) || o.Phase != modelv1alpha1.PhaseFailed || !strings.Contains(o.Message, `waits in LocalQueue "team"`) {
		t.Errorf("An overdue run should be stopped, and say what it waited for, got %+v", o)
	}
}

func TestQueuedRunIsOutdated(t *testing.T) {
	queue := func(name string) artifactModifier {
		return withParameters(func(p *modelv1alpha1.ArtifactParameters) {
			p.Job = &v1alpha1.JobSettings{Labels: map[string]string{LabelQueueName: name}}
		})
	}
	cases := map[string]struct {
		reason string
		is     *modelv1alpha1.Artifact
		change func(*RunState)
		want   bool
	}{
		"Same":      {reason: "A queued run that would be the same should keep its place.", is: newArtifact(queue("a"))},
		"Queue":     {reason: "Another queue should have the run wait there.", is: newArtifact(queue("b")), want: true},
		"NoQueue":   {reason: "A run whose queue was removed should start without it.", is: newArtifact(), want: true},
		"NotAsked":  {reason: "A workspace that was not read should not restart the run.", is: newArtifact(queue("b")), change: func(s *RunState) { s.Asked = false }},
		"Workspace": {reason: "A workspace that is gone should be replaced before the run starts.", is: newArtifact(queue("a")), change: func(s *RunState) { s.Workspace = nil }, want: true},
		"Admitted": {reason: "What Kueue changes when it admits a Job that then finds no node should not restart it.", is: newArtifact(queue("a")), change: func(s *RunState) {
			s.Job.Spec.Suspend = ptr.To(false)
			s.Job.Status.Active = 1
			s.Job.Spec.Template.Labels = merged(s.Job.Spec.Template.Labels, map[string]string{"kueue.x-k8s.io/podset": "main"})
			s.Pods = noNode("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.")
			admit(s.Job)
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			was := newArtifact(queue("a"))
			s := RunState{Job: BuildJob(was, testKitImage, nil), Workspace: BuildPVC(was, nil), Asked: true}
			s.Job.SetUID("job")
			if tc.change != nil {
				tc.change(&s)
			}
			if got := s.Outdated(tc.is, testKitImage); got != tc.want {
				t.Errorf("\n%s\nOutdated(...): got %t", tc.reason, got)
			}
		})
	}
}

// condition returns a condition of a Workload.
func condition(conditionType string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: status, Reason: reason, Message: message}
}

func TestObserveWorkload(t *testing.T) {
	const (
		yes = metav1.ConditionTrue
		no  = metav1.ConditionFalse
	)
	found := func(c ...metav1.Condition) Workload {
		return Workload{State: WorkloadFound, Name: "job-run-1a2b3", Conditions: c}
	}
	bare := queuedJob(suspended())
	bare.SetLabels(nil)
	const waits = `Job "run" waits in LocalQueue "team" of Kueue`
	// Messages are as Kueue v0.19 writes them.
	cases := map[string]struct {
		reason   string
		job      *batchv1.Job
		workload Workload
		want     outcome.Reason
		phase    modelv1alpha1.ArtifactPhase
		message  string
	}{
		"Unknown": {reason: "A Job should be queued if nothing is known of its Workload.", message: waits},
		"NoKueue": {
			reason: "A cluster without Kueue should be named as the cause.", workload: Workload{State: WorkloadUnserved},
			message: `Job "run" is suspended for LocalQueue "team", and the cluster has no Kueue that could start it: install Kueue, or remove the label kueue.x-k8s.io/queue-name from job.labels`,
		},
		"Missing": {
			reason: "A Workload that is not made should be reported.", workload: Workload{State: WorkloadMissing},
			message: `Job "run" is suspended for LocalQueue "team", and Kueue has made no Workload for it: see that Kueue's controller manager is running, and that its configuration has batch/job in integrations.frameworks and manages namespace "team-a"`,
		},
		"Forbidden": {
			reason: "A missing permission should be named, with its cure.", workload: Workload{State: WorkloadForbidden},
			message: waits + "; why is not known, since the provider may not list workloads.kueue.x-k8s.io: apply examples/install/rbac.yaml",
		},
		"NoLabel": {
			reason: "A Job that is suspended without a queue should say how to resume it.", job: bare,
			message: `Job "run" is suspended, and has no queue: resume it, or set the label kueue.x-k8s.io/queue-name in job.labels if Kueue has suspended it`,
		},
		"New": {reason: "A Workload without conditions should be waited for.", workload: found(), message: waits},
		"NoQuota": {
			reason:   "What is missing should be named without quantities, which change.",
			workload: found(condition(workloadQuotaReserved, no, "Pending", "couldn't assign flavors to pod set main: insufficient unused quota for pods in flavor default-flavor, 1 more needed")),
			message:  waits + ": Pending: couldn't assign flavors to pod set main: insufficient unused quota for pods in flavor default-flavor",
		},
		"NoLocalQueue": {
			reason:   "A LocalQueue that does not exist should be named.",
			workload: found(condition(workloadQuotaReserved, no, "Inadmissible", "LocalQueue team doesn't exist")),
			message:  waits + ": Inadmissible: LocalQueue team doesn't exist",
		},
		"Preempted": {
			reason: "A stopped run should be shown as such, without the UIDs of what it was stopped for.",
			workload: found(
				condition(workloadQuotaReserved, no, "Pending", "Preempted to accommodate a workload (UID: 1234, JobUID: 5678) due to prioritization in the ClusterQueue"),
				condition(workloadEvicted, yes, "Preempted", "Preempted to accommodate a workload (UID: 1234, JobUID: 5678) due to prioritization in the ClusterQueue"),
			),
			message: waits + " again, since it was stopped (Preempted); what it has transferred is kept",
		},
		"Checks": {
			reason:   "A Workload with quota should wait for its admission checks.",
			workload: found(condition(workloadQuotaReserved, yes, "QuotaReserved", ""), condition(workloadEvicted, no, "QuotaReserved", "")),
			message:  waits + ", has its quota reserved, and waits for admission checks",
		},
		"Admitted": {
			reason:   "An admitted Job should be about to start.",
			workload: found(condition(workloadQuotaReserved, yes, "QuotaReserved", ""), condition(workloadAdmitted, yes, "Admitted", "")),
			message:  waits + ", is admitted, and starts next",
		},
		"Deactivated": {
			reason:   "A deactivated Workload should be reported with its name and cure.",
			workload: Workload{State: WorkloadFound, Name: "job-run-1a2b3", Deactivated: true, Conditions: []metav1.Condition{condition(workloadEvicted, yes, "Deactivated", "The workload is deactivated")}},
			message:  waits + `, and its Workload is deactivated (Deactivated): set spec.active of Workload "job-run-1a2b3" to true`,
		},
		"FailedToStart": {
			reason:   "A Job that Kueue has given up should have failed.",
			workload: found(condition(workloadAdmitted, yes, "Admitted", ""), condition(workloadFinished, yes, "FailedToStart", "invalid podset infos: conflict for nodeSelector: conflict for key=disk, value1=fast, value2=slow")),
			want:     outcome.JobFailed, phase: modelv1alpha1.PhaseFailed,
			message: `Kueue does not start Job "run" (FailedToStart: invalid podset infos: conflict for nodeSelector: conflict for key=disk): change spec.forProvider.job (nodeSelector, labels, annotations) or the ResourceFlavor, which must not contradict each other`,
		},
		"EndedSince": {
			reason:   "The end of a Job that the cache does not have yet should not be a failure.",
			workload: found(condition(workloadFinished, yes, workloadSucceeded, "Job finished successfully")),
			message:  waits,
		},
		"Hostile": {
			reason:   "A condition that anybody could have written should be shortened to one line.",
			workload: found(condition(workloadQuotaReserved, no, "two words\n", strings.Repeat("a\n", 500))),
			message:  waits + ": no reason given: ",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.job == nil {
				tc.job = queuedJob(suspended())
			}
			if tc.want == "" {
				tc.want, tc.phase = outcome.Queued, modelv1alpha1.PhasePending
			}
			got := ObserveRun(RunState{Job: tc.job, Asked: true, Workload: tc.workload}, modelv1alpha1.PhaseRunning, "")
			if got.Reason != string(tc.want) || got.Phase != tc.phase || got.Ready != metav1.ConditionFalse {
				t.Errorf("\n%s\nObserveRun(...): got %+v", tc.reason, got)
			}
			if name == "Hostile" {
				if !strings.HasPrefix(got.Message, tc.message) || len(got.Message) > 300 || strings.ContainsFunc(got.Message, unicode.IsControl) {
					t.Errorf("\n%s\nObserveRun(...): got message %q", tc.reason, got.Message)
				}
				return
			}
			if diff := cmp.Diff(tc.message, got.Message); diff != "" {
				t.Errorf("\n%s\nObserveRun(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// aWorkload returns a Workload of a Job, as the API server gives it.
func aWorkload(name string, owner types.UID, made int64, conditions ...any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"active": true}, "status": map[string]any{"conditions": conditions}}}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: workloadKind.Group, Version: "v1beta2", Kind: workloadKind.Kind})
	u.SetNamespace(testNamespace)
	u.SetName(name)
	u.SetLabels(map[string]string{labelJobUID: "job"})
	u.SetCreationTimestamp(metav1.Unix(made, 0))
	u.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "run", UID: owner, Controller: ptr.To(true)}})
	return u
}

func TestReadWorkload(t *testing.T) {
	made := time.Unix(1000, 0)
	group := schema.GroupVersion{Group: workloadKind.Group, Version: "v1beta2"}
	pending := map[string]any{"type": workloadQuotaReserved, "status": "False", "reason": "Pending", "message": "no quota"}
	deactivated := aWorkload("w", "job", 1)
	if err := unstructured.SetNestedField(deactivated.Object, false, "spec", "active"); err != nil {
		t.Fatal(err)
	}
	forbidden := interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return kerrors.NewForbidden(group.WithResource("workloads").GroupResource(), "", errors.New("no"))
	}}
	down := interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return kerrors.NewInternalError(errors.New("conversion webhook does not answer"))
	}}
	cases := map[string]struct {
		reason   string
		unserved bool
		there    []client.Object
		calls    interceptor.Funcs
		after    time.Duration
		want     Workload
	}{
		"TooSoon":   {reason: "Nothing should be read at once.", there: []client.Object{aWorkload("w", "job", 1, pending)}, after: time.Second},
		"NoKueue":   {reason: "A cluster that does not serve the kind has no Kueue.", unserved: true, after: time.Hour, want: Workload{State: WorkloadUnserved}},
		"NotYet":    {reason: "Kueue should have time to make a Workload.", after: 30 * time.Second},
		"Missing":   {reason: "A Workload that is not made should be missing.", after: time.Hour, want: Workload{State: WorkloadMissing}},
		"Forbidden": {reason: "A missing permission should be told from a missing Workload.", calls: forbidden, after: time.Hour, want: Workload{State: WorkloadForbidden}},
		"Down":      {reason: "Any other error should leave the Workload unknown.", calls: down, after: time.Hour},
		"Found": {
			reason: "Conditions should be read, and what is not one left out.", after: time.Hour,
			there: []client.Object{aWorkload("w", "job", 1, pending, "nonsense", map[string]any{"type": int64(1)})},
			want:  Workload{State: WorkloadFound, Name: "w", Conditions: []metav1.Condition{condition(workloadQuotaReserved, "False", "Pending", "no quota"), {}}},
		},
		"Deactivated": {reason: "A deactivated Workload should be told.", after: time.Hour, there: []client.Object{deactivated}, want: Workload{State: WorkloadFound, Name: "w", Deactivated: true}},
		"Others": {
			reason: "The latest Workload of the Job itself should count.", after: time.Hour,
			there: []client.Object{aWorkload("old", "job", 1), aWorkload("new", "job", 2), aWorkload("foreign", "other", 3)},
			want:  Workload{State: WorkloadFound, Name: "new"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{group})
			mapper.Add(corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"), meta.RESTScopeNamespace)
			if !tc.unserved {
				mapper.Add(group.WithKind(workloadKind.Kind), meta.RESTScopeNamespace)
			}
			c := fake.NewClientBuilder().WithScheme(newScheme(t)).WithRESTMapper(mapper).WithObjects(tc.there...).WithInterceptorFuncs(tc.calls).Build()
			job := queuedJob(suspended())
			job.SetCreationTimestamp(metav1.NewTime(made))
			got, err := ReadRunState(t.Context(), c, newArtifact(withStream()), job, nil, made.Add(tc.after))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got.Workload); diff != "" {
				t.Errorf("\n%s\nReadRunState(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
