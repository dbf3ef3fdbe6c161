package provenance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// CheckpointType is the artifact type of a checkpoint: the manifest that lists
// the layers that a run has pushed so far.
const CheckpointType = outcome.CheckpointType

// Prefixes of the tags that runs use. No Artifact may have a tag that begins with
// one: runs overwrite them, and the controller removes them.
const (
	stagingPrefix    = "kitops-staging-"
	checkpointPrefix = "kitops-checkpoint-"
)

// IsReservedTag reports whether a tag is one that no Artifact can have, since runs
// use it.
func IsReservedTag(tag string) bool { return strings.HasPrefix(tag, "kitops-") }

// StagingTag returns the tag under which a run stages its manifest until it is
// committed. It is unique to the Artifact and the run hash, and empty if there is
// no owner or the run hash is invalid.
func StagingTag(o Owner, runHash string) string { return runTag(stagingPrefix, o, runHash) }

// CheckpointTag returns the tag of a run's checkpoint. It is unique to the Artifact
// and the run hash, and empty if there is no owner or the run hash is invalid.
func CheckpointTag(o Owner, runHash string) string { return runTag(checkpointPrefix, o, runHash) }

// PartTags returns the tags that the parts of a checkpoint may have: one for each share that
// it says its run was divided into or, if that is more, that is known otherwise; none for a run
// that was not divided. Anyone who may push to the repository can have written the checkpoint,
// so that it neither hides parts nor names more than a run can have.
func PartTags(checkpointTag string, checkpoint ocispec.Manifest, known int) []string {
	var out []string
	for i := range max(outcome.SharesIn(checkpoint.Annotations), min(known, outcome.MaxShares)) {
		out = append(out, outcome.PartTag(checkpointTag, i))
	}
	return out
}

func runTag(prefix string, o Owner, runHash string) string {
	o = o.Known()
	owner := o.ID
	if owner == "" {
		owner = o.Namespace + "/" + o.Name
	}
	if owner == "/" || !hashPattern.MatchString(runHash) {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s", owner, runHash))
	return prefix + hex.EncodeToString(sum[:8])
}

// A ManifestReader reads manifests from a registry.
type ManifestReader interface {
	// Manifest that a tag or a digest stands for.
	Manifest(ctx context.Context, repository, reference string) (ocispec.Descriptor, []byte, error)
}

// Checkpoint returns a run's checkpoint and its descriptor, both zero if the tag
// does not exist or points to a manifest of another type. Anyone who may push to
// the repository can have written it.
func Checkpoint(ctx context.Context, r ManifestReader, repository, tag string) (ocispec.Descriptor, ocispec.Manifest, error) {
	d, b, err := r.Manifest(ctx, repository, tag)
	switch {
	case isGone(err):
		return ocispec.Descriptor{}, ocispec.Manifest{}, nil
	case err != nil:
		return ocispec.Descriptor{}, ocispec.Manifest{}, err
	}
	m, is := parseCheckpoint(b)
	if !is {
		return ocispec.Descriptor{}, ocispec.Manifest{}, nil
	}
	return d, m, nil
}

// parseCheckpoint parses a checkpoint. It reports whether the manifest is one.
func parseCheckpoint(manifest []byte) (ocispec.Manifest, bool) {
	var m ocispec.Manifest
	err := decode.JSON(manifest, &m)
	return m, err == nil && m.ArtifactType == CheckpointType
}

// A Deleter deletes from a registry.
type Deleter interface {
	// Untag removes a tag alone.
	Untag(ctx context.Context, repository, tag string) error

	// DeleteManifest deletes a manifest, and all its tags.
	DeleteManifest(ctx context.Context, repository string, d ocispec.Descriptor) error
}

// DeleteTag deletes a tag that nothing else needs or, if the registry cannot delete tags,
// the manifest that it points to. It returns an error with reason Unsupported if the
// registry can delete neither.
func DeleteTag(ctx context.Context, r Deleter, repository, tag string, d ocispec.Descriptor) error {
	err := r.Untag(ctx, repository, tag)
	if err != nil && outcome.ReasonOf(err) == outcome.Unsupported {
		return r.DeleteManifest(ctx, repository, ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
	}
	return err
}
