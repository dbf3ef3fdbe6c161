package artifact

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Flags of `worker run` for a run of several Pods.
const (
	flagShares       = "--shares="
	flagShareIndexes = "--share-indexes="
	flagSharePart    = "--share-part="
)

// Annotations of Kueue for Jobs of several Pods
// (https://kueue.sigs.k8s.io/docs/tasks/run/jobs/#partial-admission).
const (
	annotationMinParallelism   = "kueue.x-k8s.io/job-min-parallelism"
	annotationEqualCompletions = "kueue.x-k8s.io/job-completions-equal-parallelism"
)

// maxIndexesBytes bounds the text of a Job's indexes.
const maxIndexesBytes = 1024

// Shares are the parts in which the Pods of a run transfer the layers of its artifact. A
// run of several Pods has an Indexed Job, whose Pods transfer one share each, and then a
// Job of one Pod, which completes the run: it finds all layers in the registry.
type Shares struct {
	// Of is how many shares the run has; 0 for a run that is not divided.
	Of int

	// Indexes are those that the Job's Pods transfer, each its own; none for the Job that
	// completes the run.
	Indexes []int
}

// Parallelism returns how many Pods the Artifact's runs are divided between. Pipeline Kit
// has one.
func Parallelism(a *modelv1alpha1.Artifact) int {
	if Pipeline(a) != modelv1alpha1.PipelineStream {
		return 1
	}
	return min(max(int(settingsFor(a).Parallelism), 1), v1alpha1.MaxParallelism)
}

// NextShares returns the shares of the Job that the Artifact's run needs next: those that
// its status does not have as done.
func NextShares(a *modelv1alpha1.Artifact) Shares {
	n := Parallelism(a)
	if s := sharesDone(a); s != nil {
		left := without(allIndexes(int(s.Of)), s.Done)
		switch {
		case len(left) == 0, n == 1:
			// One Pod transfers what is left.
			return Shares{Of: int(s.Of)}
		case n == int(s.Of):
			return Shares{Of: n, Indexes: left}
		}
	}
	if n == 1 {
		return Shares{}
	}
	return Shares{Of: n, Indexes: allIndexes(n)}
}

// MostShares returns the most shares that a run of the Artifact is known to have been divided
// into, or can be: each may have left something in the registry. It is 0 for runs of one Pod.
func MostShares(a *modelv1alpha1.Artifact) int {
	most := Parallelism(a)
	if s := a.Status.AtProvider.Shares; s != nil {
		most = max(most, int(s.Of))
	}
	if most < 2 {
		return 0
	}
	return min(most, v1alpha1.MaxParallelism)
}

// sharesDone returns what the status has of the shares of the Artifact's run; nil if it has
// none that is done.
func sharesDone(a *modelv1alpha1.Artifact) *modelv1alpha1.SharesObservation {
	s := a.Status.AtProvider.Shares
	if s == nil || len(s.Done) == 0 || s.Of < 2 || s.Of > v1alpha1.MaxParallelism || s.RunHash != RunHash(a) {
		return nil
	}
	return s
}

// partsOf returns the digests of what the shares that are done have recorded, for the Job that
// completes the Artifact's run.
func partsOf(a *modelv1alpha1.Artifact) []string {
	s := sharesDone(a)
	if s == nil || len(NextShares(a).Indexes) > 0 {
		return nil
	}
	return s.Parts[:min(len(s.Parts), v1alpha1.MaxParallelism)]
}

// PartsOf returns the digests of what the Pods of a divided run's Job report to have recorded,
// in the order of the shares. Of Pods that are gone they are not known.
func PartsOf(job *batchv1.Job, pods []corev1.Pod) []string {
	s, parts := SharesOf(job), map[int]string{}
	for _, pod := range podsOf(job, pods) {
		share, ok := s.ofPod(&pod)
		r, _, _ := outcome.FromPods([]corev1.Pod{pod})
		if ok && pod.Status.Phase == corev1.PodSucceeded && r.Share != nil && r.Share.Part != "" {
			parts[share] = r.Share.Part
		}
	}
	var out []string
	for _, share := range slices.Sorted(maps.Keys(parts)) {
		out = append(out, parts[share])
	}
	return out
}

// SharesOf returns the shares of a Job, by the arguments of its worker, which are immutable;
// none if these are not as a Job of BuildJob has them.
func SharesOf(job *batchv1.Job) Shares {
	of, indexes := 0, []int(nil)
	for _, c := range job.Spec.Template.Spec.Containers[:min(len(job.Spec.Template.Spec.Containers), 1)] {
		for _, arg := range c.Args {
			if v, ok := strings.CutPrefix(arg, flagShares); ok {
				of, _ = strconv.Atoi(v)
			}
			if v, ok := strings.CutPrefix(arg, flagShareIndexes); ok {
				indexes = parseIndexes(v)
			}
		}
	}
	if of < 2 || of > v1alpha1.MaxParallelism {
		return Shares{}
	}
	if !isIndexed(job) {
		return Shares{Of: of}
	}
	if indexes == nil {
		indexes = allIndexes(of)
	}
	return Shares{Of: of, Indexes: slices.DeleteFunc(indexes, func(i int) bool { return i >= of })}
}

