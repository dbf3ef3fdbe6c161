package pipeline

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	modelspec "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// A standing artifact is in the registry with all that belongs to it.
type standing struct {
	descriptor ocispec.Descriptor
	manifest   []byte

	// size of config and layers, in bytes.
	size int64

	// files that it holds, as its record says.
	files int64
}

// A proof reports whether an artifact in the registry is what the run would make.
// A record proves nothing: whoever may push can copy one to another artifact.
type proof func(ctx context.Context, s standing) (bool, error)

// isSource returns a proof for a run that copies the artifact of this digest.
func isSource(d digest.Digest) proof {
	return func(_ context.Context, s standing) (bool, error) { return s.descriptor.Digest == d, nil }
}

// hasFiles returns a proof for a run that packs these files of the Hub as a
// ModelPack: as raw layers, whose digests are those that the Hub announces, and
// empty ones as archives, whose digests follow from their names. Of a small file
// the Hub knows git's hash alone: its layer is read.
func (c *claim) hasFiles(files []hub.File) proof {
	return func(ctx context.Context, s standing) (bool, error) {
		blobs, err := modelpack.Blobs(s.manifest)
		if err != nil {
			return false, err
		}
		check := newKitCheck(files)
		for _, l := range blobs[min(1, len(blobs)):] { // The first one is the config.
			if is, err := c.isFile(ctx, l, check); err != nil || !is {
				return false, err
			}
		}
		return check.verdict() == nil, nil
	}
}

// isFile reports whether a layer may be one of the files that a check waits for.
func (c *claim) isFile(ctx context.Context, l ocispec.Descriptor, check *kitCheck) (bool, error) {
	name := l.Annotations[modelspec.AnnotationFilepath]
	want, ok := check.missing[name]
	if ok && want.Size == 0 && modelpack.HoldsEmptyFile(l, name) {
		return true, check.visit(name, 0, strings.NewReader(""))
	}
	if !ok || l.Size != want.Size || !strings.HasSuffix(l.MediaType, ".raw") {
		return false, nil
	}
	if want.SHA256 != "" {
		return l.Digest == digest.NewDigestFromEncoded(digest.SHA256, want.SHA256), check.visit(name, l.Size, nil)
	}
	rc, err := c.registry.OpenBlob(ctx, c.run.Target.Repository, l)
	if err != nil {
		return false, err
	}
	defer func() { _ = rc.Close() }()
	return true, check.visit(name, l.Size, rc)
}

// standing returns what the run would make, where the registry has it already:
// the same Artifact pushed it from the same commit, for the same run hash,
// nothing of it is missing, and it proves to be that. The zero standing is none.
// Where the registry does not tell, the run goes the whole way.
func (c *claim) standing(ctx context.Context, r provenance.Record, proves proof) (standing, error) {
	if c.isNobodys() {
		return standing{}, nil
	}
	candidates := slices.Compact([]digest.Digest{c.tagged, digest.Digest(c.run.Replaces)})
	for _, d := range candidates {
		if d.Validate() != nil {
			continue
		}
		s, err := c.standingAt(ctx, d, r, proves)
		if ctx.Err() != nil {
			return standing{}, errors.Wrap(ctx.Err(), "cannot look for what is in the registry already")
		}
		if err != nil {
			c.logf("cannot tell whether %s is in the registry already: %s", d, err)
			continue
		}
		if s.descriptor.Digest != "" {
			return s, nil
		}
	}
	return standing{}, nil
}

// standingAt returns what has this digest, if it is what the run would make.
func (c *claim) standingAt(ctx context.Context, d digest.Digest, r provenance.Record, proves proof) (standing, error) {
	found, err := provenance.Of(ctx, c.registry, c.run.Target.Repository, d, c.run.Owner)
	if err != nil {
		return standing{}, err
	}
	same := func(f provenance.Found) bool {
		return f.RunHash != "" && f.RunHash == r.RunHash && f.Revision != "" && f.Revision == r.Revision
	}
	at := slices.IndexFunc(found, same)
	if at < 0 {
		return standing{}, nil
	}
	s := standing{files: found[at].Files}
	s.descriptor, s.manifest, err = c.registry.Manifest(ctx, c.run.Target.Repository, d.String())
	switch {
	case registry.IsNotFound(err):
		c.logf("%s is not in the registry any more", d)
		return standing{}, nil
	case err != nil:
		return standing{}, err
	}
	manifests, err := modelpack.ReadManifests(ctx, c.registry, c.run.Target.Repository, s.manifest)
	if registry.IsNotFound(err) {
		c.logf("a manifest that %s names is not in the registry any more", d)
		return standing{}, nil
	}
	if err != nil {
		return standing{}, err
	}
	blobs, err := manifests.Blobs()
	if err != nil {
		return standing{}, err
	}
	s.size = totalBytes(blobs)
	missing, err := registry.Missing(ctx, c.registry, c.run.Target.Repository, blobs)
	if err != nil {
		return standing{}, err
	}
	if len(missing) > 0 {
		c.logf("%d of %d blobs of %s are not in the registry any more", len(missing), len(blobs), d)
		return standing{}, nil
	}
	proved, err := proves(ctx, s)
	if err != nil {
		return standing{}, err
	}
	if !proved {
		c.logf("%s is recorded as what this run would make, and is not: it is made again", d)
		return standing{}, nil
	}
	return s, nil
}

func totalBytes(blobs []ocispec.Descriptor) int64 {
	var n int64
	for _, b := range blobs {
		n += b.Size
	}
	return n
}

// tag makes the tag point to an artifact that is there.
func (c *claim) tag(ctx context.Context, s standing) error {
	t := c.run.Target
	if s.descriptor.Digest == c.tagged {
		return nil
	}
	if err := c.lookAgain(ctx); err != nil {
		return err
	}
	return c.registry.PushManifest(ctx, t.Repository, s.descriptor, s.manifest, t.Tag)
}

// conclude ends a run whose artifact is there already, which it must prove to be.
// It reports whether that is so; otherwise there is an artifact to make.
func (c *claim) conclude(ctx context.Context, r provenance.Record, proves proof) (outcome.Result, bool, error) {
	s, err := c.standing(ctx, r, proves)
	if err != nil || s.descriptor.Digest == "" {
		return outcome.Result{}, false, err
	}
	if err := c.tag(ctx, s); err != nil {
		return outcome.Result{}, false, err
	}
	c.logf("%s is %s already, with all its blobs: there is nothing to do", c.run.Target.Reference(), s.descriptor.Digest)
	return outcome.Result{
		Digest: s.descriptor.Digest.String(),
		Size:   s.size,
		// Who copies an artifact does not count its files.
		Files:    int(cmp.Or(r.Files, s.files)),
		Revision: r.Revision,
		License:  r.License,
	}, true, nil
}
