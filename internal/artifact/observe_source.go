package artifact

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// sourceClaim returns the name of the claim that a Pod reads from; "" for none.
func sourceClaim(pod *corev1.Pod) string {
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.Name == sourceVolumeName && v.PersistentVolumeClaim != nil {
			return v.PersistentVolumeClaim.ClaimName
		}
	}
	return ""
}

// waitingForSource returns why a Pod does not get the volume that it reads from; nil if
// it waits for something else. Scheduler and kubelet retry.
func waitingForSource(pods []corev1.Pod, workspace *corev1.PersistentVolumeClaim, events []corev1.Event) *outcome.Failure {
	for i := range pods {
		claim := sourceClaim(&pods[i])
		if claim == "" {
			continue
		}
		if c := unscheduled(&pods[i]); c != nil {
			if f := unscheduledForSource(claim, schedulerCauses(c.Message), workspace != nil); f != nil {
				return f
			}
			continue
		}
		of := eventsOf(events, pods[i].GetUID())
		refused := latest(of, "FailedAttachVolume")
		if refused != nil && strings.Contains(refused.Message, "Multi-Attach error") && !happenedSince(of, refused, "SuccessfulAttachVolume", "Pulling", "Pulled", "Created", "Started") {
			return failure(outcome.Errorf(outcome.Unschedulable,
				"PersistentVolumeClaim %q of the source is in use on another node, and its volume can be attached to one at a time: end the Pods that use it, or have the run on their node by spec.forProvider.job.nodeSelector or affinity, and the run continues", claim))
		}
	}
	return nil
}

// unscheduledForSource returns why the scheduler finds no node for a Pod with the source's
// volume, beside a workspace that may have none yet or not; nil if the causes are none of
// that volume's. Their words are those of
// k8s.io/kubernetes/pkg/scheduler/framework/plugins/volumebinding and volumerestrictions.
func unscheduledForSource(claim string, causes []string, workspace bool) *outcome.Failure {
	has := func(part string) bool {
		return slices.ContainsFunc(causes, func(c string) bool { return strings.Contains(strings.ToLower(c), part) })
	}
	named := strings.ToLower(fmt.Sprintf("persistentvolumeclaim %q", claim))
	switch {
	case has(named + " not found"):
		return failure(outcome.Errorf(outcome.ConfigMissing,
			"PersistentVolumeClaim %q, which spec.forProvider.source names, does not exist: create it, and the run continues", claim))
	case has(named + " is being deleted"):
		return failure(outcome.Errorf(outcome.ConfigMissing,
			"PersistentVolumeClaim %q, which spec.forProvider.source names, is being deleted: name another one", claim))
	case has("readwriteoncepod"):
		return failure(outcome.Errorf(outcome.Unschedulable,
			"PersistentVolumeClaim %q of the source is in use by another Pod, and its access mode ReadWriteOncePod admits one: end that Pod, and the run continues", claim))
	case has("volume node affinity conflict"), has("persistentvolume's node affinity"):
		return failure(outcome.Errorf(outcome.Unschedulable,
			"No node that can have the volume of the source's PersistentVolumeClaim %q fits the run's Pod (%s): change spec.forProvider.job (resources, nodeSelector, tolerations, affinity)", claim, listed(causes)))
	case has(named + " bound to non-existent"), has("bound to non-existent pv"):
		return failure(outcome.Errorf(outcome.ConfigMissing,
			"PersistentVolumeClaim %q of the source has lost its volume: restore it, or name another claim", claim))
	case !workspace && (has("unbound immediate persistentvolumeclaims") || has("available persistent volumes to bind")):
		return failure(outcome.Errorf(outcome.ConfigMissing,
			"PersistentVolumeClaim %q of the source has no volume, so that there are no files in it: fill it by a Pod, or name another claim", claim))
	}
	return nil
}
