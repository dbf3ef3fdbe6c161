package artifact

import (
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// jobWithMounts tells the worker which artifacts may have the same blobs.
func jobWithMounts(a *modelv1alpha1.Artifact) jobOverride {
	return func(j *batchv1.Job) {
		if len(a.Effective.MountFrom) == 0 {
			return
		}
		c := &j.Spec.Template.Spec.Containers[0]
		c.Env = append(c.Env, corev1.EnvVar{Name: EnvMountFrom, Value: strings.Join(literal(a.Effective.MountFrom), "\n")})
	}
}
