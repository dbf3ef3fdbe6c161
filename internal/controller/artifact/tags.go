package artifact

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/opencontainers/go-digest"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// A wantedTag is a tag beside the Artifact's own that its spec asks for, with the digest
// that it must point to.
type wantedTag struct{ name, digest string }

// Placeholders of target.additionalTags.
const (
	placeholderCommit      = "{commit}"
	placeholderCommitShort = "{commitShort}"
	placeholderDate        = "{date}"
)

// dateLayout is how {date} is written: the basic format of ISO 8601, 20250726.
const dateLayout = "20060102"

// shortCommit is how many characters of a commit {commitShort} and the tags of kept
// versions have, as git shows by default.
const shortCommit = 7

// expandTag returns an additional tag for what was built from a source; empty if it has a
// placeholder for what is not known of that.
func expandTag(template string, from modelv1alpha1.StagedArtifact) string {
	commit, date := from.Revision[strings.Index(from.Revision, ":")+1:], ""
	if t, err := time.Parse(time.RFC3339, from.CommitTime); err == nil {
		date = t.UTC().Format(dateLayout)
	}
	for placeholder, value := range map[string]string{
		placeholderCommit: commit, placeholderCommitShort: commit[:min(len(commit), shortCommit)], placeholderDate: date,
	} {
		if value == "" && strings.Contains(template, placeholder) {
			return ""
		}
		template = strings.ReplaceAll(template, placeholder, value)
	}
	return template
}

// keptTag returns the tag that keeps what was built from a source; empty if its revision
// is not known.
func keptTag(a *modelv1alpha1.Artifact, from modelv1alpha1.StagedArtifact) string {
	short := expandTag(placeholderCommitShort, from)
	if short == "" {
		return ""
	}
	return artifact.Tag(a) + "-" + short
}

// wantedTags returns the tags beside the Artifact's own that its spec asks for. The
// versions are those that were pushed, the latest first. Of two that have one tag, the
// latest gets it.
func wantedTags(a *modelv1alpha1.Artifact, versions ...modelv1alpha1.PushedArtifact) []wantedTag {
	t := a.Spec.ForProvider.Target
	if t == nil || len(versions) == 0 {
		return nil
	}
	var out []wantedTag
	add := func(name, digest string) {
		if name != "" && name != artifact.Tag(a) && !slices.ContainsFunc(out, func(w wantedTag) bool { return w.name == name }) {
			out = append(out, wantedTag{name, digest})
		}
	}
	for _, template := range t.AdditionalTags {
		add(expandTag(template, versions[0].StagedArtifact), versions[0].Digest)
	}
	for _, v := range versions[:min(len(versions), int(t.KeepVersions))] {
		add(keptTag(a, v.StagedArtifact), v.Digest)
	}
	return out
}

// pushedVersions returns the artifacts that the Artifact has pushed, the latest first.
func pushedVersions(s *modelv1alpha1.ArtifactObservation) []modelv1alpha1.PushedArtifact {
	if s.Digest == "" {
		return nil
	}
	return append([]modelv1alpha1.PushedArtifact{*pushedBefore(s)}, s.History...)
}

// stagedTags returns the tags beside the Artifact's own that what is staged gets.
func stagedTags(a *modelv1alpha1.Artifact) []wantedTag {
	staged := *a.Status.AtProvider.Staged
	all := wantedTags(a, modelv1alpha1.PushedArtifact{StagedArtifact: staged})
	return slices.DeleteFunc(all, func(t wantedTag) bool { return t.digest != staged.Digest })
}

// forgetOlder drops from the history what is neither kept nor among the last.
func forgetOlder(a *modelv1alpha1.Artifact) {
	s, keep := &a.Status.AtProvider, 0
	if t := a.Spec.ForProvider.Target; t != nil {
		keep = int(t.KeepVersions) - 1
	}
	s.History = s.History[:min(len(s.History), max(maxHistory, keep))]
	if len(s.History) == 0 {
		s.History = nil
	}
}

// intend records which tags are about to be set, so that they are known whatever
// happens then, and reports whether that is new.
func intend(a *modelv1alpha1.Artifact, tags []wantedTag) bool {
	s, before := &a.Status.AtProvider, len(a.Status.AtProvider.Tags)
	for _, t := range tags {
		if !slices.Contains(s.Tags, t.name) {
			s.Tags = append(s.Tags, t.name)
		}
	}
	return len(s.Tags) > before
}

// gatherTags looks at the tags beside the Artifact's own: which must be set, and which
// the spec no longer asks for.
func (e *external) gatherTags(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	s := &a.Status.AtProvider
	switch {
	case !settings.MayUpdate(a):
		return nil
	case !matchesSpec(a):
		return e.gatherFixedTags(ctx, a, o)
	}
	wanted := wantedTags(a, pushedVersions(s)...)
	for i, p := range s.History {
		s.History[i].Tag = ""
		if kept := keptTag(a, p.StagedArtifact); slices.Contains(wanted, wantedTag{kept, p.Digest}) {
			s.History[i].Tag = kept
		}
	}
	if intend(a, wanted) {
		o.news, o.setTags = true, wanted
		return nil
	}
	for _, name := range slices.Clone(s.Tags) {
		if err := e.gatherTag(ctx, a, o, name, wanted); err != nil {
			return err
		}
	}
	return nil
}

