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
