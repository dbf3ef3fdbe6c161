package stream

import (
	"context"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
)

// isMismatch reports whether bytes were not what they should be.
func isMismatch(err error) bool { return err != nil && outcome.ReasonOf(err) == outcome.Mismatch }

// A staged artifact is what the run's staging tag points to: what an earlier try of
// the same run has pushed. Its zero value is none. It saves work and proves
// nothing, since anyone who may push to the repository can have written it.
type staged struct {
	descriptor ocispec.Descriptor
	layers     []ocispec.Descriptor
}

// readStaged returns the staged artifact. Any failure to read it fails no run.
func (r *task) readStaged(ctx context.Context) staged {
	t := r.run.Target
	d, top, err := r.registry.Manifest(ctx, t.Repository, t.StagingTag)
	var manifests modelpack.Manifests
	if err == nil {
		manifests, err = modelpack.ReadManifests(ctx, r.registry, t.Repository, top)
	}
	var blobs []ocispec.Descriptor
	if err == nil {
		blobs, err = modelpack.Blobs(manifests.Main())
	}
	switch {
	case registry.IsNotFound(err), registry.IsUnauthorized(err):
		// Some registries refuse to show what does not exist yet.
		return staged{}
	case err != nil:
		r.log.Printf("cannot read what an earlier try has staged: %s", err)
		return staged{}
	}
	return staged{descriptor: d, layers: blobs[1:]}
}

// isVerifiable reports whether the source announced a hash of each of a layer's files by
// which a stored layer can be verified.
func (r *task) isVerifiable(p modelpack.LayerPlan) bool {
	return !slices.ContainsFunc(p.Files, func(f modelpack.File) bool { return !r.file(f).HasIdentity() })
}

// findCandidates finds the digests of blobs that may be a layer: what checkpoints list and,
// if a blob is enough to verify it, what the staged artifact has at its place.
func (r *task) findCandidates(layout *modelpack.Layout, m *layerMove) {
	if d := r.checkpoint.find(m.plan); d != "" {
		m.candidates = append(m.candidates, d)
	}
	key := r.checkpoint.key(m.plan)
	m.trusted = r.checkpoint.others.trusted[key]
	if m.trusted != "" && !m.plan.Raw && !r.announcesSums(m.plan) {
		// The list of files has the SHA-256 of each, for which these must be read.
		m.candidates, m.trusted = append(m.candidates, m.trusted), ""
	}
	if m.trusted == "" && m.plan.Raw {
		m.trusted = r.verifiedDigest(m)
	}
	for _, d := range r.checkpoint.others.layers[key] {
		if !slices.Contains(m.candidates, d) {
			m.candidates = append(m.candidates, d)
		}
	}
	if len(r.staged.layers) != len(layout.Layers) || !r.isVerifiable(m.plan) {
		return
	}
	if l := r.staged.layers[m.twins[0]]; l.Size == m.plan.Size && l.Digest.Algorithm() == digest.SHA256 && !slices.Contains(m.candidates, l.Digest) {
		m.candidates = append(m.candidates, l.Digest)
	}
}

// announcesSums reports whether the source announced the SHA-256 of each of a layer's files.
func (r *task) announcesSums(p modelpack.LayerPlan) bool {
	return !slices.ContainsFunc(p.Files, func(f modelpack.File) bool { return r.file(f).SHA256 == "" })
}

// isReusable reports whether the blob of a digest is a layer. One that cannot be
// read is not: the layer is moved again.
func (r *task) isReusable(ctx context.Context, m *layerMove, d digest.Digest) bool {
	verify := r.verifyStored
	if !r.isVerifiable(m.plan) {
		verify = r.verifyRead
	}
	err := verify(ctx, m, d)
	if err != nil && ctx.Err() == nil && !registry.IsNotFound(err) {
		r.log.Printf("%s: the layer that an earlier try has pushed is not reused: %s", m.plan.Files[0].Path, err)
	}
	return err == nil
}

// verifyStored reads a blob back from the repository and returns an error unless it
// is the layer that is planned, of files that are what their source announced.
func (r *task) verifyStored(ctx context.Context, m *layerMove, d digest.Digest) error {
	got, err := r.hash(m, r.registry.ReadBlob(ctx, r.run.Target.Repository, m.blobOf(d), 0, m.plan.Size, r.uploading))
	if err == nil && got != d {
		err = outcome.Errorf(outcome.Mismatch, "the registry sent other bytes than those of %s", d)
	}
	return err
}

// verifyRead reads a layer's files from their source and returns an error unless the
// layer has the digest, and the repository has it. A record of the layer may be forged,
// and there is no hash to hold the repository's blob against.
func (r *task) verifyRead(ctx context.Context, m *layerMove, d digest.Digest) error {
	has, err := r.registry.HasBlob(ctx, r.run.Target.Repository, m.blobOf(d))
	if err == nil && !has {
		err = outcome.Errorf(outcome.NotFound, "the repository does not have %s", d)
	}
	if err != nil {
		return err
	}
	got, err := r.hashRead(ctx, m)
	if err == nil && got != d {
		err = outcome.Errorf(outcome.Mismatch, "its files are not those of %s", d)
	}
	return err
}

// hashRead returns the digest of a layer, whose files it reads from their source.
func (r *task) hashRead(ctx context.Context, m *layerMove) (digest.Digest, error) {
	r.log.Printf("%s: %s are read for their digest, so that what an earlier try has sent need not be sent again", m.plan.Files[0].Path, pipeline.FormatBytes(m.plan.Size))
	return r.hash(m, m.plan.Open(0, func(f modelpack.File, at int64) (io.ReadCloser, error) {
		return r.source.Open(ctx, r.file(f), at)
	}))
}

// hash reads a layer and returns its digest. It returns an error unless the layer is the
// planned one, of files that are what their source announced.
func (r *task) hash(m *layerMove, rc io.ReadCloser) (digest.Digest, error) {
	defer rc.Close()
	sum := digest.SHA256.Hash()
	err := m.plan.Verify(io.TeeReader(rc, sum), func(f modelpack.File, content io.Reader) error {
		file := r.file(f)
		v, head := file.NewVerifier(), &source.HeadBuffer{}
		if _, err := io.Copy(io.MultiWriter(v, head), content); err != nil {
			return err
		}
		if err := v.Verify(); err != nil {
			return err
		}
		if file.Size > 0 {
			if err := r.source.CheckHead(file, head.Bytes()); err != nil {
				return err
			}
		}
		if !m.plan.Raw {
			r.sums.add(file, v)
		}
		return nil
	})
	return digest.NewDigest(digest.SHA256, sum), err
}
