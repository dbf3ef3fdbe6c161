package pipeline

import (
	"context"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// copyArtifact brings an artifact into the repository as it is: its blobs, and
// when these are there, the very same manifest.
func (r *streamRun) copyArtifact(ctx context.Context, o *ociOrigin) (outcome.Result, error) {
	a, err := o.artifact(ctx)
	if err != nil {
		return outcome.Result{}, err
	}
	// Each is a file, or an archive of some.
	r.packed = len(a.Layers)
	layers, err := distinct(a.Layers)
	if err != nil {
		return outcome.Result{}, o.unfit(err)
	}
	if err := fits(r.run.Target, asFiles(layers), 0); err != nil {
		return outcome.Result{}, err
	}
	r.log.Printf("it is of the format that is asked for, and copied as it is: %d layers, %s", len(a.Layers), formatBytes(totalBytes(layers)))
	return r.checkpointed(ctx, func(ctx context.Context) error { return r.copyBlobs(ctx, o, layers) },
		func() (outcome.Result, error) { return r.stage(ctx, a) })
}

// artifact returns the artifact as it is at the source.
func (o *ociOrigin) artifact(ctx context.Context) (modelpack.Artifact, error) {
	blobs, err := modelpack.Blobs(o.manifests.Main())
	if err != nil {
		return modelpack.Artifact{}, o.unfit(err)
	}
	a := modelpack.Artifact{Descriptor: o.descriptor, Manifest: o.manifests.Top, Layers: blobs[1:]}
	if len(o.manifests.Images) == 0 {
		a.ConfigDescriptor, a.Config = blobs[0], o.config
		return a, nil
	}
	for n, i := range o.manifests.Images {
		blobs, err := modelpack.Blobs(i.Content)
		if err != nil {
			return modelpack.Artifact{}, o.unfit(err)
		}
		config := o.config // Of the first image.
		if n > 0 {
			if config, err = o.readConfig(ctx, blobs[0]); err != nil {
				return modelpack.Artifact{}, err
			}
		}
		a.Images = append(a.Images, modelpack.Artifact{ConfigDescriptor: blobs[0], Config: config, Descriptor: i.Descriptor, Manifest: i.Content})
	}
	return a, nil
}

// distinct returns layers, each once.
func distinct(all []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	seen := map[digest.Digest]int64{}
	var out []ocispec.Descriptor
	var total int64
	for _, d := range all {
		size, ok := seen[d.Digest]
		switch {
		case d.Size < 0, ok && size != d.Size:
			return nil, outcome.Errorf(outcome.Unsupported, "its layer %s has no size, or more than one", d.Digest)
		case ok:
			continue
		}
		if total += d.Size; total < 0 {
			return nil, outcome.Errorf(outcome.Unsupported, "its layers have more bytes than there can be")
		}
		seen[d.Digest] = d.Size
		out = append(out, d)
	}
	return out, nil
}

// asFiles returns layers as what a registry's limit is held against.
func asFiles(layers []ocispec.Descriptor) []hub.File {
	files := make([]hub.File, 0, len(layers))
	for _, l := range layers {
		files = append(files, hub.File{Path: modelpack.BlobName(l), Size: l.Size})
	}
	return files
}

// copyBlobs copies layers, the largest ones first, a few side by side, until one
// fails.
func (r *streamRun) copyBlobs(ctx context.Context, o *ociOrigin, layers []ocispec.Descriptor) error {
	r.run.Meter.Step("copy", totalBytes(layers))
	if err := r.copyEmpty(ctx, o, layers); err != nil {
		return err
	}
	large, small := bySize(layers, func(d ocispec.Descriptor) int64 { return d.Size }, r.inMemory)
	copyOne := func(ctx context.Context, d ocispec.Descriptor) error { return r.copyBlob(ctx, o, d) }
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return each(gctx, r.largeAtOnce(), large, copyOne) })
	group.Go(func() error { return each(gctx, r.small, small, copyOne) })
	if err := group.Wait(); err != nil {
		return err
	}
	if len(small) > 0 {
		r.log.Printf("%d small layers: %s", len(small), formatBytes(totalBytes(small)))
	}
	return nil
}

