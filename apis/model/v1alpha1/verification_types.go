package v1alpha1

// A VerificationProvider is the kind of signatures that are verified.
// +kubebuilder:validation:Enum=cosign
type VerificationProvider string

// VerificationCosign verifies signatures as cosign makes them.
const VerificationCosign VerificationProvider = "cosign"

// A Verification says who must have signed an artifact: the owner of one of some
// public keys, or, without a key, one of some identities. Sigstore bundles among the artifact's referrers count, and
// signatures and attestations under cosign's tags .sig and .att.
// +kubebuilder:validation:XValidation:rule="(has(self.key) ? 1 : 0) + (has(self.secretRef) ? 1 : 0) + (has(self.configMapRef) ? 1 : 0) + (has(self.matchOIDCIdentity) ? 1 : 0) == 1",message="verify needs one of key, secretRef, configMapRef and matchOIDCIdentity: write key with a public key in PEM, secretRef or configMapRef with name, or matchOIDCIdentity with issuer and subject"
// +kubebuilder:validation:XValidation:rule="(has(self.trustedRootSecretRef) ? 1 : 0) + (has(self.trustedRootConfigMapRef) ? 1 : 0) == (has(self.matchOIDCIdentity) ? 1 : 0)",message="identities are verified by one trusted root, and keys by none: write trustedRootConfigMapRef or trustedRootSecretRef with name beside matchOIDCIdentity"
type Verification struct {
	// Provider of the signatures. Default: cosign. Example: cosign.
	// +optional
	// +kubebuilder:default=cosign
	Provider VerificationProvider `json:"provider,omitempty"`

	// Key is a public key in PEM, as in cosign.pub, or several, of which one must
	// have signed: ECDSA, RSA or Ed25519.
	// Example: "-----BEGIN PUBLIC KEY-----\nMFkw...\n-----END PUBLIC KEY-----".
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN PUBLIC KEY-----') && self.contains('-----END PUBLIC KEY-----') && !self.contains('PRIVATE KEY')",message="key must be a public key in PEM: write what cosign.pub contains, from -----BEGIN PUBLIC KEY----- to -----END PUBLIC KEY-----"
	Key string `json:"key,omitempty"`

	// SecretRef names a Secret in the Artifact's namespace with such keys. A change
	// of the Secret starts a failed run again. Example: {name: upstream-keys}.
	// +optional
	SecretRef *PublicKeySelector `json:"secretRef,omitempty"`

	// ConfigMapRef names a ConfigMap in the Artifact's namespace with such keys.
	// Example: {name: upstream-keys, key: cosign.pub}.
	// +optional
	ConfigMapRef *PublicKeySelector `json:"configMapRef,omitempty"`

	// MatchOIDCIdentity lists identities of which one must have signed, with a
	// short-lived certificate of Sigstore. It needs a trusted root.
	// Example: [{issuer: "https://token.actions.githubusercontent.com", subject: "^https://github\\.com/org/repo/.*$"}].
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	MatchOIDCIdentity []OIDCIdentity `json:"matchOIDCIdentity,omitempty"`

	// TrustedRootSecretRef names a Secret in the Artifact's namespace with the
	// trusted_root.json of a Sigstore, public or private. All that it names is
	// required of a signature: a transparency log, a timestamp, a logged
	// certificate. Example: {name: sigstore}.
	// +optional
	TrustedRootSecretRef *TrustedRootSelector `json:"trustedRootSecretRef,omitempty"`

	// TrustedRootConfigMapRef names a ConfigMap with it instead.
	// Example: {name: sigstore, key: trusted_root.json}.
	// +optional
	TrustedRootConfigMapRef *TrustedRootSelector `json:"trustedRootConfigMapRef,omitempty"`

	// PredicateType is the type of an attestation that the artifact must have,
	// signed by one of these: a URI, as in the in-toto statement. What the
	// attestation says is not evaluated. Default: any signature, or any statement
	// in a bundle, as cosign verify and Flux accept them.
	// Example: https://slsa.dev/provenance/v1.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z][a-z0-9+.-]*:[^ ]+$')",message="predicateType must be a URI: write https://slsa.dev/provenance/v1, not cosign's short name slsaprovenance1"
	PredicateType string `json:"predicateType,omitempty"`
}

// A PublicKeySelector names a key of a Secret or a ConfigMap in the Artifact's
// namespace.
type PublicKeySelector struct {
	// Name of the Secret or the ConfigMap. Example: upstream-keys.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Key in it. Default: cosign.pub, as cosign generate-key-pair names it.
	// Example: upstream.pub.
	// +optional
	// +kubebuilder:default=cosign.pub
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.endsWith('.pub')",message="key must end in .pub, so that no private key gets into a Pod: write cosign.pub"
	Key string `json:"key,omitempty"`
}

// An OIDCIdentity is who may have signed. Each field is the exact text, or a regular
// expression (https://pkg.go.dev/regexp/syntax) for the whole of it that begins with
// ^ and ends with $, as Flux has them.
type OIDCIdentity struct {
	// Issuer of the identity: the URL of an OIDC provider.
	// Example: https://token.actions.githubusercontent.com.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Issuer string `json:"issuer"`

	// Subject of the certificate: an e-mail address or a URI.
	// Example: ^https://github\.com/org/repo/\.github/workflows/release\.yaml@refs/tags/v.*$.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Subject string `json:"subject"`
}

// A TrustedRootSelector names a key of a Secret or a ConfigMap in the Artifact's
// namespace.
type TrustedRootSelector struct {
	// Name of the Secret or the ConfigMap. Example: sigstore.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Key in it. Default: trusted_root.json. Example: root.json.
	// +optional
	// +kubebuilder:default=trusted_root.json
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.endsWith('.json')",message="key must end in .json: write trusted_root.json"
	Key string `json:"key,omitempty"`
}
