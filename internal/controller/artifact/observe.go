package artifact

import (
	"cmp"
	"context"
	"slices"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// currentJob returns the Job of the run that the Artifact's spec asks for, and
// its Pods; nil where there is none.
func (e *external) currentJob(ctx context.Context, a *modelv1alpha1.Artifact) (*batchv1.Job, []corev1.Pod, error) {
	run := artifact.RunOf(a)
	if run.Hash != artifact.RunHash(a) {
		return nil, nil, nil
	}
	job, err := artifact.FindOwnedJob(ctx, e.cached, a.GetNamespace(), e.selector, a)
	if err != nil || job == nil || artifact.RunOf(job) != run {
		return nil, nil, err
	}
	if neverStarted(a) && artifact.CompletionTime(job) == nil {
		// It is being stopped, and what is recorded of it holds.
		return nil, nil, nil
	}
	kube := e.cached
	if job.Status.Active == 0 && !ended(a) {
		// What the end of a run says is read once, and a cache may have the
		// Job's end before the Pod's.
		kube = e.direct
	}
	all, err := e.pods(ctx, kube, a)
	if err != nil {
		return nil, nil, err
	}
	pods := make([]corev1.Pod, 0, len(all))
	for i := range all {
		if metav1.IsControlledBy(&all[i], job) {
			pods = append(pods, all[i])
		}
	}
	return job, pods, nil
}

// observeRun says how far the run is and records it in the Artifact's status.
// A run whose Job is gone stays as it was recorded.
func (e *external) observeRun(ctx context.Context, a *modelv1alpha1.Artifact, state artifact.RunState) artifact.ObservationResult {
	s, job, pods := &a.Status.AtProvider, state.Job, state.Pods
	o := artifact.ObserveRun(state, s.Phase, s.Digest)
	if job == nil {
		if o.Phase == modelv1alpha1.PhaseFailed && s.Failure != nil {
			o.Reason, o.Message = s.Failure.Reason, failureMessage(s.Failure)
		}
		return o
	}

	known := s.Run == artifact.RunOf(job).Number && s.Phase == modelv1alpha1.PhaseSucceeded && s.Digest != ""
	if o.Phase == modelv1alpha1.PhaseSucceeded && !known && !hasDigest(pods) {
		// What the tag points to is no answer: anybody may have put it there.
		o = artifact.ResultLost()
	}
	recorded := s.Phase == o.Phase && s.Run == artifact.RunOf(job).Number && !knowsNothing(a)
	s.Phase = o.Phase
	s.Run = artifact.RunOf(job).Number
	if hasEnded(o.Phase) {
		e.seenEnded = s.Run
	}
	s.JobRef = &modelv1alpha1.JobReference{Name: job.GetName()}
	s.StartTime = job.Status.StartTime
	s.CompletionTime = artifact.CompletionTime(job)
	e.observeProgress(a, o.Phase, pods)
	if !recorded {
		e.record(a, job, pods, o)
	}
	if o.Phase == modelv1alpha1.PhaseFailed {
		o.Reason, o.Message = s.Failure.Reason, failureMessage(s.Failure)
	}
	if !recorded {
		e.tell(ctx, a, o)
	}
	return o
}

// observeProgress records the progress of a run while it is running.
func (e *external) observeProgress(a *modelv1alpha1.Artifact, phase modelv1alpha1.ArtifactPhase, pods []corev1.Pod) {
	if phase != modelv1alpha1.PhaseRunning || meta.WasDeleted(a) {
		return
	}
	e.measured = true
	a.Status.AtProvider.Progress = e.asker.Progress(a, pods)
}

// dropProgress removes the progress of a run that is not running.
func (e *external) dropProgress(a *modelv1alpha1.Artifact) {
	a.Status.AtProvider.Progress = nil
	e.asker.Forget(a.GetUID())
}

// record records how a run ended, if it has.
func (e *external) record(a *modelv1alpha1.Artifact, job *batchv1.Job, pods []corev1.Pod, o artifact.ObservationResult) {
	switch o.Phase {
	case modelv1alpha1.PhaseSucceeded:
		a.Status.AtProvider.Failure, a.Status.AtProvider.Failures = nil, 0
		recordArtifact(a, job, pods)
		e.blobs.forget(a.GetUID())
	case modelv1alpha1.PhaseFailed:
		e.recordFailure(a, job, pods, o)
	case modelv1alpha1.PhasePending, modelv1alpha1.PhaseRunning:
	}
}

// hasDigest reports whether a run's Pods say what it pushed.
func hasDigest(pods []corev1.Pod) bool {
	r, _, ok := outcome.FromPods(pods)
	return ok && r.Digest != ""
}

// recordArtifact records what a run pushed. That is done once: later the artifact
// may have got another tag, and the Pod may be gone.
func recordArtifact(a *modelv1alpha1.Artifact, job *batchv1.Job, pods []corev1.Pod) {
	s := &a.Status.AtProvider
	before := pushedBefore(s)
	s.Digest, s.PinnedReference, s.Size, s.Files, s.Source = "", "", 0, 0, nil
	s.RunHash = artifact.RunOf(job).Hash
	s.Format = string(cmp.Or(a.Spec.ForProvider.Format, modelv1alpha1.PackFormatModelPack))
	s.Reference = job.GetAnnotations()[artifact.AnnotationReference]
	if r, _, ok := outcome.FromPods(pods); ok && r.Digest != "" {
		recordDigest(a, r.Digest)
		s.Size, s.Files = r.Size, int64(r.Files)
		s.Source = &modelv1alpha1.SourceObservation{Revision: r.Revision, License: r.License}
	}
	remember(s, before)
}

// recordDigest records the digest under which the artifact is in its registry.
func recordDigest(a *modelv1alpha1.Artifact, digest string) {
	s := &a.Status.AtProvider
	s.Digest = digest
	s.PinnedReference = trimTag(s.Reference) + "@" + digest
	remember(s, nil)
}

// maxHistory is how many artifacts the status remembers beside the latest.
const maxHistory = 5

// pushedBefore returns what the status knows of the last artifact that was
// pushed, nil for none.
func pushedBefore(s *modelv1alpha1.ArtifactObservation) *modelv1alpha1.PushedArtifact {
	if s.Digest == "" {
		return nil
	}
	p := &modelv1alpha1.PushedArtifact{Digest: s.Digest, RunHash: s.RunHash}
	if s.Source != nil {
		p.Revision = s.Source.Revision
	}
	return p
}

// remember puts an artifact before those that the status remembers, of which the
// latest one is none.
func remember(s *modelv1alpha1.ArtifactObservation, before *modelv1alpha1.PushedArtifact) {
	if before != nil {
		s.History = slices.DeleteFunc(s.History, func(p modelv1alpha1.PushedArtifact) bool { return p.Digest == before.Digest })
		s.History = slices.Insert(s.History, 0, *before)
	}
	s.History = slices.DeleteFunc(s.History, func(p modelv1alpha1.PushedArtifact) bool { return p.Digest == s.Digest })
	s.History = s.History[:min(len(s.History), maxHistory)]
	if len(s.History) == 0 {
		s.History = nil
	}
}
