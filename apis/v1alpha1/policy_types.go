package v1alpha1

import corev1 "k8s.io/api/core/v1"

// A TenantField is a field of an Artifact that its author may set only where
// policy allows it: resources, nodeSelector, tolerations, affinity and
// priorityClassName of spec.forProvider.job, or conflictPolicy of
// spec.forProvider.target.
// +kubebuilder:validation:Enum=resources;nodeSelector;tolerations;affinity;priorityClassName;conflictPolicy
type TenantField string

// Fields that policy allows or does not.
const (
	TenantFieldResources         TenantField = "resources"
	TenantFieldNodeSelector      TenantField = "nodeSelector"
	TenantFieldTolerations       TenantField = "tolerations"
	TenantFieldAffinity          TenantField = "affinity"
	TenantFieldPriorityClassName TenantField = "priorityClassName"
	TenantFieldConflictPolicy    TenantField = "conflictPolicy"
)

// DefaultTenantFields are those that are allowed where no policy says.
func DefaultTenantFields() []TenantField {
	return []TenantField{TenantFieldResources, TenantFieldNodeSelector}
}

// A MetadataKey is the key of a label or an annotation, or all keys with a
// prefix.
// +kubebuilder:validation:MaxLength=317
// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?([a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?|[*])$')",message="a key is written as it is, or with * in the place of all that follows a prefix: write example.com/cost-center, example.com/* or *"
type MetadataKey string

// A ClusterPolicy bounds what a ClusterProviderConfig may be used for.
type ClusterPolicy struct {
	// Tenants says what Artifacts that use this config may ask for. What the
	// config itself says in job is not bounded by it.
	// +optional
	Tenants *TenantPolicy `json:"tenants,omitempty"`
}

// A TenantPolicy says what Artifacts may ask for. An Artifact that asks for
// more is refused: nothing is made of it, and its Ready condition has the
// reason NotAllowed and names the field.
type TenantPolicy struct {
	// Allow names the fields that an Artifact may set: resources, nodeSelector,
	// tolerations, affinity and priorityClassName of spec.forProvider.job, and
	// conflictPolicy of spec.forProvider.target, which an Artifact sets to
	// Overwrite. [] allows none of them.
	// Default: [resources, nodeSelector].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:default={resources,nodeSelector}
	Allow []TenantField `json:"allow"`

	// MaxResources is the most that an Artifact may request, and set as a limit,
	// of each resource. With it an Artifact that sets resources must set limits
	// for what is named here, and may ask for no other resource. Default: no
	// bound for cpu, memory and ephemeral-storage, and no other resource, such
	// as nvidia.com/gpu: no run needs any. Example: {cpu: "4", memory: 16Gi}.
	// +optional
	MaxResources corev1.ResourceList `json:"maxResources,omitempty"`

	// Labels are the keys that an Artifact may set in job.labels beside
	// app.kubernetes.io/part-of, cost-center, department,
	// kueue.x-k8s.io/queue-name, owner, sidecar.istio.io/inject and team.
	// Services and network policies may select Pods by others.
	// Example: [example.com/*].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Labels []MetadataKey `json:"labels,omitempty"`

	// Annotations are the keys that an Artifact may set in job.annotations
	// beside cluster-autoscaler.kubernetes.io/safe-to-evict,
	// karpenter.sh/do-not-disrupt, linkerd.io/inject and
	// sidecar.istio.io/inject. Others may choose code that runs in the Pod, its
	// networks or its profiles. Example: [example.com/note].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Annotations []MetadataKey `json:"annotations,omitempty"`
}
