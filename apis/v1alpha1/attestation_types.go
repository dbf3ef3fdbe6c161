package v1alpha1

import (
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
)

// Default keys of the Secret with a signing key, as cosign generate-key-pair writes
// them.
const (
	DefaultSigningKey         = "cosign.key"
	DefaultSigningKeyPassword = "cosign.password"
)

// An AttestationSpec decides how artifacts are signed.
// +kubebuilder:validation:XValidation:rule="!(has(self.keySecretRef) && has(self.keyless))",message="artifacts are signed with a key or by an identity: write keySecretRef or keyless, not both"
// +kubebuilder:validation:XValidation:rule="!(has(self.keyless) && has(self.legacyTags) && self.legacyTags)",message="legacyTags needs a key, which keyless does not have: remove legacyTags, or write keySecretRef instead of keyless"
type AttestationSpec struct {
	// KeySecretRef names the Secret with the private key that signs for Artifacts
	// that use this config, as cosign generate-key-pair k8s://namespace/name writes
	// it: an ECDSA key on curve P-256 in PEM, encrypted by cosign, or as PKCS#8 or
	// SEC 1. All public keys in cosign.pub of the Secret verify, so that earlier keys
	// can stay there when the key is rotated. The namespace must have neither
	// Artifacts nor runs (job.namespace): whoever works there could exchange the key.
	// While the key is missing or cannot be used, nothing is committed, and Artifacts
	// that are Ready stay so. Default: the provider's own key.
	// Example: {namespace: crossplane-system, name: models-cosign}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != '' && self.__namespace__ != ''",message="a Secret has a name and a namespace: write both"
	KeySecretRef *SigningKeySelector `json:"keySecretRef,omitempty"`

	// Keyless signs by the identity of the provider's ServiceAccount, without a key that
	// anyone keeps: with certificates that the Fulcio of a Sigstore issues for it.
	// While that cannot be reached, nothing is committed for Artifacts that use this
	// config, and Artifacts that are Ready stay so. Default: a key signs. Example: see
	// its fields.
	// +optional
	Keyless *KeylessSpec `json:"keyless,omitempty"`

	// Copies decides how artifacts are attested that are copied with their digest
	// (source.oci with the same format): Skip signs who owns a copy under a type that
	// only the provider reads, so that signatures of its author under cosign's legacy
	// tags verify as before. Attest signs copies as all else, with a Sigstore bundle:
	// cosign, Kyverno and Flux then read bundles alone, and an author's signature
	// under a legacy tag no longer verifies. It applies to what is committed from then
	// on. Default: Skip. Example: Attest.
	// +optional
	Copies CopyAttestation `json:"copies,omitempty"`

	// LegacyTags also writes signatures and attestations under the tags
	// sha256-….sig and sha256-….att, for verifiers that read nothing else, such as
	// policy-controller with a key. What others have signed there stays. It applies to
	// what is committed from then on. Default: false. Example: true.
	// +optional
	LegacyTags bool `json:"legacyTags,omitempty"`
}

// A CopyAttestation decides how copies are attested.
// +kubebuilder:validation:Enum=Skip;Attest
type CopyAttestation string

const (
	// CopyAttestationSkip signs copies for the provider alone.
	CopyAttestationSkip CopyAttestation = "Skip"

	// CopyAttestationAttest signs copies for verifiers, too.
	CopyAttestationAttest CopyAttestation = "Attest"
)

// A SigningKeySelector names a private key in a Secret.
type SigningKeySelector struct {
	xpv2.SecretReference `json:",inline"`

	// Key of the Secret that has the private key. Default: cosign.key.
	// Example: tls.key.
	// +optional
	Key string `json:"key,omitempty"`

	// PasswordKey is the key of the Secret that has the password of an encrypted
	// private key. A Secret without it stands for the empty password. Default:
	// cosign.password. Example: password.
	// +optional
	PasswordKey string `json:"passwordKey,omitempty"`
}

// DefaultTrustedRootKey is the default key of a Secret that has a trusted root.
const DefaultTrustedRootKey = "trusted_root.json"

// A ServiceURL is the address of a service.
// +kubebuilder:validation:MaxLength=500
// +kubebuilder:validation:Pattern=`^https?://[^\s/?#@]+(/[^\s?#@]*)?$`
type ServiceURL string

