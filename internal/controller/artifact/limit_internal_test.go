package artifact

import (
	"cmp"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	runqueue "github.com/crossplane-contrib/provider-kitops/internal/queue"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// runningArtifact returns an Artifact whose status says that its run 3 is running, and the
// run's Job.
func runningArtifact() (*modelv1alpha1.Artifact, *batchv1.Job) {
	a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "qwen", UID: "uid"}}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace: "team", Name: artifact.JobName(a), UID: "job", Annotations: artifact.Run{Hash: "hash", Number: 3}.Annotations(),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(a, modelv1alpha1.ArtifactGroupVersionKind)},
	}}
	a.Status.AtProvider.Phase, a.Status.AtProvider.Run = modelv1alpha1.PhaseRunning, 3
	a.Status.AtProvider.JobRef = &modelv1alpha1.JobReference{Namespace: "team", Name: job.GetName()}
	return a, job
}

// limiterOf returns a limiter whose cache has these objects.
func limiterOf(t *testing.T, objects ...client.Object) *limiter {
	t.Helper()
	kube := fake.NewClientBuilder().WithScheme(apiserver.Scheme(t)).WithObjects(objects...).Build()
	return &limiter{cached: kube, queue: runqueue.New(1), runs: &requeuer{cached: kube}}
}

// TestIsRecorded checks which Jobs of before the provider's start are believed to be runs.
func TestIsRecorded(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(a *modelv1alpha1.Artifact, job *batchv1.Job)
		want   bool
	}{
		"Run":    {reason: "The run that the status says is in progress should count.", change: func(*modelv1alpha1.Artifact, *batchv1.Job) {}, want: true},
		"Name":   {reason: "A Job with another name should not count.", change: func(_ *modelv1alpha1.Artifact, j *batchv1.Job) { j.Name = "forged" }},
		"Number": {reason: "A Job of another run should not count.", change: func(_ *modelv1alpha1.Artifact, j *batchv1.Job) { j.Annotations[artifact.AnnotationRun] = "4" }},
		"Ended": {reason: "A Job of a run that has ended should not count.", change: func(a *modelv1alpha1.Artifact, _ *batchv1.Job) {
			a.Status.AtProvider.Phase = modelv1alpha1.PhaseSucceeded
		}},
		"NoRun": {reason: "A Job of an Artifact without a run should not count.", change: func(a *modelv1alpha1.Artifact, _ *batchv1.Job) { a.Status = modelv1alpha1.ArtifactStatus{} }},
		"Paused": {reason: "The status of a paused Artifact should not be believed.", change: func(a *modelv1alpha1.Artifact, _ *batchv1.Job) {
			a.Annotations = map[string]string{"crossplane.io/paused": "true"}
		}},
		"OtherUID":  {reason: "A Job of an earlier Artifact of the name should not count.", change: func(a *modelv1alpha1.Artifact, _ *batchv1.Job) { a.UID = "other" }},
		"Elsewhere": {reason: "A Job in another namespace than the status says should not count.", change: func(a *modelv1alpha1.Artifact, _ *batchv1.Job) { a.Status.AtProvider.JobRef.Namespace = "runs" }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, job := runningArtifact()
			tc.change(a, job)
			l := limiterOf(t, a)
			if got := l.isRecorded(t.Context(), client.ObjectKeyFromObject(a), job); got != tc.want {
				t.Errorf("\n%s\nisRecorded(...): want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

// TestRoomOfQueuedRuns checks that only a queue that an administrator names exempts a run
// from a limit, and only while the run waits there.
func TestRoomOfQueuedRuns(t *testing.T) {
	queue := func(name string) v1alpha1.JobSettings {
		return v1alpha1.JobSettings{Labels: map[string]string{artifact.LabelQueueName: name}}
	}
	cases := map[string]struct {
		reason      string
		kind        string
		config, own v1alpha1.JobSettings
		exempt      bool
	}{
		"NoQueue":        {reason: "A run without a queue should take room, also if somebody has suspended it.", kind: "ClusterProviderConfig"},
		"Administrator":  {reason: "A run should take no room while it waits in a queue that a ClusterProviderConfig names.", kind: "ClusterProviderConfig", config: queue("all"), exempt: true},
		"Same":           {reason: "The same queue in the Artifact should change nothing.", kind: "ClusterProviderConfig", config: queue("all"), own: queue("all"), exempt: true},
		"Own":            {reason: "A run in a queue that its Artifact names should take room.", kind: "ClusterProviderConfig", own: queue("mine")},
		"Instead":        {reason: "A run in another queue than its ClusterProviderConfig's should take room.", kind: "ClusterProviderConfig", config: queue("all"), own: queue("mine")},
		"ProviderConfig": {reason: "A run in a queue that a tenant's config names should take room.", kind: "ProviderConfig", config: queue("mine")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, job := runningArtifact()
			a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: tc.kind, Name: "config"}
			a.Spec.ForProvider.Job, a.Effective.Job = &tc.own, &tc.config
			job.Spec.Suspend = ptr.To(true)
			job.Labels = map[string]string{artifact.LabelQueueName: cmp.Or(tc.own.Labels[artifact.LabelQueueName], tc.config.Labels[artifact.LabelQueueName])}
			config := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "config"}}
			config.Spec.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{JobSettings: tc.config}}
			if got := podsOf(a) == 0; got != tc.exempt {
				t.Errorf("\n%s\npodsOf(...): got no Pods %t", tc.reason, got)
			}
			l := limiterOf(t, a, config)
			l.jobChanged(t.Context(), job, true)
			if got := l.queue.Counts()["team"].Running == 0; got != tc.exempt {
				t.Errorf("\n%s\njobChanged(...): got no Pods %t", tc.reason, got)
			}
			later := time.Now().Add(time.Hour)
			e := &external{startPatience: time.Minute, now: func() time.Time { return later }}
			if got := !e.takesRoomInVain(a, job, nil); got != tc.exempt {
				t.Errorf("\n%s\ntakesRoomInVain(...): got %t", tc.reason, !got)
			}
			job.Spec.Suspend = nil
			l.jobChanged(t.Context(), job, true)
			if got := l.queue.Counts()["team"].Running; got != 1 {
				t.Errorf("\n%s\njobChanged(...): a run that has started should count, got %d Pods", tc.reason, got)
			}
		})
	}
}

