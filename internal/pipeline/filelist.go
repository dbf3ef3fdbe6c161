package pipeline

import (
	"context"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// PushFileList pushes the list of a model's files beside the staged manifest, as a
// manifest that refers to it, and returns the digest of the list. A list that cannot be
// made, or a registry that refuses such manifests, does not fail the run: the log says
// then that there is no list.
func PushFileList(ctx context.Context, c *registry.Client, repository string, subject ocispec.Descriptor, l filelist.List, logf func(format string, args ...any)) (digest.Digest, error) {
	b, err := l.Encode()
	if err != nil {
		logf("the artifact gets no list of its files, and so no bill of materials: %s", err)
		return "", nil
	}
	r := registry.Referrer{Type: filelist.MediaType, Content: b}
	if isThere(ctx, c, repository, subject, r) {
		return r.Layer().Digest, nil
	}
	_, err = c.PushReferrer(ctx, repository, subject, r)
	if err != nil && ctx.Err() == nil && !outcome.ReasonOf(err).Transient() {
		logf("the artifact gets no list of its files, and so no bill of materials, since the registry refuses it: %s", err)
		return "", nil
	}
	if err != nil {
		return "", err
	}
	logf("pushed the list of the %d files: %s", len(l.Files), r.Layer().Digest)
	return r.Layer().Digest, nil
}

// isThere reports whether a repository has a document about a manifest. That it is
// listed is checked by the controller, which lists what refers to the manifest anyway.
func isThere(ctx context.Context, c *registry.Client, repository string, subject ocispec.Descriptor, r registry.Referrer) bool {
	d, _, err := r.Manifest(subject)
	if err != nil {
		return false
	}
	_, err = c.Resolve(ctx, repository, d.Digest.String())
	return err == nil
}
