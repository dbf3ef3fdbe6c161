package v1alpha1

import corev1 "k8s.io/api/core/v1"

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

// A ClusterPolicy limits the use of a ClusterProviderConfig.
type ClusterPolicy struct {
	// Tenants limits what Artifacts that use this config may set. It does not
	// limit the config's own job. Default: see its fields.
	// Example: {allow: [resources, tolerations]}.
	// +optional
	Tenants *TenantPolicy `json:"tenants,omitempty"`
}

// A TenantPolicy limits what Artifacts may set. An Artifact that sets more is
// refused: it gets no run, and its Ready condition has the reason NotAllowed and
// names the field.
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
	// Artifact's job.resources. With it an Artifact that sets resources must set
	// limits for all resources listed here, and may set no others. Default: cpu,
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
