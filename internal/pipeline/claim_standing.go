package pipeline

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	modelspec "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

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
		group, gctx := errgroup.WithContext(ctx)
		group.SetLimit(provedAtOnce)
		var foreign atomic.Bool
		for _, l := range blobs[min(1, len(blobs)):] { // The first one is the config.
			want, is := c.isFile(l, check)
			if !is {
				foreign.Store(true)
				break
			}
			if want.Size > 0 && want.SHA256 == "" {
				group.Go(func() error {
					same, err := c.holds(gctx, l, want)
					if err == nil && !same {
						foreign.Store(true)
					}
					return err
				})
			}
		}
		if err := group.Wait(); err != nil {
			return false, err
		}
		return !foreign.Load() && check.verdict() == nil, nil
	}
}

// provedAtOnce is how many small layers are read side by side.
const provedAtOnce = 16

// isFile returns the file, of those that a check waits for, that a layer may be,
// and reports whether there is one. Where the Hub announces no digest of the file,
// the layer has to be read to be sure.
func (c *claim) isFile(l ocispec.Descriptor, check *kitCheck) (hub.File, bool) {
	name := l.Annotations[modelspec.AnnotationFilepath]
	want, ok := check.missing[name]
	if !ok {
		return want, false
	}
	_ = check.visit(name, want.Size, nil) // It reads nothing here, and cannot fail.
	switch {
	case want.Size == 0 && modelpack.HoldsEmptyFile(l, name):
		return want, true
	case l.Size != want.Size || !strings.HasSuffix(l.MediaType, ".raw"):
		return want, false
	case want.Size == 0:
		return want, l.Digest == digest.FromString("")
	case want.SHA256 != "":
		return want, l.Digest == digest.NewDigestFromEncoded(digest.SHA256, want.SHA256)
	}
	return want, true
}

// holds reports whether a layer is a file of the Hub, by the file's hash.
func (c *claim) holds(ctx context.Context, l ocispec.Descriptor, f hub.File) (bool, error) {
	rc, err := c.registry.OpenBlob(ctx, c.run.Target.Repository, l)
	if err != nil {
		return false, err
	}
	defer func() { _ = rc.Close() }()
	v := f.NewVerifier()
	if _, err := io.Copy(v, rc); err != nil {
		return false, errors.Wrapf(err, "cannot read %s", f.Path)
	}
	return v.Verify() == nil, nil
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
