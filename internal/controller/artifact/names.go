package artifact

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
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
		Keys: e.keys, Name: artifact.ExternalName(a),
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
	done, err := e.catalogOf(a).Commit(ctx, catalog.Commit{
		Digest:    digest.Digest(staged.Digest),
		Tags:      append([]string{artifact.Tag(a)}, namesOf(stagedTags(a))...),
		Known:     a.Status.AtProvider.Digest,
		Overwrite: artifact.MayOverwrite(a),
		Record:    recordOfRun(a, *staged),
		FileList:  digest.Digest(staged.FileList),
	})
	if err != nil {
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
	e.cleared.put(a.GetUID(), struct{}{})
	e.requeue(a, requeueNow)
	return nil
}

// descriptionOf returns what describes an artifact, nil for nothing: as its commit told,
// or else as the registry lists it.
func (e *external) descriptionOf(ctx context.Context, a *modelv1alpha1.Artifact, d digest.Digest) (*modelv1alpha1.Description, error) {
	out, known := e.described.take(a.GetUID())
	if !known {
		found, err := e.catalogOf(a).Described(ctx, d)
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

// recordOfRun returns the record of the run that staged an artifact. It is the same
// whenever the commit is made.
func recordOfRun(a *modelv1alpha1.Artifact, staged modelv1alpha1.StagedArtifact) provenance.Record {
	r := recordOf(a)
	r.RunHash, r.Run, r.Files = staged.RunHash, staged.Run, staged.Files
	r.Revision, r.License, r.Scan = staged.Revision, staged.License, staged.Scan
	r.FileList = digest.Digest(staged.FileList)
	return r
}

// parametersOf returns what the spec asks for that decides the content, as the build
// type of the provenance documents it.
func parametersOf(a *modelv1alpha1.Artifact) map[string]any {
	p, source := a.Spec.ForProvider, map[string]any{}
	if s := artifact.OCISource(a); s != nil {
		oci := map[string]any{"reference": s.Reference}
		if s.Referrers != "" {
			oci["referrers"] = string(s.Referrers)
		}
		source["oci"] = oci
	} else if hf := p.Source.HuggingFace; hf != nil {
		hub := map[string]any{}
		for name, value := range map[string]string{
			"model": hf.Model, "dataset": hf.Dataset, "revision": hf.Revision,
			"endpoint": cmp.Or(a.Effective.HubEndpoint, v1alpha1.DefaultHubEndpoint),
		} {
			if value != "" {
				hub[name] = value
			}
		}
		if f := hf.Files; f != nil {
			hub["files"] = filesOf(*f)
		}
		source["huggingFace"] = hub
	}
	out := map[string]any{
		"source": source, "repository": artifact.Repository(a),
		"format": string(cmp.Or(p.Format, modelv1alpha1.PackFormatModelPack)), "pipeline": string(a.Status.AtProvider.Pipeline),
	}
	if annotations := artifact.Annotations(a); len(annotations) > 0 {
		out["annotations"] = annotations
	}
	return out
}

// filesOf returns the patterns of a filter.
func filesOf(f modelv1alpha1.FileFilter) map[string]any {
	out := map[string]any{}
	if len(f.Include) > 0 {
		out["include"] = f.Include
	}
	if len(f.Exclude) > 0 {
		out["exclude"] = f.Exclude
	}
	return out
}

// sourceURL returns where people find what an Artifact is made from: the page of a
// model on its Hub, or the repository that it is read from.
func sourceURL(a *modelv1alpha1.Artifact) string {
	if s := artifact.OCISource(a); s != nil {
		ref, err := registry.ParseReference(s.Reference)
		if err != nil {
			return ""
		}
		return ref.Registry + "/" + ref.Repository
	}
	hub := strings.TrimRight(cmp.Or(a.Effective.HubEndpoint, v1alpha1.DefaultHubEndpoint), "/")
	switch hf := a.Spec.ForProvider.Source.HuggingFace; {
	case hf == nil:
		return ""
	case hf.Dataset != "":
		return hub + "/datasets/" + hf.Dataset
	default:
		return hub + "/" + hf.Model
	}
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
	description, err := e.descriptionOf(ctx, a, o.tag.Descriptor.Digest)
	if err != nil {
		return err
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

// recordOf returns what the status knows of the artifact that was pushed last. It
// names no owner.
func recordOf(a *modelv1alpha1.Artifact) provenance.Record {
	s := a.Status.AtProvider
	r := provenance.Record{RunHash: s.RunHash, Run: s.Run, Files: s.Files, Source: sourceURL(a), Parameters: parametersOf(a)}
	if s.Source != nil {
		r.Revision, r.License = s.Source.Revision, s.Source.License
	}
	if s.StartTime != nil && s.CompletionTime != nil {
		r.Started, r.Finished = s.StartTime.Time, s.CompletionTime.Time
	}
	return r
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

// gatherDeletion looks for what deletion has yet to remove.
func (e *external) gatherDeletion(ctx context.Context, a *modelv1alpha1.Artifact) (observation, error) {
	e.blobs.forget(a.GetUID())
	e.follower.Forget(a.GetUID())
	var o observation
	job, pods, err := e.currentJob(ctx, a)
	if err != nil {
		return o, err
	}
	if job != nil {
		// What was staged since the last look must go, too.
		_, o.news = e.recordRun(ctx, a, artifact.RunState{Job: job, Pods: pods})
	}
	if o.runsLeft, err = e.runsLeft(ctx, a); err != nil || o.runsLeft {
		return o, err
	}
	o.news = e.findPushed(ctx, a) || o.news
	e.leaveForeign(a)
	o.namesLeft = e.hasNames(ctx, a)
	return o, nil
}

// findPushed records what the Artifact's tag points to if a record names it as the
// Artifact's and the status does not know it: a commit was interrupted, or the status
// was lost. It reports whether that is so. A registry that cannot be asked does not
// hold up deletion.
func (e *external) findPushed(ctx context.Context, a *modelv1alpha1.Artifact) bool {
	s := &a.Status.AtProvider
	known := s.Digest != "" && s.Staged == nil
	if known || s.LeftInRegistry != "" || artifact.RunOf(a).Number == 0 || e.registry == nil || e.registryChanged(a) != nil {
		return false
	}
	t, err := e.catalogOf(a).Look(ctx, artifact.Tag(a), s.Digest)
	if err != nil || len(t.Records) == 0 {
		return false
	}
	reference := artifact.OCIReference(a)
	switch {
	case s.Staged != nil && t.IsOn(s.Staged.Digest):
		recordCommitted(a, reference, t.Records)
	case s.Digest == "":
		s.Reference, s.RunHash = reference, t.Records[0].RunHash
		recordDigest(a, t.Descriptor.Digest.String())
	default:
		return false
	}
	return true
}

// hasNames reports whether the registry has anything that goes with the Artifact. It
// reports true where the registry cannot be asked: Delete finds out why.
func (e *external) hasNames(ctx context.Context, a *modelv1alpha1.Artifact) bool {
	s := a.Status.AtProvider
	switch {
	case s.LeftInRegistry != "":
		return false
	case e.registry == nil:
		return s.Digest != "" || s.Staged != nil
	}
	has, err := e.catalogOf(a).HasAny(ctx, e.holding(a))
	// Where nothing is known to be there, a registry that cannot be asked does not
	// hold up deletion.
	return has || err != nil && (s.Digest != "" || s.Staged != nil)
}

// holding returns what the status says that the Artifact has in the registry.
func (e *external) holding(a *modelv1alpha1.Artifact) catalog.Holding {
	s := a.Status.AtProvider
	h := catalog.Holding{Tag: tagOf(s.Reference), Digest: s.Digest, Further: s.Tags}
	for _, p := range s.History {
		h.Earlier = append(h.Earlier, p.Digest)
	}
	if hash := artifact.RunOf(a).Hash; hash != "" {
		h.RunHashes = append(h.RunHashes, hash)
	}
	if s.Staged == nil {
		return h
	}
	h.Earlier = append(h.Earlier, s.Staged.Digest)
	if !slices.Contains(h.RunHashes, s.Staged.RunHash) {
		h.RunHashes = append(h.RunHashes, s.Staged.RunHash)
	}
	return h
}

// deleteNames removes from the registry what goes with the Artifact. What the
// registry does not delete, and never will, is left, which status and an event say.
func (e *external) deleteNames(ctx context.Context, a *modelv1alpha1.Artifact) error {
	if e.registry == nil {
		return e.leaveUnreachable(ctx, a)
	}
	s := &a.Status.AtProvider
	out, err := e.catalogOf(a).Delete(ctx, e.holding(a))
	tag := tagOf(s.Reference)
	if out.Untagged {
		e.recorder.Event(a, event.Normal(reasonUntagged, "Removed tag "+tag+" from "+s.PinnedReference))
	}
	if out.ByDigest {
		e.recorder.Event(a, event.Normal(reasonDeleted, "Deleted "+s.PinnedReference+", which had no other tag than "+tag))
	}
	if out.LeftImages != nil {
		e.recorder.Event(a, event.Warning(reasonLeft, out.LeftImages))
	}
	switch {
	case err != nil:
		return leaveHint(err)
	case out.Left != "":
		e.leave(a, out.Left)
	case out.LeftRecord:
		e.reportLeft(a, "The record of who pushed "+s.PinnedReference+" stays in its registry, which does not delete it")
		s.LeftInRegistry = "the registry does not delete the record of who pushed it"
	case len(out.LeftTags) > 0:
		why := leftTags(out.LeftTags).Error()
		e.reportLeft(a, why)
		s.LeftInRegistry = why
	}
	e.requeue(a, requeueDeleted)
	return nil
}

// leaveHint adds to an error how an Artifact is deleted without what it pushed.
func leaveHint(err error) error {
	if err == nil {
		return nil
	}
	return errors.Errorf("%w; to leave the artifact in its registry, remove Delete from spec.managementPolicies", err)
}

// leaveUnreachable decides what happens if the registry cannot be asked for want of a
// ProviderConfig or a Secret: in a namespace that is being deleted neither will come
// back.
func (e *external) leaveUnreachable(ctx context.Context, a *modelv1alpha1.Artifact) error {
	ns := &corev1.Namespace{}
	if err := e.direct.Get(ctx, types.NamespacedName{Name: a.GetNamespace()}, ns); err != nil {
		return errors.Wrap(err, "cannot get the Artifact's namespace")
	}
	if ns.GetDeletionTimestamp() != nil {
		e.leave(a, "the namespace is being deleted and the registry's credentials are gone")
		return nil
	}
	return leaveHint(e.configError)
}

// leaveForeign leaves an artifact that this Artifact did not push, or not to where
// it would be deleted from.
func (e *external) leaveForeign(a *modelv1alpha1.Artifact) {
	switch s := a.Status.AtProvider; {
	case s.Digest == "":
	case s.RunHash == "":
		e.leave(a, "this Artifact did not push it")
	case e.registry != nil && e.registryChanged(a) != nil:
		e.leave(a, "it was pushed to another name than the Artifact has now")
	}
}

// leave leaves the artifact in the registry.
func (e *external) leave(a *modelv1alpha1.Artifact, why string) {
	s := &a.Status.AtProvider
	if s.LeftInRegistry != "" {
		return
	}
	e.reportLeft(a, fmt.Sprintf("The artifact %s stays in its registry: %s", s.PinnedReference, why))
	s.LeftInRegistry = why
}

// reportLeft reports what stays in the registry.
func (e *external) reportLeft(a *modelv1alpha1.Artifact, message string) {
	if !isHeld(a) {
		e.recorder.Event(a, event.Warning(reasonLeft, errors.New(message)))
	}
	a.SetConditions(xpv2.Deleting().WithMessage(message).WithObservedGeneration(a.GetGeneration()))
}

// isHeld reports whether the Artifact is deleted and another finalizer holds it:
// what is observed of it is not written then.
func isHeld(a *modelv1alpha1.Artifact) bool {
	return meta.WasDeleted(a) && len(a.GetFinalizers()) > 1
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
