package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// SourceObservation is the source that an artifact was built from.
type SourceObservation struct {
	// URL of the model's page on the Hub that the run read, or as the annotations of an
	// artifact name it that is only observed. Example:
	// https://huggingface.co/Qwen/Qwen3-0.6B
	// +optional
	URL string `json:"url,omitempty"`

	// Revision is the source's commit, 40 hex digits, the digest of the artifact in
	// source.oci, or for other sources sha256: of the listing of their files.
	// +optional
	Revision string `json:"revision,omitempty"`

	// CommitTime is when that commit was made, in RFC 3339; empty if it is not known.
	// +optional
	CommitTime string `json:"commitTime,omitempty"`

	// License of the model as an SPDX expression: Apache-2.0, or CC-BY-SA-3.0 AND
	// LicenseRef-gfdl if the source names several. A licence that SPDX does not
	// list is LicenseRef- and the Hub's name for it. Empty if the source names
	// none.
	// +optional
	License string `json:"license,omitempty"`

	// Scan is what the Hub's security scan said, if a policy asked for it: clean,
	// pending, missing, or the worst level of a file, such as unsafe.
	// +optional
	Scan string `json:"scan,omitempty"`
}

// ArtifactObservation is the observed state of an artifact. Digest, references,
// size, files, source and runHash describe the artifact under the Artifact's tag;
// phase, run, pipeline, jobRef and the times describe the latest run.
type ArtifactObservation struct {
	// Phase of the latest run: Pending, Running, Succeeded or Failed.
	// +optional
	Phase ArtifactPhase `json:"phase,omitempty"`

	// Digest of the artifact's manifest.
	// +optional
	Digest string `json:"digest,omitempty"`

	// Reference is the artifact's name by its tag: registry/repository:tag.
	// +optional
	Reference string `json:"reference,omitempty"`

	// PinnedReference is the artifact's name by its digest:
	// registry/repository@digest.
	// +optional
	PinnedReference string `json:"pinnedReference,omitempty"`

	// Size of the artifact in bytes.
	// +optional
	Size int64 `json:"size,omitempty"`

	// Files is the number of files in the artifact.
	// +optional
	Files int64 `json:"files,omitempty"`

	// FileList is the digest of the list of these files with their hashes, a blob in
	// the repository; empty if there is none.
	// +optional
	FileList string `json:"fileList,omitempty"`

	// Format of the artifact: ModelPack, ModelKit, Image, or Other for an
	// artifact that is only observed and is none of these.
	// +optional
	Format string `json:"format,omitempty"`

	// Source that the artifact was built from.
	// +optional
	Source *SourceObservation `json:"source,omitempty"`

	// Pipeline of the Artifact's runs, Kit or Stream, as
	// spec.forProvider.pipeline sets or defaults it.
	// +optional
	Pipeline v1alpha1.PipelineType `json:"pipeline,omitempty"`

	// Description names what describes the artifact in its registry; absent if
	// nothing does.
	// +optional
	Description *Description `json:"description,omitempty"`

	// Attestation is the signed statement in the registry that says who pushed the
	// artifact, in which run and from what; absent if the registry takes no
	// referrers, or if the provider has no key.
	// +optional
	Attestation *Attestation `json:"attestation,omitempty"`

	// Staged is the content that the latest run has pushed and that is not yet
	// committed, which sets the Artifact's tag on it; absent afterwards.
	// +optional
	Staged *StagedArtifact `json:"staged,omitempty"`

	// Tags are the tags beside that of reference which this Artifact sets:
	// additionalTags, and those of kept versions.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	Tags []string `json:"tags,omitempty"`

	// History has the artifacts that were pushed before, newest first, at most
	// five, or as many as target.keepVersions keeps. If the spec asks for one of them again, and the registry still has it,
	// it is tagged without a run.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	History []PushedArtifact `json:"history,omitempty"`

	// LeftInRegistry is the reason why the artifact stays in the registry when
	// the Artifact is deleted.
	// +optional
	LeftInRegistry string `json:"leftInRegistry,omitempty"`

	// RunHash is a hash of the source, format, files and pipeline that the
	// artifact was built from.
	// +optional
	RunHash string `json:"runHash,omitempty"`

	// CommitRunHash is the runHash of the same spec if its revision were the commit
	// that the artifact was built from: a spec that names the commit needs no run.
	// +optional
	CommitRunHash string `json:"commitRunHash,omitempty"`

	// Run is the number of the latest run, counted from 1.
	// +optional
	Run int64 `json:"run,omitempty"`

	// JobRef names the latest run's Job and the namespace that it is in. The Job is
	// deleted an hour after its end.
	// +optional
	JobRef *JobReference `json:"jobRef,omitempty"`

	// Shares of a run that several Pods transfer (spec.forProvider.job.parallelism), until
	// it has staged the artifact; absent for a run of one Pod.
	// +optional
	Shares *SharesObservation `json:"shares,omitempty"`

	// Progress of the latest run while it is running, updated at most every 15
	// seconds.
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

	// Failures is the number of consecutive failed runs of the current spec.
	// +optional
	Failures int64 `json:"failures,omitempty"`
}