// A KeylessSpec names the Sigstore by which the provider signs, and who it is there. The
// provider sends the token of its ServiceAccount that is projected to
// /var/run/sigstore/cosign/oidc-token, as its DeploymentRuntimeConfig has it, to fulcioURL
// alone.
// +kubebuilder:validation:XValidation:rule="has(self.rekorURL) || has(self.timestampURL)",message="something must say when a certificate was used: write rekorURL or timestampURL, or both"
// +kubebuilder:validation:XValidation:rule="has(self.plainHTTP) && self.plainHTTP || [self.fulcioURL, has(self.rekorURL) ? self.rekorURL : self.fulcioURL, has(self.timestampURL) ? self.timestampURL : self.fulcioURL].all(u, u.matches('^(https://|http://(localhost|127[.][0-9.]+|[[]::1[]])([:/]|$))'))",message="a service has TLS: write https://, or plainHTTP: true if the provider's token may be sent unencrypted"
// +kubebuilder:validation:XValidation:rule="!has(self.caBundle) || [self.fulcioURL, has(self.rekorURL) ? self.rekorURL : self.fulcioURL, has(self.timestampURL) ? self.timestampURL : self.fulcioURL].exists(u, u.startsWith('https://'))",message="caBundle is for services with TLS, and none of these has it: write https://, or remove caBundle"
type KeylessSpec struct {
	// FulcioURL is the address of the certificate authority. It must trust the issuer
	// of the cluster's tokens. Example: https://fulcio.example.com.
	FulcioURL ServiceURL `json:"fulcioURL"`

	// RekorURL is the address of the transparency log, which must have Rekor's API of
	// version 1. A log makes the registry, the repository and the Artifact's name
	// known to all who can read it. Default: nothing is logged, and timestampURL is
	// required. Example: https://rekor.example.com.
	// +optional
	RekorURL ServiceURL `json:"rekorURL,omitempty"`

	// TimestampURL is the address of the RFC 3161 timestamp authority. Without a path
	// it is that of Sigstore's own, /api/v1/timestamp. Default: the log's time counts,
	// and rekorURL is required. Example: https://tsa.example.com.
	// +optional
	TimestampURL ServiceURL `json:"timestampURL,omitempty"`

	// PlainHTTP allows addresses that begin with http://, as of services in the cluster.
	// The provider's token is sent unencrypted then. Default: false; only addresses of
	// the same machine, such as http://127.0.0.1:5555, need no TLS. Example: true.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`

	// CABundle are certificate authorities in PEM that are trusted for these services
	// beside the system's. Default: the system's. Example: the content of a ca.crt.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`

	// Identity that the certificates name. What another identity has signed is no
	// proof of ownership. It is required.
	Identity KeylessIdentity `json:"identity"`

	// TrustedRootSecretRef names the Secret with the Sigstore's trusted_root.json, as
	// cosign trusted-root create makes it, by which what was signed must verify. The
	// namespace must have no Artifacts, and no runs may execute there, as for
	// keySecretRef. It is required.
	// Example: {namespace: crossplane-system, name: sigstore}.
	// +kubebuilder:validation:XValidation:rule="self.name != '' && self.__namespace__ != ''",message="a Secret has a name and a namespace: write both"
	TrustedRootSecretRef KeylessTrustedRootSelector `json:"trustedRootSecretRef"`
}

// A KeylessIdentity is what a certificate of Fulcio names. Both values are exact.
type KeylessIdentity struct {
	// Issuer of the provider's tokens: the cluster's, as kubectl get --raw
	// /.well-known/openid-configuration shows it, or what Fulcio maps it to.
	// Example: https://kubernetes.default.svc.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=500
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('^')",message="the identity that signs is exact: write it without a regular expression"
	Issuer string `json:"issuer"`

	// Subject of the certificates: of a ServiceAccount,
	// https://kubernetes.io/namespaces/NAMESPACE/serviceaccounts/NAME.
	// Example: https://kubernetes.io/namespaces/crossplane-system/serviceaccounts/provider-kitops.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=500
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('^')",message="the identity that signs is exact: write it without a regular expression"
	Subject string `json:"subject"`
}

// A KeylessTrustedRootSelector names a trusted root in a Secret.
type KeylessTrustedRootSelector struct {
	xpv2.SecretReference `json:",inline"`

	// Key of the Secret that has the trusted root. Default: trusted_root.json.
	// Example: root.json.
	// +optional
	Key string `json:"key,omitempty"`
}