// gatherTag looks at one tag of status.atProvider.tags.
func (e *external) gatherTag(ctx context.Context, a *modelv1alpha1.Artifact, o *observation, name string, wanted []wantedTag) error {
	s := &a.Status.AtProvider
	i := slices.IndexFunc(wanted, func(t wantedTag) bool { return t.name == name })
	if i < 0 && name == artifact.Tag(a) {
		s.Tags = slices.DeleteFunc(s.Tags, func(t string) bool { return t == name })
		return nil
	}
	known := s.Digest
	if i >= 0 {
		known = wanted[i].digest
	}
	t, err := e.catalogOf(a).Look(ctx, name, known)
	if err != nil {
		return err
	}
	ours := wasPushed(a, t.Descriptor.Digest.String())
	switch {
	case i >= 0 && t.IsOn(known):
	case i >= 0 && (ours || t.MayChange(known) || artifact.MayOverwrite(a)):
		o.setTags = append(o.setTags, wanted[i])
	case i >= 0:
		o.foreignTag = &t
	case ours && !slices.Contains(e.stuckTags.get(a.GetUID()), name):
		o.removeTags = append(o.removeTags, name)
	default:
		s.Tags = slices.DeleteFunc(s.Tags, func(t string) bool { return t == name })
	}
	return nil
}

// gatherFixedTags looks, before a run, whether one of the additional tags that need
// nothing of the source is foreign, which would leave the run's work without its tags.
func (e *external) gatherFixedTags(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	if artifact.MayOverwrite(a) {
		return nil
	}
	var tags []wantedTag
	for _, template := range a.Spec.ForProvider.Target.AdditionalTags {
		if name := expandTag(template, modelv1alpha1.StagedArtifact{}); name != "" {
			tags = append(tags, wantedTag{name, a.Status.AtProvider.Digest})
		}
	}
	err := e.gatherForeignTag(ctx, a, o, tags)
	if registry.IsUnauthorized(err) {
		// Some registries do not show what does not exist yet.
		return nil
	}
	return err
}

// gatherStagedTags looks at the tags beside the Artifact's own that what is staged gets.
func (e *external) gatherStagedTags(ctx context.Context, a *modelv1alpha1.Artifact, o *observation) error {
	tags := stagedTags(a)
	if intend(a, tags) {
		o.news = true
		return nil
	}
	for i := range tags {
		if o.contested {
			tags[i].digest = "" // One on what was staged may be foreign.
		}
	}
	return e.gatherForeignTag(ctx, a, o, tags)
}

// gatherForeignTag looks for the first of some tags that the Artifact must not set.
func (e *external) gatherForeignTag(ctx context.Context, a *modelv1alpha1.Artifact, o *observation, tags []wantedTag) error {
	for _, wanted := range tags {
		t, err := e.catalogOf(a).Look(ctx, wanted.name, wanted.digest)
		if err != nil {
			return err
		}
		if !wasPushed(a, t.Descriptor.Digest.String()) && !t.MayChange(wanted.digest) && !artifact.MayOverwrite(a) {
			o.foreignTag = &t
			return nil
		}
	}
	return nil
}

// setTags sets and removes tags beside the Artifact's own. A tag that the registry does
// not remove stays, and is not the Artifact's any more.
func (e *external) setTags(ctx context.Context, a *modelv1alpha1.Artifact) error {
	c := e.catalogOf(a)
	for _, t := range e.plan.setTags {
		if err := c.Retag(ctx, digest.Digest(t.digest), t.name); err != nil {
			return errors.Wrapf(err, "cannot set tag %s", t.name)
		}
		e.recorder.Event(a, event.Normal(reasonTagged, "Set tag "+t.name+" on "+t.digest))
	}
	for _, name := range e.plan.removeTags {
		switch err := c.Registry.Untag(ctx, c.Repository, name); {
		case registry.IsUnsupported(err), registry.IsUnauthorized(err):
			e.stuckTags.put(a.GetUID(), append(slices.Clone(e.stuckTags.get(a.GetUID())), name))
			e.recorder.Event(a, event.Warning(reasonLeft, errors.Errorf("The registry does not let tag %s be removed, which stays", name)))
		case err != nil && !registry.IsNotFound(err):
			return errors.Wrapf(err, "cannot remove tag %s", name)
		default:
			e.recorder.Event(a, event.Normal(reasonUntagged, "Removed tag "+name))
		}
	}
	e.requeue(a, requeueNow)
	return nil
}

// namesOf returns the names of tags.
func namesOf(tags []wantedTag) []string {
	out := make([]string, 0, len(tags))
	for _, t := range tags {
		out = append(out, t.name)
	}
	return out
}
