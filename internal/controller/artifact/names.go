package artifact

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
)

// ownerOf returns what an Artifact is known by in its registry.
func ownerOf(a *modelv1alpha1.Artifact) provenance.Owner { return artifact.OwnerOf(a) }

// earlierOwnerOf returns what an Artifact claims to have been known by before it was
// restored or applied in another cluster. Anybody can claim that of an Artifact.
func earlierOwnerOf(a *modelv1alpha1.Artifact) provenance.Owner {
	return provenance.Owner{ID: a.GetAnnotations()[artifact.AnnotationOwner], Namespace: a.GetNamespace(), Name: a.GetName()}.Known()
}

// isRestored reports whether an Artifact claims to have been known by another UID.
func isRestored(a *modelv1alpha1.Artifact) bool {
	id := earlierOwnerOf(a).ID
	return id != "" && id != ownerOf(a).ID
}

// catalogOf returns the names of an Artifact in its registry.
func (e *external) catalogOf(a *modelv1alpha1.Artifact) catalog.Catalog {
	return catalog.Catalog{
		Registry: e.registry, Repository: artifact.Repository(a), Owner: ownerOf(a), Earlier: earlierOwnerOf(a),
		Keys: e.keys, Name: artifact.ExternalName(a), Shares: artifact.MostShares(a),
		AttestCopies: e.settings.Attestation.Copies, LegacyTags: e.settings.Attestation.LegacyTags,
	}
}

// setIdentity annotates an Artifact with its name outside of the cluster and with
// what it is known by there.
func (e *external) setIdentity(a *modelv1alpha1.Artifact) {
	meta.SetExternalName(a, artifact.ExternalName(a))
	meta.AddAnnotations(a, map[string]string{artifact.AnnotationOwner: ownerOf(a).ID})
}

// hasIdentity reports whether an Artifact is annotated so.
func (e *external) hasIdentity(a *modelv1alpha1.Artifact) bool {
	return a.GetAnnotations()[artifact.AnnotationOwner] == ownerOf(a).ID && meta.GetExternalName(a) == artifact.ExternalName(a)
}

// commit gives what a run staged its tag. The next reconcile, which follows at once,
// records it.
func (e *external) commit(ctx context.Context, a *modelv1alpha1.Artifact) error {
	staged := a.Status.AtProvider.Staged
	if staged == nil {
		return nil
	}
	e.contested.take(a.GetUID())
	done, err := e.catalogOf(a).Commit(ctx, catalog.Commit{
		Digest:    digest.Digest(staged.Digest),
		Tags:      append([]string{artifact.Tag(a)}, namesOf(stagedTags(a))...),
		Known:     a.Status.AtProvider.Digest,
		Overwrite: artifact.MayOverwrite(a),
		Record:    recordOfRun(a, *staged),
		FileList:  digest.Digest(staged.FileList),
	})
	if err != nil {
		if outcome.ReasonOf(err) == outcome.TagConflict {
			e.contested.put(a.GetUID(), *staged)
		}
		return errors.Wrap(err, "cannot tag what the run staged")
	}
	if len(done.Left) > 0 {
		e.recorder.Event(a, event.Warning(reasonLeft, leftTags(done.Left)))
	}
	if done.Undescribed != "" {
		e.recorder.Event(a, event.Warning(reasonUndescribed, undescribed(done.Undescribed)))
	}
	if done.UnsignedLegacy != "" {
		e.recorder.Event(a, event.Warning(reasonUnsigned, errors.Errorf("The legacy tags of the artifact do not have its signature and attestation: %s", done.UnsignedLegacy)))
	}
	e.described.put(a.GetUID(), modelv1alpha1.Description(done.Description))
	e.committed.put(a.GetUID(), *staged)
	e.requeue(a, requeueNow)
	return nil
}

// descriptionOf returns what describes an artifact, nil for nothing: as its commit told,
// or else as the registry has it that a record of the artifact names.
func (e *external) descriptionOf(ctx context.Context, a *modelv1alpha1.Artifact, subject ocispec.Descriptor, r provenance.Record) (*modelv1alpha1.Description, error) {
	out, known := e.described.take(a.GetUID())
	if !known {
		found, err := e.catalogOf(a).Described(ctx, subject, r)
		if err != nil {
			return nil, err
		}
		out = modelv1alpha1.Description(found)
	}
	if out == (modelv1alpha1.Description{}) {
		return nil, nil //nolint:nilnil // An artifact may have none.
	}
	return &out, nil
}

// undescribed says why an artifact has no bill of materials, or no signature of its files.
func undescribed(why string) error {
	return errors.Errorf("The artifact is not described by all of its list of files, bill of materials and model signature: %s", why)
}

// leftTags says that tags of runs stay in the registry.
func leftTags(tags []string) error {
	return errors.Errorf("The registry does not let tags of runs be deleted, which stay: %s", strings.Join(tags, ", "))
}

