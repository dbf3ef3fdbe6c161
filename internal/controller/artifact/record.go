package artifact

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
)

// recordRun records in the Artifact's status how far its run is, and returns it
// with whether that is news: an end that the status did not have. A run whose Job
// is gone stays as it was recorded.
func (e *external) recordRun(ctx context.Context, a *modelv1alpha1.Artifact, state artifact.RunState) (artifact.ObservationResult, bool) {
	s, job, pods := &a.Status.AtProvider, state.Job, state.Pods
	o := artifact.ObserveRun(state, s.Phase, s.Digest)
	if job == nil {
		return asRecorded(s.Failure, o), false
	}

	number := artifact.RunOf(job).Number
	o = known(a, job, pods, o)
	same := s.Run == number
	recorded := s.Phase == o.Phase && same && !forgotResult(a)
	stopped := s.Phase == modelv1alpha1.PhaseRunning && same && artifact.IsQueued(job)
	s.Phase, s.Run = o.Phase, number
	s.JobRef = &modelv1alpha1.JobReference{Namespace: job.GetNamespace(), Name: job.GetName()}
	if !recorded || o.Phase != modelv1alpha1.PhasePending || state.Asked {
		// A Job gets its start time just after it is made: that alone is not written
		// if the run starts within artifact.StartGracePeriod.
		recordTimes(a, job, same)
	}
	allDone := recordShares(a, job, pods) && artifact.AwaitsLast(job)
	if !recorded {
		e.recordEnd(a, job, pods, o)
	}
	o = asRecorded(s.Failure, o)
	switch {
	case stopped:
		e.tellIfCurrent(ctx, a, event.Normal(reasonRequeued, fmt.Sprintf("Run %d was stopped by its queue and waits there again; what it has transferred is kept", number)))
	case !recorded:
		e.tell(ctx, a, o)
	}
	return o, !recorded && hasEnded(o.Phase) || allDone
}

// recordTimes records when a run began and ended, as its Job shows it, which is of the same run
// as before or of another. One that several Pods have transferred began with them, and has not
// ended with them.
func recordTimes(a *modelv1alpha1.Artifact, job *batchv1.Job, same bool) {
	s := &a.Status.AtProvider
	if !same || s.StartTime == nil || !artifact.IsLast(job) {
		s.StartTime = artifact.StartTime(job)
	}
	s.CompletionTime = nil
	if !artifact.AwaitsLast(job) {
		s.CompletionTime = artifact.CompletionTime(job)
	}
}

// recordShares records which shares of a run are done, as the Job of some of them shows it,
// and reports whether that is news.
func recordShares(a *modelv1alpha1.Artifact, job *batchv1.Job, pods []corev1.Pod) bool {
	s := &a.Status.AtProvider
	if !artifact.IsDivided(job) {
		return false
	}
	now := &modelv1alpha1.SharesObservation{
		Of: int32(artifact.SharesOf(job).Of), RunHash: artifact.RunOf(job).Hash, Done: artifact.SharesDone(job), //nolint:gosec // At most v1alpha1.MaxParallelism.
	}
	if before := s.Shares; before != nil && before.Of == now.Of && before.RunHash == now.RunHash {
		now.Parts = before.Parts
	}
	for _, part := range artifact.PartsOf(job, pods) {
		if !slices.Contains(now.Parts, part) {
			now.Parts = append(slices.Clone(now.Parts), part)
		}
	}
	// Retries may have recorded others: the latest count.
	now.Parts = now.Parts[max(len(now.Parts)-v1alpha1.MaxParallelism, 0):]
	if equality.Semantic.DeepEqual(s.Shares, now) {
		return false
	}
	s.Shares = now
	return true
}

// asRecorded returns how far a run is, with the reason and message that status has of a
// failure.
func asRecorded(f *modelv1alpha1.FailureObservation, o artifact.ObservationResult) artifact.ObservationResult {
	if o.Phase == modelv1alpha1.PhaseFailed && f != nil {
		o.Reason, o.Message = f.Reason, failureMessage(f)
	}
	return o
}

// known returns how far a run is, with what the status knows better than its Job: a
// run that succeeded has failed nevertheless if what it staged, or its result, was
// gone before it could be used.
func known(a *modelv1alpha1.Artifact, job *batchv1.Job, pods []corev1.Pod, o artifact.ObservationResult) artifact.ObservationResult {
	s := a.Status.AtProvider
	if o.Phase != modelv1alpha1.PhaseSucceeded {
		return o
	}
	if s.Run == artifact.RunOf(job).Number && !forgotResult(a) {
		switch s.Phase {
		case modelv1alpha1.PhaseFailed:
			return artifact.ObserveRun(artifact.RunState{}, s.Phase, s.Digest)
		case modelv1alpha1.PhaseSucceeded:
			return o
		case modelv1alpha1.PhasePending, modelv1alpha1.PhaseRunning:
		}
	}
	if r, _, _ := outcome.FromPods(pods); r.Digest == "" {
		// What a tag points to is no evidence: any account that may push can have set it.
		return artifact.ResultLost()
	}
	return o
}

