package artifact

import (
	"net"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// jobWithProgress has the worker say on a port of the Pod how far its run is. A
// worker that is older than that does not.
func jobWithProgress() jobOverride {
	return func(j *batchv1.Job) {
		// In each Pod the only container, beside those that initialize it.
		c := &j.Spec.Template.Spec.Containers[0]
		c.Ports = []corev1.ContainerPort{{
			Name:          outcome.ProgressPortName,
			ContainerPort: outcome.ProgressPort,
			Protocol:      corev1.ProtocolTCP,
		}}
		c.Env = append(c.Env, corev1.EnvVar{
			Name:  outcome.EnvProgressAddress,
			Value: net.JoinHostPort("", strconv.Itoa(outcome.ProgressPort)),
		})
	}
}
