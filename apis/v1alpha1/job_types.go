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

const (
	// MaxParallelism is how many Pods a run can have at most, whatever a config allows.
	MaxParallelism = 64

	// DefaultMaxParallelism is how many it can have if its config sets no maxParallelism.
	DefaultMaxParallelism = int32(8)
)

// JobSettings configure the Jobs of runs. An Artifact's fields take precedence
// over its config's; labels and annotations are merged key by key. A
// ClusterProviderConfig may set all of them, and its spec.policy.tenants lists
// those that its Artifacts may set. A ProviderConfig and its Artifacts may set
// resources, nodeSelector, activeDeadlineSeconds, parallelLayers, bufferSize,
// parallelism up to 8, and the labels and annotations that are listed there.
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
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/component', 'app.kubernetes.io/managed-by', 'app.kubernetes.io/version']) && !k.startsWith('model.kitops.m.crossplane.io/'))",message="the provider sets app.kubernetes.io/name, instance, component, managed-by and version, and labels that begin with model.kitops.m.crossplane.io/: write a key of your own, such as team"
	Labels map[string]string `json:"labels,omitempty"`

	// Annotations of the Job and its Pod beside the provider's own, which cannot
	// be replaced. An Artifact, and a ProviderConfig, may set
	// cluster-autoscaler.kubernetes.io/safe-to-evict,
	// karpenter.sh/do-not-disrupt, linkerd.io/inject and
	// sidecar.istio.io/inject, and an Artifact also those that its
	// ClusterProviderConfig lists in spec.policy.tenants.annotations.
	// Default: none. Example: {sidecar.istio.io/inject: "false"}.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('model.kitops.m.crossplane.io/'))",message="the provider sets annotations that begin with model.kitops.m.crossplane.io/: write a key of your own, such as example.com/note"
	Annotations map[string]string `json:"annotations,omitempty"`

	// ActiveDeadlineSeconds limits the duration of a run, in seconds from its
	// Job's start. With parallelism, the Pod that completes the run has as long again.
	// Default: no limit. Example: 7200.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`

	// ParallelLayers is how many layers a run of pipeline Stream transfers side by
	// side at most. 1 transfers one after the other. An Artifact that sets it is built
	// by Stream; a config's has no effect on runs of Kit. A change applies to the next
	// run, and starts none. Default: chosen during the run, as long as more layers
	// side by side are faster. Example: 16, or 2 to spare a small registry.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	ParallelLayers *int32 `json:"parallelLayers,omitempty"`

	// BufferSize is how much memory a run of pipeline Stream uses for buffers at most,
	// beside about 40Mi for the program: more keeps more connections busy on a fast
	// line. If the container's memory limit, in resources, leaves less, that applies.
	// An Artifact that sets it is built by Stream; a config's has no effect on runs of
	// Kit. A change applies to the next run, and starts none. Default: 256Mi.
	// Example: 1Gi.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('16Mi')) >= 0",message="bufferSize must be at least 16Mi: write a quantity such as 512Mi"
	BufferSize *resource.Quantity `json:"bufferSize,omitempty"`

	// Parallelism is how many Pods transfer one model, each its share of the layers, for a
	// model that one node's network is too slow for. Each Pod has the resources above, and
	// counts for job.maxRuns. Once all have finished, one Pod completes the run, and the
	// artifact has the same digest as with one Pod. One that fails is retried without the
	// others. More than job.maxParallelism of the config is refused (NotAllowed). An
	// Artifact that sets more than 1 is built by pipeline Stream; a config's has no effect
	// on runs of Kit. A change applies to the next run, and starts none. Default: 1. Example: 4.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	Parallelism int32 `json:"parallelism,omitempty"`
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

// DefaultUserID is the user and the group of a run's Pod, and the group of its volumes,
// unless a ClusterProviderConfig has a podSecurityContext. KitOps' image uses it too.
const DefaultUserID = int64(1001)

// PodSettings are settings of a run's Pod and Job that decide what runs it, as whom and
// how long its logs stay: the administrator's alone.
type PodSettings struct {
	// RuntimeClassName of the Pod, for a sandbox such as gVisor or Kata Containers. The
	// RuntimeClass must exist. Default: the cluster's default runtime. Example: gvisor.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="runtimeClassName must be the name of a RuntimeClass: write gvisor, or leave it out"
	RuntimeClassName string `json:"runtimeClassName,omitempty"`

	// SchedulerName is the scheduler of the Pod, which must run in the cluster: without
	// it the Pod is never started. Default: default-scheduler. Example: volcano.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="schedulerName must be the name of a scheduler: write volcano, or leave it out"
	SchedulerName string `json:"schedulerName,omitempty"`

	// TopologySpreadConstraints spread the Pods of runs over nodes, zones or other
	// domains. One without a labelSelector counts the Pods of all runs in the namespace
	// where they execute. Default: the scheduler's.
	// Example: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway}].
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`

	// TTLSecondsAfterFinished is how long a Job is kept after its end, with its Pod and
	// the logs of that, in seconds. A run whose Job is gone before the provider has read
	// its result, because that was away for longer, is repeated. Default: 3600.
	// Example: 86400.
	// +optional
	// +kubebuilder:validation:Minimum=300
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`

	// PodSecurityContext replaces the user and the groups of the Pod. What it leaves out
	// is not set, so that the cluster decides: {} is for OpenShift, whose
	// SecurityContextConstraints assign a user and a group of the namespace's own and
	// refuse others. That no container runs as root or gets privileges is not affected.
	// Default: {runAsUser: 1001, runAsGroup: 1001, fsGroup: 1001}.
	// Example: {runAsUser: 2000, fsGroup: 2000}.
	// +optional
	PodSecurityContext *PodSecurityContext `json:"podSecurityContext,omitempty"`
}

// A PodSecurityContext is who a run's Pod is on its node, within the restricted Pod
// security standard.
type PodSecurityContext struct {
	// RunAsUser is the user ID of all containers. Default: the cluster's choice, else
	// that of each image: 1001 of kit's and 65532 of the worker's. Example: 2000.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	RunAsUser *int64 `json:"runAsUser,omitempty"`

	// RunAsGroup is the group ID of all containers. Default: the cluster's choice, else
	// that of each image. Example: 2000.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	RunAsGroup *int64 `json:"runAsGroup,omitempty"`

	// FSGroup is the group that volumes of the Pod get, if they support it. Without one
	// that is set here or by the cluster, pipeline Kit needs a storage class whose volumes
	// the user may write. Default: the cluster's choice, else none. Example: 2000.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	FSGroup *int64 `json:"fsGroup,omitempty"`

	// FSGroupChangePolicy decides when the group of a volume's files is changed.
	// Default: OnRootMismatch. Example: Always.
	// +optional
	// +kubebuilder:validation:Enum=OnRootMismatch;Always
	FSGroupChangePolicy corev1.PodFSGroupChangePolicy `json:"fsGroupChangePolicy,omitempty"`

	// SupplementalGroups are further groups of all containers, such as that of a volume
	// that is read. Default: none. Example: [3000].
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=2147483647
	SupplementalGroups []int64 `json:"supplementalGroups,omitempty"`

	// SELinuxOptions are the SELinux labels of all containers. Default: the container
	// runtime's. Example: {level: "s0:c123,c456"}.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.user) && !has(self.role) && (!has(self.type) || self.type in ['container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t'])",message="the restricted Pod security standard allows a level, and a type that confines: remove user and role, and write level alone or type: container_t"
	SELinuxOptions *corev1.SELinuxOptions `json:"seLinuxOptions,omitempty"`
}
