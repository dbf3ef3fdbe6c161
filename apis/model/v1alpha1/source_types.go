package v1alpha1

import (
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A RevisionPolicy decides whether an artifact follows a revision that moves.
// +kubebuilder:validation:Enum=Pinned;Follow
type RevisionPolicy string

// Policies of a revision.
const (
	// RevisionPinned keeps the commit of the first run.
	RevisionPinned RevisionPolicy = "Pinned"

	// RevisionFollow rebuilds the artifact when the revision moves.
	RevisionFollow RevisionPolicy = "Follow"
)

// A HuggingFaceSource is a model or a dataset on a Hugging Face Hub.
// +kubebuilder:validation:XValidation:rule="has(self.model) != has(self.dataset)",message="exactly one of model and dataset is required: write model: organisation/name, or dataset: organisation/name"
type HuggingFaceSource struct {
	// Model to package, as the Hub names it: organisation/name. Exactly one of
	// model and dataset is required. Example: Qwen/Qwen3-0.6B.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=193
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-zA-Z0-9][a-zA-Z0-9._-]*/)?[a-zA-Z0-9][a-zA-Z0-9._-]*$') && !self.contains('..') && !self.contains('--') && !self.matches('^(api|datasets|models|spaces)/')",message="model must be as the Hub names it: write organisation/name, for example Qwen/Qwen3-0.6B, without https:// and without a revision"
	Model string `json:"model,omitempty"`

	// Dataset to package in place of a model, as the Hub names it:
	// organisation/name. Pipeline Kit does not support it.
	// Example: openai/gsm8k.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=193
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-zA-Z0-9][a-zA-Z0-9._-]*/)?[a-zA-Z0-9][a-zA-Z0-9._-]*$') && !self.contains('..') && !self.contains('--') && !self.matches('^(api|datasets|models|spaces)/')",message="dataset must be as the Hub names it: write organisation/name, for example openai/gsm8k, without https://, without datasets/ and without a revision"
	Dataset string `json:"dataset,omitempty"`

	// Files of the model or dataset to package. Pipeline Kit does not support
	// it. Default: all files. Example: {include: ["*.safetensors", "*.json"]}.
	// +optional
	Files *FileFilter `json:"files,omitempty"`

	// Revision of the model or dataset: a branch, a tag or a commit. It is
	// resolved to a commit when a run starts; see revisionPolicy. Default: main.
	// Example: v1.0.
	// +optional
	// +kubebuilder:default=main
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9]([a-zA-Z0-9._/-]*[a-zA-Z0-9_-])?$') && !self.contains('..') && !self.contains('//') && !self.contains('/.')",message="revision must be a branch, a tag or a commit: write main, v1.0, refs/pr/1 or 40 hex digits"
	Revision string `json:"revision,omitempty"`

	// RevisionPolicy decides what happens when the branch or tag in revision
	// moves to another commit. Pinned keeps the first run's commit, also if the
	// artifact has to be rebuilt. Follow checks the Hub every followInterval and
	// rebuilds the artifact under the same tag; the old artifact stays until the
	// new one is complete. Default: Pinned. Example: Follow.
	// +optional
	// +kubebuilder:default=Pinned
	RevisionPolicy RevisionPolicy `json:"revisionPolicy,omitempty"`

	// FollowInterval between two checks of the Hub with revisionPolicy Follow. A
	// check may be later if the Hub limits the rate of requests. Default: 1h.
	// Example: 15m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('720h')",message="followInterval must be from 1m to 720h: write 15m or 24h"
	FollowInterval *metav1.Duration `json:"followInterval,omitempty"`

	// TokenSecretRef names a Secret in the Artifact's namespace with an access
	// token for the Hub, for private and gated models and datasets. Default: the
	// ProviderConfig's token. Example: {name: huggingface, key: token}.
	// +optional
	TokenSecretRef *SecretKeySelector `json:"tokenSecretRef,omitempty"`
}

