package stream

import (
	"context"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source/oci"
)

// copyArtifact copies an artifact into the repository as it is: its blobs, then the
// very same manifest.
func (r *task) copyArtifact(ctx context.Context, o *oci.Source) (outcome.Result, error) {
	a, err := o.Artifact(ctx)
	if err != nil {
		return outcome.Result{}, err
	}
	layers, err := o.Distinct(a)
	if err != nil {
		return outcome.Result{}, err
	}
	if err := r.checkCopy(ctx, layers); err != nil {
		return outcome.Result{}, err
	}
	// Each is a file, or an archive of some.
	r.packed = len(a.Layers)
	if err := r.limit.Fits(r.run.Target, asFiles(layers), 0); err != nil {
		return outcome.Result{}, err
	}
	if r.run.Share.IsPart() {
		return r.copyShare(ctx, o, layers)
	}
	attachments, err := r.attachments(ctx, o)
	if err != nil {
		return outcome.Result{}, err
	}
	r.log.Printf("it has the requested format and is copied as it is: %d layers, %s", len(a.Layers), pipeline.FormatBytes(pipeline.TotalBytes(layers)))
	return r.checkpointed(ctx, func(ctx context.Context) error { return r.copyBlobs(ctx, o, layers) },
		func() (outcome.Result, error) {
			files, err := r.copiedFiles(ctx, o)
			if err != nil {
				return outcome.Result{}, err
			}
			result, err := r.stage(ctx, a, files)
			if err != nil {
				return outcome.Result{}, err
			}
			return result, r.copyAttachments(ctx, o, attachments)
		})
}

// checkCopy checks an artifact that is copied as it is, before a byte of it is moved.
// Its files are listed, which reads its archives, only if a policy has rules for what
// they are.
func (r *task) checkCopy(ctx context.Context, layers []ocispec.Descriptor) error {
	policies := r.run.Policies
	if err := policies.CheckSize(pipeline.TotalBytes(layers)); err != nil {
		return err
	}
	// A share that listed the files would read all archives, as each other one: the last run
	// lists them, before it stages anything.
	if r.run.Share.IsPart() || !policies.HasFileRules() && !policies.AsksForScan() {
		return nil
	}
	var err error
	if r.copied, err = r.source.List(ctx, r.run.Meter); err != nil {
		return err
	}
	return r.source.Finish(ctx)
}

// asFiles returns layers in the form that a registry's limit is compared with.
func asFiles(layers []ocispec.Descriptor) []file.File {
	files := make([]file.File, 0, len(layers))
	for _, l := range layers {
		files = append(files, file.File{Path: modelpack.BlobName(l), Size: l.Size})
	}
	return files
}

// copyBlobs copies layers, the largest first and a few in parallel, until one fails.
func (r *task) copyBlobs(ctx context.Context, o *oci.Source, layers []ocispec.Descriptor) error {
	r.run.Meter.Step("copy", pipeline.TotalBytes(layers))
	if err := r.copyEmpty(ctx, o, layers); err != nil {
		return err
	}
	copyOne := func(ctx context.Context, d ocispec.Descriptor) error { return r.copyBlob(ctx, o, d) }
	return moveAll(ctx, r, layers, func(d ocispec.Descriptor) int64 { return d.Size }, copyOne, copyOne)
}

// copyEmpty copies the layers of 0 bytes, which some registries refuse, before any
// other byte is moved.
func (r *task) copyEmpty(ctx context.Context, o *oci.Source, layers []ocispec.Descriptor) error {
	for _, d := range layers {
		if d.Size != 0 {
			continue
		}
		err := r.copyBlob(ctx, o, d)
		if reason := outcome.ReasonOf(err); err != nil && (reason == outcome.Unsupported || reason == outcome.Mismatch) {
			return outcome.Errorf(outcome.Unsupported,
				"registry %s refuses a blob of 0 bytes, which the empty file %q is in the artifact: set spec.forProvider.format to another, which packs the files again",
				r.run.Target.Registry, modelpack.BlobName(d)).Because(err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyBlob copies a layer into the repository, unless it is there or can be mounted.
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
		return r.checkStored(ctx, d, r.areBlob(d))
	}
	if r.mountFrom(ctx, d, name, r.sameRegistry(o)) {
		r.run.Meter.Skip(d.Size)
		return r.checkStored(ctx, d, r.areBlob(d))
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
	// The source may have sent other first bytes when only these were asked for.
	return r.checkStored(ctx, d, r.areBlob(d))
}

// uploadBlob moves a blob's bytes.
func (r *task) uploadBlob(ctx context.Context, o *oci.Source, d ocispec.Descriptor, from uploadRecord) error {
	s := &blobStream{source: o, blob: d, sum: d.Digest.Algorithm().Hash(), moved: r.moved, meter: r.run.Meter}
	return r.registry.Upload(ctx, r.run.Target.Repository, d, s.open, r.uploading, r.checkpoint.resumable(d.Digest.String(), from, nil)...)
}

// sameRegistry returns the source's repository if it is in the target's registry, by
// name; empty otherwise.
func (r *task) sameRegistry(o *oci.Source) string {
	ref := o.Reference()
	if !strings.EqualFold(ref.Registry, r.run.Target.Registry) || ref.Repository == r.run.Target.Repository {
		return ""
	}
	return ref.Repository
}

// A blobStream reads a blob from its source and verifies it. A registry may request
// bytes again: they are not hashed twice. It is for one reader at a time.
type blobStream struct {
	source *oci.Source
	blob   ocispec.Descriptor
	sum    hash.Hash
	moved  func(n int64)
	meter  *pipeline.Meter

	read    int64 // The number of bytes that were read so far.
	resumed bool  // An earlier run has sent the first bytes, so that only the registry can hash all.
}

// open returns the blob's bytes from an offset on. The last ones come with an error if
// they are not those of the blob's digest. It is a registry.Source.
func (s *blobStream) open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	if offset > s.read {
		s.meter.Skip(offset - s.read)
		s.read, s.resumed = offset, true
	}
	return &rereader{ReadCloser: s.source.OpenBlob(ctx, s.blob, offset), at: offset, passed: s.passed, check: s.check}, nil
}

// passed hashes and counts the bytes that were not read before.
func (s *blobStream) passed(p []byte, at int64) {
	added := fresh(p, at, s.read)
	_, _ = s.sum.Write(added)
	s.read += int64(len(added))
	s.moved(int64(len(added)))
}

// check verifies the blob at its end.
func (s *blobStream) check(n int, end int64, err error) error {
	if n > 0 && end == s.blob.Size && !s.resumed && digest.NewDigest(s.blob.Digest.Algorithm(), s.sum) != s.blob.Digest {
		return retry.Permanent(s.source.Mismatch(s.blob))
	}
	return err
}
