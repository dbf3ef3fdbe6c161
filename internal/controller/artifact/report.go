package artifact

import (
	"context"
	"fmt"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// reportError sets the Ready condition of an Artifact that is not ready to the reason.
func reportError(a *modelv1alpha1.Artifact, err error) {
	if why, ok := conditionOf(a, err); ok {
		a.SetConditions(why)
	}
}

// reportError does the same, and names the Artifact's config if that is not Ready for the
// same reason.
func (e *external) reportError(a *modelv1alpha1.Artifact, err error) {
	if why, ok := conditionOf(a, err); ok {
		a.SetConditions(e.namingConfig(why))
	}
}

// namingConfig returns a Ready condition whose message names the Artifact's config if
// that is not Ready for the same reason. It reads nothing but the cache.
func (e *external) namingConfig(c xpv2.Condition) xpv2.Condition {
	if c.Status != corev1.ConditionFalse {
		return c
	}
	if same := e.settings.SameAsConfig(outcome.Reason(c.Reason), c.Message); same != "" {
		c.Message += "; " + same
	}
	return c
}

// conditionOf returns the Ready condition for an error of an Artifact, if the error has
// a reason of the vocabulary. An Artifact that is ready stays so.
func conditionOf(a *modelv1alpha1.Artifact, err error) (xpv2.Condition, bool) {
	var why *outcome.Error
	if !errors.As(err, &why) || a.GetCondition(xpv2.TypeReady).Status == corev1.ConditionTrue {
		return xpv2.Condition{}, false
	}
	return unavailable(why.Reason, why.Message).WithObservedGeneration(a.GetGeneration()), true
}

// registryChanged returns a condition if the ProviderConfig has another
// registry than the one that the Artifact was made for.
func (e *external) registryChanged(a *modelv1alpha1.Artifact) *xpv2.Condition {
	// Where the Artifact was observed only, the name has a tag or a digest.
	name, _, _ := strings.Cut(meta.GetExternalName(a), "@")
	was, is := trimTag(name), artifact.ExternalName(a)
	s := a.Status.AtProvider
	nothingThere := s.Digest == "" && (s.Phase == "" || s.Phase == modelv1alpha1.PhaseFailed)
	if was == "" || was == is || nothingThere {
		return nil
	}
	cure := "set the ProviderConfig's registry.host back, or make a new Artifact"
	if wasHost, _, _ := strings.Cut(was, "/"); wasHost == artifact.Registry(a) {
		cure = "remove the annotation crossplane.io/external-name to make the other, or make a new Artifact"
	}
	c := unavailable(outcome.RegistryChanged, "The artifact was made as "+was+" and would now be "+is+": "+cure)
	return &c
}

// readyCondition returns the Ready condition for what a run says.
func readyCondition(o artifact.ObservationResult) xpv2.Condition {
	switch o.Ready {
	case metav1.ConditionTrue:
		return xpv2.Available()
	case metav1.ConditionUnknown:
		return xpv2.Creating().WithMessage(o.Message)
	case metav1.ConditionFalse:
	}
	return unavailable(outcome.Reason(o.Reason), o.Message)
}

// unavailable returns a Ready condition that is false for this reason.
func unavailable(reason outcome.Reason, message string) xpv2.Condition {
	return xpv2.Condition{
		Type:               xpv2.TypeReady,
		Status:             corev1.ConditionFalse,
		LastTransitionTime: metav1.Now(),
		Reason:             xpv2.ConditionReason(reason),
		Message:            message,
	}
}

// queued returns the Ready condition of an Artifact whose run waits for room.
func queued(message string) xpv2.Condition { return unavailable(outcome.Queued, message) }

// Reasons of an Artifact's events, beside those of crossplane-runtime.
const (
	// reasonRunStarted: a run was started: its Job was created, or put into the queue that it names.
	reasonRunStarted event.Reason = "RunStarted"

	// reasonRunning: a run's Pod is running.
	reasonRunning event.Reason = "RunRunning"

	// reasonRequeued: a run was stopped by its queue, to make room for another, and waits there again.
	reasonRequeued event.Reason = "RunRequeued"

	// reasonStaged: a run has staged the artifact, which gets its tag next.
	reasonStaged event.Reason = "Staged"

	// reasonPushed: the artifact has its tag and its attestation.
	reasonPushed event.Reason = "Pushed"

	// reasonRunFailed: a run failed; the message has the reason and the cure.
	reasonRunFailed event.Reason = "RunFailed"

	// reasonNotRenewed: the credentials that a run has a copy of could not be copied again; it goes on with those that it has.
	reasonNotRenewed event.Reason = "CredentialsNotRenewed"

	// reasonTagged: a tag was set on what the registry already had, without a run.
	reasonTagged event.Reason = "Tagged"

	// reasonUntagged: a tag was removed, as the spec asks.
	reasonUntagged event.Reason = "Untagged"

	// reasonPutBack: the registry no longer had the artifact's tag, and it was set again.
	reasonPutBack event.Reason = "TagPutBack"

	// reasonAdopted: what is in the registry was adopted as the Artifact's.
	reasonAdopted event.Reason = "Adopted"

	// reasonDeleted: the Artifact's tags and attestations were deleted from the registry.
	reasonDeleted event.Reason = "DeletedFromRegistry"

	// reasonUndescribed: the artifact has its tag, but not all that describes it: a file list, a bill of materials or a signature of its files.
	reasonUndescribed event.Reason = "Undescribed"

	// reasonUnsigned: the tags of cosign's legacy form do not have the artifact's signature and attestation.
	reasonUnsigned event.Reason = "LegacyTagsUnsigned"

	// reasonLeft: a tag or an artifact was left in the registry, since the registry does not let it be removed or another one refers to it.
	reasonLeft event.Reason = "ArtifactLeft"
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
		if artifact.AwaitsLastOf(a) {
			// Its Pods were running before.
			return
		}
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

// Keys of an Artifact's connection details.
const (
	detailRegistry        = "registry"
	detailRepository      = "repository"
	detailTag             = "tag"
	detailDigest          = "digest"
	detailReference       = "reference"
	detailPinnedReference = "pinnedReference"
)

// connectionDetails say where the artifact is that was pushed last, or that is
// observed. There are none before the first is there.
func connectionDetails(a *modelv1alpha1.Artifact) managed.ConnectionDetails {
	s := a.Status.AtProvider
	if s.Digest == "" {
		return nil
	}
	details := managed.ConnectionDetails{
		detailDigest:          []byte(s.Digest),
		detailReference:       []byte(s.Reference),
		detailPinnedReference: []byte(s.PinnedReference),
	}
	if ref, err := registry.ParseReference(s.Reference); err == nil {
		details[detailRegistry], details[detailRepository], details[detailTag] = []byte(ref.Registry), []byte(ref.Repository), []byte(ref.Tag)
	}
	return details
}