// A FileFilter selects files by patterns of their paths: * matches any
// characters, slashes too, ? any one character, [abc] one of these, and a pattern
// that ends with a slash all files in the folder. Patterns are case-sensitive.
// +kubebuilder:validation:XValidation:rule="has(self.include) || has(self.exclude)",message="files needs patterns: write include: [\"*.safetensors\", \"*.json\"], or exclude: [original/], or leave files out"
type FileFilter struct {
	// Include lists patterns of which a file must match one. Default: all files
	// match. Example: ["*.safetensors", "*.json", "tokenizer*"].
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Include []string `json:"include,omitempty"`

	// Exclude lists patterns of which a file must match none. Default: none.
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
	// Reference of the artifact: registry/repository@digest or
	// registry/repository:tag. A tag is resolved to a digest when the first run
	// starts; later runs read the same digest.
	// Example: registry.example.com/models/qwen3:v1.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=700
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]+)?/[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*)*(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?(@sha256:[a-f0-9]{64})?$') && self.matches('^[^/]*[.:]') && self.matches('/[^/]*[:@][^/]*$') && !self.matches('^[^/]*[.][.]')",message="reference must be a registry's host with a dot or a port, a lower-case repository, and a tag or a digest: write registry.example.com/models/qwen3@sha256:... or registry.example.com/models/qwen3:v1, without https://"
	// +kubebuilder:validation:XValidation:rule="!self.matches(':kitops-[^/]*$')",message="tags that begin with kitops- are reserved for runs, and what they name may be incomplete: write the artifact's own tag, for example v1, or its digest"
	Reference string `json:"reference"`

	// PlainHTTP connects to the source's registry without TLS. It is ignored for
	// the ProviderConfig's registry, which the ProviderConfig configures.
	// Default: false. Example: true.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`

	// CredentialsSecretRef names a Secret of type
	// kubernetes.io/dockerconfigjson in the Artifact's namespace, with an entry
	// for the source's registry. Default: the ProviderConfig's credentials if the
	// source is in the ProviderConfig's registry, in a repository that the
	// namespace may push to; else none. Example: {name: source-registry}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CredentialsSecretRef *xpv2.LocalSecretReference `json:"credentialsSecretRef,omitempty"`

	// CertSecretRef names a Secret in the Artifact's namespace whose key ca.crt
	// has certificate authorities, in PEM, that are trusted for the source's
	// registry beside the public ones. Default: the ProviderConfig's if the source
	// is in the ProviderConfig's registry; else the public ones only.
	// Example: {name: source-registry-ca}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.LocalSecretReference `json:"certSecretRef,omitempty"`

	// Verify requires a signature or an attestation of the artifact. Without one
	// nothing is read, and Ready has the reason Unverified. A change starts
	// another run. Default: none is required.
	// Example: {configMapRef: {name: upstream-keys, key: cosign.pub}}.
	// +optional
	Verify *Verification `json:"verify,omitempty"`

	// Referrers decides whether signatures, attestations and bills of materials of
	// the artifact are copied with it: Copy copies its referrers, and what is under
	// cosign's tags .sig, .att and .sbom; up to 50 and 128 MiB. The artifact must
	// be copied with its digest: its format must be spec.forProvider.format. A
	// change starts another run. Default: they are not copied. Example: Copy.
	// +optional
	Referrers ReferrersPolicy `json:"referrers,omitempty"`
}

// A ReferrersPolicy decides what is copied with an artifact.
// +kubebuilder:validation:Enum=Copy
type ReferrersPolicy string

// ReferrersCopy copies what refers to an artifact.
const ReferrersCopy ReferrersPolicy = "Copy"

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

// A SecretKeySelector names a key of a Secret in the Artifact's namespace.
type SecretKeySelector struct {
	// Name of the Secret. Example: huggingface.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`

	// Key in the Secret. Default: token. Example: HF_TOKEN.
	// +optional
	// +kubebuilder:default=token
	// +kubebuilder:validation:MinLength=1
	Key string `json:"key,omitempty"`
}

// A Source is where a model comes from: exactly one of its fields.
// +kubebuilder:validation:XValidation:rule="has(self.huggingFace) != has(self.oci)",message="exactly one source is required: write huggingFace with model: organisation/name, or oci with reference: registry/repository@digest"
type Source struct {
	// HuggingFace is a model or a dataset of a Hugging Face Hub.
	// Example: {model: Qwen/Qwen3-0.6B, revision: main}.
	// +optional
	HuggingFace *HuggingFaceSource `json:"huggingFace,omitempty"`

	// OCI is an artifact in a registry. If it has the format in
	// spec.forProvider.format, it is copied with the same digest; otherwise its
	// files are packaged in that format. Pipeline Kit does not support it.
	// Example: {reference: "registry.example.com/models/qwen3:v1"}.
	// +optional
	OCI *OCISource `json:"oci,omitempty"`
}
