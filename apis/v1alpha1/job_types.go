package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A PipelineType is how a model gets from its source to the registry.
// +kubebuilder:validation:Enum=Kit;Stream
type PipelineType string

// Pipelines of an Artifact.
const (
	// PipelineKit runs kit's commands on a workspace volume.
	PipelineKit PipelineType = "Kit"

	// PipelineStream pipes files from the source into the registry.
	PipelineStream PipelineType = "Stream"
)

// JobSettings say how a run's Pod is placed and what it may use. Where an
// Artifact and its ProviderConfig both set a field, the Artifact's holds;
// labels and annotations are merged key by key. A ClusterProviderConfig may set
// them all, and says in spec.policy.tenants which of them its Artifacts may
// set. With a ProviderConfig, it and its Artifacts may set resources,
// nodeSelector and activeDeadlineSeconds, and harmless labels and annotations.
type JobSettings struct {
	// Resources of the container that does the work. Default: requests of
	// 100m CPU and 256Mi memory, no limits.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// NodeSelector picks the nodes that may run the Pod, for example
	// {kubernetes.io/arch: amd64}. Default: any node.
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// Tolerations of the Pod. A ClusterProviderConfig must allow an Artifact to
	// set them. Default: none.
	// +optional
	// +listType=atomic
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// Affinity of the Pod. A ClusterProviderConfig must allow an Artifact to set
	// it. Default: none.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// PriorityClassName of the Pod. A ClusterProviderConfig must allow an
	// Artifact to set it. Default: the cluster's.
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// Labels that the Job and its Pod get beside the provider's own, which
	// cannot be replaced. An Artifact, and a ProviderConfig, may set
	// app.kubernetes.io/part-of, cost-center, department,
	// kueue.x-k8s.io/queue-name, owner, sidecar.istio.io/inject and team, and an
	// Artifact what its ClusterProviderConfig allows in
	// spec.policy.tenants.labels. Example: {team: research}.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`

	// Annotations that the Job and its Pod get beside the provider's own,
	// which cannot be replaced. An Artifact, and a ProviderConfig, may set
	// cluster-autoscaler.kubernetes.io/safe-to-evict,
	// karpenter.sh/do-not-disrupt, linkerd.io/inject and
	// sidecar.istio.io/inject, and an Artifact what its ClusterProviderConfig
	// allows in spec.policy.tenants.annotations.
	// Example: {sidecar.istio.io/inject: "false"}.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`

	// ActiveDeadlineSeconds is how long a run may take, in seconds, from its
	// Job's start. Default: no limit. Example: 7200.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`
}

// StorageSettings say which workspace the Kit pipeline gets. The Stream
// pipeline needs none.
// +kubebuilder:validation:XValidation:rule="!has(self.size) || quantity(string(self.size)).isGreaterThan(quantity('0'))",message="size must be more than 0: write a quantity such as 50Gi, about three times the size of the model"
type StorageSettings struct {
	// Size of the workspace: about three times the size of the model, which
	// kit imports, unpacks and packs again. Default: 50Gi.
	// +optional
	Size *resource.Quantity `json:"size,omitempty"`

	// StorageClassName of the workspace. Default: the cluster's default class.
	// +optional
	StorageClassName *string `json:"storageClassName,omitempty"`
}
