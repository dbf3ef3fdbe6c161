package artifact

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// readingClaim returns Pods that read from a claim.
func readingClaim(pods []corev1.Pod) []corev1.Pod {
	for i := range pods {
		pods[i].Spec.Volumes = append(pods[i].Spec.Volumes, corev1.Volume{Name: sourceVolumeName, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "tuned", ReadOnly: true},
		}})
	}
	return pods
}

func TestWaitingForSource(t *testing.T) {
	const attach = `Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node and can't be attached to another`
	unscheduled := func(message string) waitingArgs { return waitingArgs{pods: readingClaim(noNode(message))} }
	starting := readingClaim(creating("ContainerCreating", ""))
	checkWaiting(t, map[string]waitingCase{
		"Absent":    {reason: "A claim that does not exist should be named.", args: unscheduled(`0/2 nodes are available: persistentvolumeclaim "tuned" not found. preemption: 0/2 nodes are available`), want: outcome.ConfigMissing, says: []string{`"tuned"`, "create it"}},
		"Deleted":   {reason: "A claim that is being deleted should be named.", args: unscheduled(`0/2 nodes are available: persistentvolumeclaim "tuned" is being deleted.`), want: outcome.ConfigMissing, says: []string{`"tuned"`, "name another one"}},
		"OnePod":    {reason: "A claim that only one Pod may use should be explained.", args: unscheduled("0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode."), want: outcome.Unschedulable, says: []string{`"tuned"`, "in use by another Pod", "end that Pod"}},
		"OtherNode": {reason: "A volume of other nodes should be explained.", args: unscheduled("0/2 nodes are available: 1 Insufficient memory, 1 node(s) didn't match PersistentVolume's node affinity."), want: outcome.Unschedulable, says: []string{`"tuned"`, "Insufficient memory", "nodeSelector"}},
		"Empty":     {reason: "A claim without a volume has no files, and should not be waited for without a word.", args: unscheduled("0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."), want: outcome.ConfigMissing, says: []string{`"tuned"`, "has no volume"}},
		"Lost":      {reason: "A claim whose volume is gone should be named.", args: unscheduled("0/1 nodes are available: 1 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)."), want: outcome.ConfigMissing, says: []string{`"tuned"`, "has lost its volume"}},
		"Resources": {reason: "A Pod that fits on no node for another reason should be explained as without a source.", args: unscheduled("0/2 nodes are available: 2 Insufficient memory."), want: outcome.Unschedulable, says: []string{"Insufficient memory", "resources"}},
		"InUse":     {reason: "A volume that is attached to another node should be explained.", args: waitingArgs{pods: starting, events: []corev1.Event{said(podUID, 1, "FailedAttachVolume", attach)}}, want: outcome.Unschedulable, says: []string{`"tuned"`, "in use on another node", "nodeSelector"}},
		"InUseNoMore": {reason: "A volume that was attached since should clear the failure.", args: waitingArgs{pods: starting, events: []corev1.Event{
			said(podUID, 1, "FailedAttachVolume", attach), said(podUID, 2, "SuccessfulAttachVolume", "AttachVolume.Attach succeeded"), said(podUID, 2, "Pulling", "Pulling image"),
		}}},
	})
}
