package plugin

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/queue"
)

// place shows how many runs are before that of an Artifact which waits for room.
func (c *command) place(ctx context.Context, k *cluster, a *modelv1alpha1.Artifact, now time.Time) {
	if !queue.IsQueued(a) {
		return
	}
	all, err := listAs[modelv1alpha1.Artifact](ctx, k.artifacts(""), metav1.ListOptions{}, "Artifacts of all namespaces")
	if err != nil {
		c.field("Queue", fmt.Sprintf("the place in it is not known: %s", err))
		return
	}
	place, of := placeOf(a, all, now)
	c.field("Queue", fmt.Sprintf("%d of %d that wait, with priority %d, as it is now: higher priorities and namespaces with fewer runs come first, then those that have run longest ago, as far as their Artifacts say; the provider remembers more", place, of, a.Spec.ForProvider.Priority))
}

// placeOf returns the place of an Artifact's run among those that wait for the same limit,
// counted from 1, and how many these are.
func placeOf(a *modelv1alpha1.Artifact, all []modelv1alpha1.Artifact, now time.Time) (place, of int) {
	var waiting []queue.Entry
	running, admitted := map[string]int{}, map[string]time.Time{}
	for i := range all {
		o := &all[i]
		// The provider remembers when each run was admitted; this is what is left of it.
		if began := o.Status.AtProvider.StartTime; began != nil && began.After(admitted[o.GetNamespace()]) {
			admitted[o.GetNamespace()] = began.Time
		}
		switch {
		case queue.IsQueued(o):
			waiting = append(waiting, queue.EntryOf(o, now))
		case hasRun(o):
			running[o.GetNamespace()] += queue.PodsOf(o)
		}
	}
	for _, e := range queue.Order(waiting, running, admitted) {
		if config := queue.ConfigOf(a); config != "" && e.Config != config {
			continue
		}
		of++
		if e.UID == a.GetUID() {
			place = of
		}
	}
	return place, of
}

// hasRun reports whether an Artifact's run has a Pod, or is about to.
func hasRun(a *modelv1alpha1.Artifact) bool {
	s := a.Status.AtProvider
	return s.Phase == modelv1alpha1.PhaseRunning || s.Phase == modelv1alpha1.PhasePending && s.JobRef != nil
}