// copyEmpty copies the layers of 0 bytes, which some registries refuse, before
// any other byte is moved.
func (r *streamRun) copyEmpty(ctx context.Context, o *ociOrigin, layers []ocispec.Descriptor) error {
	for _, d := range layers {
		if d.Size != 0 {
			continue
		}
		err := r.copyBlob(ctx, o, d)
		if reason := outcome.ReasonOf(err); err != nil && (reason == outcome.Unsupported || reason == outcome.Mismatch) {
			return outcome.Errorf(outcome.Unsupported,
				"registry %s refuses a blob of 0 bytes, which the empty file %q is in the artifact: set spec.forProvider.format to another, which is packed anew",
				r.run.Target.Registry, modelpack.BlobName(d)).Because(err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyBlob brings a layer into the repository, unless it is there, or can be
// mounted.
func (r *streamRun) copyBlob(ctx context.Context, o *ociOrigin, d ocispec.Descriptor) error {
	start, logf := time.Now(), r.log.Printf
	if d.Size <= r.inMemory {
		logf = func(string, ...any) {}
	}
	name, target := modelpack.BlobName(d), r.run.Target
	has, err := r.registry.HasBlob(ctx, target.Repository, d)
	if err != nil {
		return err
	}
	if has {
		r.run.Meter.Skip(d.Size)
		logf("%s: %s, in the registry already", name, formatBytes(d.Size))
		return nil
	}
	if r.mountFrom(ctx, d, name, r.sameRegistry(o)) {
		r.run.Meter.Skip(d.Size)
		return nil
	}
	from := r.checkpoint.resume(d.Digest.String())
	err = r.uploadBlob(ctx, o, d, from)
	if from.Location != "" && isMismatch(err) {
		logf("%s: the checkpoint names an upload of other bytes: starting another", name)
		err = r.uploadBlob(ctx, o, d, uploadRecord{})
	}
	if err != nil {
		return err
	}
	logf("%s: %s in %s%s", name, formatBytes(d.Size), inSeconds(start), atRate(d.Size, start))
	return nil
}

// uploadBlob moves a blob's bytes.
func (r *streamRun) uploadBlob(ctx context.Context, o *ociOrigin, d ocispec.Descriptor, from uploadRecord) error {
	s := &blobStream{origin: o, blob: d, sum: d.Digest.Algorithm().Hash(), meter: r.run.Meter}
	return r.registry.Upload(ctx, r.run.Target.Repository, d, s.open, r.uploading, r.checkpoint.resumable(d.Digest.String(), from, nil)...)
}

// sameRegistry returns the source's repository if it is in the target's
// registry, as far as the names tell.
func (r *streamRun) sameRegistry(o *ociOrigin) string {
	if !strings.EqualFold(o.ref.Registry, r.run.Target.Registry) || o.ref.Repository == r.run.Target.Repository {
		return ""
	}
	return o.ref.Repository
}

// A blobStream reads a blob from its source, and holds it against its digest. A
// registry may ask for bytes again: what was hashed is not hashed twice. It is
// for one reader at a time.
type blobStream struct {
	origin *ociOrigin
	blob   ocispec.Descriptor
	sum    hash.Hash
	meter  *Meter

	read    int64 // How many bytes were read so far, and hashed unless resumed.
	resumed bool  // An earlier run has sent the first ones, so that the registry alone can hash all.
}

// open returns the blob's bytes from an offset on, the last of which come with
// an error if they are not those of its digest. It is a registry.Source.
func (s *blobStream) open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	o := s.origin
	if offset > s.read {
		s.meter.Skip(offset - s.read)
		s.read, s.resumed = offset, true
	}
	return &blobReader{ReadCloser: o.client.ReadBlob(ctx, o.ref.Repository, s.blob, offset, s.blob.Size, o.again), stream: s, at: offset}, nil
}

// A blobReader hashes and counts what was not read before.
type blobReader struct {
	io.ReadCloser

	stream *blobStream
	at     int64
}

func (r *blobReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	s := r.stream
	added := fresh(p[:n], r.at, s.read)
	_, _ = s.sum.Write(added)
	s.read += int64(len(added))
	s.meter.Add(int64(len(added)))
	r.at += int64(n)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		// The source was tried again already.
		return n, retry.Permanent(s.origin.lost(err, s.blob))
	case n > 0 && r.at == s.blob.Size && !s.resumed && digest.NewDigest(s.blob.Digest.Algorithm(), s.sum) != s.blob.Digest:
		return n, retry.Permanent(s.origin.mismatch(s.blob))
	}
	return n, err
}
