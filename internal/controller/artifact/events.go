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
	reasonPushed     event.Reason = "Pushed"
	reasonRunFailed  event.Reason = "RunFailed"
	reasonTagged     event.Reason = "Tagged"
	reasonUntagged   event.Reason = "Untagged"
	reasonPutBack    event.Reason = "TagPutBack"
	reasonAdopted    event.Reason = "Adopted"
	reasonDeleted    event.Reason = "DeletedFromRegistry"
	reasonLeft       event.Reason = "ArtifactLeft"
)

// tell writes an event for a phase that the Artifact's run has come to, and
// counts its end. It says nothing where the Artifact is not what the API server
// has any more: then the status is not kept either, and the next look tells.
func (e *external) tell(ctx context.Context, a *modelv1alpha1.Artifact, o artifact.ObservationResult) {
	if held(a) {
		return
	}
	now := &modelv1alpha1.Artifact{}
	if err := e.direct.Get(ctx, client.ObjectKeyFromObject(a), now); err != nil || now.GetResourceVersion() != a.GetResourceVersion() {
		return
	}
	if hasEnded(o.Phase) {
		e.metrics.ended(a, o)
	}
	s := a.Status.AtProvider
	switch o.Phase {
	case modelv1alpha1.PhaseRunning:
		e.recorder.Event(a, event.Normal(reasonRunning, fmt.Sprintf("Run %d is at work", s.Run)))
	case modelv1alpha1.PhaseSucceeded:
		e.recorder.Event(a, event.Normal(reasonPushed, fmt.Sprintf("Run %d pushed %s with digest %s", s.Run, s.Reference, s.Digest)))
	case modelv1alpha1.PhaseFailed:
		e.recorder.Event(a, event.Warning(reasonRunFailed, errors.Errorf("Run %d failed: %s: %s", s.Run, o.Reason, o.Message)))
	case modelv1alpha1.PhasePending:
		// Starting it was an event already.
	}
}
