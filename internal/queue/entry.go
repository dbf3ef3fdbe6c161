package queue

import (
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// PodsOf returns how many Pods an Artifact's run has at a time, as far as its spec and its
// status say: its config may have a default, and limits on runs allow fewer.
func PodsOf(a *modelv1alpha1.Artifact) int {
	most := 1
	if s := a.Status.AtProvider.Shares; s != nil {
		most = int(s.Of) - len(s.Done)
	} else if job := a.Spec.ForProvider.Job; job != nil {
		most = int(job.Parallelism)
	}
	return min(max(most, 1), v1alpha1.MaxParallelism)
}

// EntryOf returns the entry of the run that an Artifact asks for: as it is recorded in its
// status if it waits already, else as one that begins to wait now, or at its creation if
// it has had no run. A provider that was restarted so finds the order as it was. No status
// makes an entry older than its Artifact.
func EntryOf(a *modelv1alpha1.Artifact, now time.Time) Entry {
	e := Entry{
		UID: a.GetUID(), Namespace: a.GetNamespace(), Name: a.GetName(),
		Config: ConfigOf(a), Priority: a.Spec.ForProvider.Priority, Since: now, Pods: PodsOf(a),
	}
	switch {
	case a.Status.AtProvider.Run == 0:
		e.Since = a.GetCreationTimestamp().Time
	case IsQueued(a):
		e.Since = a.GetCondition(xpv2.TypeReady).LastTransitionTime.Time
	}
	if created := a.GetCreationTimestamp().Time; e.Since.Before(created) {
		e.Since = created
	}
	return e
}

// IsQueued reports whether an Artifact's Ready condition says that its run waits for room,
// or in the queue of its Job.
func IsQueued(a *modelv1alpha1.Artifact) bool {
	return a.GetCondition(xpv2.TypeReady).Reason == xpv2.ConditionReason(outcome.Queued)
}

// ConfigOf returns the Config of an Artifact's entry: its ClusterProviderConfig. A
// ProviderConfig has no limit.
func ConfigOf(a *modelv1alpha1.Artifact) string {
	ref := a.GetProviderConfigReference()
	if ref == nil || ref.Kind != v1alpha1.ClusterProviderConfigGroupVersionKind.Kind {
		return ""
	}
	return ClusterConfig(ref.Name)
}

// ClusterConfig returns the Config of the entries of a ClusterProviderConfig.
func ClusterConfig(name string) string {
	return v1alpha1.ClusterProviderConfigGroupVersionKind.Kind + "/" + name
}
