package artifact

import (
	"context"
	"fmt"
	"slices"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/opencontainers/go-digest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// mayHaveDigest reports whether the Artifact's spec allows the artifact to have a
// digest: it expects this one, or any.
func mayHaveDigest(a *modelv1alpha1.Artifact, digest string) bool {
	expected := a.Spec.ForProvider.ExpectedDigest
	return expected == "" || expected == digest
}

// isExpected reports whether the artifact that was pushed last has the digest that the
// Artifact's spec expects. Whatever becomes of its source, no run gives a better one.
func isExpected(a *modelv1alpha1.Artifact) bool {
	expected := a.Spec.ForProvider.ExpectedDigest
	return expected != "" && expected == a.Status.AtProvider.Digest
}

// mismatch returns why what a run staged is not committed.
func mismatch(a *modelv1alpha1.Artifact, staged *modelv1alpha1.StagedArtifact) outcome.Failure {
	return outcome.Failure{Reason: outcome.Mismatch, Message: fmt.Sprintf(
		"Run %d staged %s, but spec.forProvider.expectedDigest is %s: it gets no tag; correct the source's revision or expectedDigest, or remove expectedDigest",
		staged.Run, staged.Digest, a.Spec.ForProvider.ExpectedDigest)}
}

// wasPushed reports whether the Artifact has pushed and tagged a digest before.
func wasPushed(a *modelv1alpha1.Artifact, digest string) bool {
	s := a.Status.AtProvider
	if s.Digest == digest {
		return true
	}
	for _, p := range s.History {
		if p.Digest == digest {
			return true
		}
	}
	return false
}

// asksFor reports whether an artifact that was pushed is the one that the Artifact's
// spec asks for: it was built from the same, or from the commit that the spec names
// now.
func asksFor(a *modelv1alpha1.Artifact, p modelv1alpha1.PushedArtifact) bool {
	hash := artifact.RunHash(a)
	return (p.RunHash == hash || p.CommitRunHash == hash) && mayHaveDigest(a, p.Digest)
}

// stageKept records as staged what the Artifact's spec asks for, if it was pushed
// before and the registry still has it: it is committed as if a run had just staged
// it. It reports whether that is so. A run of another spec is stopped first.
func (e *external) stageKept(ctx context.Context, a *modelv1alpha1.Artifact) (bool, error) {
	s := &a.Status.AtProvider
	if s.Digest == "" || s.Staged != nil || matchesSpec(a) || !settings.MayUpdate(a) {
		return false, nil
	}
	for _, p := range append([]modelv1alpha1.PushedArtifact{*pushedBefore(s)}, s.History...) {
		if !asksFor(a, p) {
			continue
		}
		job, err := e.ownedJob(ctx, a)
		if err != nil || job != nil && artifact.CompletionTime(job) == nil {
			return false, err
		}
		there, err := e.catalogOf(a).Has(ctx, p.Digest)
		if err != nil {
			return false, err
		}
		if there {
			s.Staged = p.StagedArtifact.DeepCopy()
			s.Staged.Run, s.Staged.RunHash = s.Run, artifact.RunHash(a)
			return true, nil
		}
	}
	return false, nil
}

// gatherExpected records as pushed what has the digest that the Artifact's spec expects,
// if an attestation of the Artifact says that a run of this spec pushed it, whatever its
// tag is on. It reports whether that is so. Adoption need not be allowed, since the digest
// leaves nothing to be believed of whoever moves tags or copies attestations.
func (e *external) gatherExpected(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) (bool, error) {
	expected := digest.Digest(a.Spec.ForProvider.ExpectedDigest)
	if expected == "" || !settings.MayUpdate(a) || isForeign(a, o.tag) && !o.tag.IsOn(expected.String()) {
		return false, nil
	}
	found := catalog.Tag{Name: o.tag.Name}
	var err error
	if found.Descriptor, err = e.catalogOf(a).Registry.Resolve(ctx, artifact.Repository(a), expected.String()); err == nil {
		found.Records, err = e.catalogOf(a).Records(ctx, expected)
	}
	found.Records = slices.DeleteFunc(found.Records, func(r provenance.Found) bool { return r.RunHash != artifact.RunHash(a) })
	switch {
	case registry.IsNotFound(err), registry.IsUnauthorized(err), err == nil && len(found.Records) == 0:
		return false, nil
	case err != nil:
		return false, err
	}
	tag := o.tag
	o.tag = found
	if err := e.recordAdopted(ctx, a, o); err != nil || o.obstacle != nil {
		return true, err
	}
	if tag.IsOn(expected.String()) {
		return true, e.gatherTagged(ctx, a, o)
	}
	o.tag, o.manifest = tag, true
	return true, nil
}

// dropStaged records that what was staged cannot be committed, as a failure of the
// run.
func (e *external) dropStaged(ctx context.Context, a *modelv1alpha1.Artifact, o *observation, why outcome.Failure) error {
	job, _, err := e.currentJob(ctx, a)
	if err != nil {
		return err
	}
	s := &a.Status.AtProvider
	s.Staged, s.Phase = nil, modelv1alpha1.PhaseFailed
	e.recordFailure(a, job, why)
	if why.Reason == outcome.Mismatch {
		// It is the spec as it is now that refuses it.
		s.Failure.Generation = a.GetGeneration()
	}
	e.tellIfCurrent(ctx, a, event.Warning(reasonRunFailed, errors.Errorf("Run %d failed: %s: %s", s.Run, why.Reason, why.Message)))
	o.news = true
	o.run = &artifact.ObservationResult{Phase: s.Phase, Ready: metav1.ConditionFalse, Reason: s.Failure.Reason, Message: failureMessage(s.Failure), Digest: s.Digest}
	return nil
}
