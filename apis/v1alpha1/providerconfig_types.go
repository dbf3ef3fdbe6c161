package v1alpha1

import (
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultHubEndpoint is the Hub that models come from unless a ProviderConfig names
// another one.
const DefaultHubEndpoint = "https://huggingface.co"

// A RegistryHost is a registry's host, with a port if it is not the default: a name, an
// address, or an IPv6 address in brackets.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self.startsWith('[') ? self.matches('^[[][0-9a-f:.]+[]](:[0-9]+)?$') : self.matches('^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]+)?$') && (self.contains('.') || self.contains(':')) && !self.contains('..')",message="a registry must be a host with a dot or a port and nothing else: write registry.example.com, localhost:5000 or [2001:db8::5]:5000, without https:// and without a path"
// +kubebuilder:validation:XValidation:rule="!self.startsWith('[') || !self.contains(']') || (isIP(self.substring(1, self.indexOf(']'))) && ip(self.substring(1, self.indexOf(']'))).family() == 6 && ip.isCanonical(self.substring(1, self.indexOf(']'))))",message="an address in brackets must be one of IPv6 in its shortest form, by which a registry has one name: write [2001:db8::5]:5000"
type RegistryHost string

// A HubEndpoint is the address of a Hugging Face Hub or a mirror of it.
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]+)?(/[a-zA-Z0-9._/-]*)?$')",message="endpoint must be a URL: write https://huggingface.co or the address of a mirror"
type HubEndpoint string

// A ProviderConfigSpec configures the provider for one namespace. All Secrets
// that it refers to are in that namespace.
type ProviderConfigSpec struct {
	// Registry that Artifacts are pushed to. It is required.
	Registry RegistryConfig `json:"registry"`

	// HuggingFace configures access to the Hugging Face Hub. Default: the public
	// Hub, without a token.
	// Example: {tokenSecretRef: {name: huggingface, key: token}}.
	// +optional
	HuggingFace *HuggingFaceConfig `json:"huggingFace,omitempty"`

	// Job has defaults for the Jobs of runs. Default: see its fields.
	// Example: {resources: {limits: {memory: 4Gi}}}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.__namespace__)",message="only an administrator decides in which namespace runs execute: remove job.namespace, or write it in a ClusterProviderConfig"
	// +kubebuilder:validation:XValidation:rule="!has(self.maxRuns) && !has(self.maxPriority) && !has(self.maxParallelism)",message="only an administrator limits runs: remove job.maxRuns, job.maxPriority and job.maxParallelism, or write them in a ClusterProviderConfig"
	// +kubebuilder:validation:XValidation:rule="!has(self.parallelism) || self.parallelism <= 8",message="parallelism must be 8 or less in a ProviderConfig: write less, or write job.maxParallelism in a ClusterProviderConfig"
	Job *JobConfig `json:"job,omitempty"`

	// Policy limits what Artifacts that use this config may package and publish.
	// The policies of ClusterProviderConfigs for the same registry apply, too, if
	// these are for the Artifact's namespace and its repository: a ProviderConfig
	// allows nothing that they refuse. Default: see its fields.
	// Example: {files: {deny: [pickle]}}.
	// +optional
	Policy *ContentPolicy `json:"policy,omitempty"`
}

// A RegistryConfig configures access to a registry.
type RegistryConfig struct {
	// Host of the registry, with its port if needed. It is required.
	// Example: registry.example.com, 10.0.0.5:5000 or "[2001:db8::5]:5000".
	Host RegistryHost `json:"host"`

	// PlainHTTP connects to the registry without TLS. Default: false.
	// Example: true.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`

	// CertSecretRef names a Secret with PEM data: its key ca.crt has certificate
	// authorities that are trusted for the registry beside the public ones, and
	// its keys tls.crt and tls.key have a client certificate and its private key.
	// Either may be missing. Default: the public authorities only, and no client
	// certificate. Example: {name: registry-ca}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.LocalSecretReference `json:"certSecretRef,omitempty"`

	// Credentials for the registry, sent to its host only. They are required.
	// Example: {source: Secret, secretRef: {name: registry}}.
	Credentials RegistryCredentials `json:"credentials"`
}

