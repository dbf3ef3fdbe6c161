package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// Effective holds the settings that a run needs beside the Artifact's spec, from
// its ProviderConfig and the provider's flags. Its zero value stands for a public
// registry and the public Hub.
type Effective struct {
	// RunNamespace is the namespace in which runs execute; empty for the
	// Artifact's own. In another one, all Secrets below are copies: there are none
	// of the Artifact's namespace.
	RunNamespace string

	// Registry to push to if the Artifact's target names none.
	Registry string

	// PlainHTTP connects to the registry without TLS.
	PlainHTTP bool

	// RegistryCredentials selects the registry's dockerconfigjson in a Secret of
	// the Artifact's namespace.
	RegistryCredentials *corev1.SecretKeySelector

	// RegistryIdentity is the cloud whose identity of the Pod's service account a run
	// uses for its registry: aws, google or azure; empty for the credentials below.
	RegistryIdentity string

	// CopiedCredentials selects a copy of the one entry for the registry. It
	// replaces RegistryCredentials and the Artifact's own if these have the entry
	// under a key other than the registry's host.
	CopiedCredentials *corev1.SecretKeySelector

	// CopiedSecretName is the name of the Secret in the Artifact's namespace with
	// a run's copied credentials; empty until that is created.
	CopiedSecretName string

	// RegistryCA selects the certificate authorities that are trusted for the
	// registry.
	RegistryCA *corev1.SecretKeySelector

	// RegistryCertificate selects the client certificate for the registry, and
	// RegistryKey its private key.
	RegistryCertificate, RegistryKey *corev1.SecretKeySelector

	// HubEndpoint of the Hugging Face Hub; empty for the public one.
	HubEndpoint string

	// HubToken selects the token for the Hub.
	HubToken *corev1.SecretKeySelector

	// HubTokenHosts selects the hosts that the token may be sent to, which must have that
	// of the Hub; nil for any.
	HubTokenHosts *corev1.SecretKeySelector

	// HubIdentity is the resource of the Hub for which a run without a token exchanges the
	// token of its service account; empty for none.
	HubIdentity string

	// SourceIdentity reports whether a run uses the identity of the Pod's service account
	// for the Artifact's bucket.
	SourceIdentity bool

	// HubCA selects the certificate authorities that are trusted for the Hub.
	HubCA *corev1.SecretKeySelector

	// Source configures the connection to the registry of the Artifact's
	// source.oci if that is the ProviderConfig's registry; nil if it is another
	// one, which the Artifact configures itself.
	Source *SourceAccess

	// WorkerImage has the worker.
	WorkerImage string

	// ServiceAccountName of the Pod.
	ServiceAccountName string

	// ImagePullSecrets of the Pod.
	ImagePullSecrets []corev1.LocalObjectReference

	// Env of the worker beside the provider's own variables.
	Env []corev1.EnvVar

	// HostAliases of the Pod.
	HostAliases []corev1.HostAlias

	// Pod has the settings of Pods and Jobs that only an administrator may choose.
	Pod v1alpha1.PodSettings

	// MaxPods is how many Pods one run may have at a time, by the limits on runs; 0 for any
	// number.
	MaxPods int32

	// ConfigHash identifies the state of the ProviderConfig and of the Secrets
	// that a run uses; empty where no run is started.
	ConfigHash string

	// MountFrom names artifacts in other repositories of the registry, as
	// repository@digest, that may have the same blobs.
	MountFrom []string

	// Policy is what a run may package, as policy.Set encodes it; empty for anything.
	Policy string

	// Pipeline of an Artifact that names none; empty for the provider's default.
	Pipeline v1alpha1.PipelineType

	// Storage is the default workspace.
	Storage *v1alpha1.StorageSettings

	// Job has the default settings of Jobs.
	Job *v1alpha1.JobSettings
}

// A SourceAccess configures the connection to the registry that a run reads from.
type SourceAccess struct {
	// PlainHTTP connects without TLS.
	PlainHTTP bool

	// Credentials selects its dockerconfigjson; nil for none.
	Credentials *corev1.SecretKeySelector

	// Identity reports whether a run uses the identity of the Pod's service account
	// for it.
	Identity bool

	// CA selects the certificate authorities that are trusted for it.
	CA *corev1.SecretKeySelector

	// Certificate selects the client certificate for it, and Key its private key.
	Certificate, Key *corev1.SecretKeySelector

	// VerifyKey and TrustedRoot select copies of what the source is verified by;
	// nil if the run mounts the Artifact's own.
	VerifyKey, TrustedRoot *corev1.SecretKeySelector
}
