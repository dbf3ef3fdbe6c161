package stream

import (
	"context"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/source/oci"
)

// attachments returns the referrers to copy with the artifact; none unless the run asks
// for it.
func (r *task) attachments(ctx context.Context, o *oci.Source) ([]oci.Attachment, error) {
	if !r.run.Source.Artifact.CopyReferrers {
		return nil, nil
	}
	return o.Attachments(ctx)
}

// copyAttachments copies what belongs to the staged artifact. Referrers are content:
// they name the artifact by its digest. So are tags that are named after the digest,
// which no other artifact can have; one that is there already is left as it is.
func (r *task) copyAttachments(ctx context.Context, o *oci.Source, all []oci.Attachment) error {
	for _, a := range all {
		if err := r.copyAttachment(ctx, o, a); err != nil {
			return outcome.Errorf(outcome.ReasonOf(err), "cannot copy %s, which belongs to the artifact: %s; or leave spec.forProvider.source.oci.referrers out", a.Descriptor.Digest, err).
				After(outcome.RetryAfterOf(err)).Because(err)
		}
	}
	if len(all) > 0 {
		r.log.Printf("copied %d signatures, attestations and other manifests that belong to it", len(all))
	}
	return nil
}

// copyAttachment copies one.
func (r *task) copyAttachment(ctx context.Context, o *oci.Source, a oci.Attachment) error {
	repository, reference := r.run.Target.Repository, a.Descriptor.Digest.String()
	if a.Tag != "" {
		there, err := r.registry.Resolve(ctx, repository, a.Tag)
		switch {
		case err == nil && there.Digest != a.Descriptor.Digest:
			r.log.Printf("tag %s is there already with other content, and stays as it is", a.Tag)
			return nil
		case err == nil:
			return nil
		case !registry.IsNotFound(err):
			return err
		}
		reference = a.Tag
	}
	for _, d := range a.Blobs {
		has, err := r.registry.HasBlob(ctx, repository, d)
		if err != nil {
			return err
		}
		if has {
			continue
		}
		b, err := o.ReadBlob(ctx, d)
		if err != nil {
			return err
		}
		if err := r.pushNew(ctx, d, b); err != nil {
			return err
		}
	}
	return r.registry.PushManifest(ctx, repository, a.Descriptor, a.Manifest, reference)
}

// cannotCopyAttachments returns the error for a run that must copy an artifact's
// referrers, and cannot copy the artifact with its digest.
func cannotCopyAttachments(run pipeline.Run, o *oci.Source) error {
	return outcome.Errorf(outcome.Unsupported,
		"%s is not of format %s and would get another digest, which its referrers do not belong to: set spec.forProvider.format to its own, or leave spec.forProvider.source.oci.referrers out", o.Reference(), run.Format)
}