// RegistryCredentials are the account that a registry is accessed with.
// +kubebuilder:validation:XValidation:rule="(self.source == 'Secret') == has(self.secretRef)",message="write source: Secret together with secretRef, or source: None without it"
type RegistryCredentials struct {
	// Source of the credentials: Secret, or None for a registry that allows
	// anonymous pushes. Example: Secret.
	// +kubebuilder:validation:Enum=None;Secret
	Source xpv2.CredentialsSource `json:"source"`

	// SecretRef names a Secret of type kubernetes.io/dockerconfigjson with an
	// entry for the registry's host, as kubectl create secret docker-registry
	// creates it. As in image pull secrets, an entry may also be for a prefix of
	// repositories (registry.example.com/models) or for several hosts
	// (*.example.com); the most specific one is used. Example: {name: registry}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	SecretRef *xpv2.LocalSecretReference `json:"secretRef,omitempty"`
}

// A HuggingFaceConfig configures access to a Hugging Face Hub.
type HuggingFaceConfig struct {
	// Endpoint of the Hub. Pipeline Kit supports no other than the default.
	// Default: https://huggingface.co. Example: https://hub.example.com.
	// +optional
	Endpoint HubEndpoint `json:"endpoint,omitempty"`

	// TokenSecretRef names the key of a Secret with an access token for the Hub,
	// for private and gated models and datasets. With an endpoint, the Secret's key host
	// must list the endpoint's host[:port]; so must that of a Secret that an Artifact
	// names. Default: no token. Example: {name: huggingface, key: token}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	TokenSecretRef *xpv2.LocalSecretKeySelector `json:"tokenSecretRef,omitempty"`

	// CertSecretRef names a Secret whose key ca.crt has certificate authorities,
	// in PEM, that are trusted for the Hub beside the public ones. Default: the
	// public ones only. Example: {name: hub-ca}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.LocalSecretReference `json:"certSecretRef,omitempty"`
}

// A JobConfig has defaults for the Jobs of runs.
type JobConfig struct {
	JobSettings `json:",inline"`

	// Namespace in which the runs of this config execute, instead of that of each
	// Artifact: their Jobs, Pods, workspaces, and the Secrets with their
	// credentials. Whoever may read Secrets or Pods in the Artifact's namespace
	// then finds none of this config's credentials there. The namespace must exist.
	// If it is changed, a run that has started ends where it is, and the next one
	// executes in the new namespace. Only in a ClusterProviderConfig. Default: the
	// Artifact's namespace. Example: kitops-runs.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="namespace must be the name of a namespace: write lower case letters, digits and dashes, such as kitops-runs"
	Namespace string `json:"namespace,omitempty"`

	// MaxRuns limits how many runs of this config execute at a time, of all
	// namespaces together, counted in Pods. A run with a higher job.parallelism than this
	// has as many Pods at a time as this allows. Others wait, and Ready of their
	// Artifacts has the reason Queued. The highest spec.forProvider.priority starts
	// first, then the namespace with the fewest runs, and there what has waited
	// longest. Runs that are in progress when the limit is lowered go on. Only in a
	// ClusterProviderConfig. Default: no limit but the provider's --max-runs.
	// Example: 8.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxRuns *int32 `json:"maxRuns,omitempty"`

	// MaxPriority is the highest spec.forProvider.priority that Artifacts of this
	// config may have. One that asks for more is refused (NotAllowed). Only in a
	// ClusterProviderConfig. Default: 0. Example: 10.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxPriority int32 `json:"maxPriority,omitempty"`

	// MaxParallelism is the highest job.parallelism that Artifacts of this config may have.
	// One that asks for more is refused (NotAllowed). Only in a ClusterProviderConfig.
	// Default: 8. Example: 16, or 1 for none.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	MaxParallelism int32 `json:"maxParallelism,omitempty"`

	// Pipeline of Artifacts that name none, Kit or Stream. It is ignored for
	// Artifacts that only Stream supports (see spec.forProvider.pipeline of
	// Artifact). Changing it rebuilds no artifact that exists and stops no run in
	// progress. Default: Kit. Example: Stream.
	// +optional
	Pipeline PipelineType `json:"pipeline,omitempty"`

	// Storage is the default workspace of pipeline Kit. Default: 50Gi of the
	// cluster's default StorageClass. Example: {storageClassName: fast}.
	// +optional
	Storage *StorageSettings `json:"storage,omitempty"`
}

