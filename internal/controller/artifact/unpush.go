package artifact

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// isInRegistry says whether the registry has anything that the Artifact pushed
// and that is to go with it: its tag, or a record of its runs. Where the registry
// cannot be asked it says so too: Delete finds out why.
func (e *external) isInRegistry(ctx context.Context, a *modelv1alpha1.Artifact) bool {
	s := a.Status.AtProvider
	if s.LeftInRegistry != "" {
		return false
	}
	if d, _ := e.unfinished(ctx, a, artifact.RunOf(a).Hash); d.Digest != "" {
		return true
	}
	switch {
	case s.Digest == "":
		return false
	case e.registry == nil:
		return true
	}
	tagged, err := e.isTagged(ctx, a)
	if err != nil || tagged {
		return true
	}
	records, err := e.ownRecords(ctx, a)
	return err != nil || len(records) > 0
}

// isTagged says whether the Artifact's tag is on what it pushed.
func (e *external) isTagged(ctx context.Context, a *modelv1alpha1.Artifact) (bool, error) {
	s := a.Status.AtProvider
	d, err := e.registry.Resolve(ctx, artifact.Repository(a), tagOf(s.Reference))
	if registry.IsNotFound(err) {
		return false, nil
	}
	return err == nil && d.Digest.String() == s.Digest, err
}

// ownRecords returns the records of the Artifact's runs about what it pushed last
// and about what it pushed before, also of an Artifact that had its name before
// and whose artifact it took over.
func (e *external) ownRecords(ctx context.Context, a *modelv1alpha1.Artifact) ([]provenance.Found, error) {
	s := a.Status.AtProvider
	digests := []string{s.Digest}
	for _, p := range s.History {
		digests = append(digests, p.Digest)
	}
	var out []provenance.Found
	for _, d := range digests {
		for _, owner := range []provenance.Owner{ownerOf(a), {Namespace: a.GetNamespace(), Name: a.GetName()}} {
			records, err := provenance.Of(ctx, e.registry, artifact.Repository(a), digest.Digest(d), owner)
			if err != nil {
				return nil, err
			}
			out = append(out, records...)
		}
	}
	byDigest := func(a, b provenance.Found) int { return cmp.Compare(a.Descriptor.Digest, b.Descriptor.Digest) }
	slices.SortFunc(out, byDigest)
	return slices.CompactFunc(out, func(a, b provenance.Found) bool { return byDigest(a, b) == 0 }), nil
}

// deleteFromRegistry takes what the Artifact pushed from the registry: its tag,
// if it points to that still, and the records of its runs. Where the registry
// cannot, and never will, the artifact is left, which status and an event say.
func (e *external) deleteFromRegistry(ctx context.Context, a *modelv1alpha1.Artifact) error {
	e.leaveForeign(a)
	s := &a.Status.AtProvider
	if s.Digest != "" && s.LeftInRegistry == "" {
		if err := e.deletePushed(ctx, a); err != nil {
			return err
		}
	}
	if s.LeftInRegistry != "" {
		return nil
	}
	return leaveHint(e.deleteUnfinished(ctx, a))
}

// deletePushed takes away the artifact and its records.
func (e *external) deletePushed(ctx context.Context, a *modelv1alpha1.Artifact) error {
	s := &a.Status.AtProvider
	if e.registry == nil {
		return e.letGo(ctx, a)
	}
	tagged, err := e.isTagged(ctx, a)
	if err != nil {
		return leaveHint(err)
	}
	if tagged {
		if err := e.deleteTagged(ctx, a); err != nil || s.LeftInRegistry != "" {
			return leaveHint(err)
		}
	}
	return leaveHint(e.deleteRecords(ctx, a))
}

// deleteTagged takes away the Artifact's tag alone; where the registry cannot do
// that, what it points to, if no other tag does.
func (e *external) deleteTagged(ctx context.Context, a *modelv1alpha1.Artifact) error {
	s := a.Status.AtProvider
	err := e.registry.Untag(ctx, artifact.Repository(a), tagOf(s.Reference))
	if err == nil {
		e.recorder.Event(a, event.Normal(reasonUntagged, "Took tag "+tagOf(s.Reference)+" away from "+s.PinnedReference))
		return nil
	}
	if !registry.IsUnsupported(err) {
		return err
	}
	return e.deleteByDigest(ctx, a)
}

// deleteByDigest deletes the manifest of what the Artifact pushed, with which all
// its tags go.
func (e *external) deleteByDigest(ctx context.Context, a *modelv1alpha1.Artifact) error {
	s := a.Status.AtProvider
	others, err := e.otherTags(ctx, a)
	if registry.IsUnsupported(err) || registry.IsNotFound(err) {
		e.leave(a, "the registry does not delete tags, nor tell which tags there are")
		return nil
	}
	if err != nil {
		return err
	}
	if len(others) > 0 {
		e.leave(a, fmt.Sprintf("the registry does not delete tags, and other tags have the same digest: %s", strings.Join(others[:min(len(others), 3)], ", ")))
		return nil
	}
	d, err := e.registry.Resolve(ctx, artifact.Repository(a), s.Digest)
	if err == nil {
		err = e.registry.DeleteManifest(ctx, artifact.Repository(a), d)
	}
	if registry.IsUnsupported(err) {
		e.leave(a, "the registry does not delete: delete it there by hand")
		return nil
	}
	if err == nil {
		e.recorder.Event(a, event.Normal(reasonDeleted, "Deleted "+s.PinnedReference+", which had no other tag than "+tagOf(s.Reference)))
	}
	return err
}

// tagsAtOnce is how many tags are looked at side by side.
const tagsAtOnce = 8

// otherTags returns the tags beside the Artifact's that are on what it pushed.
func (e *external) otherTags(ctx context.Context, a *modelv1alpha1.Artifact) ([]string, error) {
	s := a.Status.AtProvider
	all, err := e.registry.Tags(ctx, artifact.Repository(a))
	if err != nil {
		return nil, err
	}
	shared := make([]bool, len(all))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(tagsAtOnce)
	for i, tag := range all {
		if tag == tagOf(s.Reference) {
			continue
		}
		group.Go(func() error {
			d, err := e.registry.Resolve(gctx, artifact.Repository(a), tag)
			if registry.IsNotFound(err) {
				return nil
			}
			shared[i] = err == nil && d.Digest.String() == s.Digest
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var out []string
	for i, tag := range all {
		if shared[i] {
			out = append(out, tag)
		}
	}
	slices.Sort(out)
	return out, nil
}

// deleteRecords takes away the records of the Artifact's runs. They harm nobody:
// a registry that does not delete them keeps them.
func (e *external) deleteRecords(ctx context.Context, a *modelv1alpha1.Artifact) error {
	records, err := e.ownRecords(ctx, a)
	if err != nil {
		return err
	}
	for _, r := range records {
		d := ocispec.Descriptor{MediaType: r.Descriptor.MediaType, Digest: r.Descriptor.Digest, Size: r.Descriptor.Size}
		err := e.registry.DeleteManifest(ctx, artifact.Repository(a), d)
		if registry.IsUnsupported(err) {
			e.leaveRecord(a)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
