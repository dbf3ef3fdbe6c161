package catalog

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// A Commit gives names to what a run staged.
type Commit struct {
	// Digest of the staged manifest, as the run's Job reported it.
	Digest digest.Digest

	// Tags that the manifest gets: the Artifact's own, and then those beside it.
	Tags []string

	// Known is the digest of what the owner is known to have pushed before, which
	// its tags may point to; empty for none.
	Known string

	// Overwrite takes foreign tags.
	Overwrite bool

	// Record about the manifest.
	Record provenance.Record

	// FileList is the digest of the list of files that the run has pushed beside the
	// manifest; empty if there is none.
	FileList digest.Digest
}

// A Committed says how a commit ended.
type Committed struct {
	// Left are the run's own tags that the registry does not let be deleted.
	Left []string

	// Unrecorded means that the registry takes no records: the artifact cannot be
	// adopted later.
	Unrecorded bool

	// Description is what describes the artifact, and Undescribed says why something
	// is missing of that; empty if nothing is, or if there is no list of files.
	Description Description
	Undescribed string

	// UnsignedLegacy says why legacy tags do not have what they should; empty if they
	// do, or should have nothing.
	UnsignedLegacy string
}

// Commit checks all tags, records the owner in a signed attestation, sets the tags,
// and removes attestations of the owner's earlier runs and the run's own tags. It may
// be repeated after it was interrupted anywhere. It returns an error with reason
// TagConflict if a tag is foreign, before any is set, and one with reason NotFound if the
// staged manifest is gone. It changes nothing while the key that is to sign cannot be
// used.
func (c Catalog) Commit(ctx context.Context, o Commit) (Committed, error) {
	if c.Keys.Unusable != nil {
		return Committed{}, c.Keys.Unusable
	}
	tags, err := c.checkTags(ctx, o)
	if err != nil {
		return Committed{}, err
	}
	staged, content, err := c.Registry.Manifest(ctx, c.Repository, o.Digest.String())
	if err != nil {
		return Committed{}, err
	}
	description, undescribed, err := c.describe(ctx, staged, o)
	if err != nil {
		return Committed{}, err
	}
	recorded, err := c.record(ctx, staged, o.Record)
	if err != nil {
		return Committed{}, err
	}
	// Recording takes a while, and the tag of another may have appeared meanwhile.
	if err := c.checkAgain(ctx, o, tags, recorded); err != nil {
		c.withdraw(ctx, staged.Digest, recorded)
		return Committed{}, err
	}
	unsigned, err := c.signLegacy(ctx, staged.Digest, o.Record)
	if err != nil {
		return Committed{}, err
	}
	for _, tag := range o.Tags {
		if err := c.Registry.PushManifest(ctx, c.Repository, staged, content, tag); err != nil {
			return Committed{}, err
		}
	}
	if err := c.supersede(ctx, staged.Digest, o.Record, recorded); err != nil {
		return Committed{}, err
	}
	left, err := c.Drop(ctx, o.Record.RunHash)
	return Committed{
		Left: left, Unrecorded: recorded.Digest == "", Description: description, Undescribed: undescribed, UnsignedLegacy: unsigned,
	}, err
}

// checkTags returns what the tags of a commit point to, or an error if one of them
// is foreign. A tag on the staged manifest that no record makes the owner's is in
// doubt: either this commit was interrupted, in a registry without records, or
// another pushed the same. Whether there are records, recording will tell.
func (c Catalog) checkTags(ctx context.Context, o Commit) ([]Tag, error) {
	tags := make([]Tag, 0, len(o.Tags))
	for i, name := range o.Tags {
		t, err := c.Look(ctx, name, o.Known)
		if err != nil {
			return nil, err
		}
		t.Further = i > 0
		if !o.Overwrite && !t.MayChange(o.Known) && !t.IsOn(o.Digest.String()) {
			return nil, t.Conflict()
		}
		tags = append(tags, t)
	}
	return tags, nil
}

// checkAgain returns an error if a tag has become foreign since it was looked at,
// or if one in doubt is foreign: the registry takes records, and had none.
func (c Catalog) checkAgain(ctx context.Context, o Commit, before []Tag, recorded ocispec.Descriptor) error {
	if o.Overwrite {
		return nil
	}
	for _, t := range before {
		if t.IsOn(o.Digest.String()) && !t.MayChange(o.Known) && recorded.Digest != "" {
			return t.Conflict()
		}
		d, err := c.Registry.Resolve(ctx, c.Repository, t.Name)
		if registry.IsNotFound(err) || err == nil && d.Digest == t.Descriptor.Digest {
			continue
		}
		if err != nil {
			return err
		}
		now := Tag{Name: t.Name, Further: t.Further, Descriptor: d}
		if d.Digest != o.Digest {
			// The record of this very run is about the staged manifest alone.
			if now.Records, now.Rejected, err = c.place().Of(ctx, c.Registry, d.Digest, c.Owner); err != nil {
				return err
			}
		}
		if !now.MayChange(o.Known) {
			return now.Conflict()
		}
	}
	return nil
}

// record pushes a record that names the owner and returns its descriptor, which is
// zero if the registry takes no records.
func (c Catalog) record(ctx context.Context, subject ocispec.Descriptor, r provenance.Record) (ocispec.Descriptor, error) {
	d, err := c.place().Push(ctx, c.Registry, subject, c.owned(r))
	if provenance.IsRefusal(err) {
		return ocispec.Descriptor{}, nil
	}
	return d, err
}

// owned returns a record with the owner.
func (c Catalog) owned(r provenance.Record) provenance.Record {
	r.Owner = c.Owner
	return r
}

