package artifact

import (
	"cmp"
	"context"
	"fmt"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// ownerOf returns what an Artifact is known by in its registry.
func ownerOf(a *modelv1alpha1.Artifact) provenance.Owner { return artifact.OwnerOf(a) }

// earlierOwnerOf returns what an Artifact says that it was known by before it was
// restored or applied in another cluster. Anybody can say so of an Artifact.
func earlierOwnerOf(a *modelv1alpha1.Artifact) provenance.Owner {
	return provenance.Owner{ID: a.GetAnnotations()[artifact.AnnotationOwner], Namespace: a.GetNamespace(), Name: a.GetName()}.Known()
}

// setIdentity annotates an Artifact with its name outside of the cluster and
// with what it is known by there.
func (e *external) setIdentity(a *modelv1alpha1.Artifact) {
	meta.SetExternalName(a, artifact.ExternalName(e.withEffective(a)))
	meta.AddAnnotations(a, map[string]string{artifact.AnnotationOwner: ownerOf(a).ID})
}

// hasIdentity reports whether an Artifact is annotated so.
func (e *external) hasIdentity(a *modelv1alpha1.Artifact) bool {
	return a.GetAnnotations()[artifact.AnnotationOwner] == ownerOf(a).ID && meta.GetExternalName(a) == artifact.ExternalName(e.withEffective(a))
}

// A tagState says what an Artifact's tag stands for.
type tagState struct {
	// there is the manifest that the tag points to; zero where there is no such
	// tag.
	there ocispec.Descriptor

	// records say that the Artifact itself pushed it, the latest run first. They
	// are not looked for where the status says so.
	records []provenance.Found
}

// exists says whether there is such a tag.
func (t tagState) exists() bool { return t.there.Digest != "" }

// mayBeTaken says whether the Artifact may have the tag point elsewhere.
func (t tagState) mayBeTaken(a *modelv1alpha1.Artifact) bool {
	return !t.exists() || t.there.Digest.String() == a.Status.AtProvider.Digest || len(t.records) > 0 || artifact.MayOverwrite(a)
}

// lookAtTag asks the registry what the Artifact's tag stands for.
func (e *external) lookAtTag(ctx context.Context, a *modelv1alpha1.Artifact) (tagState, error) {
	wanted := e.withEffective(a)
	there, err := e.registry.Resolve(ctx, artifact.Repository(wanted), artifact.Tag(wanted))
	if registry.IsNotFound(err) {
		return tagState{}, nil
	}
	if err != nil || there.Digest.String() == a.Status.AtProvider.Digest {
		return tagState{there: there}, err
	}
	t := tagState{there: there}
	owners := []provenance.Owner{ownerOf(a)}
	if e.settings.Adopts && a.Status.AtProvider.Digest == "" {
		owners = append(owners, earlierOwnerOf(a))
	}
	for _, owner := range owners {
		if t.records, err = provenance.Of(ctx, e.registry, artifact.Repository(wanted), there.Digest, owner); err != nil || len(t.records) > 0 {
			break
		}
	}
	return t, err
}

// setConflict has an Artifact say that its tag points to something that it did
// not push.
func (e *external) setConflict(a *modelv1alpha1.Artifact, t tagState) {
	message := fmt.Sprintf(
		"Tag %q points to %s, which this Artifact did not push: remove that tag, write another in spec.forProvider.target.tag, or set spec.forProvider.target.conflictPolicy: Overwrite",
		artifact.Tag(e.withEffective(a)), t.there.Digest)
	if id := earlierOwnerOf(a).ID; a.Status.AtProvider.Digest == "" && id != "" && id != ownerOf(a).ID {
		message += "; if the Artifact was restored and pushed it before, have the ProviderConfig annotated with " + artifact.AnnotationAdopt + ": \"true\""
	}
	c := unavailable(outcome.TagConflict, message).WithObservedGeneration(a.GetGeneration())
	// What is said before the finalizer is there is said again.
	if a.GetCondition(xpv2.TypeReady).Reason != c.Reason && meta.FinalizerExists(a, managed.FinalizerName) {
		e.recorder.Event(a, event.Warning(event.Reason(outcome.TagConflict), errors.New(c.Message)))
	}
	a.SetConditions(c)
}

// firstLook looks whether the registry has what the Artifact asks for although
// its status does not know, as after it was restored from a backup. It reports
// whether that is so or whether something foreign is in the way; otherwise a
// run must start. A record is believed only if the ProviderConfig allows adoption,
// since whoever may push can copy one: otherwise the run finds out what is there.
func (e *external) firstLook(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, bool, error) {
	t, err := e.lookAtTag(ctx, a)
	if registry.IsUnauthorized(err) {
		// Some registries do not show what does not exist yet. The run asks for
		// more than to read, and says what is wrong.
		return managed.ExternalObservation{}, false, nil
	}
	switch {
	case err != nil:
		sayWhy(a, err)
		return managed.ExternalObservation{}, true, err
	case e.settings.Adopts && len(t.records) > 0 && t.records[0].RunHash != "":
		o, err := e.adopt(ctx, a, t)
		return o, true, err
	case t.mayBeTaken(a):
		return managed.ExternalObservation{}, false, nil
	}
	e.setConflict(a, t)
	return settled(), true, nil
}

// adopt records what the tag points to as what the Artifact pushed.
func (e *external) adopt(ctx context.Context, a *modelv1alpha1.Artifact, t tagState) (managed.ExternalObservation, error) {
	wanted, record := e.withEffective(a), t.records[0]
	manifests, err := e.readManifests(ctx, artifact.Repository(wanted), t.there.Digest.String())
	if err != nil {
		return unusable(a, err)
	}
	d, err := manifests.Describe()
	if err != nil {
		return unusable(a, err)
	}
	s := &a.Status.AtProvider
	s.Phase, s.Run, s.RunHash = modelv1alpha1.PhaseSucceeded, max(s.Run, record.Run), record.RunHash
	s.Failure, s.Failures = nil, 0
	s.Reference = artifact.OCIReference(wanted)
	s.Size, s.Files, s.Format = d.Size, record.Files, cmp.Or(string(d.Format), formatOther)
	s.Source = &modelv1alpha1.SourceObservation{Revision: record.Revision, License: record.License}
	recordDigest(a, t.there.Digest.String())
	if meta.FinalizerExists(a, managed.FinalizerName) {
		// Else what is recorded here is lost with the finalizer's being added.
		e.recorder.Event(a, event.Normal(reasonAdopted, fmt.Sprintf("Adopted %s with digest %s: its record names Artifact %s/%s with owner %s, run %d, source %s at %s",
			s.Reference, s.Digest, record.Owner.Namespace, record.Owner.Name, cmp.Or(record.Owner.ID, "unknown"), record.Run,
			cmp.Or(record.Source, "unknown"), cmp.Or(record.Revision, "an unknown revision"))))
	}
	e.adopted = &adoption{subject: t.there, record: record.Record}
	o, err := e.observeTagged(ctx, a)
	o.ResourceUpToDate = o.ResourceUpToDate && (e.isOwn(a) || !settings.MayUpdate(a))
	return o, err
}

// observeOwn looks at what the status knows as the Artifact's own. Where the
// Artifact has no identity yet, as where it was just adopted or was made before
// there were any, that is to be written down.
func (e *external) observeOwn(ctx context.Context, a *modelv1alpha1.Artifact, t tagState) (managed.ExternalObservation, error) {
	o, err := e.observeTagged(ctx, a)
	if err != nil || e.hasIdentity(a) || !settings.MayUpdate(a) || !o.ResourceUpToDate {
		return o, err
	}
	records, err := provenance.Of(ctx, e.registry, artifact.Repository(a), t.there.Digest, ownerOf(a))
	if err != nil {
		return o, err
	}
	e.adopted = &adoption{subject: t.there, record: recordOf(a)}
	if len(records) > 0 {
		e.adopted.record = records[0].Record
	}
	o.ResourceUpToDate = false
	return o, nil
}

// recordOf returns what the status knows of the artifact that was pushed last. It
// names nobody.
func recordOf(a *modelv1alpha1.Artifact) provenance.Record {
	s := a.Status.AtProvider
	r := provenance.Record{RunHash: s.RunHash, Run: s.Run, Files: s.Files}
	if s.Source != nil {
		r.Revision, r.License = s.Source.Revision, s.Source.License
	}
	return r
}

// An adoption is an artifact that was found by a record about it.
type adoption struct {
	subject ocispec.Descriptor
	record  provenance.Record
}

// isOwn says whether what was adopted needs no writing down: the Artifact has its
// identity, and the record names it.
func (e *external) isOwn(a *modelv1alpha1.Artifact) bool {
	return e.hasIdentity(a) && e.adopted.record.Owner.ID == ownerOf(a).ID
}

// own writes down what was adopted. Where it was known by the Artifact's name
// alone, the registry gets a record of its own, if it takes any: another Artifact
// of that name, in another cluster, is another.
func (e *external) own(ctx context.Context, a *modelv1alpha1.Artifact) error {
	if e.isOwn(a) {
		return nil
	}
	known := a.DeepCopy()
	e.setIdentity(known)
	record := e.adopted.record
	record.Owner = ownerOf(known)
	// First, since by its identity the Artifact finds no other's record.
	err := provenance.Push(ctx, e.registry, artifact.Repository(a), e.adopted.subject, record)
	if err != nil && !provenance.IsRefusal(err) {
		return err
	}
	return e.annotate(ctx, a, e.setIdentity)
}