// A ClusterProviderConfigSpec configures the provider for several namespaces.
// +kubebuilder:validation:XValidation:rule="!has(self.huggingFace) || !has(self.huggingFace.identity) || (has(self.job) && has(self.job.__namespace__))",message="huggingFace.identity is who runs in a namespace of the administrator's are: write job.namespace, such as kitops-runs"
// +kubebuilder:validation:XValidation:rule="!has(self.huggingFace) || !has(self.huggingFace.identity) || !has(self.job) || !has(self.job.pipeline) || self.job.pipeline != 'Kit'",message="pipeline Kit cannot use huggingFace.identity, since kit keeps its first token: write job.pipeline: Stream, or leave it out"
// +kubebuilder:validation:XValidation:rule="self.registry.credentials.source != 'InjectedIdentity' || (has(self.job) && has(self.job.__namespace__))",message="credentials.source InjectedIdentity is who runs in a namespace of the administrator's are: write job.namespace, such as kitops-runs"
// +kubebuilder:validation:XValidation:rule="self.registry.credentials.source != 'InjectedIdentity' || !has(self.job) || !has(self.job.pipeline) || self.job.pipeline != 'Kit'",message="pipeline Kit cannot use credentials.source InjectedIdentity, since kit keeps its first token: write job.pipeline: Stream, or leave it out"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceIdentity) || (has(self.job) && has(self.job.__namespace__))",message="sourceIdentity is who runs in a namespace of the administrator's are: write job.namespace, such as kitops-runs"
type ClusterProviderConfigSpec struct {
	// Registry that Artifacts are pushed to. It is required.
	Registry ClusterRegistryConfig `json:"registry"`

	// NamespaceSelector selects the namespaces whose Artifacts may use this
	// config by their labels. Default: all namespaces.
	// Example: {matchLabels: {models: "true"}}.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// HuggingFace configures access to the Hugging Face Hub. Default: the public
	// Hub, without a token.
	// Example: {tokenSecretRef: {namespace: crossplane-system, name: huggingface, key: token}}.
	// +optional
	HuggingFace *ClusterHuggingFaceConfig `json:"huggingFace,omitempty"`

	// SourceIdentity decides which buckets runs read as the service account that they
	// have, without a stored credential. Default: none.
	// Example: {allow: ["s3://models-*/*"]}.
	// +optional
	SourceIdentity *SourceIdentity `json:"sourceIdentity,omitempty"`

	// Job has defaults for the Jobs of runs, and settings that only the cluster's
	// administrator may choose. Default: see its fields.
	// Example: {serviceAccountName: models}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.parallelism) || self.parallelism <= (has(self.maxParallelism) ? self.maxParallelism : 8)",message="parallelism must not be more than maxParallelism, which defaults to 8: write less, or a higher maxParallelism"
	Job *ClusterJobConfig `json:"job,omitempty"`

	// Policy limits the use of the config: what Artifacts may package and publish,
	// and what they may set. What they may package and publish applies to Artifacts
	// of ProviderConfigs, too, that push to this registry, from a namespace and to
	// a repository that this config is for. Default: see its fields.
	// Example: {files: {allow: [safetensors, gguf]}, tenants: {allow: [resources]}}.
	// +optional
	Policy *ClusterPolicy `json:"policy,omitempty"`

	// Attestation decides how artifacts are signed. Default: see its fields.
	// Example: {keySecretRef: {namespace: crossplane-system, name: models-cosign}}.
	// +optional
	Attestation *AttestationSpec `json:"attestation,omitempty"`
}