// recordEnd records how a run ended, if it has.
func (e *external) recordEnd(a *modelv1alpha1.Artifact, job *batchv1.Job, pods []corev1.Pod, o artifact.ObservationResult) {
	switch o.Phase {
	case modelv1alpha1.PhaseSucceeded:
		recordStaged(a, job, pods)
	case modelv1alpha1.PhaseFailed:
		why := outcome.Failure{Reason: outcome.Reason(o.Reason), Message: o.Message}
		if f := reported(job, pods); f != nil {
			why.RetryAfterSeconds, why.LogTail = f.RetryAfterSeconds, f.LogTail
		}
		e.recordFailure(a, job, why)
	case modelv1alpha1.PhasePending, modelv1alpha1.PhaseRunning:
	}
}

// reported returns the failure that the worker of a run reports; nil for none. Of a divided
// run it is the one that the run fails with.
func reported(job *batchv1.Job, pods []corev1.Pod) *outcome.Failure {
	if artifact.IsDivided(job) {
		f := artifact.FailureOf(job, pods)
		return &f
	}
	r, _, _ := outcome.FromPods(pods)
	return r.Failure
}

// recordStaged records what a run staged, as its Job's Pod reports it.
func recordStaged(a *modelv1alpha1.Artifact, job *batchv1.Job, pods []corev1.Pod) {
	run := artifact.RunOf(job)
	r, _, _ := outcome.FromPods(pods)
	a.Status.AtProvider.Shares = nil
	a.Status.AtProvider.Staged = &modelv1alpha1.StagedArtifact{
		Digest: r.Digest, Run: run.Number, RunHash: run.Hash, SourceURL: hubURL(a, artifact.HubOf(job)),
		Revision: r.Revision, License: r.License, Size: r.Size, Files: int64(r.Files), Scan: r.Scan, FileList: r.FileList,
		CommitTime: r.CommitTime,
	}
}

// recordCommitted records that what a run staged has its tag, and which of the records
// about it is the run's.
func recordCommitted(a *modelv1alpha1.Artifact, reference string, records []provenance.Found) {
	s, staged := &a.Status.AtProvider, *a.Status.AtProvider.Staged
	before := pushedBefore(s)
	s.Staged, s.Failure, s.Failures = nil, nil, 0
	s.RunHash, s.CommitRunHash = staged.RunHash, artifact.CommitRunHash(a, staged.Revision)
	s.Format = string(cmp.Or(a.Spec.ForProvider.Format, modelv1alpha1.PackFormatModelPack))
	s.Reference = reference
	s.Size, s.Files, s.FileList = staged.Size, staged.Files, staged.FileList
	s.Source = &modelv1alpha1.SourceObservation{URL: staged.SourceURL, Revision: staged.Revision, CommitTime: staged.CommitTime, License: staged.License, Scan: staged.Scan}
	recordDigest(a, staged.Digest)
	s.Attestation = attestationOf(records, staged)
	remember(s, before)
	forgetOlder(a)
}

// attestationOf returns that of the run that staged an artifact, nil for none.
func attestationOf(records []provenance.Found, staged modelv1alpha1.StagedArtifact) *modelv1alpha1.Attestation {
	for _, r := range records {
		if r.RunHash == staged.RunHash && r.Run == staged.Run {
			return &modelv1alpha1.Attestation{Digest: r.Descriptor.Digest.String(), KeyID: r.KeyID}
		}
	}
	return nil
}

// recordDigest records the digest under which the artifact is in its registry.
func recordDigest(a *modelv1alpha1.Artifact, digest string) {
	s := &a.Status.AtProvider
	if s.Digest != digest {
		s.Description = nil
	}
	s.Digest = digest
	s.PinnedReference = trimTag(s.Reference) + "@" + digest
	remember(s, nil)
}

// forgotResult reports whether the status of an Artifact whose run succeeded does
// not know what came of it, since another artifact was observed after that.
func forgotResult(a *modelv1alpha1.Artifact) bool {
	s := a.Status.AtProvider
	return s.Digest == "" && s.Staged == nil && s.Phase == modelv1alpha1.PhaseSucceeded
}

// maxHistory is how many artifacts the status remembers beside the latest, and
// mostHistory how many if as many are kept.
const (
	maxHistory  = 5
	mostHistory = 20
)

// pushedBefore returns what the status knows of the last artifact that was
// pushed, nil for none.
func pushedBefore(s *modelv1alpha1.ArtifactObservation) *modelv1alpha1.PushedArtifact {
	if s.Digest == "" {
		return nil
	}
	p := &modelv1alpha1.PushedArtifact{CommitRunHash: s.CommitRunHash, StagedArtifact: modelv1alpha1.StagedArtifact{
		Digest: s.Digest, RunHash: s.RunHash, Size: s.Size, Files: s.Files, FileList: s.FileList,
	}}
	if s.Source != nil {
		p.SourceURL = s.Source.URL
		p.Revision, p.CommitTime, p.License, p.Scan = s.Source.Revision, s.Source.CommitTime, s.Source.License, s.Source.Scan
	}
	return p
}

// remember puts an artifact before those that the status remembers. The latest one
// is not among them.
func remember(s *modelv1alpha1.ArtifactObservation, before *modelv1alpha1.PushedArtifact) {
	if before != nil {
		s.History = slices.DeleteFunc(s.History, func(p modelv1alpha1.PushedArtifact) bool { return p.Digest == before.Digest })
		s.History = slices.Insert(s.History, 0, *before)
	}
	s.History = slices.DeleteFunc(s.History, func(p modelv1alpha1.PushedArtifact) bool { return p.Digest == s.Digest })
	s.History = s.History[:min(len(s.History), mostHistory)]
	if len(s.History) == 0 {
		s.History = nil
	}
}
