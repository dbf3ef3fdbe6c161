package artifact

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/event"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
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
	if d, _ := e.checkpoint(ctx, a, artifact.RunOf(a).Hash); d.Digest != "" {
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
	return leaveHint(e.deleteCheckpoint(ctx, a))
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
	tags, err := e.otherTags(ctx, a)
	if registry.IsUnsupported(err) || registry.IsNotFound(err) {
		e.leave(a, "the registry does not delete tags, nor tell which tags there are")
		return nil
	}
	if err != nil {
		return err
	}
	if others := tagsOn(tags, s.Digest); len(others) > 0 {
		e.leave(a, fmt.Sprintf("the registry does not delete tags, and other tags have the same digest: %s", strings.Join(others[:min(len(others), 3)], ", ")))
		return nil
	}
	d, err := e.registry.Resolve(ctx, artifact.Repository(a), s.Digest)
	var images []ocispec.Descriptor
	if err == nil {
		images, err = e.ownImages(ctx, a, tags)
	}
	if err == nil {
		err = e.registry.DeleteManifest(ctx, artifact.Repository(a), d)
	}
	if registry.IsUnsupported(err) {
		e.leave(a, "the registry does not delete: delete it there by hand")
		return nil
	}
	if err == nil {
		e.deleteImages(ctx, a, images)
		e.recorder.Event(a, event.Normal(reasonDeleted, "Deleted "+s.PinnedReference+", which had no other tag than "+tagOf(s.Reference)))
	}
	return err
}

// tagsAtOnce is how many tags are looked at side by side.
const tagsAtOnce = 8

// ownImages returns the manifests that the index of what the Artifact pushed
// names, without those that other tags are on, or indexes with other tags name.
// There are none where it is no index.
func (e *external) ownImages(ctx context.Context, a *modelv1alpha1.Artifact, tags map[string]ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	images, err := e.imagesOf(ctx, a, a.Status.AtProvider.Digest)
	if err != nil || len(images) == 0 {
		return nil, err
	}
	shared := map[digest.Digest]bool{}
	for _, d := range tags {
		shared[d.Digest] = true
		if d.MediaType != ocispec.MediaTypeImageIndex {
			continue
		}
		others, err := e.imagesOf(ctx, a, d.Digest.String())
		if err != nil {
			return nil, err
		}
		for _, o := range others {
			shared[o.Digest] = true
		}
	}
	return slices.DeleteFunc(images, func(d ocispec.Descriptor) bool { return shared[d.Digest] }), nil
}

// imagesOf returns the manifests that an index in the Artifact's repository
// names; none for one that is gone, is no index, or is no image of ours.
func (e *external) imagesOf(ctx context.Context, a *modelv1alpha1.Artifact, digest string) ([]ocispec.Descriptor, error) {
	_, b, err := e.registry.Manifest(ctx, artifact.Repository(a), digest)
	if registry.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	images, err := modelpack.IndexManifests(b)
	if outcome.ReasonOf(err) == outcome.Unsupported {
		return nil, nil
	}
	return images, err
}

// deleteImages deletes the manifests that a deleted index named, which registries
// refuse while the index is there. They harm nobody: what the registry does not
// delete it collects, or keeps.
func (e *external) deleteImages(ctx context.Context, a *modelv1alpha1.Artifact, images []ocispec.Descriptor) {
	for _, d := range images {
		err := e.registry.DeleteManifest(ctx, artifact.Repository(a), ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
		if err != nil {
			e.recorder.Event(a, event.Warning(reasonLeft, errors.Wrapf(err, "cannot delete %s, which the deleted index of the image named", d.Digest)))
			return
		}
	}
}

// otherTags returns what the tags beside the Artifact's are on.
func (e *external) otherTags(ctx context.Context, a *modelv1alpha1.Artifact) (map[string]ocispec.Descriptor, error) {
	s := a.Status.AtProvider
	all, err := e.registry.Tags(ctx, artifact.Repository(a))
	if err != nil {
		return nil, err
	}
	on := make([]ocispec.Descriptor, len(all))
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
			on[i] = d
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	out := make(map[string]ocispec.Descriptor, len(all))
	for i, tag := range all {
		if on[i].Digest != "" {
			out[tag] = on[i]
		}
	}
	return out, nil
}

// tagsOn returns those of some tags that are on a digest, sorted.
func tagsOn(tags map[string]ocispec.Descriptor, digest string) []string {
	var out []string
	for tag, d := range tags {
		if d.Digest.String() == digest {
			out = append(out, tag)
		}
	}
	slices.Sort(out)
	return out
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