// A ClusterRegistryConfig configures access to a registry.
// +kubebuilder:validation:XValidation:rule="self.credentials.source != 'InjectedIdentity' || !has(self.plainHTTP) || !self.plainHTTP",message="the registries of clouds have TLS: remove plainHTTP, or write credentials.source: Secret"
type ClusterRegistryConfig struct {
	// Host of the registry, with its port if needed. It is required.
	// Example: registry.example.com, 10.0.0.5:5000 or "[2001:db8::5]:5000".
	Host RegistryHost `json:"host"`

	// PlainHTTP connects to the registry without TLS. Default: false.
	// Example: true.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`

	// RepositoryPrefix of the repositories that an Artifact may push to, delete
	// from, or observe. {namespace} is replaced by the Artifact's namespace. With
	// it, Artifacts may use no other registry. Default: any repository.
	// Example: models/{namespace}/.
	// +optional
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9._-]*(\\\\{namespace\\\\})?[a-z0-9._-]*/)+$') && !self.contains('..') && !self.startsWith('/') && !self.contains('//')",message="repositoryPrefix must be parts of a repository that each end with /: write models/ or models/{namespace}/"
	RepositoryPrefix string `json:"repositoryPrefix,omitempty"`

	// CertSecretRef names a Secret with PEM data: its key ca.crt has certificate
	// authorities that are trusted for the registry beside the public ones, and
	// its keys tls.crt and tls.key have a client certificate and its private key.
	// Either may be missing. Default: the public authorities only, and no client
	// certificate. Example: {namespace: crossplane-system, name: registry-ca}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.SecretReference `json:"certSecretRef,omitempty"`

	// Credentials for the registry, sent to its host only. During a run, the
	// entry that it needs is copied to a Secret in the namespace where the run
	// executes: job.namespace, or the Artifact's own. They are required.
	// Example: {source: Secret, secretRef: {namespace: crossplane-system, name: registry}}.
	Credentials ClusterRegistryCredentials `json:"credentials"`
}

// ClusterRegistryCredentials are the account that a registry is accessed with.
// +kubebuilder:validation:XValidation:rule="(self.source == 'Secret') == has(self.secretRef)",message="write source: Secret together with secretRef, or source: None or InjectedIdentity without it"
type ClusterRegistryCredentials struct {
	// Source of the credentials: Secret; None for a registry that allows anonymous
	// pushes; or InjectedIdentity for Amazon ECR, Google Artifact Registry or Azure
	// Container Registry, by the identity that the cloud gives to a service account:
	// for runs that of job.serviceAccountName in job.namespace, which it needs, and
	// for the provider that of its own Pod. Then only pipeline Stream can be used.
	// Example: Secret.
	// +kubebuilder:validation:Enum=None;Secret;InjectedIdentity
	Source xpv2.CredentialsSource `json:"source"`

	// SecretRef names a Secret of type kubernetes.io/dockerconfigjson with an
	// entry for the registry's host, as kubectl create secret docker-registry
	// creates it. As in image pull secrets, an entry may also be for a prefix of
	// repositories (registry.example.com/models) or for several hosts
	// (*.example.com); the most specific one is used. Example:
	// {namespace: crossplane-system, name: registry}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	SecretRef *xpv2.SecretReference `json:"secretRef,omitempty"`
}

// A HubIdentity is who runs are at a Hub, without a stored token.
type HubIdentity struct {
	// Resource that the Hub's tokens are for: the name of a user, whose account reads the
	// gated models that it has access to, or a repository (organisation/name, or
	// datasets/organisation/name), private or gated. It needs a trusted publisher at the
	// Hub with the issuer of this cluster, which must be public, the audience
	// https://huggingface.co (or endpoint), and the subject
	// system:serviceaccount:NAMESPACE:NAME of job.namespace and job.serviceAccountName.
	// Example: models-bot.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=203
	// +kubebuilder:validation:XValidation:rule="self.matches('^((datasets/)?[a-zA-Z0-9][a-zA-Z0-9._-]*/)?[a-zA-Z0-9][a-zA-Z0-9._-]*$') && !self.contains('..')",message="resource must be a user's name or a repository: write models-bot, meta-llama/Llama-3.1-8B or datasets/openai/gsm8k, without https://"
	Resource string `json:"resource"`
}

// A SourceIdentity lets Artifacts read buckets by the identity that a cloud gives to
// job.serviceAccountName in job.namespace, and follow buckets in private networks.
type SourceIdentity struct {
	// Allow lists the buckets, each with the folder in it: s3://BUCKET/PREFIX,
	// gs://BUCKET/PREFIX, https://ACCOUNT.blob.core.windows.net/CONTAINER/PREFIX, or an
	// endpoint of the cloud, the bucket and the prefix. * stands for any characters of
	// one name, and /* at the end for all that is below. Each Artifact of this config may
	// read them, of whichever namespace. One that names a Secret, with credentials or with
	// authorities, uses no identity, and what is not listed is read anonymously.
	//
	// A bucket that is listed may also be in a private network, such as the cluster's own,
	// and be followed there by an Artifact that uses no identity: the provider connects to
	// public addresses for all others. For that alone, a server without TLS may be listed
	// with http://; no identity is ever used there.
	// Example: ["s3://models-*/*", "gs://models/public/*", "http://minio.storage:9000/models/*"].
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Allow []BucketPattern `json:"allow"`
}

