package v1alpha1

import (
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// A PackFormat is how a model is laid out as an OCI artifact.
// +kubebuilder:validation:Enum=ModelPack;ModelKit;Image
type PackFormat string

// Formats of an Artifact.
const (
	// PackFormatModelPack is CNCF's ModelPack, one layer a file.
	PackFormatModelPack PackFormat = "ModelPack"

	// PackFormatModelKit is KitOps' own format.
	PackFormatModelKit PackFormat = "ModelKit"

	// PackFormatImage is an OCI image with the files under /models.
	PackFormatImage PackFormat = "Image"
)

// A PipelineType is how a model gets from its source to the registry.
// +kubebuilder:validation:Enum=Kit;Stream
type PipelineType string

// Pipelines of an Artifact.
const (
	// PipelineKit runs kit's commands on a workspace volume.
	PipelineKit PipelineType = "Kit"

	// PipelineStream pipes files from the source into the registry.
	PipelineStream PipelineType = "Stream"
)

// An ArtifactPhase says how far the latest run is.
type ArtifactPhase string

// Phases of an Artifact.
const (
	// PhasePending: the run has not started yet.
	PhasePending ArtifactPhase = "Pending"

	// PhaseRunning: the run's Pod is at work.
	PhaseRunning ArtifactPhase = "Running"

	// PhaseSucceeded: the artifact has been pushed.
	PhaseSucceeded ArtifactPhase = "Succeeded"

	// PhaseFailed: the run ended without an artifact.
	PhaseFailed ArtifactPhase = "Failed"
)

// A RevisionPolicy says whether an artifact follows a revision that moves.
// +kubebuilder:validation:Enum=Pinned;Follow
type RevisionPolicy string

// Policies of a revision.
const (
	// RevisionPinned keeps the commit that was read first.
	RevisionPinned RevisionPolicy = "Pinned"

	// RevisionFollow makes the artifact anew when the revision has moved.
	RevisionFollow RevisionPolicy = "Follow"
)

// A HuggingFaceSource is a model or a dataset on a Hugging Face Hub.
// +kubebuilder:validation:XValidation:rule="has(self.model) != has(self.dataset)",message="exactly one of model and dataset is needed: write model: organisation/name, or dataset: organisation/name"
type HuggingFaceSource struct {
	// Model as the Hub names it: organisation/name. Example: Qwen/Qwen3-0.6B.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=193
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-zA-Z0-9][a-zA-Z0-9._-]*/)?[a-zA-Z0-9][a-zA-Z0-9._-]*$') && !self.contains('..') && !self.contains('--') && !self.matches('^(api|datasets|models|spaces)/')",message="model must be as the Hub names it: write organisation/name, for example Qwen/Qwen3-0.6B, without https:// and without a revision"
	Model string `json:"model,omitempty"`

	// Dataset as the Hub names it, in place of model: organisation/name. It
	// needs pipeline Stream. Example: openai/gsm8k.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=193
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-zA-Z0-9][a-zA-Z0-9._-]*/)?[a-zA-Z0-9][a-zA-Z0-9._-]*$') && !self.contains('..') && !self.contains('--') && !self.matches('^(api|datasets|models|spaces)/')",message="dataset must be as the Hub names it: write organisation/name, for example openai/gsm8k, without https://, without datasets/ and without a revision"
	Dataset string `json:"dataset,omitempty"`

	// Files says which files of the model or the dataset are packed. It needs
	// pipeline Stream. Default: all of them.
	// +optional
	Files *FileFilter `json:"files,omitempty"`

	// Revision of the model or the dataset: a branch, a tag or a commit. It is
	// resolved to a commit when a run starts; see revisionPolicy. Default: main.
	// +optional
	// +kubebuilder:default=main
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9]([a-zA-Z0-9._/-]*[a-zA-Z0-9_-])?$') && !self.contains('..') && !self.contains('//') && !self.contains('/.')",message="revision must be a branch, a tag or a commit: write main, v1.0, refs/pr/1 or 40 hex digits"
	Revision string `json:"revision,omitempty"`

	// RevisionPolicy says what happens when the branch or tag that revision
	// names moves to another commit. Pinned keeps the commit that was read
	// first, also where the artifact has to be made again. Follow asks the Hub
	// every followInterval and makes the artifact anew, under the same tag;
	// until it is there the old one stays. Default: Pinned.
	// +optional
	// +kubebuilder:default=Pinned
	RevisionPolicy RevisionPolicy `json:"revisionPolicy,omitempty"`

	// FollowInterval is how often the Hub is asked where revisionPolicy is
	// Follow. It may be asked later where it limits the rate of requests.
	// Default: 1h. Example: 15m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('720h')",message="followInterval must be from 1m to 720h: write 15m or 24h"
	FollowInterval *metav1.Duration `json:"followInterval,omitempty"`

	// TokenSecretRef names a Secret in the Artifact's namespace that holds an
	// access token for the Hub, for what is private or gated. Default: the
	// ProviderConfig's token.
	// +optional
	TokenSecretRef *SecretKeySelector `json:"tokenSecretRef,omitempty"`
}

