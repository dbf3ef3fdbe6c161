package pipeline

import (
	"cmp"
	"context"
	"io"
	"path"
	"sync"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// sourceCures are in terms of an Artifact's source.
var sourceCures = registry.Cures{
	NoCredentials: "name a Secret of type kubernetes.io/dockerconfigjson in spec.forProvider.source.oci.credentialsSecretRef",
	Credentials:   "check the Secret that spec.forProvider.source.oci.credentialsSecretRef names",
	Authority:     "put that authority's ca.crt into the Secret that spec.forProvider.source.oci.certSecretRef names",
	NoAuthority:   "correct the Secret that spec.forProvider.source.oci.certSecretRef names",
	Certificate:   "put tls.crt and tls.key of one that it takes into the Secret of the ProviderConfig's registry.certSecretRef, where it is that registry",
	Host:          "correct the host in spec.forProvider.source.oci.reference",
	PlainHTTP:     "set spec.forProvider.source.oci.plainHTTP if that is meant",
}

// An ociOrigin is an artifact in a registry, with an account, authorities and
// errors of its own: what the run may do at its target is another matter.
type ociOrigin struct {
	ref    registry.Reference // With a digest after resolve.
	client *registry.Client
	again  retry.Policy
	logf   func(format string, args ...any)

	descriptor  ocispec.Descriptor
	manifests   modelpack.Manifests
	config      []byte
	description modelpack.Description

	places map[string]place // By the file's path, after list.
	kept   budget
}

var _ origin = &ociOrigin{}

// A place is where a file's bytes are.
type place struct {
	layer modelpack.Layer
	entry modelpack.Entry
}

// A budget of bytes that may be taken once.
type budget struct {
	mu   sync.Mutex
	left int64
}

// take takes bytes, if there are as many.
func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

// newOCIOrigin returns where the files of a run's source artifact come from.
func newOCIOrigin(a ArtifactSource, again retry.Policy, throttle *connection.Throttle, logf func(format string, args ...any)) (*ociOrigin, error) {
	ref, err := registry.ParseReference(a.Reference)
	if err != nil {
		return nil, outcome.Errorf(outcome.ReasonOf(err), "spec.forProvider.source.oci.reference: %s", err).Because(err)
	}
	again.Logf = logf
	c, err := newSourceRegistry(a, ref, again, throttle)
	if err != nil {
		return nil, err
	}
	return &ociOrigin{
		ref: ref, client: c, again: again, logf: logf,
		kept: budget{left: keptBytes},
	}, nil
}

// resolve reads what the artifact is, and not yet which files are in its
// archives.
func (o *ociOrigin) resolve(ctx context.Context) (contents, error) {
	if err := o.readManifest(ctx); err != nil {
		return contents{}, err
	}
	d, err := o.manifests.Describe()
	if err != nil {
		return contents{}, o.several(err)
	}
	o.description = d
	if _, err := o.manifests.Blobs(); err != nil {
		return contents{}, o.unfit(err)
	}
	if o.config, err = o.readConfig(ctx, d.Config); err != nil {
		return contents{}, err
	}
	if err := modelpack.Whole(o.manifests.Main(), o.config); err != nil {
		return contents{}, o.unfit(err)
	}
	facts := o.facts()
	named := o.ref
	o.ref.Digest = o.descriptor.Digest
	if named.Digest == "" {
		o.logf("%s is %s", named, o.ref)
	}
	o.logf("%s: %s, %s, licence %s", o.ref, cmp.Or(string(d.Format), "of another format"), formatBytes(d.Size), cmp.Or(facts.License, "not named"))
	return contents{facts: facts, revision: o.descriptor.Digest.String(), license: facts.License}, nil
}

// several is the error of an index that is not one artifact.
func (o *ociOrigin) several(err error) error {
	return outcome.Errorf(outcome.Unsupported,
		"%s is an index of several artifacts, or none at all: name one manifest of it by its digest in spec.forProvider.source.oci.reference", o.ref).Because(err)
}

// readManifest reads the manifest, or the index and its manifests, and holds each
// against its digest.
func (o *ociOrigin) readManifest(ctx context.Context) error {
	var err error
	var top []byte
	o.descriptor, top, err = o.client.Manifest(ctx, o.ref.Repository, o.ref.Name())
	switch {
	case registry.IsNotFound(err):
		return outcome.Errorf(outcome.NotFound,
			"registry %s has no %s, or does not show it to this account: check spec.forProvider.source.oci.reference and credentialsSecretRef", o.ref.Registry, o.ref).Because(err)
	case err != nil:
		return sourceFailed(err)
	case o.ref.Digest != "" && o.ref.Digest.Algorithm().FromBytes(top) != o.ref.Digest:
		return outcome.Errorf(outcome.Mismatch, "registry %s sent another manifest than that of %s", o.ref.Registry, o.ref)
	}
	// The manifest's own word counts, where it has one, and not a server's.
	var m ocispec.Manifest
	if decode.JSON(top, &m) == nil && m.MediaType != "" {
		o.descriptor.MediaType = m.MediaType
	}
	o.descriptor.Digest, o.descriptor.Size = digest.FromBytes(top), int64(len(top))
	o.manifests, err = modelpack.ReadManifests(ctx, o.client, o.ref.Repository, top)
	switch {
	case registry.IsNotFound(err):
		return outcome.Errorf(outcome.NotFound, "registry %s has the index of %s, and not all manifests that it names: "+
			"push it there again, or name another artifact in spec.forProvider.source.oci.reference", o.ref.Registry, o.ref).Because(err)
	case outcome.ReasonOf(err) == outcome.Unsupported:
		return o.several(err)
	case err != nil:
		return sourceFailed(err)
	}
	return nil
}

// readConfig reads a config.
func (o *ociOrigin) readConfig(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if d.Size < 0 || d.Size > decode.MaxBytes {
		return nil, o.unfit(outcome.Errorf(outcome.Unsupported, "its config has %d bytes, and at most %d are read", d.Size, decode.MaxBytes))
	}
	if int64(len(d.Data)) == d.Size && d.Digest.Algorithm().FromBytes(d.Data) == d.Digest {
		return d.Data, nil
	}
	return o.readAll(ctx, d)
}

// readAll reads a small blob into memory, and holds it against its digest.
func (o *ociOrigin) readAll(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	rc := o.client.ReadBlob(ctx, o.ref.Repository, d, 0, d.Size, o.again)
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		return nil, o.lost(err, d)
	}
	if d.Digest.Algorithm().FromBytes(b) != d.Digest {
		return nil, o.mismatch(d)
	}
	return b, nil
}