// A BucketPattern is the name of a folder in a bucket, with * for any characters.
// +kubebuilder:validation:MaxLength=512
// +kubebuilder:validation:XValidation:rule="self.matches('^(s3|gs)://[a-zA-Z0-9*][a-zA-Z0-9._*-]*(/[^/?#[]+)*$') || self.matches('^https?://[a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]{1,5})?(/[^/?#[]+)+$')",message="allow must name buckets: write s3://models-*/*, gs://models/public/*, or https:// (or http:// for what is only followed) with the whole name of a host and a bucket, such as https://account.blob.core.windows.net/models/*"
type BucketPattern string

// A ClusterHuggingFaceConfig configures access to a Hugging Face Hub.
// +kubebuilder:validation:XValidation:rule="!has(self.identity) || !has(self.tokenSecretRef)",message="runs use a stored token or an identity: remove tokenSecretRef or identity"
type ClusterHuggingFaceConfig struct {
	// Endpoint of the Hub. Pipeline Kit supports no other than the default.
	// Default: https://huggingface.co. Example: https://hub.example.com.
	// +optional
	Endpoint HubEndpoint `json:"endpoint,omitempty"`

	// TokenSecretRef names the key of a Secret with an access token for the Hub,
	// for private and gated models and datasets. Default: no token.
	// Example: {namespace: crossplane-system, name: huggingface, key: token}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	TokenSecretRef *xpv2.SecretKeySelector `json:"tokenSecretRef,omitempty"`

	// Identity of runs at the Hub, in place of a token: a run exchanges the token of its
	// service account at the Hub for a short-lived one, and again before that ends.
	// Nothing is stored. Artifacts with a tokenSecretRef of their own use that. It needs
	// job.namespace and pipeline Stream, which is the default for Artifacts that use it.
	// The provider itself stays anonymous: it can follow public and gated models, and not
	// private ones. Default: none. Example: {resource: models-bot}.
	// +optional
	Identity *HubIdentity `json:"identity,omitempty"`

	// CertSecretRef names a Secret whose key ca.crt has certificate authorities,
	// in PEM, that are trusted for the Hub beside the public ones. Default: the
	// public ones only. Example: {namespace: crossplane-system, name: hub-ca}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.SecretReference `json:"certSecretRef,omitempty"`
}

