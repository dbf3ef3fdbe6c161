package artifact

import (
	"context"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// putTag gives the artifact that is in the registry the tag that the spec asks
// for. A tag that it had before stays: others may pull by it.
func (e *external) putTag(ctx context.Context, a *modelv1alpha1.Artifact) error {
	s, wanted := &a.Status.AtProvider, e.withEffective(a)
	repository := artifact.Repository(wanted)
	d, content, err := e.registry.Manifest(ctx, repository, s.Digest)
	if err != nil {
		return errors.Wrap(err, "cannot read the manifest to tag")
	}
	if err := e.registry.PushManifest(ctx, repository, d, content, artifact.Tag(wanted)); err != nil {
		return errors.Wrapf(err, "cannot tag the artifact as %s", artifact.OCIReference(wanted))
	}
	old := s.Reference
	s.Reference = artifact.OCIReference(wanted)
	a.SetConditions(xpv2.Available().WithObservedGeneration(a.GetGeneration()))
	if old == s.Reference {
		from := ""
		if e.overwritten != "" {
			from = ", from " + e.overwritten
		}
		e.recorder.Event(a, event.Normal(reasonPutBack, "Put the tag of "+s.Reference+" back to "+s.Digest+from))
		return nil
	}
	e.recorder.Event(a, event.Normal(reasonTagged, "Tagged the artifact as "+s.Reference+"; "+old+" stays"))
	return nil
}

// trimTag returns a reference without its tag.
func trimTag(reference string) string {
	slash, colon := strings.LastIndex(reference, "/"), strings.LastIndex(reference, ":")
	if colon > slash {
		return reference[:colon]
	}
	return reference
}
