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
type PipelineType = v1alpha1.PipelineType

// Pipelines of an Artifact.
const (
	PipelineKit    = v1alpha1.PipelineKit
	PipelineStream = v1alpha1.PipelineStream
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

// A ConflictPolicy decides what happens to a tag of somebody else.
// +kubebuilder:validation:Enum=Fail;Overwrite
type ConflictPolicy string

// Policies for a tag that points to something that the Artifact did not push.
const (
	// ConflictFail leaves the tag alone.
	ConflictFail ConflictPolicy = "Fail"

	// ConflictOverwrite moves the tag.
	ConflictOverwrite ConflictPolicy = "Overwrite"
)

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
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('kitops-')",message="tags that begin with kitops- are reserved for runs: write v1 or latest"
	Tag string `json:"tag,omitempty"`

	// ConflictPolicy decides what happens if the tag points to something that
	// this Artifact did not push. Fail leaves it alone: the Artifact is not
	// ready, with reason TagConflict. Overwrite moves the tag; a
	// ClusterProviderConfig must list conflictPolicy in
	// spec.policy.tenants.allow for it. Default: Fail. Example: Overwrite.
	// +optional
	// +kubebuilder:default=Fail
	ConflictPolicy ConflictPolicy `json:"conflictPolicy,omitempty"`

	// CredentialsSecretRef names a Secret of type
	// kubernetes.io/dockerconfigjson in the Artifact's namespace. Default: the
	// ProviderConfig's credentials, for the ProviderConfig's registry.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CredentialsSecretRef *xpv2.LocalSecretReference `json:"credentialsSecretRef,omitempty"`
}

// ArtifactParameters say which model is to be in which registry.
// +kubebuilder:validation:XValidation:rule="!has(self.pipeline) || self.pipeline != 'Kit' || !has(self.format) || self.format != 'Image'",message="pipeline Kit cannot make format Image: leave pipeline out, or write pipeline: Stream"
// +kubebuilder:validation:XValidation:rule="!has(self.pipeline) || self.pipeline != 'Kit' || !has(self.source) || !has(self.source.oci)",message="pipeline Kit cannot read source.oci: leave pipeline out, or write pipeline: Stream"
// +kubebuilder:validation:XValidation:rule="!has(self.pipeline) || self.pipeline != 'Kit' || !has(self.source) || !has(self.source.huggingFace) || !(has(self.source.huggingFace.dataset) || has(self.source.huggingFace.files))",message="pipeline Kit cannot read source.huggingFace.dataset and files: leave pipeline out, or write pipeline: Stream"
type ArtifactParameters struct {
	// Source says where the model comes from.
	// +optional
	Source *Source `json:"source,omitempty"`

	// Target says under which name the artifact is in a registry.
	// +optional
	Target *Target `json:"target,omitempty"`

	// Format of the artifact: ModelPack, CNCF's; ModelKit, KitOps' own; or
	// Image, an OCI image with the files under /models, which Kubernetes mounts
	// as an image volume and KServe takes, and which only pipeline Stream makes.
	// Default: ModelPack.
	// +optional
	// +kubebuilder:default=ModelPack
	Format PackFormat `json:"format,omitempty"`

	// Pipeline that makes the artifact: Kit runs kit import, pack and push on
	// a workspace volume; Stream pipes the files from their source into the
	// registry and needs no volume. Only Stream makes format Image and reads
	// source.oci, source.huggingFace.dataset and files, and Hubs other than
	// https://huggingface.co. Changing the pipeline rebuilds the artifact.
	// Default: the ProviderConfig's job.pipeline, else Kit; Stream for what only
	// Stream can do, whatever the ProviderConfig says. An artifact that exists,
	// or whose run is in progress, keeps the pipeline that it was started with
	// if the ProviderConfig changes; status.atProvider.pipeline says which it is.
	// Example: Stream.
	// +optional
	Pipeline v1alpha1.PipelineType `json:"pipeline,omitempty"`

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
	// never. It does not hold for a run whose Pod did not start.
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
