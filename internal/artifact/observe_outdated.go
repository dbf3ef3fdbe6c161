package artifact

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// startsAlike says whether the Pods of two Jobs start in the same way, of the
// same images where these matter.
func startsAlike(a, b *batchv1.Job, images bool) bool {
	return equality.Semantic.DeepEqual(startOf(a, images), startOf(b, images))
}

// start is what decides where and how a Job's Pod starts, as far as the API
// server fills in nothing of it. What is compared has exported fields only.
type start struct {
	Deadline       *int64
	NodeSelector   map[string]string
	Tolerations    []corev1.Toleration
	Affinity       *corev1.Affinity
	PriorityClass  string
	ServiceAccount string
	PullSecrets    []corev1.LocalObjectReference
	HostAliases    []corev1.HostAlias
	Containers     []containerStart
}

type containerStart struct {
	Image     string
	Args      []string
	Resources corev1.ResourceRequirements
	Env       []string
}

func startOf(job *batchv1.Job, images bool) start {
	pod := job.Spec.Template.Spec
	out := start{
		Deadline:       job.Spec.ActiveDeadlineSeconds,
		NodeSelector:   pod.NodeSelector,
		Tolerations:    pod.Tolerations,
		Affinity:       pod.Affinity,
		PriorityClass:  pod.PriorityClassName,
		ServiceAccount: pod.ServiceAccountName,
		PullSecrets:    pod.ImagePullSecrets,
		HostAliases:    pod.HostAliases,
	}
	for _, containers := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range containers {
			c := containerStartOf(&containers[i])
			if !images {
				c.Image = ""
			}
			out.Containers = append(out.Containers, c)
		}
	}
	return out
}

func containerStartOf(c *corev1.Container) containerStart {
	out := containerStart{Image: c.Image, Args: c.Args, Resources: c.Resources}
	for _, e := range c.Env {
		if e.Name == outcome.EnvProgressAddress || e.Name == EnvMountFrom {
			// What a run is told beside its task keeps no Pod from starting.
			continue
		}
		value := e.Value
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			value = e.ValueFrom.SecretKeyRef.Name + "/" + e.ValueFrom.SecretKeyRef.Key
		}
		out.Env = append(out.Env, e.Name+"="+value)
	}
	return out
}
