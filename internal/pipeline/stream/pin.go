package stream

import (
	"context"
	"maps"
	"strconv"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	hubsource "github.com/crossplane-contrib/provider-kitops/internal/source/hub"
)

// annotationPin is the annotation of a divided run's checkpoint with the revision that its
// first Pod has resolved: the others read that one, also if the branch has moved meanwhile.
//
// It saves work, and is right without being true, since anyone who may push can have
// written it, and two Pods that begin at once may both write theirs, of which the later one
// stays:
//   - it is followed only to a commit that the source's own Hub says the branch stood for
//     lately, and a revision that is a commit itself follows none;
//   - a bucket, a volume, HTTP servers and artifacts follow none: each Pod lists them, and
//     a layer is found in a checkpoint by the versions or hashes of its files, so that one
//     of another listing is not;
//   - what the last run stages is what its own listing says. Layers that shares of another
//     listing have transferred are not found for it, and it transfers what is missing.
const annotationPin = "io.crossplane.m.kitops.revision"

// kept are the annotations of a checkpoint that whoever pushes it again leaves in it.
var kept = []string{annotationPin, outcome.AnnotationShares}

// notesOf returns the annotations of a checkpoint that are kept.
func notesOf(annotations map[string]string) map[string]string {
	out := map[string]string{}
	for _, name := range kept {
		if v, ok := annotations[name]; ok && len(v) <= maxNote {
			out[name] = v
		}
	}
	return out
}

// maxNote bounds an annotation that is kept.
const maxNote = 128

// resolve resolves the version of the source to read: that which the first Pod of a divided
// run has resolved, if that can be told.
func (r *task) resolve(ctx context.Context) (err error) {
	asked := r.run.Source
	if r.contents, err = r.source.Resolve(ctx); err != nil || r.run.Share.Of == 0 {
		return err
	}
	r.main = r.readCheckpoint(ctx, r.run.Target.CheckpointTag)
	pin := r.main.manifest.Annotations[annotationPin]
	if pin != "" && pin != r.contents.Revision && r.wasAt(ctx, pin) {
		r.log.Printf("the run reads commit %s, which it began with", pin)
		r.source.Close()
		asked.Revision = pin
		if err := r.openSource(asked); err != nil {
			return err
		}
		if r.contents, err = r.source.Resolve(ctx); err != nil {
			return err
		}
	}
	if r.run.Share.IsPart() {
		r.pin(ctx)
	}
	return nil
}

// wasAt reports whether the source's revision stood for a commit lately.
func (r *task) wasAt(ctx context.Context, commit string) bool {
	h, ok := r.source.Source.(*hubsource.Source)
	if !ok {
		return false
	}
	was, err := h.WasAt(ctx, commit)
	if err != nil {
		r.log.Printf("cannot tell whether the run began with commit %s: %s", outcome.Shorten(commit), err)
	}
	return was
}

// pin has the checkpoint name the revision that the run reads, and in how many shares. A
// share whose checkpoint cannot say so leaves no part, which nothing would remove.
func (r *task) pin(ctx context.Context) {
	if r.run.Target.CheckpointTag == "" {
		return
	}
	notes := notesOf(r.main.manifest.Annotations)
	shares := max(r.run.Share.Of, outcome.SharesIn(notes))
	if notes[annotationPin] == r.contents.Revision && outcome.SharesIn(notes) == shares {
		return
	}
	notes[annotationPin], notes[outcome.AnnotationShares] = r.contents.Revision, strconv.Itoa(shares)
	if err := r.note(ctx, notes); err != nil {
		r.partless = true
		r.log.Printf("cannot push the checkpoint: what this share transfers may be read again: %s", err)
	}
}

// note pushes the checkpoint of a divided run with other notes, and all else as it is.
func (r *task) note(ctx context.Context, notes map[string]string) error {
	m := r.main.manifest
	annotations := maps.Clone(notes)
	if uploads, ok := m.Annotations[annotationUploads]; ok && len(uploads) <= maxUploadsBytes {
		annotations[annotationUploads] = uploads
	}
	d, err := r.pushCheckpoint(ctx, r.run.Target.CheckpointTag, m.Layers, annotations, r.main.descriptor.Digest == "")
	if err != nil {
		return err
	}
	r.main.descriptor, r.main.manifest.Annotations = d, annotations
	return nil
}

// unpin removes the pin of a divided run that is complete, or failed with an error which is
// not transient, so that the next one reads what the revision stands for then: a branch that
// is followed has moved, or the cause is in the commit, and corrected by another. The
// checkpoint itself stays where a registry deletes nothing.
func (r *task) unpin(ctx context.Context, failure error) {
	if r.run.Share.Of == 0 || ctx.Err() != nil || failure != nil && outcome.ReasonOf(failure).Transient() {
		return
	}
	r.main = r.readCheckpoint(ctx, r.run.Target.CheckpointTag)
	notes := notesOf(r.main.manifest.Annotations)
	if _, ok := notes[annotationPin]; !ok {
		return
	}
	delete(notes, annotationPin)
	if err := r.note(ctx, notes); err != nil {
		r.log.Printf("cannot push the checkpoint: %s", err)
	}
}
