package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// sameBuild reports whether an object was built as the wanted one, as far as
// the hash in this annotation covers. It compares what was asked for, never
// what the API server has: admission may change any of that. An object without
// the annotation was built by an older version and counts as the same.
func sameBuild(there, wanted metav1.Object, annotation string) bool {
	hash, ok := there.GetAnnotations()[annotation]
	return !ok || hash == wanted.GetAnnotations()[annotation]
}

// jobWithBuildHash annotates a Job with what it was asked to be. The Job holds
// all else already.
func jobWithBuildHash(s v1alpha1.JobSettings) jobOverride {
	return func(j *batchv1.Job) {
		j.Annotations = merged(j.Annotations, map[string]string{
			AnnotationBuildHash:  hashOf(startOf(j, s)),
			AnnotationImagesHash: hashOf(imagesOf(j)),
		})
	}
}

// hashOf returns a hash of a value's JSON.
func hashOf(v any) string {
	// Parts of Kubernetes objects: there is nothing that cannot be encoded.
	out, _ := json.Marshal(v) //nolint:errchkjson // See above.
	sum := sha256.Sum256(out)
	return hex.EncodeToString(sum[:8])
}

// start is what decides whether, where and how a Job's Pod starts, but for its
// images.
type start struct {
	Labels         map[string]string             `json:"labels,omitempty"`
	Annotations    map[string]string             `json:"annotations,omitempty"`
	Deadline       *int64                        `json:"deadline,omitempty"`
	NodeSelector   map[string]string             `json:"nodeSelector,omitempty"`
	Tolerations    []corev1.Toleration           `json:"tolerations,omitempty"`
	Affinity       *corev1.Affinity              `json:"affinity,omitempty"`
	PriorityClass  string                        `json:"priorityClass,omitempty"`
	ServiceAccount string                        `json:"serviceAccount,omitempty"`
	PullSecrets    []corev1.LocalObjectReference `json:"pullSecrets,omitempty"`
	HostAliases    []corev1.HostAlias            `json:"hostAliases,omitempty"`
	Containers     []containerStart              `json:"containers"`
	Secrets        []corev1.SecretProjection     `json:"secrets,omitempty"`
}

type containerStart struct {
	Args      []string                    `json:"args,omitempty"`
	Resources corev1.ResourceRequirements `json:"resources"`
	Env       []corev1.EnvVar             `json:"env,omitempty"`
}

// startOf returns how a Job that was built from these settings starts. The
// Secret that holds copied credentials has no name yet: that is the provider's
// choice and no part of what was asked for.
func startOf(job *batchv1.Job, s v1alpha1.JobSettings) start {
	pod := job.Spec.Template.Spec
	out := start{
		Labels:         s.Labels,
		Annotations:    s.Annotations,
		Deadline:       job.Spec.ActiveDeadlineSeconds,
		NodeSelector:   pod.NodeSelector,
		Tolerations:    pod.Tolerations,
		Affinity:       pod.Affinity,
		PriorityClass:  pod.PriorityClassName,
		ServiceAccount: pod.ServiceAccountName,
		PullSecrets:    pod.ImagePullSecrets,
		HostAliases:    pod.HostAliases,
	}
	for _, c := range containersOf(&pod) {
		out.Containers = append(out.Containers, containerStartOf(c))
	}
	for i := range pod.Volumes {
		if pod.Volumes[i].Projected == nil {
			continue
		}
		for _, p := range pod.Volumes[i].Projected.Sources {
			if p.Secret != nil {
				out.Secrets = append(out.Secrets, *p.Secret)
			}
		}
	}
	return out
}

func containerStartOf(c *corev1.Container) containerStart {
	out := containerStart{Args: c.Args, Resources: c.Resources}
	for _, e := range c.Env {
		if e.Name == outcome.EnvProgressAddress || e.Name == EnvMountFrom {
			// What a run is told beside its task keeps no Pod from starting.
			continue
		}
		out.Env = append(out.Env, e)
	}
	return out
}

// imagesOf returns the images of a Job's containers.
func imagesOf(job *batchv1.Job) []string {
	var out []string
	for _, c := range containersOf(&job.Spec.Template.Spec) {
		out = append(out, c.Image)
	}
	return out
}

// containersOf returns all containers of a Pod in the order in which they start.
func containersOf(pod *corev1.PodSpec) []*corev1.Container {
	out := make([]*corev1.Container, 0, len(pod.InitContainers)+len(pod.Containers))
	for _, containers := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range containers {
			out = append(out, &containers[i])
		}
	}
	return out
}
