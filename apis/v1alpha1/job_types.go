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

	// PipelineStream copies files from the source to the registry.
	PipelineStream PipelineType = "Stream"
)

// JobSettings configure the Jobs of runs. An Artifact's fields take precedence
// over its config's; labels and annotations are merged key by key. A
// ClusterProviderConfig may set all of them, and its spec.policy.tenants lists
// those that its Artifacts may set. A ProviderConfig and its Artifacts may set
// resources, nodeSelector, activeDeadlineSeconds, and the labels and annotations
// that are listed there.
type JobSettings struct {
	// Resources of each container of the Pod. Resources other than cpu, memory
	// and ephemeral-storage need a ClusterProviderConfig that lists them in
	// spec.policy.tenants.maxResources. Default: requests of 100m CPU and 256Mi
	// memory, no limits. Example: {limits: {cpu: "2", memory: 4Gi}}.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// NodeSelector of the Pod. Default: any node.
	// Example: {kubernetes.io/arch: amd64}.
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// Tolerations of the Pod. An Artifact may set them only if its
	// ClusterProviderConfig allows it. Default: none.
	// Example: [{key: dedicated, operator: Exists}].
	// +optional
	// +listType=atomic
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// Affinity of the Pod. An Artifact may set it only if its
	// ClusterProviderConfig allows it. Default: none.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// PriorityClassName of the Pod. An Artifact may set it only if its
	// ClusterProviderConfig allows it. Default: the cluster's default class.
	// Example: batch.
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// Labels of the Job and its Pod beside the provider's own, which cannot be
	// replaced. An Artifact, and a ProviderConfig, may set
	// app.kubernetes.io/part-of, cost-center, department,
	// kueue.x-k8s.io/queue-name, owner, sidecar.istio.io/inject and team, and an
	// Artifact also those that its ClusterProviderConfig lists in
	// spec.policy.tenants.labels. Default: none. Example: {team: research}.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`

	// Annotations of the Job and its Pod beside the provider's own, which cannot
	// be replaced. An Artifact, and a ProviderConfig, may set
	// cluster-autoscaler.kubernetes.io/safe-to-evict,
	// karpenter.sh/do-not-disrupt, linkerd.io/inject and
	// sidecar.istio.io/inject, and an Artifact also those that its
	// ClusterProviderConfig lists in spec.policy.tenants.annotations.
	// Default: none. Example: {sidecar.istio.io/inject: "false"}.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`

	// ActiveDeadlineSeconds limits the duration of a run, in seconds from its
	// Job's start. Default: no limit. Example: 7200.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`
}

// StorageSettings configure the workspace of pipeline Kit. Pipeline Stream has
// none.
// +kubebuilder:validation:XValidation:rule="!has(self.size) || quantity(string(self.size)).isGreaterThan(quantity('0'))",message="size must be more than 0: write a quantity such as 50Gi, about three times the size of the model"
type StorageSettings struct {
	// Size of the workspace: about three times the size of the model, which kit
	// imports, unpacks and packs again. Default: 50Gi. Example: 200Gi.
	// +optional
	Size *resource.Quantity `json:"size,omitempty"`

	// StorageClassName of the workspace. Default: the cluster's default class.
	// Example: fast.
	// +optional
	StorageClassName *string `json:"storageClassName,omitempty"`
}
