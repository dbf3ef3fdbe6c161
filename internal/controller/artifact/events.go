package artifact

import (
	"context"
	"fmt"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// Reasons of an Artifact's events, beside those of crossplane-runtime.
const (
	reasonRunStarted event.Reason = "RunStarted"
	reasonRunning    event.Reason = "RunRunning"
	reasonStaged     event.Reason = "Staged"
	reasonPushed     event.Reason = "Pushed"
	reasonRunFailed  event.Reason = "RunFailed"
	reasonTagged     event.Reason = "Tagged"
	reasonUntagged   event.Reason = "Untagged"
	reasonPutBack    event.Reason = "TagPutBack"
	reasonAdopted    event.Reason = "Adopted"
	reasonDeleted    event.Reason = "DeletedFromRegistry"
	reasonLeft       event.Reason = "ArtifactLeft"
)

// tell writes an event for a phase that the Artifact's run has come to, and counts
// its end.
func (e *external) tell(ctx context.Context, a *modelv1alpha1.Artifact, o artifact.ObservationResult) {
	s := a.Status.AtProvider
	var told event.Event
	switch o.Phase {
	case modelv1alpha1.PhasePending:
		// Starting it was an event already.
		return
	case modelv1alpha1.PhaseRunning:
		told = event.Normal(reasonRunning, fmt.Sprintf("Run %d is running", s.Run))
	case modelv1alpha1.PhaseSucceeded:
		told = event.Normal(reasonStaged, fmt.Sprintf("Run %d staged %s", s.Run, s.Staged.Digest))
	case modelv1alpha1.PhaseFailed:
		told = event.Warning(reasonRunFailed, errors.Errorf("Run %d failed: %s: %s", s.Run, o.Reason, o.Message))
	}
	if e.tellIfCurrent(ctx, a, told) && hasEnded(o.Phase) {
		e.metrics.ended(a, o)
	}
}

// tellIfCurrent writes an event and reports whether it did. It does not if the
// Artifact is not what the API server has any more: then the status is not kept
// either, and the next reconcile writes it.
func (e *external) tellIfCurrent(ctx context.Context, a *modelv1alpha1.Artifact, told event.Event) bool {
	if isHeld(a) {
		return false
	}
	now := &modelv1alpha1.Artifact{}
	if err := e.direct.Get(ctx, client.ObjectKeyFromObject(a), now); err != nil || now.GetResourceVersion() != a.GetResourceVersion() {
		return false
	}
	e.recorder.Event(a, told)
	return true
}