// IsDivided reports whether a Job's Pods transfer shares of a run: its end is not the run's.
func IsDivided(job *batchv1.Job) bool { return len(SharesOf(job).Indexes) > 0 }

// AwaitsLast reports whether all Pods of a divided run's Job have succeeded, so that the
// run's last Job is next.
func AwaitsLast(job *batchv1.Job) bool { return jobSucceeded(job) && IsDivided(job) }

// IsLast reports whether a Job completes a run that several Pods have transferred.
func IsLast(job *batchv1.Job) bool {
	s := SharesOf(job)
	return s.Of > 0 && len(s.Indexes) == 0
}

// AwaitsLastOf reports whether an Artifact's status says that all shares of its run are
// done, so that the run's last Job is next.
func AwaitsLastOf(a *modelv1alpha1.Artifact) bool {
	s := sharesDone(a)
	return s != nil && len(s.Done) == int(s.Of)
}

// Pods returns how many Pods the Job has at a time, if no limit on runs has it have fewer.
func (s Shares) Pods() int { return max(len(s.Indexes), 1) }

// PodsOf returns how many Pods a Job has at a time. Who may change a Job's parallelism
// cannot have it count for more Pods than it has shares.
func PodsOf(job *batchv1.Job) int {
	return min(max(int(ptr.Deref(job.Spec.Parallelism, 1)), 1), SharesOf(job).Pods())
}

// SharesDone returns which shares of a run are done, as the Job of some of them shows it:
// those that it has completed, and those that it was not made for.
func SharesDone(job *batchv1.Job) []int32 {
	s := SharesOf(job)
	left := without(s.Indexes, s.completed(job))
	var out []int32
	for i := range s.Of {
		if !slices.Contains(left, i) {
			out = append(out, int32(i))
		}
	}
	return out
}

// completed returns the shares that a Job has completed.
func (s Shares) completed(job *batchv1.Job) []int { return s.at(job.Status.CompletedIndexes) }

// failed returns the shares that have failed in a Job.
func (s Shares) failed(job *batchv1.Job) []int {
	return s.at(ptr.Deref(job.Status.FailedIndexes, ""))
}

// at returns the shares with these completion indexes of a Job, in order.
func (s Shares) at(completionIndexes string) []int {
	var out []int
	for _, i := range parseIndexes(completionIndexes) {
		if i < len(s.Indexes) {
			out = append(out, s.Indexes[i])
		}
	}
	return out
}

// ofPod returns the share that a Pod transfers, and reports whether it has one.
func (s Shares) ofPod(pod *corev1.Pod) (int, bool) {
	i, err := strconv.Atoi(pod.GetLabels()[batchv1.JobCompletionIndexAnnotation])
	if err != nil || i < 0 || i >= len(s.Indexes) {
		return 0, false
	}
	return s.Indexes[i], true
}

// allIndexes returns the indexes of n shares.
func allIndexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// without returns those indexes that are not done.
func without[T int | int32](indexes []int, done []T) []int {
	return slices.DeleteFunc(slices.Clone(indexes), func(i int) bool { return slices.Contains(done, T(i)) })
}