// facts are what the artifact says of the model, and where that is nothing, that
// it is this artifact.
func (o *ociOrigin) facts() modelpack.Facts {
	f := o.description.Model(o.config)
	if f.SourceURL == "" {
		f.SourceURL = "oci://" + o.ref.Registry + "/" + o.ref.Repository
		if f.Revision == "" {
			f.Revision = o.descriptor.Digest.String()
		}
	}
	if f.Name == "" {
		f.Name = path.Base(o.ref.Repository)
	}
	return f
}

// unfit says of which artifact it is that it cannot be used.
func (o *ociOrigin) unfit(err error) error {
	return outcome.Errorf(outcome.Unsupported, "%s cannot be used: %s", o.ref, err).Because(err)
}

// lost explains an error of reading a blob. The manifest is there, and a blob of
// it is not.
func (o *ociOrigin) lost(err error, d ocispec.Descriptor) error {
	if registry.IsNotFound(err) {
		return outcome.Errorf(outcome.NotFound, "registry %s has the manifest of %s, and not all that belongs to it: blob %s is missing: "+
			"push it there again, or name another artifact in spec.forProvider.source.oci.reference", o.ref.Registry, o.ref, d.Digest).Because(err)
	}
	return sourceFailed(err)
}

// mismatch is for bytes that are not those of a blob.
func (o *ociOrigin) mismatch(d ocispec.Descriptor) error {
	return outcome.Errorf(outcome.Mismatch, "registry %s sent other bytes than those of %s@%s: its storage, or a proxy before it, may be broken",
		o.ref.Registry, o.ref.Repository, d.Digest)
}

// sourceFailed marks an error as final: it was tried again already.
func sourceFailed(err error) error { return retry.Permanent(err) }

func (o *ociOrigin) close() { o.client.Close() }

// open returns a file's bytes from an offset on.
func (o *ociOrigin) open(ctx context.Context, f hub.File, offset int64) (io.ReadCloser, error) {
	p, ok := o.places[f.Path]
	if !ok {
		return nil, errors.Errorf("%q is no file of %s", f.Path, o.ref)
	}
	return o.openPlace(ctx, p, offset, p.entry.Size)
}

// head returns the first n bytes of a file.
func (o *ociOrigin) head(ctx context.Context, f hub.File, n int64) (io.ReadCloser, error) {
	p, ok := o.places[f.Path]
	if !ok {
		return nil, errors.Errorf("%q is no file of %s", f.Path, o.ref)
	}
	return o.openPlace(ctx, p, 0, min(n, p.entry.Size))
}