// retag gives the artifact that is in the registry the tag that the spec asks for.
// A tag that it had before stays: others may pull by it.
func (e *external) retag(ctx context.Context, a *modelv1alpha1.Artifact) error {
	if len(e.plan.setTags)+len(e.plan.removeTags) > 0 {
		return e.setTags(ctx, a)
	}
	s, wanted := a.Status.AtProvider, artifact.OCIReference(a)
	if err := e.catalogOf(a).Retag(ctx, digest.Digest(s.Digest), artifact.Tag(a)); err != nil {
		return errors.Wrapf(err, "cannot tag the artifact as %s", wanted)
	}
	e.requeue(a, requeueNow)
	if s.Reference != wanted {
		e.recorder.Event(a, event.Normal(reasonTagged, "Tagged the artifact as "+wanted+"; "+s.Reference+" stays"))
		return nil
	}
	message := "Put the tag of " + s.Reference + " back to " + s.Digest
	if e.plan.from != "" {
		message += ", from " + e.plan.from
	}
	e.recorder.Event(a, event.Normal(reasonPutBack, message))
	return nil
}

// recordAdopted records what the Artifact's tag points to as what it pushed, by the
// record about it.
func (e *external) recordAdopted(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	record := o.tag.Records[0]
	manifests, err := e.readManifests(ctx, artifact.Repository(a), o.tag.Descriptor.Digest.String())
	if err != nil {
		return unusable(a, err, o)
	}
	d, err := manifests.Describe()
	if err != nil {
		return unusable(a, err, o)
	}
	var description *modelv1alpha1.Description
	if record.KeyID != "" { // What nobody trusted has signed names nothing.
		if description, err = e.descriptionOf(ctx, a, o.tag.Descriptor, record.Record); err != nil {
			return err
		}
	}
	s := &a.Status.AtProvider
	s.Phase, s.Run, s.RunHash, s.CommitRunHash = modelv1alpha1.PhaseSucceeded, max(s.Run, record.Run), record.RunHash, ""
	if record.RunHash == artifact.RunHash(a) {
		s.CommitRunHash = artifact.CommitRunHash(a, record.Revision)
	}
	s.Failure, s.Failures = nil, 0
	s.Reference = o.reference
	s.Size, s.Files, s.FileList, s.Format = d.Size, record.Files, "", cmp.Or(string(d.Format), formatOther)
	s.Source = &modelv1alpha1.SourceObservation{Revision: record.Revision, License: record.License}
	if artifact.OCISource(a) == nil {
		s.Source.URL = record.Source
	}
	recordDigest(a, o.tag.Descriptor.Digest.String())
	s.Description = description
	s.Attestation = nil
	adopted := adoption{subject: o.tag.Descriptor, record: record.Record}
	by := "its record"
	if record.KeyID == "" {
		adopted.replaced, by = record.Descriptor, "its record, which no trusted key has signed,"
	} else {
		s.Attestation = &modelv1alpha1.Attestation{Digest: record.Descriptor.Digest.String(), KeyID: record.KeyID}
	}
	if !e.hasIdentity(a) || record.Owner.ID != ownerOf(a).ID || record.KeyID == "" {
		o.adopted = &adopted
	}
	o.needsRetag = false
	if meta.FinalizerExists(a, managed.FinalizerName) {
		// Else what is recorded here is lost when the finalizer is added.
		e.recorder.Event(a, event.Normal(reasonAdopted, fmt.Sprintf("Adopted %s with digest %s: %s names Artifact %s/%s with owner %s, run %d, source %s at %s",
			s.Reference, s.Digest, by, record.Owner.Namespace, record.Owner.Name, cmp.Or(record.Owner.ID, "unknown"), record.Run,
			cmp.Or(record.Source, "unknown"), cmp.Or(record.Revision, "an unknown revision"))))
	}
	return nil
}

// adopt writes down what was found as the Artifact's: in the registry, if a record
// names another owner or none or no trusted key has signed it, and in the Artifact's
// annotations.
func (e *external) adopt(ctx context.Context, a *modelv1alpha1.Artifact) error {
	found := e.plan.adopted
	if found.record.Owner.ID != ownerOf(a).ID || found.replaced.Digest != "" {
		// First, since by its identity the Artifact finds no other's record.
		if err := e.catalogOf(a).Adopt(ctx, found.subject, found.record, found.replaced); err != nil {
			return err
		}
	}
	return e.annotate(ctx, a, e.setIdentity)
}

// trimTag returns a reference without its tag.
func trimTag(reference string) string {
	slash, colon := strings.LastIndex(reference, "/"), strings.LastIndex(reference, ":")
	if colon > slash {
		return reference[:colon]
	}
	return reference
}

// tagOf returns the tag of a reference, latest if it has none.
func tagOf(reference string) string {
	if name := trimTag(reference); len(name) < len(reference) {
		return reference[len(name)+1:]
	}
	return "latest"
}