// supersede deletes the owner's earlier records about a manifest and, unless they have been
// rewritten, what they have under legacy tags, since some programs
// that verify signatures refuse a manifest with more than 50 referrers. Where the
// registry does not let them be deleted they stay, and do no harm.
func (c Catalog) supersede(ctx context.Context, subject digest.Digest, r provenance.Record, recorded ocispec.Descriptor) error {
	if recorded.Digest == "" {
		return nil
	}
	all, err := c.Records(ctx, subject)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(f provenance.Found) bool { return f.Descriptor.Digest == recorded.Digest })
	if len(all) > 0 && !c.writesLegacy(subject, r) {
		if err := c.unsignLegacy(ctx, subject, c.Owner); err != nil {
			return err
		}
	}
	for _, r := range all {
		if deletes, err := c.deleteIfAllowed(ctx, r.Descriptor); err != nil || !deletes {
			return err
		}
	}
	return nil
}

// withdraw deletes the record of a commit that does not get its tags, and what describes
// the manifest if it has no other owner. What an earlier commit of the same content has
// under legacy tags stays. What cannot be deleted does no harm: no tag of the owner
// points to its subject.
func (c Catalog) withdraw(ctx context.Context, subject digest.Digest, recorded ocispec.Descriptor) {
	if recorded.Digest == "" {
		return
	}
	_ = c.Registry.DeleteManifest(ctx, c.Repository, recorded)
	if left, err := c.Records(ctx, subject); c.LegacyTags && err == nil && len(left) == 0 {
		_ = c.unsignLegacy(ctx, subject, c.Owner)
	}
	_ = c.deleteDescriptions(ctx, subject, nil)
}

// runTags returns the tags that runs of a run hash use: of the staged manifest and
// of the checkpoint.
func (c Catalog) runTags(runHash string) (staging, checkpoint string) {
	return provenance.StagingTag(c.Owner, runHash), provenance.CheckpointTag(c.Owner, runHash)
}

// Drop removes the tags that runs of a run hash used, and returns those that the
// registry does not let be deleted. The staged manifest itself is not deleted, since
// other tags may be on it; a checkpoint is, since it is the owner's alone. It goes last:
// it says which parts of it there may be, so that a removal which was interrupted can be
// repeated.
func (c Catalog) Drop(ctx context.Context, runHash string) ([]string, error) {
	staging, checkpoint := c.runTags(runHash)
	if staging == "" {
		return nil, nil
	}
	var left []string
	has, err := c.hasTag(ctx, staging)
	if has {
		err = c.Registry.Untag(ctx, c.Repository, staging)
	}
	if left, err = leftOf(left, staging, err); err != nil {
		return left, err
	}
	d, m, err := provenance.Checkpoint(ctx, c.Registry, c.Repository, checkpoint)
	if err != nil && !isHidden(err) {
		return leftOf(left, checkpoint, err)
	}
	// It may be gone, or replaced, and parts of it be there.
	for _, part := range provenance.PartTags(checkpoint, m, c.Shares) {
		if left, err = c.dropPart(ctx, left, part); err != nil {
			return left, err
		}
	}
	if d.Digest == "" {
		return left, nil
	}
	return leftOf(left, checkpoint, provenance.DeleteTag(ctx, c.Registry, c.Repository, checkpoint, d))
}

// dropPart removes a part of a checkpoint, if there is one, and adds its tag to those that
// stay if the registry does not let it be deleted.
func (c Catalog) dropPart(ctx context.Context, left []string, tag string) ([]string, error) {
	d, _, err := provenance.Checkpoint(ctx, c.Registry, c.Repository, tag)
	if isHidden(err) || err == nil && d.Digest == "" {
		return left, nil
	}
	if err == nil {
		err = provenance.DeleteTag(ctx, c.Registry, c.Repository, tag, d)
	}
	return leftOf(left, tag, err)
}

// leftOf adds a tag to those that stay, if that is what an error says.
func leftOf(left []string, tag string, err error) ([]string, error) {
	switch {
	case registry.IsNotFound(err):
		return left, nil
	case registry.IsUnsupported(err), registry.IsUnauthorized(err):
		return append(left, tag), nil
	}
	return left, err
}

// hasTag reports whether the registry shows a tag.
func (c Catalog) hasTag(ctx context.Context, tag string) (bool, error) {
	_, err := c.Registry.Resolve(ctx, c.Repository, tag)
	if isHidden(err) {
		return false, nil
	}
	return err == nil, err
}

// isHidden reports whether an error says that there is nothing, or nothing for this
// account to see: some registries do not show what does not exist.
func isHidden(err error) bool { return registry.IsNotFound(err) || registry.IsUnauthorized(err) }

// HasRunTags reports whether the registry has a tag that runs of a run hash used.
func (c Catalog) HasRunTags(ctx context.Context, runHash string) (bool, error) {
	staging, checkpoint := c.runTags(runHash)
	if staging == "" {
		return false, nil
	}
	for _, tag := range []string{staging, checkpoint} {
		if has, err := c.hasTag(ctx, tag); err != nil || has {
			return has, err
		}
	}
	for _, part := range provenance.PartTags(checkpoint, ocispec.Manifest{}, c.Shares) {
		d, _, err := provenance.Checkpoint(ctx, c.Registry, c.Repository, part)
		if err != nil && !isHidden(err) {
			return false, err
		}
		if d.Digest != "" {
			return true, nil
		}
	}
	return false, nil
}

// Unstaged is the error of a staged manifest that is gone before it was committed.
func Unstaged(d string) error {
	return outcome.Errorf(outcome.NotFound, "The registry no longer has %s, which the run staged, so it cannot be tagged: the run is repeated", d)
}
