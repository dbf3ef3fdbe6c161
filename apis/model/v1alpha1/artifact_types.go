package v1alpha1

import (
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// A PackFormat is the layout of a model as an OCI artifact.
// +kubebuilder:validation:Enum=ModelPack;ModelKit;Image
type PackFormat string

// Formats of an Artifact.
const (
	// PackFormatModelPack is CNCF's ModelPack, with one layer for each file.
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

// An ArtifactPhase is the state of the latest run.
type ArtifactPhase string

// Phases of an Artifact.
const (
	// PhasePending: the run has not started yet.
	PhasePending ArtifactPhase = "Pending"

	// PhaseRunning: the run's Pod has started.
	PhaseRunning ArtifactPhase = "Running"

	// PhaseSucceeded: the run has staged the artifact.
	PhaseSucceeded ArtifactPhase = "Succeeded"

	// PhaseFailed: the run ended without an artifact.
	PhaseFailed ArtifactPhase = "Failed"
)

// TypePolicyCompliant is the type of the condition that reports whether the policies of
// ProviderConfigs allow what is in the registry.
const TypePolicyCompliant xpv2.ConditionType = "PolicyCompliant"

// TypeUpToDate is the type of the condition of an Artifact with revisionPolicy Follow that
// reports whether what is packaged is what its source has: False with the reason why that
// cannot be looked up or packaged.
const TypeUpToDate xpv2.ConditionType = "UpToDate"

// A ConflictPolicy decides what happens to a foreign tag.
// +kubebuilder:validation:Enum=Fail;Overwrite
type ConflictPolicy string

// Policies for a tag that points to something that the Artifact did not push.
const (
	// ConflictFail leaves the tag alone.
	ConflictFail ConflictPolicy = "Fail"

	// ConflictOverwrite moves the tag.
	ConflictOverwrite ConflictPolicy = "Overwrite"
)

// A Target is the artifact's name in a registry.
// +kubebuilder:validation:XValidation:rule="!has(self.additionalTags) || !has(self.tag) || !(self.tag in self.additionalTags)",message="additionalTags must not have target.tag: leave it out there"
// +kubebuilder:validation:XValidation:rule="!has(self.keepVersions) || self.keepVersions == 0 || !has(self.tag) || size(self.tag) <= 120",message="tag must have at most 120 characters with keepVersions, which adds a commit: write a shorter tag"
type Target struct {
	// Registry that the artifact is pushed to. It is immutable. A registry other
	// than the ProviderConfig's is never sent the ProviderConfig's credentials:
	// set credentialsSecretRef too. Default: the ProviderConfig's registry.
	// Example: registry.example.com.
	// +optional
	Registry v1alpha1.RegistryHost `json:"registry,omitempty"`

	// Repository in the registry. It is immutable. Example: models/qwen3.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*)*$')",message="repository must be lower-case letters, digits and . _ - between them, in parts separated by /: write models/qwen3, without a registry and without a tag"
	Repository string `json:"repository"`

	// Tag of the artifact. Changing it moves no content. Default: latest.
	// Example: v1.
	// +optional
	// +kubebuilder:default=latest
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9_][a-zA-Z0-9._-]*$')",message="tag must be letters, digits and . _ -, and start with a letter, a digit or _: write v1 or latest"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('kitops-')",message="tags that begin with kitops- are reserved for runs: write v1 or latest"
	Tag string `json:"tag,omitempty"`

	// AdditionalTags of the artifact, beside tag. Each may have one placeholder:
	// {commit} is the commit of the source, or the digest of the artifact in source.oci
	// or of the listing of other sources' files, without sha256:, {commitShort} is its
	// first 7 characters, and {date} is the day of the commit in UTC, as 20250726. A
	// tag for what is not known of the source is left out; {date} is not known of
	// buckets, volumes and HTTP servers, and refused there. All tags are checked before any is set. A tag
	// that is removed here is removed from the registry if it is still on what this
	// Artifact pushed. Default: none.
	// Example: [stable, "main-{commitShort}"].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:MaxLength=72
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([a-zA-Z0-9_]|[{](commit(Short)?|date)[}])[a-zA-Z0-9._-]*$') || self.matches('^[a-zA-Z0-9_][a-zA-Z0-9._-]*[{](commit(Short)?|date)[}][a-zA-Z0-9._-]*$')",message="additionalTags must be letters, digits and . _ -, start with a letter, a digit or _, and have at most one of {commit}, {commitShort} and {date}: write stable or main-{commitShort}"
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('kitops-')",message="tags that begin with kitops- are reserved for runs: write stable or main-{commitShort}"
	AdditionalTags []string `json:"additionalTags,omitempty"`

	// KeepVersions is how many of the artifacts that this Artifact pushed last have
	// a tag of their own beside tag: the tag, a hyphen and the first 7 characters of
	// the source's commit, such as v1-c1899de. The latest is one of them. Tags of
	// older ones are removed. Default: 0. Example: 3.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=20
	KeepVersions int32 `json:"keepVersions,omitempty"`

	// Annotations of the artifact's manifest, in addition to those that describe
	// the source. They are part of the content: changing them rebuilds the artifact,
	// and what has annotations is built by pipeline Stream. An artifact in
	// source.oci that has the format already is copied as it is, and cannot get any.
	// Reserved are org.opencontainers.image.source, .revision, .licenses and
	// .created, which the provider sets, and names that begin with
	// io.crossplane.m.kitops., org.cncf.model. and dev.sigstore. Default: none.
	// Example: {org.opencontainers.image.vendor: Example, com.example.team: search}.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 128 && k.matches('^[a-zA-Z0-9]([a-zA-Z0-9._/-]*[a-zA-Z0-9])?$') && size(self[k]) > 0 && size(self[k]) <= 1024)",message="annotations must have names of up to 128 letters, digits and . _ - /, and values of 1 to 1024 bytes: write com.example.team: search"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['org.opencontainers.image.source', 'org.opencontainers.image.revision', 'org.opencontainers.image.licenses', 'org.opencontainers.image.created']) && !k.startsWith('io.crossplane.m.kitops.') && !k.startsWith('org.cncf.model.') && !k.startsWith('dev.sigstore.'))",message="annotations must leave org.opencontainers.image.source, .revision, .licenses and .created, and names that begin with io.crossplane.m.kitops., org.cncf.model. and dev.sigstore., to the provider and to programs that sign: write a name of your own, such as com.example.source"
	Annotations map[string]string `json:"annotations,omitempty"`

	// ConflictPolicy decides what happens if the tag points to something that
	// this Artifact did not push. Fail leaves it alone: the Artifact is not
	// ready, with reason TagConflict. Overwrite moves the tag; a
	// ClusterProviderConfig must list conflictPolicy in
	// spec.policy.tenants.allow for it. Default: Fail. Example: Overwrite.
	// +optional
	// +kubebuilder:default=Fail
	ConflictPolicy ConflictPolicy `json:"conflictPolicy,omitempty"`

	// CredentialsSecretRef names a Secret of type
	// kubernetes.io/dockerconfigjson in the Artifact's namespace, with an entry
	// for the target's registry. Default: the ProviderConfig's credentials, for
	// the ProviderConfig's registry only. Example: {name: registry}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CredentialsSecretRef *xpv2.LocalSecretReference `json:"credentialsSecretRef,omitempty"`
}

// ArtifactParameters are the desired state of an artifact.
// +kubebuilder:validation:XValidation:rule="!has(self.pipeline) || self.pipeline != 'Kit' || !has(self.format) || self.format != 'Image'",message="pipeline Kit cannot make format Image: leave pipeline out, or write pipeline: Stream"
// +kubebuilder:validation:XValidation:rule="!has(self.pipeline) || self.pipeline != 'Kit' || !has(self.source) || has(self.source.huggingFace) || has(self.source.persistentVolumeClaim)",message="pipeline Kit reads only source.huggingFace and source.persistentVolumeClaim: leave pipeline out, or write pipeline: Stream"
// +kubebuilder:validation:XValidation:rule="!has(self.pipeline) || self.pipeline != 'Kit' || !has(self.source) || !has(self.source.huggingFace) || !(has(self.source.files) || has(self.source.huggingFace.dataset))",message="pipeline Kit imports whole models of a Hub, no datasets and no source.files: leave pipeline out, or write pipeline: Stream"
// +kubebuilder:validation:XValidation:rule="!has(self.pipeline) || self.pipeline != 'Kit' || !has(self.target) || !has(self.target.annotations) || size(self.target.annotations) == 0",message="pipeline Kit cannot set target.annotations: leave pipeline out, or write pipeline: Stream"
// +kubebuilder:validation:XValidation:rule="!has(self.pipeline) || self.pipeline != 'Kit' || !has(self.job) || !(has(self.job.parallelLayers) || has(self.job.bufferSize))",message="pipeline Kit has no job.parallelLayers and no job.bufferSize: remove them, leave pipeline out, or write pipeline: Stream"
// +kubebuilder:validation:XValidation:rule="!has(self.pipeline) || self.pipeline != 'Kit' || !has(self.job) || !has(self.job.parallelism) || self.job.parallelism == 1",message="pipeline Kit runs in one Pod: remove job.parallelism, leave pipeline out, or write pipeline: Stream"
// +kubebuilder:validation:XValidation:rule="!has(self.storage) || !(has(self.pipeline) ? self.pipeline == 'Stream' : (has(self.format) && self.format == 'Image') || (has(self.target) && has(self.target.annotations) && size(self.target.annotations) > 0) || (has(self.job) && (has(self.job.parallelLayers) || has(self.job.bufferSize) || (has(self.job.parallelism) && self.job.parallelism > 1))) || (has(self.source) && !has(self.source.persistentVolumeClaim) && !(has(self.source.huggingFace) && has(self.source.huggingFace.model) && self.source.huggingFace.model.contains('/') && !has(self.source.files))))",message="pipeline Stream has no workspace, and builds format Image, target.annotations, job.parallelLayers, job.bufferSize, job.parallelism above 1, datasets, source.files of a Hub, models without an organisation and all sources but huggingFace and persistentVolumeClaim: remove storage, or write pipeline: Kit where kit can build the artifact"
// +kubebuilder:validation:XValidation:rule="!has(self.target) || !has(self.target.additionalTags) || !has(self.source) || has(self.source.huggingFace) || has(self.source.oci) || !self.target.additionalTags.exists(t, t.contains('{date}'))",message="{date} is not known of buckets, volumes and HTTP servers: write {commit} or {commitShort} in target.additionalTags, or no placeholder"
// +kubebuilder:validation:XValidation:rule="!has(self.source) || !has(self.source.oci) || !has(self.source.oci.referrers) || !has(self.target) || !has(self.target.annotations) || size(self.target.annotations) == 0",message="source.oci.referrers copies what refers to a digest, which target.annotations changes: remove referrers or target.annotations"
type ArtifactParameters struct {
	// Source of the model. It is required unless managementPolicies is [Observe].
	// +optional
	Source *Source `json:"source,omitempty"`

	// Target is the artifact's name in a registry. It is required unless
	// managementPolicies is [Observe].
	// +optional
	Target *Target `json:"target,omitempty"`

	// ExpectedDigest is the digest that the artifact's manifest must have. What a
	// run stages with another digest gets no tag: the Artifact is not ready, with
	// reason Mismatch, and is not retried before the spec, the ProviderConfig or a
	// Secret changes. An artifact in the registry that has it is not rebuilt, also
	// if its source moves or the Hub cannot be reached. Default: any digest.
	// Example: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:XValidation:rule="self.matches('^sha256:[a-f0-9]{64}$')",message="expectedDigest must be sha256: and 64 lower-case hex digits: write the digest in status.atProvider.digest"
	ExpectedDigest string `json:"expectedDigest,omitempty"`

	// Format of the artifact: ModelPack is CNCF's format, ModelKit is KitOps'
	// own, and Image is an OCI image with the files under /models, which
	// Kubernetes mounts as an image volume and KServe supports. Changing the
	// format rebuilds the artifact. Default: ModelPack. Example: Image.
	// +optional
	// +kubebuilder:default=ModelPack
	Format PackFormat `json:"format,omitempty"`

	// Pipeline that builds the artifact: Kit runs kit import, pack and push on a
	// workspace volume; Stream copies the files from their source to the registry
	// and needs no volume. Only Stream supports format Image, target.annotations,
	// job.parallelLayers, job.bufferSize, job.parallelism above 1, sources other
	// than huggingFace and persistentVolumeClaim, datasets and source.files of a
	// Hub, models without an organisation, and Hubs other than
	// https://huggingface.co. Changing the pipeline rebuilds the artifact. Default:
	// Stream for what only Stream supports, else the ProviderConfig's job.pipeline,
	// else Kit. If the ProviderConfig changes, an artifact that exists and a run in
	// progress keep their pipeline. status.atProvider.pipeline shows the pipeline
	// in use. Example: Stream.
	// +optional
	Pipeline v1alpha1.PipelineType `json:"pipeline,omitempty"`

	// Storage is the workspace of pipeline Kit. Default: the ProviderConfig's,
	// else 50Gi of the cluster's default StorageClass. Example: {size: 200Gi}.
	// +optional
	Storage *v1alpha1.StorageSettings `json:"storage,omitempty"`

	// Job configures the Jobs of runs: resources, scheduling, metadata, deadline,
	// and what is transferred side by side. Default: the ProviderConfig's.
	// Example: {nodeSelector: {disk: fast}}.
	// +optional
	Job *v1alpha1.JobSettings `json:"job,omitempty"`

	// Priority of the Artifact's runs among those that wait for a limit, such
	// as job.maxRuns of a ClusterProviderConfig. A higher one starts first, of
	// whichever namespace. It stops no run that is running, and a change of it
	// starts none. More than the ClusterProviderConfig's job.maxPriority, or
	// than 0 with a ProviderConfig, is refused. Default: 0. Example: 10, or -10
	// for what can wait.
	// +optional
	Priority int32 `json:"priority,omitempty"`

	// Retry configures how runs are retried after a transient error, such as a
	// Hub's rate limit. After a permanent error a run is retried when the spec,
	// the ProviderConfig or one of their Secrets changes. Default: 5 retries,
	// with backoff from 30s. Example: {limit: 10, interval: 1m}.
	// +optional
	Retry *RetryPolicy `json:"retry,omitempty"`
}

// A RetryPolicy configures retries after transient errors.
type RetryPolicy struct {
	// Limit of retries; 0 disables them. Runs whose Pod did not start do not
	// count. Default: 5. Example: 10.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Limit *int32 `json:"limit,omitempty"`

	// Interval before the first retry. It doubles with each retry, up to an
	// hour. Default: 30s. Example: 2m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="interval must be from 1s to 1h: write 30s or 2m"
	Interval *metav1.Duration `json:"interval,omitempty"`
}

// An ArtifactSpec is the desired state of an Artifact.
// +kubebuilder:validation:XValidation:rule="!has(self.managementPolicies) || !('*' in self.managementPolicies || 'Create' in self.managementPolicies || 'Update' in self.managementPolicies) || (has(self.forProvider.source) && has(self.forProvider.target))",message="forProvider.source and forProvider.target are required to build an artifact: write source.huggingFace.model and target.repository, or managementPolicies: [Observe]"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.forProvider.target) || (has(self.forProvider.target) && self.forProvider.target.repository == oldSelf.forProvider.target.repository)",message="forProvider.target.repository is immutable: write it as it was, or create another Artifact"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.forProvider.target) || (has(self.forProvider.target) && has(self.forProvider.target.registry) == has(oldSelf.forProvider.target.registry) && (!has(self.forProvider.target.registry) || self.forProvider.target.registry == oldSelf.forProvider.target.registry))",message="forProvider.target.registry is immutable, and cannot be set or removed afterwards: write it as it was, or create another Artifact"
type ArtifactSpec struct {
	xpv2.ManagedResourceSpec `json:",inline"`

	// ForProvider is the desired state of the artifact.
	// +kubebuilder:default={}
	ForProvider ArtifactParameters `json:"forProvider"`
}

// An ArtifactStatus is the observed state of an Artifact.
type ArtifactStatus struct {
	xpv2.ConditionedStatus `json:",inline"`

	// ObservedGeneration is the metadata.generation that the conditions Ready,
	// Reconciling and Stalled are about: while metadata.generation is another one,
	// they say nothing of the spec as it is. Default: -1, before the first
	// reconcile. Example: 3.
	// +optional
	// +kubebuilder:default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// LastHandledReconcileAt is the value of the annotation
	// crossplane.io/reconcile-requested-at that was handled last. Default: none was.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// AtProvider is the observed state of the artifact.
	// +optional
	AtProvider ArtifactObservation `json:"atProvider,omitempty"`
}

// +kubebuilder:object:root=true

// An Artifact declares that a model from a source is in a registry, packaged as
// an OCI artifact, under a name.
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="READY",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="SYNCED",type="string",JSONPath=".status.conditions[?(@.type=='Synced')].status"
// +kubebuilder:printcolumn:name="EXTERNAL-NAME",type="string",JSONPath=".metadata.annotations.crossplane\\.io/external-name"
// +kubebuilder:printcolumn:name="PHASE",type="string",JSONPath=".status.atProvider.phase"
// +kubebuilder:printcolumn:name="PROGRESS",type="integer",JSONPath=".status.atProvider.progress.percent"
// +kubebuilder:printcolumn:name="REASON",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].reason"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="REFERENCE",type="string",priority=1,JSONPath=".status.atProvider.reference"
// +kubebuilder:printcolumn:name="DIGEST",type="string",priority=1,JSONPath=".status.atProvider.digest"
// +kubebuilder:printcolumn:name="MESSAGE",type="string",priority=1,JSONPath=".status.conditions[?(@.type=='Ready')].message"
// +kubebuilder:resource:scope=Namespaced,categories={crossplane,managed,kitops},shortName=kart
type Artifact struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ArtifactSpec `json:"spec"`

	// +kubebuilder:default={observedGeneration:-1}
	Status ArtifactStatus `json:"status,omitempty"`

	// Effective holds the settings of the Artifact's ProviderConfig and of the
	// provider's flags for functions that take an Artifact. It is never
	// serialized.
	Effective Effective `json:"-"`
}

// +kubebuilder:object:root=true

// ArtifactList is a list of Artifacts.
type ArtifactList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Artifact `json:"items"`
}
