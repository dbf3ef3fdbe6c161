package catalog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// A Holding is what the status of an Artifact says that it has in the repository.
type Holding struct {
	// Tag of what it pushed last.
	Tag string

	// Further are tags beside Tag, which are the owner's on whatever of this it has
	// pushed.
	Further []string

	// Digest of what it pushed last; empty for nothing.
	Digest string

	// Earlier are the digests of what it pushed before, or has staged since.
	Earlier []string

	// RunHashes are those of runs that may have left a staging tag or a checkpoint.
	RunHashes []string
}

// digests returns the digests of all that was pushed.
func (h Holding) digests() []digest.Digest {
	var out []digest.Digest
	for _, d := range append([]string{h.Digest}, h.Earlier...) {
		if d := digest.Digest(d); d.Validate() == nil && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// Deleted says what a deletion did, and what stays.
type Deleted struct {
	// Untagged means that the tag was removed, and ByDigest that the manifest was.
	Untagged, ByDigest bool

	// Left says why the artifact stays; empty if it does not.
	Left string

	// LeftRecord means that the record of ownership stays.
	LeftRecord bool

	// LeftTags are tags of runs that stay.
	LeftTags []string

	// LeftImages says which manifest of a deleted index stays; nil for none.
	LeftImages error
}

// HasAny reports whether the repository has anything that goes with the Artifact:
// its tag on what it pushed, records of its runs, or tags that its runs used.
func (c Catalog) HasAny(ctx context.Context, h Holding) (bool, error) {
	for _, hash := range h.RunHashes {
		if has, err := c.HasRunTags(ctx, hash); err != nil || has {
			return has, err
		}
	}
	if tagged, err := c.isTagged(ctx, h); err != nil || tagged {
		return tagged, err
	}
	for _, tag := range h.Further {
		if on, err := c.ownOn(ctx, h, tag); err != nil || on != "" {
			return on != "", err
		}
	}
	records, err := c.ownRecords(ctx, h)
	if err != nil || len(records) > 0 {
		return err == nil, err
	}
	return c.hasLegacy(ctx, h.digests())
}

// Delete removes what the Artifact has in the repository: its tag, if it still
// points to what it pushed, the records of its runs, and tags that its runs used.
// Other tags of the same content stay, and so does what the registry does not let
// be deleted, which is not an error.
func (c Catalog) Delete(ctx context.Context, h Holding) (Deleted, error) {
	var out Deleted
	if err := c.deletePushed(ctx, h, &out); err != nil || out.Left != "" {
		return out, err
	}
	for _, hash := range h.RunHashes {
		left, err := c.Drop(ctx, hash)
		if err != nil {
			return out, err
		}
		out.LeftTags = append(out.LeftTags, left...)
	}
	return out, nil
}

// deletePushed removes the tag and the records.
func (c Catalog) deletePushed(ctx context.Context, h Holding, out *Deleted) error {
	tagged, err := c.isTagged(ctx, h)
	if err != nil {
		return err
	}
	if tagged {
		if err := c.deleteTagged(ctx, h, out); err != nil || out.Left != "" {
			return err
		}
	}
	if err := c.deleteFurther(ctx, h, out); err != nil {
		return err
	}
	return c.deleteRecords(ctx, h, out)
}

// ownOn returns the digest that a further tag points to, if the owner has pushed it,
// else none.
func (c Catalog) ownOn(ctx context.Context, h Holding, tag string) (digest.Digest, error) {
	d, err := c.Registry.Resolve(ctx, c.Repository, tag)
	if registry.IsNotFound(err) || err == nil && !slices.Contains(h.digests(), d.Digest) {
		return "", nil
	}
	return d.Digest, err
}

// deleteFurther removes the further tags or, if the registry cannot, what they point
// to, unless a tag of others does.
func (c Catalog) deleteFurther(ctx context.Context, h Holding, out *Deleted) error {
	for _, tag := range h.Further {
		on, err := c.ownOn(ctx, h, tag)
		if err != nil {
			return err
		}
		if on == "" {
			continue
		}
		one, deleted := h, Deleted{}
		one.Tag, one.Digest, one.Further = tag, on.String(), append([]string{h.Tag}, h.Further...)
		if err := c.deleteTagged(ctx, one, &deleted); err != nil {
			return err
		}
		if deleted.Left != "" {
			out.LeftTags = append(out.LeftTags, tag)
		}
	}
	return nil
}

// isTagged reports whether the Artifact's tag points to what it pushed.
func (c Catalog) isTagged(ctx context.Context, h Holding) (bool, error) {
	if h.Digest == "" {
		return false, nil
	}
	d, err := c.Registry.Resolve(ctx, c.Repository, h.Tag)
	if registry.IsNotFound(err) {
		return false, nil
	}
	return err == nil && d.Digest.String() == h.Digest, err
}

// owners returns the Artifact, and any that had its name before and whose artifact it
// adopted.
func (c Catalog) owners() []provenance.Owner {
	return []provenance.Owner{c.Owner, {Namespace: c.Owner.Namespace, Name: c.Owner.Name}}
}

// ownRecords returns the records of the Artifact's runs about what it pushed last
// and before, also those of an Artifact that had its name before and whose artifact
// it adopted.
func (c Catalog) ownRecords(ctx context.Context, h Holding) ([]provenance.Found, error) {
	var out []provenance.Found
	for _, d := range h.digests() {
		for _, owner := range c.owners() {
			records, _, err := c.place().Of(ctx, c.Registry, d, owner)
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

// deleteTagged removes the Artifact's tag alone or, if the registry cannot, what it
// points to, unless another tag does.
func (c Catalog) deleteTagged(ctx context.Context, h Holding, out *Deleted) error {
	err := c.Registry.Untag(ctx, c.Repository, h.Tag)
	if err == nil {
		out.Untagged = true
		return nil
	}
	if !registry.IsUnsupported(err) {
		return err
	}
	return c.deleteByDigest(ctx, h, out)
}

// deleteByDigest deletes the manifest of what the Artifact pushed, and all its tags
// with it.
func (c Catalog) deleteByDigest(ctx context.Context, h Holding, out *Deleted) error {
	tags, err := c.otherTags(ctx, append([]string{h.Tag}, h.Further...))
	if registry.IsUnsupported(err) || registry.IsNotFound(err) {
		out.Left = "the registry neither deletes tags nor lists them"
		return nil
	}
	if err != nil {
		return err
	}
	if others := tagsOn(tags, h.Digest); len(others) > 0 {
		out.Left = fmt.Sprintf("the registry does not delete tags, and other tags have the same digest: %s", strings.Join(others[:min(len(others), 3)], ", "))
		return nil
	}
	d, err := c.Registry.Resolve(ctx, c.Repository, h.Digest)
	var images []ocispec.Descriptor
	if err == nil {
		images, err = c.ownImages(ctx, h.Digest, tags)
	}
	if err == nil {
		err = c.Registry.DeleteManifest(ctx, c.Repository, d)
	}
	if registry.IsUnsupported(err) {
		out.Left = "the registry does not delete: delete it there by hand"
		return nil
	}
	if err == nil {
		out.ByDigest = true
		out.LeftImages = c.deleteImages(ctx, images)
	}
	return err
}

// tagsAtOnce is how many tags are looked at side by side.
const tagsAtOnce = 8

// otherTags returns what the tags beside these point to, without those that runs
// use: they are none of the content's names.
func (c Catalog) otherTags(ctx context.Context, own []string) (map[string]ocispec.Descriptor, error) {
	all, err := c.Registry.Tags(ctx, c.Repository)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(t string) bool { return slices.Contains(own, t) || provenance.IsReservedTag(t) })
	on := make([]ocispec.Descriptor, len(all))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(tagsAtOnce)
	for i, tag := range all {
		group.Go(func() error {
			d, err := c.Registry.Resolve(gctx, c.Repository, tag)
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

// tagsOn returns those of some tags that point to a digest, sorted.
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

// ownImages returns the manifests that the index with this digest names, without
// those that other tags point to, or indexes with other tags name. There are none
// if it is not an index.
func (c Catalog) ownImages(ctx context.Context, index string, tags map[string]ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	images, err := c.imagesOf(ctx, index)
	if err != nil || len(images) == 0 {
		return nil, err
	}
	shared := map[digest.Digest]bool{}
	for _, d := range tags {
		shared[d.Digest] = true
		if d.MediaType != ocispec.MediaTypeImageIndex {
			continue
		}
		others, err := c.imagesOf(ctx, d.Digest.String())
		if err != nil {
			return nil, err
		}
		for _, o := range others {
			shared[o.Digest] = true
		}
	}
	return slices.DeleteFunc(images, func(d ocispec.Descriptor) bool { return shared[d.Digest] }), nil
}

// imagesOf returns the manifests that an index names; none for one that is gone, is
// no index, or is not one that the provider makes.
func (c Catalog) imagesOf(ctx context.Context, digest string) ([]ocispec.Descriptor, error) {
	_, b, err := c.Registry.Manifest(ctx, c.Repository, digest)
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
// refuse while the index is there, and says which one stays. It does no harm there:
// the registry collects it, or keeps it.
func (c Catalog) deleteImages(ctx context.Context, images []ocispec.Descriptor) error {
	for _, d := range images {
		if err := c.Registry.DeleteManifest(ctx, c.Repository, plain(d)); err != nil {
			return errors.Wrapf(err, "cannot delete %s, which the deleted index of the image named", d.Digest)
		}
	}
	return nil
}

// deleteRecords deletes the records of the Artifact's runs and, with the last owner's,
// what describes the artifacts: before, so that a deletion that is repeated finds them,
// and after, since the last two owners may delete at once. All that does no harm in a
// registry that does not delete it.
func (c Catalog) deleteRecords(ctx context.Context, h Holding, out *Deleted) error {
	records, err := c.ownRecords(ctx, h)
	if err != nil {
		return err
	}
	if err := c.deleteAllDescriptions(ctx, h, records); err != nil {
		return err
	}
	if len(records) > 0 || c.LegacyTags {
		for _, d := range h.digests() {
			if err := c.unsignLegacy(ctx, d, c.owners()...); err != nil {
				return err
			}
		}
	}
	for _, r := range records {
		err := c.Registry.DeleteManifest(ctx, c.Repository, plain(r.Descriptor))
		if registry.IsUnsupported(err) {
			out.LeftRecord = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	if len(records) == 0 {
		return nil
	}
	return c.deleteAllDescriptions(ctx, h, nil)
}

// deleteAllDescriptions deletes what describes the artifacts that the Artifact has, and
// that only these records name as owned.
func (c Catalog) deleteAllDescriptions(ctx context.Context, h Holding, own []provenance.Found) error {
	for _, d := range h.digests() {
		if err := c.deleteDescriptions(ctx, d, own); err != nil {
			return err
		}
	}
	return nil
}

// plain returns a descriptor with only what deleting its manifest needs.
func plain(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}
