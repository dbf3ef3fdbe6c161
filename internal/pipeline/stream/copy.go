package stream

import (
	"context"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source/oci"
)

// copyArtifact brings an artifact into the repository as it is: its blobs, and
// when these are there, the very same manifest.
func (r *task) copyArtifact(ctx context.Context, o *oci.Source) (outcome.Result, error) {
	a, err := o.Artifact(ctx)
	if err != nil {
		return outcome.Result{}, err
	}
	layers, err := o.Distinct(a)
	if err != nil {
		return outcome.Result{}, err
	}
	// Each is a file, or an archive of some.
	r.packed = len(a.Layers)
	if err := r.limit.Fits(r.run.Target, asFiles(layers), 0); err != nil {
		return outcome.Result{}, err
	}
	r.log.Printf("it is of the format that is asked for, and copied as it is: %d layers, %s", len(a.Layers), pipeline.FormatBytes(pipeline.TotalBytes(layers)))
	return r.checkpointed(ctx, func(ctx context.Context) error { return r.copyBlobs(ctx, o, layers) },
		func() (outcome.Result, error) { return r.stage(ctx, a) })
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
func (r *task) copyBlobs(ctx context.Context, o *oci.Source, layers []ocispec.Descriptor) error {
	r.run.Meter.Step("copy", pipeline.TotalBytes(layers))
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
		r.log.Printf("%d small layers: %s", len(small), pipeline.FormatBytes(pipeline.TotalBytes(small)))
	}
	return nil
}

// copyEmpty copies the layers of 0 bytes, which some registries refuse, before
// any other byte is moved.
func (r *task) copyEmpty(ctx context.Context, o *oci.Source, layers []ocispec.Descriptor) error {
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
func (r *task) copyBlob(ctx context.Context, o *oci.Source, d ocispec.Descriptor) error {
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
		logf("%s: %s, in the registry already", name, pipeline.FormatBytes(d.Size))
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
	logf("%s: %s in %s%s", name, pipeline.FormatBytes(d.Size), pipeline.Took(start), pipeline.Rate(d.Size, start))
	return nil
}

// uploadBlob moves a blob's bytes.
func (r *task) uploadBlob(ctx context.Context, o *oci.Source, d ocispec.Descriptor, from uploadRecord) error {
	s := &blobStream{origin: o, blob: d, sum: d.Digest.Algorithm().Hash(), meter: r.run.Meter}
	return r.registry.Upload(ctx, r.run.Target.Repository, d, s.open, r.uploading, r.checkpoint.resumable(d.Digest.String(), from, nil)...)
}

// sameRegistry returns the source's repository if it is in the target's
// registry, as far as the names tell.
func (r *task) sameRegistry(o *oci.Source) string {
	ref := o.Reference()
	if !strings.EqualFold(ref.Registry, r.run.Target.Registry) || ref.Repository == r.run.Target.Repository {
		return ""
	}
	return ref.Repository
}

// A blobStream reads a blob from its source, and holds it against its digest. A
// registry may ask for bytes again: what was hashed is not hashed twice. It is
// for one reader at a time.
type blobStream struct {
	origin *oci.Source
	blob   ocispec.Descriptor
	sum    hash.Hash
	meter  *pipeline.Meter

	read    int64 // How many bytes were read so far, and hashed unless resumed.
	resumed bool  // An earlier run has sent the first ones, so that the registry alone can hash all.
}

// open returns the blob's bytes from an offset on, the last of which come with
// an error if they are not those of its digest. It is a registry.Source.
func (s *blobStream) open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	if offset > s.read {
		s.meter.Skip(offset - s.read)
		s.read, s.resumed = offset, true
	}
	return &blobReader{ReadCloser: s.origin.OpenBlob(ctx, s.blob, offset), stream: s, at: offset}, nil
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
	if n > 0 && r.at == s.blob.Size && !s.resumed && digest.NewDigest(s.blob.Digest.Algorithm(), s.sum) != s.blob.Digest {
		return n, retry.Permanent(s.origin.Mismatch(s.blob))
	}
	return n, err
}