// A FileFilter says which files of a model are wanted, by patterns of their
// paths: * stands for any characters, slashes too, ? for any one, [abc] for one
// of these, and a pattern that ends with a slash for all that the folder holds.
// All else stands for itself, and case counts.
// +kubebuilder:validation:XValidation:rule="has(self.include) || has(self.exclude)",message="files needs patterns: write include: [\"*.safetensors\", \"*.json\"], or exclude: [original/], or leave files out"
type FileFilter struct {
	// Include has the patterns of which a file must match one. Default: every
	// file. Example: ["*.safetensors", "*.json", "tokenizer*"].
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Include []string `json:"include,omitempty"`

	// Exclude has the patterns of which a file must match none. Default: none.
	// Example: ["original/", "*.onnx"].
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Exclude []string `json:"exclude,omitempty"`
}

// An OCISource is an artifact in a registry.
type OCISource struct {
	// Reference of the artifact: registry/repository@digest, or
	// registry/repository:tag, which is resolved to a digest when a run starts,
	// and kept once that has succeeded. Example: registry.example.com/models/qwen3@sha256:…
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=700
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]+)?/[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*)*(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?(@sha256:[a-f0-9]{64})?$') && self.matches('^[^/]*[.:]') && self.matches('/[^/]*[:@][^/]*$') && !self.matches('^[^/]*[.][.]')",message="reference must be a registry's host with a dot or a port, a lower-case repository, and a tag or a digest: write registry.example.com/models/qwen3@sha256:... or registry.example.com/models/qwen3:v1, without https://"
	Reference string `json:"reference"`

	// PlainHTTP speaks to the source's registry without TLS. The
	// ProviderConfig's registry is spoken to as the ProviderConfig says,
	// whatever this says. Default: false.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`

	// CredentialsSecretRef names a Secret of type
	// kubernetes.io/dockerconfigjson in the Artifact's namespace. Default: the
	// ProviderConfig's credentials where it is the ProviderConfig's registry
	// and a repository that the namespace may push to, else none.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CredentialsSecretRef *xpv2.LocalSecretReference `json:"credentialsSecretRef,omitempty"`

	// CertSecretRef names a Secret in the Artifact's namespace with the
	// certificate authorities that are trusted for the source's registry,
	// beside the public ones, under ca.crt. Default: the ProviderConfig's where
	// it is the ProviderConfig's registry.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.LocalSecretReference `json:"certSecretRef,omitempty"`
}