// parseIndexes parses indexes as a Job's status has them, such as 1,3-5,7
// (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/#JobStatus).
// It leaves out what is none, and those that no run has.
func parseIndexes(text string) []int {
	var out []int
	if len(text) > maxIndexesBytes {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		head, tail, isRange := strings.Cut(part, "-")
		if !isRange {
			tail = head
		}
		first, err := strconv.ParseUint(head, 10, 31)
		last, errLast := strconv.ParseUint(tail, 10, 31)
		if err != nil || errLast != nil {
			continue
		}
		for i := first; i <= min(last, v1alpha1.MaxParallelism-1); i++ {
			out = append(out, int(i))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// formatIndexes returns indexes as a flag or a message has them.
func formatIndexes(indexes []int, separator string) string {
	out := make([]string, 0, len(indexes))
	for _, i := range indexes {
		out = append(out, strconv.Itoa(i))
	}
	return strings.Join(out, separator)
}

// isIndexed reports whether a Job is an Indexed one.
func isIndexed(job *batchv1.Job) bool {
	return ptr.Deref(job.Spec.CompletionMode, batchv1.NonIndexedCompletion) == batchv1.IndexedCompletion
}

// jobWithShares divides the run between the Job's Pods, as many as shares are left but no
// more at a time than a limit on runs allows. A Pod that fails ends its share alone; one
// that the cluster evicts is replaced by the Job controller.
func jobWithShares(s Shares, parts []string, maxPods int) jobOverride {
	return func(j *batchv1.Job) {
		if s.Of == 0 {
			return
		}
		c := &j.Spec.Template.Spec.Containers[0]
		c.Args = append(c.Args, flagShares+strconv.Itoa(s.Of))
		for _, part := range parts {
			c.Args = append(c.Args, literal([]string{flagSharePart + part})...)
		}
		n := len(s.Indexes)
		if n == 0 {
			return
		}
		if n < s.Of {
			c.Args = append(c.Args, flagShareIndexes+formatIndexes(s.Indexes, ","))
		}
		pods := n
		if maxPods > 0 {
			pods = min(n, maxPods)
		}
		j.Spec.CompletionMode = ptr.To(batchv1.IndexedCompletion)
		j.Spec.Completions = ptr.To(int32(n))    //nolint:gosec // At most v1alpha1.MaxParallelism.
		j.Spec.Parallelism = ptr.To(int32(pods)) //nolint:gosec // At most n.
		// A limit of the whole Job would end the Pods of the others with the first that fails.
		j.Spec.BackoffLimit, j.Spec.BackoffLimitPerIndex = nil, ptr.To[int32](0)
		j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			Action: batchv1.PodFailurePolicyActionIgnore,
			OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{
				Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
			}},
		}}}
	}
}

// jobWithSpread has the Pods of a divided run prefer different nodes, unless an administrator
// says how Pods are spread: on one node they would share its network.
func jobWithSpread(a *modelv1alpha1.Artifact) jobOverride {
	return func(j *batchv1.Job) {
		pod := &j.Spec.Template.Spec
		if !IsDivided(j) || len(pod.TopologySpreadConstraints) > 0 {
			return
		}
		pod.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector: &metav1.LabelSelector{MatchLabels: SelectorLabelsForArtifact(a.GetName())},
		}}
	}
}

// jobWithPartialAdmission has Kueue's annotations for Jobs of several Pods fit the Job.
// Kueue refuses a least parallelism that is not less than the Job's. The number of
// completions must stay, since it is that of the shares.
func jobWithPartialAdmission() jobOverride {
	return func(j *batchv1.Job) {
		delete(j.Annotations, annotationEqualCompletions)
		if least, ok := j.Annotations[annotationMinParallelism]; ok {
			if n, err := strconv.Atoi(least); err != nil || n < 1 || n >= int(ptr.Deref(j.Spec.Parallelism, 1)) {
				delete(j.Annotations, annotationMinParallelism)
			}
		}
	}
}

// sharesMessage says how far the Pods of a divided run are. It changes with each share that
// ends, and not in between.
func sharesMessage(job *batchv1.Job) string {
	s, done := SharesOf(job), len(SharesDone(job))
	out := fmt.Sprintf("Job %q is running: %d of %d Pods have finished", job.GetName(), done, s.Of)
	if n := len(s.failed(job)); n > 0 {
		out += fmt.Sprintf(", and %d failed", n)
	}
	return out
}

// sharesFailure returns why a divided run failed: the failure of the first share that is
// permanent, else that of the first. It also names the shares that failed, which are those
// that are retried. The run waits as long as any server asked to.
func sharesFailure(job *batchv1.Job, pods []corev1.Pod) outcome.Failure {
	s := SharesOf(job)
	failed := s.failed(job)
	if c := jobFailure(job); len(failed) == 0 || c != nil && c.Reason == batchv1.JobReasonDeadlineExceeded {
		return podsFailure(job, nil)
	}
	var out *outcome.Failure
	var wait int64
	for _, share := range failed {
		f := shareFailure(job, pods, s, share)
		wait = max(wait, f.RetryAfterSeconds)
		if out == nil || out.Reason.Transient() && !f.Reason.Transient() {
			out = &f
		}
	}
	out.RetryAfterSeconds = wait
	out.Message = fmt.Sprintf("%s (%d of %d Pods failed: %s)", out.Message, len(failed), s.Of, formatIndexes(failed, ", "))
	return *out
}

// shareFailure returns why a share failed.
func shareFailure(job *batchv1.Job, pods []corev1.Pod, s Shares, share int) outcome.Failure {
	var own []corev1.Pod
	for i := range pods {
		if of, ok := s.ofPod(&pods[i]); ok && of == share {
			own = append(own, pods[i])
		}
	}
	if len(own) == 0 {
		return *failure(podLost())
	}
	return podsFailure(job, own)
}