// TestJobWithoutParallelism checks that a Job that never has a Pod takes no room.
func TestJobWithoutParallelism(t *testing.T) {
	a, job := runningArtifact()
	l := limiterOf(t, a)
	l.jobChanged(t.Context(), job, true)
	if got := l.queue.Counts()["team"].Running; got != 1 {
		t.Fatalf("a run should count, got %d Pods", got)
	}
	job.Spec.Parallelism = ptr.To[int32](0)
	l.jobChanged(t.Context(), job, true)
	if got := l.queue.Counts()["team"].Running; got != 0 {
		t.Errorf("a Job without parallelism should not count, got %d Pods", got)
	}
}

// TestForgedSharesCountNoMore checks for how many Pods a Job counts that a tenant may have made
// or changed.
func TestForgedSharesCountNoMore(t *testing.T) {
	cases := map[string]struct {
		reason      string
		args        []string
		parallelism int32
		most        int32
		want        int
	}{
		"OnePod":   {reason: "A Job of one Pod should count as one, whatever its parallelism is.", parallelism: 50, want: 1},
		"Shares":   {reason: "A Job should count for its Pods.", args: []string{"--shares=4"}, parallelism: 3, want: 3},
		"Raised":   {reason: "A raised parallelism should not count for more Pods than there are shares.", args: []string{"--shares=4"}, parallelism: 50, want: 4},
		"Forged":   {reason: "More shares than the config allows should not count.", args: []string{"--shares=64"}, parallelism: 64, want: int(v1alpha1.DefaultMaxParallelism)},
		"Allowed":  {reason: "As many as the config allows should count.", args: []string{"--shares=64"}, parallelism: 64, most: 64, want: 64},
		"Nonsense": {reason: "A number of shares that no run has should not count.", args: []string{"--shares=1000000"}, parallelism: 1000000, most: 64, want: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, job := runningArtifact()
			a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: "config"}
			config := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "config"}}
			config.Spec.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{MaxParallelism: tc.most}}
			job.Spec.CompletionMode, job.Spec.Parallelism = ptr.To(batchv1.IndexedCompletion), &tc.parallelism
			job.Spec.Template.Spec.Containers = []corev1.Container{{Args: tc.args}}
			l := limiterOf(t, a, config)
			l.jobChanged(t.Context(), job, true)
			if got := l.queue.Counts()["team"].Running; got != tc.want {
				t.Errorf("\n%s\njobChanged(...): want %d Pods, got %d", tc.reason, tc.want, got)
			}
		})
	}
}

// TestRunKeepsRoomOfItsConfig checks that an Artifact which names another config while its run
// is running frees no room of the first, whichever of them allows more Pods.
func TestRunKeepsRoomOfItsConfig(t *testing.T) {
	a, job := runningArtifact()
	a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: "wide"}
	wide := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "wide"}}
	wide.Spec.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{MaxParallelism: 64}}
	job.Spec.CompletionMode, job.Spec.Parallelism = ptr.To(batchv1.IndexedCompletion), ptr.To[int32](64)
	job.Spec.Template.Spec.Containers = []corev1.Container{{Args: []string{"--shares=64"}}}
	narrow := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: "narrow"}}
	l := limiterOf(t, a, wide, narrow)
	counts := func(reason string, want int) {
		t.Helper()
		l.jobChanged(t.Context(), job, true)
		if got := l.queue.Counts()["team"].Running; got != want {
			t.Errorf("\n%s\njobChanged(...): want %d Pods, got %d", reason, want, got)
		}
	}
	counts("A run should count for its Pods.", 64)
	a.Spec.ProviderConfigReference.Name = "narrow"
	a.Spec.ProviderConfigReference.Name = "narrow"
	changed := fake.NewClientBuilder().WithScheme(apiserver.Scheme(t)).WithObjects(a, wide, narrow).Build()
	l.cached, l.runs.cached = changed, changed
	counts("It should count for them whatever config its Artifact names meanwhile.", 64)
	job.Spec.Parallelism = ptr.To[int32](20)
	counts("It should count for fewer only once its Job has fewer.", 20)
}
