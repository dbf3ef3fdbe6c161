package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// SourceObservation says what an artifact was made from.
type SourceObservation struct {
	// URL where people find the model, as an artifact says that was observed
	// only.
	// +optional
	URL string `json:"url,omitempty"`

	// Revision is the commit that the model was read at, 40 hex digits, or the
	// digest of the artifact that it was read from.
	// +optional
	Revision string `json:"revision,omitempty"`

	// License of the model as an SPDX expression: Apache-2.0, or CC-BY-SA-3.0 AND
	// LicenseRef-gfdl where the source names several. A licence that SPDX does not
	// list is LicenseRef- and the Hub's word for it. Empty where the source names
	// none.
	// +optional
	License string `json:"license,omitempty"`
}

// ArtifactObservation says what is known of an artifact. Digest, references,
// size, files, source and runHash are of the last artifact that was pushed;
// phase, run, jobRef and the times are of the latest run.
type ArtifactObservation struct {
	// Phase of the latest run: Pending, Running, Succeeded or Failed.
	// +optional
	Phase ArtifactPhase `json:"phase,omitempty"`

	// Digest of the artifact's manifest.
	// +optional
	Digest string `json:"digest,omitempty"`

	// Reference of the artifact by its tag: registry/repository:tag.
	// +optional
	Reference string `json:"reference,omitempty"`

	// PinnedReference of the artifact: registry/repository@digest.
	// +optional
	PinnedReference string `json:"pinnedReference,omitempty"`

	// Size of the artifact in bytes.
	// +optional
	Size int64 `json:"size,omitempty"`

	// Files is the number of the model's files in the artifact.
	// +optional
	Files int64 `json:"files,omitempty"`

	// Format of the artifact: ModelPack, ModelKit or Image, or Other where one
	// is observed that is none of these.
	// +optional
	Format string `json:"format,omitempty"`

	// Source that the artifact was made from.
	// +optional
	Source *SourceObservation `json:"source,omitempty"`

	// Pipeline that the latest run uses: Kit or Stream. See
	// spec.forProvider.pipeline for how it is chosen.
	// +optional
	Pipeline v1alpha1.PipelineType `json:"pipeline,omitempty"`

	// Staged is what the latest run has stored in the registry and the provider
	// has not put under the Artifact's tag yet; absent afterwards.
	// +optional
	Staged *StagedArtifact `json:"staged,omitempty"`

	// History has what was pushed before, newest first: at most five.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=5
	History []PushedArtifact `json:"history,omitempty"`

	// LeftInRegistry says why what was pushed stays in the registry although
	// the Artifact is deleted.
	// +optional
	LeftInRegistry string `json:"leftInRegistry,omitempty"`

	// RunHash identifies the source, format and pipeline that the artifact
	// answers to.
	// +optional
	RunHash string `json:"runHash,omitempty"`

	// Run is the number of the latest run, counted from 1.
	// +optional
	Run int64 `json:"run,omitempty"`

	// JobRef names the Job of the latest run, in the Artifact's namespace. It
	// is deleted an hour after its end.
	// +optional
	JobRef *JobReference `json:"jobRef,omitempty"`

	// Progress of the latest run, while it is running. It is written every 15
	// seconds at most.
	// +optional
	Progress *ProgressObservation `json:"progress,omitempty"`

	// StartTime of the latest run.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// CompletionTime of the latest run.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// Failure of the latest run, if it failed.
	// +optional
	Failure *FailureObservation `json:"failure,omitempty"`

	// Failures is how many runs failed, one after the other, for the present
	// spec.
	// +optional
	Failures int64 `json:"failures,omitempty"`
}

// A ProgressObservation says how far a run is.
type ProgressObservation struct {
	// Step that the run is at, where it has several. Example: push.
	// +optional
	Step string `json:"step,omitempty"`

	// Percent of the work that is done: of the bytes for pipeline Stream, of
	// the steps, and the bytes in each, for pipeline Kit.
	Percent int32 `json:"percent"`

	// BytesDone is how many bytes of the artifact have been moved, or were in
	// the registry already.
	// +optional
	BytesDone int64 `json:"bytesDone,omitempty"`

	// BytesTotal is how many bytes there are to be moved; absent while that is
	// not known.
	// +optional
	BytesTotal int64 `json:"bytesTotal,omitempty"`

	// BytesPerSecond is the rate of the last minute.
	// +optional
	BytesPerSecond int64 `json:"bytesPerSecond,omitempty"`

	// TimeLeft is how long the rest takes at that rate. Example: 5m30s.
	// +optional
	TimeLeft *metav1.Duration `json:"timeLeft,omitempty"`
}

// A StagedArtifact is what a run has stored in the registry, complete and
// verified, and no tag of an Artifact points to yet.
type StagedArtifact struct {
	// Digest of its manifest. Example: sha256:...
	Digest string `json:"digest"`

	// Run is the number of the run that stored it.
	Run int64 `json:"run"`

	// RunHash identifies the source, format and pipeline that it answers to.
	RunHash string `json:"runHash"`

	// Revision is the commit that the model was read at, 40 hex digits, or the
	// digest of the artifact that it was read from.
	// +optional
	Revision string `json:"revision,omitempty"`

	// License of the model as an SPDX expression; empty where the source names
	// none.
	// +optional
	License string `json:"license,omitempty"`

	// Size in bytes.
	// +optional
	Size int64 `json:"size,omitempty"`

	// Files is the number of the model's files in it.
	// +optional
	Files int64 `json:"files,omitempty"`
}

// A PushedArtifact is what an Artifact has pushed once.
type PushedArtifact struct {
	// Digest of its manifest.
	Digest string `json:"digest"`

	// Revision is the commit that it was made from, 40 hex digits.
	// +optional
	Revision string `json:"revision,omitempty"`

	// RunHash identifies the source, format and pipeline that it answers to.
	// +optional
	RunHash string `json:"runHash,omitempty"`
}

// A JobReference names a Job in the Artifact's namespace.
type JobReference struct {
	// Name of the Job.
	Name string `json:"name"`
}

// A FailureObservation says why a run failed.
type FailureObservation struct {
	// Reason in one word.
	Reason string `json:"reason"`

	// Message that names the cause and the cure.
	// +optional
	Message string `json:"message,omitempty"`

	// Generation of the Artifact that the run was made for.
	// +optional
	Generation int64 `json:"generation,omitempty"`

	// ConfigHash identifies the state of the ProviderConfig and of the Secrets
	// that the run used.
	// +optional
	ConfigHash string `json:"configHash,omitempty"`

	// NextTryTime is when the run is tried again; absent when it is not.
	// +optional
	NextTryTime *metav1.Time `json:"nextTryTime,omitempty"`

	// WorkspaceExpiryTime is when the workspace of a run that is not tried again
	// is deleted, 24 hours after its end; absent where there is none. Until then
	// another try goes on with what is in it.
	// +optional
	WorkspaceExpiryTime *metav1.Time `json:"workspaceExpiryTime,omitempty"`
}