// A ClusterJobConfig has defaults for the Jobs of runs, and settings that decide
// which code runs with which identity.
type ClusterJobConfig struct {
	JobConfig `json:",inline"`

	PodSettings `json:",inline"`

	// KitImage is the image with kit, for pipeline Kit. Default: the provider's
	// flag --kit-image. Example: registry.example.com/kitops:v1.16.0.
	// +optional
	KitImage string `json:"kitImage,omitempty"`

	// WorkerImage is the image with the worker. It must be of the provider's own
	// version, so that upgrades of the provider have to change it too. Default:
	// the provider's flag --worker-image, else the provider's own image.
	// Example: registry.example.com/provider-kitops:v0.1.0.
	// +optional
	WorkerImage string `json:"workerImage,omitempty"`

	// ServiceAccountName of the Pod, in the namespace where runs execute. Its token
	// is not mounted. Default: the namespace's default account. Example: models.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// ImagePullSecrets for the images above, in the namespace where runs execute.
	// Default: none. Example: [{name: registry-pull}].
	// +optional
	// +listType=atomic
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`

	// Env of the worker beside the provider's own variables. Default: none.
	// Example: [{name: HTTPS_PROXY, value: "http://proxy.example.com:3128"}].
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(e, !(e.name in ['KITOPS_MOUNT_FROM', 'KITOPS_PROGRESS_ADDRESS']))",message="the provider sets KITOPS_MOUNT_FROM and KITOPS_PROGRESS_ADDRESS itself: remove them from env"
	// +kubebuilder:validation:XValidation:rule="self.all(e, e.name != 'HF_TOKEN')",message="runs read no token from the environment: write huggingFace.tokenSecretRef, and remove HF_TOKEN from env"
	Env []corev1.EnvVar `json:"env,omitempty"`

	// HostAliases of the Pod, for hosts that the cluster's DNS does not resolve.
	// Default: none. Example: [{ip: 10.0.0.5, hostnames: [registry.example.com]}].
	// +optional
	// +listType=atomic
	HostAliases []corev1.HostAlias `json:"hostAliases,omitempty"`
}

// A ProviderConfigStatus has the number of Artifacts that use a config, and the
// condition Ready: whether the registry can be reached, is trusted and accepts the
// credentials, and all Secrets that the config names are there.
type ProviderConfigStatus struct {
	xpv2.ProviderConfigStatus `json:",inline"`

	// ObservedGeneration is the metadata.generation that the conditions Ready,
	// Reconciling and Stalled are about: while metadata.generation is another one,
	// they say nothing of the spec as it is. Default: -1, before the first check.
	// Example: 3.
	// +optional
	// +kubebuilder:default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// +kubebuilder:object:root=true

// A ProviderConfig configures registry, Hub, credentials and Jobs for Artifacts of
// its namespace.
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="READY",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="REASON",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].reason"
// +kubebuilder:printcolumn:name="REGISTRY",type="string",JSONPath=".spec.registry.host"
// +kubebuilder:printcolumn:name="USERS",type="integer",JSONPath=".status.users"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="MESSAGE",type="string",priority=1,JSONPath=".status.conditions[?(@.type=='Ready')].message"
// +kubebuilder:resource:scope=Namespaced,categories={crossplane,provider,kitops},shortName=kpc
type ProviderConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ProviderConfigSpec `json:"spec"`

	// +kubebuilder:default={observedGeneration:-1}
	Status ProviderConfigStatus `json:"status,omitempty"`
}

// +kubebuilder:object:root=true

// ProviderConfigList is a list of ProviderConfigs.
type ProviderConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ProviderConfig `json:"items"`
}

// +kubebuilder:object:root=true

// A ClusterProviderConfig configures registry, Hub, credentials and Jobs for
// Artifacts of several namespaces, and limits its use.
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="READY",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="REASON",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].reason"
// +kubebuilder:printcolumn:name="REGISTRY",type="string",JSONPath=".spec.registry.host"
// +kubebuilder:printcolumn:name="USERS",type="integer",JSONPath=".status.users"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="MESSAGE",type="string",priority=1,JSONPath=".status.conditions[?(@.type=='Ready')].message"
// +kubebuilder:resource:scope=Cluster,categories={crossplane,provider,kitops},shortName=kcpc
type ClusterProviderConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ClusterProviderConfigSpec `json:"spec"`

	// +kubebuilder:default={observedGeneration:-1}
	Status ProviderConfigStatus `json:"status,omitempty"`
}

// +kubebuilder:object:root=true

// ClusterProviderConfigList is a list of ClusterProviderConfigs.
type ClusterProviderConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterProviderConfig `json:"items"`
}

// +kubebuilder:object:root=true

// A ProviderConfigUsage records that an Artifact uses a ProviderConfig or a
// ClusterProviderConfig, which is not deleted meanwhile.
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="CONFIG-KIND",type="string",JSONPath=".providerConfigRef.kind"
// +kubebuilder:printcolumn:name="CONFIG-NAME",type="string",JSONPath=".providerConfigRef.name"
// +kubebuilder:printcolumn:name="RESOURCE-KIND",type="string",JSONPath=".resourceRef.kind"
// +kubebuilder:printcolumn:name="RESOURCE-NAME",type="string",JSONPath=".resourceRef.name"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:resource:scope=Namespaced,categories={crossplane,provider,kitops}
type ProviderConfigUsage struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	xpv2.TypedProviderConfigUsage `json:",inline"`
}

// +kubebuilder:object:root=true

// ProviderConfigUsageList is a list of ProviderConfigUsages.
type ProviderConfigUsageList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ProviderConfigUsage `json:"items"`
}
