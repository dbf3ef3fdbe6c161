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

// UnfinishedType is the type of a manifest that holds what a run has pushed so
// far of an artifact.
const UnfinishedType = "application/vnd.kitops.crossplane.unfinished.v1+json"

// unfinishedPrefix is what tags begin with that are no Artifact's.
const unfinishedPrefix = "kitops-unfinished-"

// IsUnfinishedTag reports whether a tag is one that UnfinishedTag may return. No
// Artifact may have it as its own: runs overwrite and delete it.
func IsUnfinishedTag(tag string) bool { return strings.HasPrefix(tag, unfinishedPrefix) }

// UnfinishedTag returns the tag of that manifest for an Artifact and a run hash.
// It is no other's. It is empty for what is neither an Artifact nor a run hash.
func UnfinishedTag(o Owner, runHash string) string {
	o = o.Known()
	who := o.ID
	if who == "" {
		who = o.Namespace + "/" + o.Name
	}
	if who == "/" || !hashPattern.MatchString(runHash) {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s", who, runHash))
	return unfinishedPrefix + hex.EncodeToString(sum[:8])
}

// A ManifestReader reads manifests from a registry.
type ManifestReader interface {
	// Manifest that a tag or a digest stands for.
	Manifest(ctx context.Context, repository, reference string) (ocispec.Descriptor, []byte, error)
}

// Unfinished returns the manifest that says what a run has pushed so far, and its
// descriptor; zero where the tag is not there, or not on such a manifest. Whoever
// may push can have written it.
func Unfinished(ctx context.Context, r ManifestReader, repository, tag string) (ocispec.Descriptor, ocispec.Manifest, error) {
	d, b, err := r.Manifest(ctx, repository, tag)
	switch {
	case isGone(err):
		return ocispec.Descriptor{}, ocispec.Manifest{}, nil
	case err != nil:
		return ocispec.Descriptor{}, ocispec.Manifest{}, err
	}
	m, is := parseUnfinished(b)
	if !is {
		return ocispec.Descriptor{}, ocispec.Manifest{}, nil
	}
	return d, m, nil
}

// parseUnfinished reads such a manifest. It reports whether it is one.
func parseUnfinished(manifest []byte) (ocispec.Manifest, bool) {
	var m ocispec.Manifest
	err := decode.JSON(manifest, &m)
	return m, err == nil && m.ArtifactType == UnfinishedType
}

// A Deleter deletes from a registry.
type Deleter interface {
	// Untag removes a tag alone.
	Untag(ctx context.Context, repository, tag string) error

	// DeleteManifest deletes a manifest, and all its tags.
	DeleteManifest(ctx context.Context, repository string, d ocispec.Descriptor) error
}

// DeleteUnfinished deletes the manifest that Unfinished returned: its tag, and
// where the registry deletes no tags, itself. A registry that does neither is an
// error with reason Unsupported.
func DeleteUnfinished(ctx context.Context, r Deleter, repository, tag string, d ocispec.Descriptor) error {
	err := r.Untag(ctx, repository, tag)
	if err != nil && outcome.ReasonOf(err) == outcome.Unsupported {
		return r.DeleteManifest(ctx, repository, ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
	}
	return err
}
