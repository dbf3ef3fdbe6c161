package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A TenantField is a field of an Artifact that may be set only if policy allows
// it: resources, nodeSelector, tolerations, affinity and priorityClassName of
// spec.forProvider.job, or conflictPolicy of spec.forProvider.target.
// +kubebuilder:validation:Enum=resources;nodeSelector;tolerations;affinity;priorityClassName;conflictPolicy
type TenantField string

// Fields that a policy may allow.
const (
	TenantFieldResources         TenantField = "resources"
	TenantFieldNodeSelector      TenantField = "nodeSelector"
	TenantFieldTolerations       TenantField = "tolerations"
	TenantFieldAffinity          TenantField = "affinity"
	TenantFieldPriorityClassName TenantField = "priorityClassName"
	TenantFieldConflictPolicy    TenantField = "conflictPolicy"
)

// DefaultTenantFields returns the fields that are allowed without a policy.
func DefaultTenantFields() []TenantField {
	return []TenantField{TenantFieldResources, TenantFieldNodeSelector}
}

// A MetadataKey is the key of a label or an annotation, or, with * at its end,
// all keys with a prefix.
// +kubebuilder:validation:MaxLength=317
// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?([a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?|[*])$')",message="a key must be that of a label or annotation, or a prefix followed by *: write example.com/cost-center, example.com/* or *"
type MetadataKey string

// A ModelPattern is the name of a source, in which * stands for any characters: of a
// model of the Hub organisation/name, of a dataset datasets/organisation/name, of an
// artifact in a registry registry/repository, and of files a URL: s3://bucket/prefix,
// gs://bucket/prefix, https://account.blob.core.windows.net/container/prefix,
// pvc://namespace/claim/path, or that of the HTTP server's folder. A bucket with an
// endpoint is named by that: https://s3.example.com/bucket/prefix. Case does not matter.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=255
// +kubebuilder:validation:XValidation:rule="self.matches('^([a-zA-Z0-9*]|[[][0-9a-f:.*]+[]])[a-zA-Z0-9._:/*-]*$')",message="a pattern must be a name, with * for any characters: write Qwen/*, datasets/openai/*, registry.example.com/models/*, s3://models/*, gs://models/*, pvc://team-a/*, or https://account.blob.core.windows.net/models/*, without a tag"
type ModelPattern string

// A LicenseName stands for a licence: its SPDX identifier, the Hub's word for it, a
// family of licences (agpl, bsd, cc, gfdl, gpl, lgpl, llama, openrail), or a pattern of
// identifiers in which * stands for any characters. Case does not matter. A source
// that names no licence is unknown.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9*][a-zA-Z0-9.+*-]*$')",message="a licence must be an SPDX identifier, the Hub's word for one, a family, or a pattern: write Apache-2.0, llama3.1, gpl, CC-BY-NC-* or unknown"
type LicenseName string

// A FileFormat is what a file is, by its name and its first bytes: safetensors, gguf,
// ggml and onnx are weights; pickle is all that Python's pickle reads, such as
// PyTorch's .pt, .pth, .ckpt and most .bin; numpy, keras, tensorflow and flax are those
// libraries' own formats; code is source code, scripts, notebooks and programs; archive
// is what is compressed or holds other files; other is everything else.
// +kubebuilder:validation:Enum=safetensors;gguf;ggml;onnx;pickle;numpy;keras;tensorflow;flax;code;archive;other
type FileFormat string

// A HubScanPolicy decides what becomes of what the Hub's security scan did not find
// clean.
// +kubebuilder:validation:Enum=Ignore;Warn;Require
type HubScanPolicy string

// Policies for the Hub's security scan.
const (
	// HubScanIgnore does not ask for the scan.
	HubScanIgnore HubScanPolicy = "Ignore"

	// HubScanWarn packages models that are not clean, with a warning.
	HubScanWarn HubScanPolicy = "Warn"

	// HubScanRequire refuses models that are not clean.
	HubScanRequire HubScanPolicy = "Require"
)

// ModelRules allow and deny models, datasets and artifacts by their names.
type ModelRules struct {
	// Allow lists patterns of which a source's name must match one. Default: all
	// are allowed. Example: [Qwen/*, "registry.example.com/models/*"].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Allow []ModelPattern `json:"allow,omitempty"`

	// Deny lists patterns of which it must match none, whatever allow says. They
	// apply to the source that an artifact in a registry names, too. Default: none.
	// Example: [meta-llama/*].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Deny []ModelPattern `json:"deny,omitempty"`
}

// A DeclaredLicensePolicy decides what a licence counts that a source only declares.
// +kubebuilder:validation:Enum=Allow;Deny
type DeclaredLicensePolicy string

// Policies for declared licences.
const (
	// DeclaredLicensesAllow counts them as the Hub's.
	DeclaredLicensesAllow DeclaredLicensePolicy = "Allow"

	// DeclaredLicensesDeny has them count as unknown.
	DeclaredLicensesDeny DeclaredLicensePolicy = "Deny"
)

// LicenseRules allow and deny licences, as the source names them.
type LicenseRules struct {
	// Allow lists licences that may be packaged. If a source has several, each must
	// be listed; of a choice (MIT OR GPL-2.0-only) one must. A source that names
	// none needs unknown. Default: all are allowed. Example: [Apache-2.0, MIT].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Allow []LicenseName `json:"allow,omitempty"`

	// Deny lists licences that may not, whatever allow says. Default: none.
	// Example: [CC-BY-NC-*, openrail, unknown].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Deny []LicenseName `json:"deny,omitempty"`

	// Declared decides about the licences of s3, gcs, azureBlob,
	// persistentVolumeClaim and http, which only spec.forProvider.source.license or
	// README.md among the files declare, and of oci without verify, which whoever packed
	// the artifact wrote. Allow counts them as the Hub's. Deny has them be unknown, and
	// no denied licence either. Default: Deny. Example: Allow.
	// +optional
	Declared DeclaredLicensePolicy `json:"declared,omitempty"`
}