// A SecretKeySelector names a key of a Secret in the Artifact's namespace.
type SecretKeySelector struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`

	// Key in the Secret. Default: token.
	// +optional
	// +kubebuilder:default=token
	// +kubebuilder:validation:MinLength=1
	Key string `json:"key,omitempty"`
}

// A Source says where a model comes from.
// +kubebuilder:validation:XValidation:rule="has(self.huggingFace) != has(self.oci)",message="exactly one source is needed: write huggingFace with model: organisation/name, or oci with reference: registry/repository@digest"
type Source struct {
	// HuggingFace is a model or a dataset on a Hugging Face Hub.
	// +optional
	HuggingFace *HuggingFaceSource `json:"huggingFace,omitempty"`

	// OCI is an artifact in a registry. One of the format that spec.forProvider.format
	// names is copied as it is, with the same digest; one of another format is
	// packed anew. It needs pipeline Stream.
	// +optional
	OCI *OCISource `json:"oci,omitempty"`
}

// A Target says under which name an artifact is in a registry.
type Target struct {
	// Registry that the artifact is pushed to; it cannot be changed. Default:
	// the ProviderConfig's registry. The ProviderConfig's credentials are not
	// sent to another one: write credentialsSecretRef with it.
	// +optional
	Registry v1alpha1.RegistryHost `json:"registry,omitempty"`

	// Repository in the registry; it cannot be changed. Example: models/qwen3.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*)*$')",message="repository must be lower-case letters, digits and . _ - between them, in parts separated by /: write models/qwen3, without a registry and without a tag"
	Repository string `json:"repository"`

	// Tag that the artifact gets. Default: latest.
	// +optional
	// +kubebuilder:default=latest
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9_][a-zA-Z0-9._-]*$')",message="tag must be letters, digits and . _ -, and start with a letter, a digit or _: write v1 or latest"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('kitops-unfinished-')",message="tags that begin with kitops-unfinished- are kept for runs that are ended early: write v1 or latest"
	Tag string `json:"tag,omitempty"`

	// Overwrite takes the tag also where it points to something that this
	// Artifact did not push. Otherwise nothing is overwritten, and the Artifact
	// is not ready for the reason TagConflict. Default: false.
	// +optional
	Overwrite bool `json:"overwrite,omitempty"`

	// CredentialsSecretRef names a Secret of type
	// kubernetes.io/dockerconfigjson in the Artifact's namespace. Default: the
	// ProviderConfig's credentials, for the ProviderConfig's registry.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CredentialsSecretRef *xpv2.LocalSecretReference `json:"credentialsSecretRef,omitempty"`
}

// ArtifactParameters say which model is to be in which registry.
// +kubebuilder:validation:XValidation:rule="!has(self.format) || self.format != 'Image' || (has(self.pipeline) && self.pipeline == 'Stream')",message="format Image is made by pipeline Stream: write pipeline: Stream"
// +kubebuilder:validation:XValidation:rule="!has(self.source) || !has(self.source.oci) || (has(self.pipeline) && self.pipeline == 'Stream')",message="source.oci needs pipeline Stream: write pipeline: Stream"
// +kubebuilder:validation:XValidation:rule="!has(self.source) || !has(self.source.huggingFace) || !(has(self.source.huggingFace.dataset) || has(self.source.huggingFace.files)) || (has(self.pipeline) && self.pipeline == 'Stream')",message="source.huggingFace.dataset and files need pipeline Stream: write pipeline: Stream"
type ArtifactParameters struct {
	// Source says where the model comes from.
	// +optional
	Source *Source `json:"source,omitempty"`

	// Target says under which name the artifact is in a registry.
	// +optional
	Target *Target `json:"target,omitempty"`

	// Format of the artifact: ModelPack, CNCF's; ModelKit, KitOps' own; or
	// Image, an OCI image with the files under /models, which Kubernetes mounts
	// as an image volume and KServe takes, and which needs pipeline Stream.
	// Default: ModelPack.
	// +optional
	// +kubebuilder:default=ModelPack
	Format PackFormat `json:"format,omitempty"`

	// Pipeline that makes the artifact: Kit runs kit import, pack and push on
	// a workspace volume; Stream pipes the files from their source into the
	// registry and needs no volume. Default: Kit.
	// +optional
	// +kubebuilder:default=Kit
	Pipeline PipelineType `json:"pipeline,omitempty"`

	// Storage is the workspace of the Kit pipeline. Default: the
	// ProviderConfig's, else 50Gi of the cluster's default class.
	// +optional
	Storage *v1alpha1.StorageSettings `json:"storage,omitempty"`

	// Job says how the run's Pod is placed and what it may use. Default: the
	// ProviderConfig's.
	// +optional
	Job *v1alpha1.JobSettings `json:"job,omitempty"`

	// Retry says how a run is tried again that failed for a reason which may
	// pass by itself, such as a Hub that asks to come back later. A run that
	// failed for another reason waits for a change of the spec.
	// +optional
	Retry *RetryPolicy `json:"retry,omitempty"`
}

// A RetryPolicy bounds how often and how soon a run is tried again.
type RetryPolicy struct {
	// Limit is how many times a failed run is tried again. Default: 5; 0 for
	// never.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Limit *int32 `json:"limit,omitempty"`

	// Interval is the wait before the first of these tries; it doubles with
	// each, up to an hour. Default: 30s. Example: 2m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="interval must be from 1s to 1h: write 30s or 2m"
	Interval *metav1.Duration `json:"interval,omitempty"`
}

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

	// License of the model as the Hub names it, for example apache-2.0.
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
}

// An ArtifactSpec says what an Artifact is to be.
// +kubebuilder:validation:XValidation:rule="!has(self.managementPolicies) || !('*' in self.managementPolicies || 'Create' in self.managementPolicies || 'Update' in self.managementPolicies) || (has(self.forProvider.source) && has(self.forProvider.target))",message="forProvider.source and forProvider.target are needed to make an artifact: write source.huggingFace.model and target.repository, or managementPolicies: [Observe]"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.forProvider.target) || (has(self.forProvider.target) && self.forProvider.target.repository == oldSelf.forProvider.target.repository)",message="forProvider.target.repository cannot be changed or removed: write it as it was, or make a new Artifact"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.forProvider.target) || (has(self.forProvider.target) && has(self.forProvider.target.registry) == has(oldSelf.forProvider.target.registry) && (!has(self.forProvider.target.registry) || self.forProvider.target.registry == oldSelf.forProvider.target.registry))",message="forProvider.target.registry cannot be set, changed or removed afterwards: write it as it was, or make a new Artifact"
type ArtifactSpec struct {
	xpv2.ManagedResourceSpec `json:",inline"`

	// ForProvider says which model is to be in which registry.
	// +kubebuilder:default={}
	ForProvider ArtifactParameters `json:"forProvider"`
}

// An ArtifactStatus says what an Artifact is.
type ArtifactStatus struct {
	xpv2.ManagedResourceStatus `json:",inline"`

	// AtProvider says what is known of the artifact.
	// +optional
	AtProvider ArtifactObservation `json:"atProvider,omitempty"`
}

// +kubebuilder:object:root=true

// An Artifact is a model, packaged as an OCI artifact, in a registry under a
// name, and kept there.
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="READY",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="SYNCED",type="string",JSONPath=".status.conditions[?(@.type=='Synced')].status"
// +kubebuilder:printcolumn:name="PHASE",type="string",JSONPath=".status.atProvider.phase"
// +kubebuilder:printcolumn:name="PROGRESS",type="integer",JSONPath=".status.atProvider.progress.percent"
// +kubebuilder:printcolumn:name="REASON",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].reason"
// +kubebuilder:printcolumn:name="REFERENCE",type="string",JSONPath=".status.atProvider.reference"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="DIGEST",type="string",priority=1,JSONPath=".status.atProvider.digest"
// +kubebuilder:printcolumn:name="MESSAGE",type="string",priority=1,JSONPath=".status.conditions[?(@.type=='Ready')].message"
// +kubebuilder:resource:scope=Namespaced,categories={crossplane,managed,kitops}
type Artifact struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ArtifactSpec   `json:"spec"`
	Status ArtifactStatus `json:"status,omitempty"`

	// Effective is what the Artifact's ProviderConfig and the provider's flags
	// add to its spec. It is never serialized.
	Effective Effective `json:"-"`
}

// +kubebuilder:object:root=true

// ArtifactList holds Artifacts.
type ArtifactList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Artifact `json:"items"`
}
