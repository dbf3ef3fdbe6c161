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

	// Revision of the model or dataset: a branch, a tag or a commit. It is
	// resolved to a commit when a run starts; see source.revisionPolicy. Default: main.
	// Example: v1.0.
	// +optional
	// +kubebuilder:default=main
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9]([a-zA-Z0-9._/-]*[a-zA-Z0-9_-])?$') && !self.contains('..') && !self.contains('//') && !self.contains('/.')",message="revision must be a branch, a tag or a commit: write main, v1.0, refs/pr/1 or 40 hex digits"
	Revision string `json:"revision,omitempty"`

	// TokenSecretRef names a Secret in the Artifact's namespace with an access
	// token for the Hub, for private and gated models and datasets. Default: the
	// ProviderConfig's token. If a ProviderConfig names another Hub than the public one,
	// the Secret's key host must list its host[:port].
	// Example: {name: huggingface, key: token}.
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
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?|[[][0-9a-f:.]+[]])(:[0-9]+)?/[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*)*(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?(@sha256:[a-f0-9]{64})?$') && self.matches('^[^/]*[.:]') && self.matches('/[^/]*[:@][^/]*$') && !self.matches('^[^/]*[.][.]')",message="reference must be a registry's host with a dot or a port, a lower-case repository, and a tag or a digest: write registry.example.com/models/qwen3@sha256:... or registry.example.com/models/qwen3:v1, without https://"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('[') || !self.contains(']') || (isIP(self.substring(1, self.indexOf(']'))) && ip(self.substring(1, self.indexOf(']'))).family() == 6 && ip.isCanonical(self.substring(1, self.indexOf(']'))))",message="an address in brackets must be one of IPv6 in its shortest form, by which a registry has one name: write [2001:db8::5]:5000/models/qwen3:v1"
	// +kubebuilder:validation:XValidation:rule="!self.matches(':kitops-[^/]*$')",message="tags that begin with kitops- are reserved for runs, and what they name may be incomplete: write the artifact's own tag, for example v1, or its digest"
	Reference string `json:"reference"`

	// PlainHTTP connects to the source's registry without TLS. The ProviderConfig
	// decides that of its own registry: there is no need to write it, and no run begins
	// with it if the ProviderConfig uses TLS.
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

// A Source is where a model comes from: exactly one of huggingFace, oci, s3, gcs,
// azureBlob, persistentVolumeClaim and http, and what applies to it.
// +kubebuilder:validation:XValidation:rule="[has(self.huggingFace), has(self.oci), has(self.s3), has(self.gcs), has(self.azureBlob), has(self.persistentVolumeClaim), has(self.http)].filter(x, x).size() == 1",message="exactly one source is required: write huggingFace with model: organisation/name, or oci with reference: registry/repository@digest, or one of s3, gcs, azureBlob, persistentVolumeClaim and http"
// +kubebuilder:validation:XValidation:rule="!has(self.oci) || !has(self.files)",message="an artifact in a registry is read as a whole: remove files beside oci"
// +kubebuilder:validation:XValidation:rule="!has(self.license) || !(has(self.huggingFace) || has(self.oci))",message="the Hub and an artifact in a registry tell their licence: remove license beside huggingFace and oci"
// +kubebuilder:validation:XValidation:rule="!has(self.revisionPolicy) || self.revisionPolicy != 'Follow' || has(self.huggingFace) || (has(self.oci) && !self.oci.reference.contains('@')) || has(self.s3) || has(self.gcs) || has(self.azureBlob)",message="only a model or a dataset of a Hub, a tag in a registry, and a bucket can be followed: write revisionPolicy: Pinned, or leave it out"
// +kubebuilder:validation:XValidation:rule="!has(self.followInterval) || (has(self.revisionPolicy) && self.revisionPolicy == 'Follow')",message="followInterval is how often a followed source is checked: write revisionPolicy: Follow, or remove followInterval"
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

	// S3 is the objects in a bucket of Amazon S3, or of a server that speaks its
	// protocol, such as Ceph, MinIO, Cloudflare R2 or the buckets of Hugging Face.
	// Pipeline Kit does not support it. Example: {bucket: models, prefix: qwen3/v1}.
	// +optional
	S3 *S3Source `json:"s3,omitempty"`

	// GCS is the objects in a bucket of Google Cloud Storage. Pipeline Kit does not
	// support it. Example: {bucket: models, prefix: qwen3/v1}.
	// +optional
	GCS *GCSSource `json:"gcs,omitempty"`

	// AzureBlob is the blobs in a container of Azure Blob Storage. Pipeline Kit does
	// not support it. Example: {account: examplemodels, container: models}.
	// +optional
	AzureBlob *AzureBlobSource `json:"azureBlob,omitempty"`

	// PersistentVolumeClaim is a folder of a volume in the Artifact's namespace. Runs
	// mount it read-only. Example: {claimName: training-output, path: checkpoints/last}.
	// +optional
	PersistentVolumeClaim *PersistentVolumeClaimSource `json:"persistentVolumeClaim,omitempty"`

	// HTTP is files that an HTTP server has, each with its digest. Pipeline Kit does
	// not support it.
	// Example: {items: [{url: "https://models.example.com/qwen3.gguf", path: qwen3.gguf, sha256: 9f86d0...}]}.
	// +optional
	HTTP *HTTPSource `json:"http,omitempty"`

	// Files to package. An artifact in oci is read as a whole, as are models of a Hub
	// by pipeline Kit. Default: all files.
	// Example: {include: ["*.safetensors", "*.json"]}.
	// +optional
	Files *FileFilter `json:"files,omitempty"`

	// RevisionPolicy decides what happens when the branch or tag in
	// huggingFace.revision moves to another commit, the tag in oci.reference to another
	// digest, or the selected files in a bucket change. Pinned keeps those of the first
	// run of the same source, files, format and pipeline, also if the artifact has to be
	// rebuilt: runs after the first read only what that read, by a commit, a digest or a
	// hash of the listing. Follow checks the source every followInterval and rebuilds the
	// artifact under the same tag; the old artifact stays until the new one is complete,
	// and the condition UpToDate reports whether it is what the source has. A bucket is
	// checked by listing it, with credentialsSecretRef or anonymously. A
	// PersistentVolumeClaim and HTTP servers cannot be followed.
	// Default: Pinned. Example: Follow.
	// +optional
	// +kubebuilder:default=Pinned
	RevisionPolicy RevisionPolicy `json:"revisionPolicy,omitempty"`

	// FollowInterval between two checks of the source with revisionPolicy Follow. A
	// check may be later if the source limits the rate of requests, or if listing a
	// bucket takes many. Default: 1h.
	// Example: 15m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('720h')",message="followInterval must be from 1m to 720h: write 15m or 24h"
	FollowInterval *metav1.Duration `json:"followInterval,omitempty"`

	// License of the files as an SPDX expression, which the artifact and the status
	// get. It is recorded as declared, as is what README.md says: a policy with rules
	// about licences counts it only if it sets licenses.declared to Allow. A change
	// rebuilds the artifact. Only for s3, gcs, azureBlob, persistentVolumeClaim and
	// http. Default: what the front matter of README.md says. Example: Apache-2.0.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9(]([a-zA-Z0-9.+:() -]*[a-zA-Z0-9.+)])?$')",message="license must be an SPDX expression: write Apache-2.0, MIT OR Apache-2.0, or LicenseRef- and a name for what SPDX does not list"
	License string `json:"license,omitempty"`
}