// A ProgressObservation is the progress of a run.
type ProgressObservation struct {
	// Step of the run, if its pipeline has several. Example: push.
	// +optional
	Step string `json:"step,omitempty"`

	// Percent of the run that is done: of its bytes in pipeline Stream; of its
	// steps, and the bytes in each, in pipeline Kit.
	Percent int32 `json:"percent"`

	// BytesDone is the number of bytes of the artifact that were transferred or
	// found in the registry.
	// +optional
	BytesDone int64 `json:"bytesDone,omitempty"`

	// BytesTotal is the number of bytes of the artifact; absent while it is
	// unknown.
	// +optional
	BytesTotal int64 `json:"bytesTotal,omitempty"`

	// BytesPerSecond is the average of the last minute.
	// +optional
	BytesPerSecond int64 `json:"bytesPerSecond,omitempty"`

	// TimeLeft is the estimated time to the run's end. Example: 5m30s.
	// +optional
	TimeLeft *metav1.Duration `json:"timeLeft,omitempty"`
}

// A SharesObservation is how far the shares of a run are that several Pods transfer. Once
// all are done, one Pod completes the run.
type SharesObservation struct {
	// Of is the number of shares.
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=64
	Of int32 `json:"of"`

	// Done are the shares whose layers are in the registry, counted from 0. They are not
	// transferred again if the others have failed and are retried.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Done []int32 `json:"done,omitempty"`

	// Parts are the digests of what these shares have recorded in the registry as
	// transferred: the Pod that completes the run need not verify again what they list.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Parts []string `json:"parts,omitempty"`

	// RunHash is a hash of the source, format, files and pipeline that they are of.
	RunHash string `json:"runHash"`
}

// A Description is the digests of the manifests that refer to an artifact and describe
// it. Artifacts of the same content in one repository share them.
type Description struct {
	// FileList is the digest of the manifest of the list of the files with their
	// hashes. Example: sha256:...
	// +optional
	FileList string `json:"fileList,omitempty"`

	// BOM is the digest of the manifest of the bill of materials (CycloneDX 1.6).
	// +optional
	BOM string `json:"bom,omitempty"`

	// ModelSignature is the digest of the manifest of the signature of the files
	// (OpenSSF Model Signing 1.0); empty if the provider has no key.
	// +optional
	ModelSignature string `json:"modelSignature,omitempty"`
}

// An Attestation is a signed in-toto statement with SLSA provenance, in a Sigstore
// bundle that refers to the artifact.
type Attestation struct {
	// Digest of its manifest. Example: sha256:...
	Digest string `json:"digest"`

	// KeyID identifies the key that signed it: the hexadecimal SHA-256 of the public
	// key in PEM. Of an identity it is its subject and its issuer, as SUBJECT of ISSUER.
	KeyID string `json:"keyID"`
}

