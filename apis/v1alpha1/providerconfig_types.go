package v1alpha1

import (
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultHubEndpoint is where models come from unless a ProviderConfig names
// another Hub.
const DefaultHubEndpoint = "https://huggingface.co"

// A RegistryHost is a registry's host, with a port where it needs one.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]+)?$') && (self.contains('.') || self.contains(':')) && !self.contains('..')",message="a registry is a host with a dot or a port and nothing else: write registry.example.com or localhost:5000, without https:// and without a path"
type RegistryHost string

// A HubEndpoint is the address of a Hugging Face Hub or a mirror of it.
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]+)?(/[a-zA-Z0-9._/-]*)?$')",message="endpoint must be a URL: write https://huggingface.co or the address of a mirror"
type HubEndpoint string

// A ProviderConfigSpec configures the provider for one namespace. All Secrets
// that it names are in that namespace.
type ProviderConfigSpec struct {
	// Registry that Artifacts are pushed to.
	Registry RegistryConfig `json:"registry"`

	// HuggingFace says how the Hugging Face Hub is reached.
	// +optional
	HuggingFace *HuggingFaceConfig `json:"huggingFace,omitempty"`

	// Job holds the defaults for the Jobs of Artifacts.
	// +optional
	Job *JobConfig `json:"job,omitempty"`
}

// A RegistryConfig says how a registry is reached.
type RegistryConfig struct {
	// Host of the registry. Example: registry.example.com or 10.0.0.5:5000.
	Host RegistryHost `json:"host"`

	// PlainHTTP speaks to the registry without TLS. Default: false.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`

	// CertSecretRef names a Secret, in PEM: its key ca.crt holds the
	// certificate authorities that are trusted for the registry beside the
	// public ones, and its keys tls.crt and tls.key a client certificate and
	// its private key. Either may be missing. Default: the public authorities
	// only, and no client certificate.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.LocalSecretReference `json:"certSecretRef,omitempty"`

	// Credentials for the registry. They are sent to its host only.
	Credentials RegistryCredentials `json:"credentials"`
}

// RegistryCredentials say who the provider is to a registry.
// +kubebuilder:validation:XValidation:rule="(self.source == 'Secret') == has(self.secretRef)",message="write source: Secret together with secretRef, or source: None without it"
type RegistryCredentials struct {
	// Source of the credentials: Secret, or None for a registry that lets
	// anybody push.
	// +kubebuilder:validation:Enum=None;Secret
	Source xpv2.CredentialsSource `json:"source"`

	// SecretRef names a Secret of type kubernetes.io/dockerconfigjson with an
	// entry for the registry's host, as kubectl create secret docker-registry
	// makes it. As for image pull secrets, an entry may also be for the
	// beginning of a repository (registry.example.com/models) or for many
	// hosts (*.example.com); the most specific one is used.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	SecretRef *xpv2.LocalSecretReference `json:"secretRef,omitempty"`
}

// A HuggingFaceConfig says how a Hugging Face Hub is reached.
type HuggingFaceConfig struct {
	// Endpoint of the Hub. Default: https://huggingface.co. Another one, such
	// as a mirror, works with pipeline Stream only, since kit knows no other.
	// +optional
	Endpoint HubEndpoint `json:"endpoint,omitempty"`

	// TokenSecretRef names the Secret and the key that hold an access token
	// for the Hub, for private and gated models. Default: no token.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	TokenSecretRef *xpv2.LocalSecretKeySelector `json:"tokenSecretRef,omitempty"`

	// CertSecretRef names a Secret whose key ca.crt holds the certificate
	// authorities, in PEM, that are trusted for the Hub beside the public
	// ones. Default: the public ones only.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.LocalSecretReference `json:"certSecretRef,omitempty"`
}

// A JobConfig holds the defaults for the Jobs of Artifacts.
type JobConfig struct {
	JobSettings `json:",inline"`

	// Pipeline of Artifacts that set none: Kit or Stream. Artifacts that only
	// Stream can make (of datasets, of chosen files, from an OCI registry or
	// another Hub, as an Image) are made by Stream all the same. Changing it
	// rebuilds no artifact that exists and stops no run in progress: it applies
	// to what is built from then on. Default: Kit. Example: Stream.
	// +optional
	Pipeline PipelineType `json:"pipeline,omitempty"`

	// Storage is the default workspace of the Kit pipeline.
	// +optional
	Storage *StorageSettings `json:"storage,omitempty"`
}

// A ClusterProviderConfigSpec configures the provider for many namespaces.
type ClusterProviderConfigSpec struct {
	// Registry that Artifacts are pushed to.
	Registry ClusterRegistryConfig `json:"registry"`

	// NamespaceSelector picks the namespaces whose Artifacts may use this
	// config, by their labels. Default: all namespaces.
	// Example: {matchLabels: {models: "true"}}.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// HuggingFace says how the Hugging Face Hub is reached.
	// +optional
	HuggingFace *ClusterHuggingFaceConfig `json:"huggingFace,omitempty"`

	// Job holds the defaults for the Jobs of Artifacts, and what only the
	// cluster's administrator may choose.
	// +optional
	Job *ClusterJobConfig `json:"job,omitempty"`

	// Policy bounds what the config may be used for.
	// +optional
	Policy *ClusterPolicy `json:"policy,omitempty"`
}