// FileRules allow and deny files by their formats. Configuration, tokenizers, text,
// tables and media are data, which is always allowed. The name of a file and its first
// bytes both count: a file that is a pickle by either is one.
type FileRules struct {
	// Allow lists the formats that files may have beside data. Default: all are
	// allowed. Example: [safetensors, gguf].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Allow []FileFormat `json:"allow,omitempty"`

	// Deny lists formats that no file may have, whatever allow says. Default:
	// none. Example: [pickle, code].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Deny []FileFormat `json:"deny,omitempty"`
}

// A ContentPolicy limits what may be packaged and published. An Artifact that it
// refuses gets no tag: its Ready condition has the reason PolicyViolation and names
// rule and file. What is Ready already stays so, and has the condition
// PolicyCompliant.
type ContentPolicy struct {
	// Models allows and denies models, datasets and artifacts by their names.
	// Default: all are allowed. Example: {deny: [meta-llama/*]}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="has(self.allow) || has(self.deny)",message="models needs patterns: write allow: [Qwen/*] or deny: [meta-llama/*], or leave models out"
	Models *ModelRules `json:"models,omitempty"`

	// Licenses allows and denies licences. Default: all are allowed.
	// Example: {allow: [Apache-2.0, MIT]}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="has(self.allow) || has(self.deny)",message="licenses needs names: write allow: [Apache-2.0, MIT] or deny: [CC-BY-NC-*], or leave licenses out"
	Licenses *LicenseRules `json:"licenses,omitempty"`

	// Files allows and denies files by their formats. Default: all are allowed.
	// Example: {allow: [safetensors, gguf]}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="has(self.allow) || has(self.deny)",message="files needs formats: write allow: [safetensors, gguf] or deny: [pickle], or leave files out"
	Files *FileRules `json:"files,omitempty"`

	// HubScan decides what becomes of a model in which the Hub's security scan
	// found a file that is not safe. Require refuses it, and all that has no scan:
	// what is in registries, buckets, volumes and HTTP servers, and models of mirrors
	// that tell of none. While the Hub has not finished its scan, the run is retried.
	// Warn packages it, and says so in the condition PolicyCompliant. Ignore does not
	// ask for the scan. Default: Ignore. Example: Require.
	// +optional
	HubScan HubScanPolicy `json:"hubScan,omitempty"`

	// MaxSize is the largest size of an artifact. Default: any size.
	// Example: 100Gi.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="maxSize must be a size above 0: write 100Gi"
	MaxSize *resource.Quantity `json:"maxSize,omitempty"`

	// RequireAttestedSource refuses sources whose signature, or an attestation of
	// them, is not verified before they are read: all but artifacts in registries
	// with spec.forProvider.source.oci.verify. Whose keys are trusted is up to who
	// writes the Artifact. Default: false. Example: true.
	// +optional
	RequireAttestedSource bool `json:"requireAttestedSource,omitempty"`
}

// A ClusterPolicy limits the use of a ClusterProviderConfig.
type ClusterPolicy struct {
	ContentPolicy `json:",inline"`

	// Tenants limits what Artifacts that use this config may set. It does not
	// limit the config's own job. Default: see its fields.
	// Example: {allow: [resources, tolerations]}.
	// +optional
	Tenants *TenantPolicy `json:"tenants,omitempty"`
}

// A TenantPolicy limits what Artifacts may set. An Artifact that sets more is
// refused: it gets no run, and its Ready condition has the reason NotAllowed and
// names the field.
// +kubebuilder:validation:XValidation:rule="!has(self.maxResources) || 'resources' in self.allow",message="maxResources limits job.resources, which allow does not list: write resources in allow, or remove maxResources"
type TenantPolicy struct {
	// Allow lists the fields that an Artifact may set: resources, nodeSelector,
	// tolerations, affinity and priorityClassName of spec.forProvider.job, and
	// conflictPolicy: Overwrite of spec.forProvider.target. [] allows none.
	// Default: [resources, nodeSelector].
	// Example: [resources, nodeSelector, conflictPolicy].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:default={resources,nodeSelector}
	Allow []TenantField `json:"allow"`

	// MaxResources limits the requests and limits of each resource in an
	// Artifact's job.resources, and memory also its job.bufferSize. With it an
	// Artifact that sets resources must set limits for all resources listed here,
	// and may set no others. Default: cpu,
	// memory and ephemeral-storage without a limit, and no other resource, such
	// as nvidia.com/gpu, which no run needs.
	// Example: {cpu: "4", memory: 16Gi}.
	// +optional
	MaxResources corev1.ResourceList `json:"maxResources,omitempty"`

	// Labels lists the keys that an Artifact may set in job.labels beside
	// app.kubernetes.io/part-of, cost-center, department,
	// kueue.x-k8s.io/queue-name, owner, sidecar.istio.io/inject and team.
	// Services and network policies may select Pods by others. Default: none.
	// Example: [example.com/*].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Labels []MetadataKey `json:"labels,omitempty"`

	// Annotations lists the keys that an Artifact may set in job.annotations
	// beside cluster-autoscaler.kubernetes.io/safe-to-evict,
	// karpenter.sh/do-not-disrupt, linkerd.io/inject and
	// sidecar.istio.io/inject. Others may select code, networks or security
	// profiles of the Pod. Default: none. Example: [example.com/note].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Annotations []MetadataKey `json:"annotations,omitempty"`
}
