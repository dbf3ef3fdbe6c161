package v1alpha1

import (
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A RevisionPolicy says whether an artifact follows a revision that moves.
// +kubebuilder:validation:Enum=Pinned;Follow
type RevisionPolicy string

// Policies of a revision.
const (
	// RevisionPinned keeps the commit that was read first.
	RevisionPinned RevisionPolicy = "Pinned"

	// RevisionFollow makes the artifact anew when the revision has moved.
	RevisionFollow RevisionPolicy = "Follow"
)

// A HuggingFaceSource is a model or a dataset on a Hugging Face Hub.
// +kubebuilder:validation:XValidation:rule="has(self.model) != has(self.dataset)",message="exactly one of model and dataset is needed: write model: organisation/name, or dataset: organisation/name"
type HuggingFaceSource struct {
	// Model as the Hub names it: organisation/name. Example: Qwen/Qwen3-0.6B.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=193
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-zA-Z0-9][a-zA-Z0-9._-]*/)?[a-zA-Z0-9][a-zA-Z0-9._-]*$') && !self.contains('..') && !self.contains('--') && !self.matches('^(api|datasets|models|spaces)/')",message="model must be as the Hub names it: write organisation/name, for example Qwen/Qwen3-0.6B, without https:// and without a revision"
	Model string `json:"model,omitempty"`

	// Dataset as the Hub names it, in place of model: organisation/name. It
	// needs pipeline Stream. Example: openai/gsm8k.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=193
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-zA-Z0-9][a-zA-Z0-9._-]*/)?[a-zA-Z0-9][a-zA-Z0-9._-]*$') && !self.contains('..') && !self.contains('--') && !self.matches('^(api|datasets|models|spaces)/')",message="dataset must be as the Hub names it: write organisation/name, for example openai/gsm8k, without https://, without datasets/ and without a revision"
	Dataset string `json:"dataset,omitempty"`

	// Files says which files of the model or the dataset are packed. It needs
	// pipeline Stream. Default: all of them.
	// +optional
	Files *FileFilter `json:"files,omitempty"`

	// Revision of the model or the dataset: a branch, a tag or a commit. It is
	// resolved to a commit when a run starts; see revisionPolicy. Default: main.
	// +optional
	// +kubebuilder:default=main
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9]([a-zA-Z0-9._/-]*[a-zA-Z0-9_-])?$') && !self.contains('..') && !self.contains('//') && !self.contains('/.')",message="revision must be a branch, a tag or a commit: write main, v1.0, refs/pr/1 or 40 hex digits"
	Revision string `json:"revision,omitempty"`

	// RevisionPolicy says what happens when the branch or tag that revision
	// names moves to another commit. Pinned keeps the commit that was read
	// first, also where the artifact has to be made again. Follow asks the Hub
	// every followInterval and makes the artifact anew, under the same tag;
	// until it is there the old one stays. Default: Pinned.
	// +optional
	// +kubebuilder:default=Pinned
	RevisionPolicy RevisionPolicy `json:"revisionPolicy,omitempty"`

	// FollowInterval is how often the Hub is asked where revisionPolicy is
	// Follow. It may be asked later where it limits the rate of requests.
	// Default: 1h. Example: 15m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('720h')",message="followInterval must be from 1m to 720h: write 15m or 24h"
	FollowInterval *metav1.Duration `json:"followInterval,omitempty"`

	// TokenSecretRef names a Secret in the Artifact's namespace that holds an
	// access token for the Hub, for what is private or gated. Default: the
	// ProviderConfig's token.
	// +optional
	TokenSecretRef *SecretKeySelector `json:"tokenSecretRef,omitempty"`
}

// A FileFilter says which files of a model are wanted, by patterns of their
// paths: * stands for any characters, slashes too, ? for any one, [abc] for one
// of these, and a pattern that ends with a slash for all that the folder holds.
// All else stands for itself, and case counts.
// +kubebuilder:validation:XValidation:rule="has(self.include) || has(self.exclude)",message="files needs patterns: write include: [\"*.safetensors\", \"*.json\"], or exclude: [original/], or leave files out"
type FileFilter struct {
	// Include has the patterns of which a file must match one. Default: every
	// file. Example: ["*.safetensors", "*.json", "tokenizer*"].
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Include []string `json:"include,omitempty"`

	// Exclude has the patterns of which a file must match none. Default: none.
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
	// Reference of the artifact: registry/repository@digest, or
	// registry/repository:tag, which is resolved to a digest when a run starts,
	// and kept once that has succeeded. Example: registry.example.com/models/qwen3@sha256:…
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=700
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]+)?/[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*)*(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?(@sha256:[a-f0-9]{64})?$') && self.matches('^[^/]*[.:]') && self.matches('/[^/]*[:@][^/]*$') && !self.matches('^[^/]*[.][.]')",message="reference must be a registry's host with a dot or a port, a lower-case repository, and a tag or a digest: write registry.example.com/models/qwen3@sha256:... or registry.example.com/models/qwen3:v1, without https://"
	// +kubebuilder:validation:XValidation:rule="!self.matches(':kitops-[^/]*$')",message="tags that begin with kitops- are reserved for runs, and what they name may be incomplete: write the artifact's own tag, for example v1, or its digest"
	Reference string `json:"reference"`

	// PlainHTTP speaks to the source's registry without TLS. The
	// ProviderConfig's registry is spoken to as the ProviderConfig says,
	// whatever this says. Default: false.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`

	// CredentialsSecretRef names a Secret of type
	// kubernetes.io/dockerconfigjson in the Artifact's namespace. Default: the
	// ProviderConfig's credentials where it is the ProviderConfig's registry
	// and a repository that the namespace may push to, else none.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CredentialsSecretRef *xpv2.LocalSecretReference `json:"credentialsSecretRef,omitempty"`

	// CertSecretRef names a Secret in the Artifact's namespace with the
	// certificate authorities that are trusted for the source's registry,
	// beside the public ones, under ca.crt. Default: the ProviderConfig's where
	// it is the ProviderConfig's registry.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name != ''",message="a Secret has a name: write name"
	CertSecretRef *xpv2.LocalSecretReference `json:"certSecretRef,omitempty"`
}

// A SecretKeySelector names a key of a Secret in the Artifact's namespace.
type SecretKeySelector struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`

	// Key in the Secret. Default: token.
	// +optional
	// +kubebuilder:default=token
	// +kubebuilder:validation:MinLength=1
	Key string `json:"key,omitempty"`
}

// A Source says where a model comes from.
// +kubebuilder:validation:XValidation:rule="has(self.huggingFace) != has(self.oci)",message="exactly one source is needed: write huggingFace with model: organisation/name, or oci with reference: registry/repository@digest"
type Source struct {
	// HuggingFace is a model or a dataset on a Hugging Face Hub.
	// +optional
	HuggingFace *HuggingFaceSource `json:"huggingFace,omitempty"`

	// OCI is an artifact in a registry. One of the format that spec.forProvider.format
	// names is copied as it is, with the same digest; one of another format is
	// packed anew. It needs pipeline Stream.
	// +optional
	OCI *OCISource `json:"oci,omitempty"`
}
