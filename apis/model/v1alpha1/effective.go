package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// Effective is what a run needs to know and the Artifact's own spec does not
// say: it comes from the Artifact's ProviderConfig and from the provider's
// flags. Its zero value stands for a public registry and the public Hub.
type Effective struct {
	// Registry to push to where the Artifact's target names none.
	Registry string

	// PlainHTTP speaks to the registry without TLS.
	PlainHTTP bool

	// RegistryCredentials is the key that holds the registry's
	// dockerconfigjson, of a Secret in the Artifact's namespace.
	RegistryCredentials *corev1.SecretKeySelector

	// CopiedCredentials is the key that holds the one entry for the registry of
	// the dockerconfigjson that RegistryCredentials or the Artifact itself
	// names, where that has the entry under another name than the registry's
	// host. It takes their place.
	CopiedCredentials *corev1.SecretKeySelector

	// CopiedSecretName is the name of the Secret in the Artifact's namespace that
	// holds what a run gets by a copy; empty until it is made.
	CopiedSecretName string

	// RegistryCA is the key that holds the certificate authorities that are
	// trusted for the registry.
	RegistryCA *corev1.SecretKeySelector

	// RegistryCertificate is the key that holds the client certificate for the
	// registry, and RegistryKey the one that holds its private key.
	RegistryCertificate, RegistryKey *corev1.SecretKeySelector

	// HubEndpoint of the Hugging Face Hub; empty for the public one.
	HubEndpoint string

	// HubToken is the key that holds the token for the Hub.
	HubToken *corev1.SecretKeySelector

	// HubCA is the key that holds the certificate authorities that are trusted
	// for the Hub.
	HubCA *corev1.SecretKeySelector

	// Source is how the registry is reached that the Artifact's source.oci
	// names, where that is the ProviderConfig's; nil where it is another one, of
	// which the Artifact itself says how.
	Source *SourceAccess

	// WorkerImage holds the worker.
	WorkerImage string

	// ServiceAccountName that the Pod runs as.
	ServiceAccountName string

	// ImagePullSecrets of the Pod.
	ImagePullSecrets []corev1.LocalObjectReference

	// Env of the worker beside what the provider sets.
	Env []corev1.EnvVar

	// HostAliases of the Pod.
	HostAliases []corev1.HostAlias

	// ConfigHash identifies the state of the ProviderConfig and of the Secrets
	// that a run uses; empty where that is of no interest.
	ConfigHash string

	// MountFrom names artifacts in other repositories of the registry, as
	// repository@digest, that may have the same blobs.
	MountFrom []string

	// Pipeline where the Artifact does not say; empty for the provider's default.
	Pipeline v1alpha1.PipelineType

	// Storage is the workspace where the Artifact does not say.
	Storage *v1alpha1.StorageSettings

	// Job holds the settings where the Artifact does not say.
	Job *v1alpha1.JobSettings
}

// A SourceAccess says how a run reaches the registry that it reads from.
type SourceAccess struct {
	// PlainHTTP speaks to it without TLS.
	PlainHTTP bool

	// Credentials is the key that holds its dockerconfigjson; nil for none.
	Credentials *corev1.SecretKeySelector

	// CA is the key that holds the certificate authorities that are trusted for
	// it.
	CA *corev1.SecretKeySelector

	// Certificate is the key that holds the client certificate for it, and Key
	// the one that holds its private key.
	Certificate, Key *corev1.SecretKeySelector
}