// A StagedArtifact is verified content that a run has pushed.
type StagedArtifact struct {
	// Digest of its manifest. Example: sha256:...
	Digest string `json:"digest"`

	// Run is the number of the run that pushed it.
	Run int64 `json:"run"`

	// RunHash is a hash of the source, format, files and pipeline that it was
	// built from.
	RunHash string `json:"runHash"`

	// SourceURL of the model's page on the Hub that the run read; empty for another
	// source. Provenance names it, whatever Hub the ProviderConfig names later.
	// +optional
	SourceURL string `json:"sourceURL,omitempty"`

	// Revision is the source's commit, 40 hex digits, the digest of the artifact in
	// source.oci, or for other sources sha256: of the listing of their files.
	// +optional
	Revision string `json:"revision,omitempty"`

	// CommitTime is when that commit was made, in RFC 3339; empty if it is not known.
	// +optional
	CommitTime string `json:"commitTime,omitempty"`

	// License of the model as an SPDX expression; empty if the source names none.
	// +optional
	License string `json:"license,omitempty"`

	// Size in bytes.
	// +optional
	Size int64 `json:"size,omitempty"`

	// Files is the number of files in it.
	// +optional
	Files int64 `json:"files,omitempty"`

	// Scan is what the Hub's security scan said, if a policy asked for it: clean,
	// pending, missing, or the worst level of a file, such as unsafe.
	// +optional
	Scan string `json:"scan,omitempty"`

	// FileList is the digest of the list of its files with their hashes, a blob that
	// the run pushed beside it; empty if there is none. By that list the provider
	// makes the bill of materials and the model signature.
	// +optional
	FileList string `json:"fileList,omitempty"`
}

// A PushedArtifact is an artifact that an Artifact has pushed.
type PushedArtifact struct {
	StagedArtifact `json:",inline"`

	// CommitRunHash is the runHash that it would have been built from if the spec
	// had named the source's commit in place of a branch.
	// +optional
	CommitRunHash string `json:"commitRunHash,omitempty"`

	// Tag that keeps it, as target.keepVersions asks; absent for none.
	// +optional
	Tag string `json:"tag,omitempty"`
}

// A JobReference names a Job.
type JobReference struct {
	// Namespace of the Job: the Artifact's, or that of job.namespace of its
	// ClusterProviderConfig when the run began.
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// Name of the Job.
	Name string `json:"name"`
}

// A FailureObservation is the failure of a run.
type FailureObservation struct {
	// Reason of the failure, in one word. Example: Unauthorized.
	Reason string `json:"reason"`

	// Message with the cause and the cure.
	// +optional
	Message string `json:"message,omitempty"`

	// LogTail has the last lines of the run's log, as its worker reported them: up to 40
	// lines and 4 KiB, without credentials. It is for people: it may repeat what a server
	// or a file says, and nothing depends on it. Absent where the worker could not report,
	// as after it ran out of memory.
	// +optional
	// +listType=atomic
	LogTail []string `json:"logTail,omitempty"`

	// Generation of the Artifact that the run was started for.
	// +optional
	Generation int64 `json:"generation,omitempty"`

	// ConfigHash identifies the state of the ProviderConfig and of the Secrets
	// that the run used.
	// +optional
	ConfigHash string `json:"configHash,omitempty"`

	// NextTryTime is the time of the next retry; absent after a permanent error.
	// +optional
	NextTryTime *metav1.Time `json:"nextTryTime,omitempty"`

	// WorkspaceExpiryTime is the time at which the workspace of a run that is not
	// retried is deleted, 24 hours after its end; absent for runs without one. A
	// run that starts before resumes from it.
	// +optional
	WorkspaceExpiryTime *metav1.Time `json:"workspaceExpiryTime,omitempty"`
}
