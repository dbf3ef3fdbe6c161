package artifact

import (
	"fmt"

	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// Reasons of the condition PolicyCompliant. If it is false, its reason is
// outcome.PolicyViolation.
const (
	reasonCompliant xpv2.ConditionReason = "Compliant"
	reasonNoPolicy  xpv2.ConditionReason = "NoPolicy"
)

// modelName returns the name that policies know an Artifact's source by.
func modelName(a *modelv1alpha1.Artifact) string {
	if s := artifact.OCISource(a); s != nil {
		ref, err := registry.ParseReference(s.Reference)
		if err != nil {
			return ""
		}
		return ref.Registry + "/" + ref.Repository
	}
	switch hf := a.Spec.ForProvider.Source.HuggingFace; {
	case hf == nil:
		return ""
	case hf.Dataset != "":
		return policy.DatasetPrefix + hf.Dataset
	default:
		return hf.Model
	}
}

// forbidden returns the error of the policies that refuse what an Artifact's spec asks
// for, as far as the spec tells.
func (e *external) forbidden(a *modelv1alpha1.Artifact) error {
	if err := e.settings.Policies.CheckModel(modelName(a)); err != nil {
		return err
	}
	// What is verified is part of the run hash: a run has verified it, too.
	s := artifact.OCISource(a)
	return e.settings.Policies.CheckAttested(s != nil && s.Verify != nil)
}

// A content is what is known of an artifact that was staged or pushed.
type content struct {
	license, scan string
	size          int64
}

// stagedContent returns what is known of what a run staged.
func stagedContent(s *modelv1alpha1.StagedArtifact) content {
	return content{license: s.License, scan: s.Scan, size: s.Size}
}

// pushedContent returns what is known of what was pushed last.
func pushedContent(s modelv1alpha1.ArtifactObservation) content {
	c := content{size: s.Size}
	if s.Source != nil {
		c.license, c.scan = s.Source.License, s.Source.Scan
	}
	return c
}

// checkContent returns the error of the policies that refuse an artifact of the
// Artifact's source.
func (e *external) checkContent(a *modelv1alpha1.Artifact, c content) error {
	p := e.settings.Policies
	for _, check := range []func() error{
		func() error { return e.forbidden(a) },
		func() error { return p.CheckLicense(c.license) },
		func() error { return p.CheckSize(c.size) },
		func() error { return p.CheckVerdict(c.scan) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// setCompliance sets the condition PolicyCompliant of an Artifact whose artifact is in
// the registry: whether the policies would allow it now. Nothing else follows from it.
// Without a policy, now or before, there is no condition.
func (e *external) setCompliance(a *modelv1alpha1.Artifact) {
	s, p := a.Status.AtProvider, e.settings.Policies
	known := a.GetCondition(modelv1alpha1.TypePolicyCompliant).Status != corev1.ConditionUnknown
	if !matchesSpec(a) || len(p) == 0 && !known {
		return
	}
	c := xpv2.Condition{
		Type: modelv1alpha1.TypePolicyCompliant, Status: corev1.ConditionTrue, Reason: reasonCompliant,
		LastTransitionTime: metav1.Now(), ObservedGeneration: a.GetGeneration(),
	}
	pushed := pushedContent(s)
	if len(p) == 0 {
		c.Reason = reasonNoPolicy
	} else if err := e.checkContent(a, pushed); err != nil {
		c.Status, c.Reason = corev1.ConditionFalse, xpv2.ConditionReason(outcome.PolicyViolation)
		c.Message = "What was pushed stays, and would not be allowed now: " + err.Error()
	} else {
		c.Message = p.Warnings(pushed.scan)
	}
	a.SetConditions(c)
}

// refuse is about what the policies refuse. An artifact that is ready stays so.
func refuse(ready xpv2.Condition, why error, what string) plan {
	if ready.Status == corev1.ConditionTrue {
		return plan{action: actionWait, ready: ready.WithMessage(fmt.Sprintf("The artifact is there as it was; %s: %s", what, why)), refused: why}
	}
	return plan{action: actionWait, ready: unavailable(outcome.PolicyViolation, why.Error()), refused: why}
}

// isRefused reports whether the policies refuse what an Artifact's spec asks for.
func isRefused(a *modelv1alpha1.Artifact) bool {
	return string(a.GetCondition(xpv2.TypeReady).Reason) == string(outcome.PolicyViolation) ||
		a.GetCondition(modelv1alpha1.TypePolicyCompliant).Status == corev1.ConditionFalse
}

// reportRefusal writes an event for what the policies refuse and Ready did not name
// before.
func (e *external) reportRefusal(a *modelv1alpha1.Artifact) {
	was := a.GetCondition(xpv2.TypeReady)
	if e.plan.refused != nil && was.Message != e.plan.ready.Message && meta.FinalizerExists(a, managed.FinalizerName) {
		e.recorder.Event(a, event.Warning(event.Reason(outcome.PolicyViolation), e.plan.refused))
	}
}
