package artifact

import (
	"context"
	"fmt"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
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

// modelName returns the name that policies know an Artifact's source by, and others that
// they may deny.
func modelName(a *modelv1alpha1.Artifact) (name string, others []string) {
	if f := artifact.FolderOf(a); f != nil {
		return f.Name, f.Others
	}
	if s := artifact.OCISource(a); s != nil {
		ref, err := registry.ParseReference(s.Reference)
		if err != nil {
			return "", nil
		}
		return ref.Registry + "/" + ref.Repository, nil
	}
	switch hf := a.Spec.ForProvider.Source.HuggingFace; {
	case hf == nil:
		return "", nil
	case hf.Dataset != "":
		return policy.DatasetPrefix + hf.Dataset, nil
	default:
		return hf.Model, nil
	}
}

// forbidden returns the error of the policies that refuse what an Artifact's spec asks
// for, as far as the spec tells.
func (e *external) forbidden(a *modelv1alpha1.Artifact) error {
	name, others := modelName(a)
	if err := e.settings.Policies.CheckModel(name, others...); err != nil {
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

	// fileList is the digest of the list of its files; empty if there is none.
	fileList string
}

// stagedContent returns what is known of what a run staged.
func stagedContent(s *modelv1alpha1.StagedArtifact) content {
	return content{license: s.License, scan: s.Scan, size: s.Size, fileList: s.FileList}
}

// pushedContent returns what is known of what was pushed last.
func pushedContent(s modelv1alpha1.ArtifactObservation) content {
	c := content{size: s.Size, fileList: s.FileList}
	if s.Source != nil {
		c.license, c.scan = s.Source.License, s.Source.Scan
	}
	return c
}

// checkContent returns the error of the policies that refuse an artifact of the
// Artifact's source, with reason PolicyViolation, or the error of the registry that
// cannot be asked for the list of its files.
func (e *external) checkContent(ctx context.Context, a *modelv1alpha1.Artifact, c content) error {
	p := e.settings.Policies
	for _, check := range []func() error{
		func() error { return e.forbidden(a) },
		func() error { return p.CheckLicense(c.license, declares(a)) },
		func() error { return p.CheckSize(c.size) },
		func() error { return p.CheckVerdict(c.scan) },
		func() error { return e.checkFiles(ctx, a, c.fileList) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// declares reports whether nobody vouches for the licence of an Artifact's source: it is what
// the Artifact, the files or whoever packed an artifact say.
func declares(a *modelv1alpha1.Artifact) bool {
	s := artifact.OCISource(a)
	return artifact.FolderOf(a) != nil || s != nil && s.Verify == nil
}

// gatherRefusal gathers whether the policies refuse what a run staged. What has its tag
// already is committed to the end.
func (e *external) gatherRefusal(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	staged := a.Status.AtProvider.Staged
	if o.tag.IsOn(staged.Digest) {
		return nil
	}
	err := e.checkContent(ctx, a, stagedContent(staged))
	if outcome.ReasonOf(err) == outcome.PolicyViolation {
		o.refused = err
		return nil
	}
	return err
}

// checkedFiles is what policies said of a list of files.
type checkedFiles struct {
	policies, list string
	err            error
}

// checkFiles returns the error of the policies that refuse a file of a list, which is
// read once for as long as the policies stay. Without a list, what the run has checked
// stands.
func (e *external) checkFiles(ctx context.Context, a *modelv1alpha1.Artifact, list string) error {
	if list == "" || !e.settings.Policies.HasFileRules() {
		return nil
	}
	key := checkedFiles{policies: e.settings.Effective.Policy, list: list}
	if c := e.checked.get(a.GetUID()); c.policies == key.policies && c.list == key.list {
		return c.err
	}
	b, err := e.registry.Blob(ctx, artifact.Repository(a), digest.Digest(list), filelist.MaxBytes)
	if registry.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return errors.Wrap(err, "cannot read the list of files that the policies are about")
	}
	files, err := filelist.Decode(b)
	if err != nil {
		return outcome.Errorf(outcome.PolicyViolation, "The list of files that the run pushed is not valid: request another run with a new value of the annotation crossplane.io/reconcile-requested-at").Because(err)
	}
	key.err = checkList(e.settings.Policies, files)
	e.checked.put(a.GetUID(), key)
	return key.err
}

// checkList returns the error of the policies that refuse a file: by its name, or by
// the format that the run recorded of its first bytes.
func checkList(p policy.Set, l filelist.List) error {
	names := make([]policy.File, 0, len(l.Files))
	for _, f := range l.Files {
		names = append(names, policy.File{Path: f.Path, Size: f.Size})
	}
	if err := p.CheckNames(names); err != nil {
		return err
	}
	for _, f := range l.Files {
		if err := p.CheckFormat(f.Path, f.Format); err != nil && f.Size > 0 {
			return err
		}
	}
	return nil
}

// setCompliance sets the condition PolicyCompliant of an Artifact whose artifact is in
// the registry: whether the policies would allow it now. Nothing else follows from it.
// Without a policy, now or before, there is no condition.
func (e *external) setCompliance(ctx context.Context, a *modelv1alpha1.Artifact) {
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
	switch err := e.checkContent(ctx, a, pushed); {
	case len(p) == 0:
		c.Reason = reasonNoPolicy
	case err == nil:
		c.Message = p.Warnings(pushed.scan)
	case outcome.ReasonOf(err) == outcome.PolicyViolation:
		c.Status, c.Reason = corev1.ConditionFalse, xpv2.ConditionReason(outcome.PolicyViolation)
		c.Message = "What was pushed stays, and would not be allowed now: " + err.Error()
	default:
		// The registry cannot be asked. What is known stays.
		return
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