// A ClusterRegistryConfig says how a registry is reached.
type ClusterRegistryConfig struct {
	// Host of the registry. Example: registry.example.com or 10.0.0.5:5000.
	Host RegistryHost `json:"host"`

	// PlainHTTP speaks to the registry without TLS. Default: false.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`

	// RepositoryPrefix is what the repositories start with that an Artifact
	// may push to, delete from, or observe. {namespace} stands for the
	// Artifact's namespace. With it, Artifacts may use no other registry.
	// Default: any repository. Example: models/{namespace}/.
	// +optional
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9._-]*(\\\\{namespace\\\\})?[a-z0-9._-]*/)+$') && !self.contains('..') && !self.startsWith('/') && !self.contains('//')",message="repositoryPrefix must be parts of a repository that each end with /: write models/ or models/{namespace}/"
	RepositoryPrefix string `json:"repositoryPrefix,omitempty"`

	// CertSecretRef names a Secret, in PEM: its key ca.crt holds the
	// certificate authorities that are trusted for the registry beside the
	// public ones, and its keys tls.crt and tls.key a client certificate and
	// its private key. Either may be missing. Default: the public authorities
	// only, and no client certificate.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.SecretReference `json:"certSecretRef,omitempty"`

	// Credentials for the registry. They are sent to its host only. While a
	// run lasts, its one entry of them is in a Secret beside the Artifact.
	Credentials ClusterRegistryCredentials `json:"credentials"`
}

// ClusterRegistryCredentials say who the provider is to a registry.
// +kubebuilder:validation:XValidation:rule="(self.source == 'Secret') == has(self.secretRef)",message="write source: Secret together with secretRef, or source: None without it"
type ClusterRegistryCredentials struct {
	// Source of the credentials: Secret, or None for a registry that lets
	// anybody push.
	// +kubebuilder:validation:Enum=None;Secret
	Source xpv2.CredentialsSource `json:"source"`

	// SecretRef names a Secret of type kubernetes.io/dockerconfigjson with an
	// entry for the registry's host, as kubectl create secret docker-registry
	// makes it. As for image pull secrets, an entry may also be for the
	// beginning of a repository (registry.example.com/models) or for many
	// hosts (*.example.com); the most specific one is used.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	SecretRef *xpv2.SecretReference `json:"secretRef,omitempty"`
}

// A ClusterHuggingFaceConfig says how a Hugging Face Hub is reached.
type ClusterHuggingFaceConfig struct {
	// Endpoint of the Hub. Default: https://huggingface.co. Another one, such
	// as a mirror, works with pipeline Stream only, since kit knows no other.
	// +optional
	Endpoint HubEndpoint `json:"endpoint,omitempty"`

	// TokenSecretRef names the Secret and the key that hold an access token
	// for the Hub, for private and gated models. Default: no token.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	TokenSecretRef *xpv2.SecretKeySelector `json:"tokenSecretRef,omitempty"`

	// CertSecretRef names a Secret whose key ca.crt holds the certificate
	// authorities, in PEM, that are trusted for the Hub beside the public
	// ones. Default: the public ones only.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.SecretReference `json:"certSecretRef,omitempty"`
}

// A ClusterJobConfig holds the defaults for the Jobs of Artifacts, and what
// decides which code runs as whom.
type ClusterJobConfig struct {
	JobConfig `json:",inline"`

	// KitImage is the image that holds kit, for the Kit pipeline. Default: the
	// provider's flag --kit-image.
	// +optional
	KitImage string `json:"kitImage,omitempty"`

	// WorkerImage is the image that holds the worker. Default: the provider's
	// flag --worker-image.
	// +optional
	WorkerImage string `json:"workerImage,omitempty"`

	// ServiceAccountName that the Pod runs as, in the Artifact's namespace.
	// Its token is not mounted. Default: the namespace's default account.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// ImagePullSecrets for the images above, in the Artifact's namespace.
	// +optional
	// +listType=atomic
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`

	// Env that the worker gets beside what the provider sets, for example
	// HTTPS_PROXY.
	// +optional
	// +listType=atomic
	Env []corev1.EnvVar `json:"env,omitempty"`

	// HostAliases of the Pod, for hosts that the cluster's DNS does not know.
	// +optional
	// +listType=atomic
	HostAliases []corev1.HostAlias `json:"hostAliases,omitempty"`
}

// A ProviderConfigStatus counts who uses a ProviderConfig.
type ProviderConfigStatus struct {
	xpv2.ProviderConfigStatus `json:",inline"`
}

// +kubebuilder:object:root=true

// A ProviderConfig says where the Artifacts of its namespace go and with which
// credentials.
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="REGISTRY",type="string",JSONPath=".spec.registry.host"
// +kubebuilder:printcolumn:name="USERS",type="integer",JSONPath=".status.users"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:resource:scope=Namespaced,categories={crossplane,provider,kitops}
type ProviderConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ProviderConfigSpec   `json:"spec"`
	Status ProviderConfigStatus `json:"status,omitempty"`
}

// +kubebuilder:object:root=true

// ProviderConfigList holds ProviderConfigs.
type ProviderConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ProviderConfig `json:"items"`
}

// +kubebuilder:object:root=true

// A ClusterProviderConfig says where Artifacts of any namespace go and with
// which credentials.
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="REGISTRY",type="string",JSONPath=".spec.registry.host"
// +kubebuilder:printcolumn:name="USERS",type="integer",JSONPath=".status.users"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:resource:scope=Cluster,categories={crossplane,provider,kitops}
type ClusterProviderConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ClusterProviderConfigSpec `json:"spec"`
	Status ProviderConfigStatus      `json:"status,omitempty"`
}

// +kubebuilder:object:root=true

// ClusterProviderConfigList holds ClusterProviderConfigs.
type ClusterProviderConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterProviderConfig `json:"items"`
}

// +kubebuilder:object:root=true

// A ProviderConfigUsage says that an Artifact uses a ProviderConfig or a
// ClusterProviderConfig, which is not deleted while that is so.
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

// ProviderConfigUsageList holds ProviderConfigUsages.
type ProviderConfigUsageList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ProviderConfigUsage `json:"items"`
}
