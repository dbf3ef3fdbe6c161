// Package oci reads the files of artifacts in registries.
package oci

import (
	"cmp"
	"context"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	"github.com/crossplane-contrib/provider-kitops/internal/verify"
)

// sourceCures name the fields of an Artifact's source.
var sourceCures = registry.Cures{
	NoCredentials: "name a Secret of type kubernetes.io/dockerconfigjson in spec.forProvider.source.oci.credentialsSecretRef",
	Credentials:   "check the Secret that spec.forProvider.source.oci.credentialsSecretRef names",
	Authority:     "put that authority's ca.crt into the Secret that spec.forProvider.source.oci.certSecretRef names",
	NoAuthority:   "correct the Secret that spec.forProvider.source.oci.certSecretRef names",
	Certificate:   "put tls.crt and tls.key of one that it takes into the Secret of the ProviderConfig's registry.certSecretRef, where it is that registry",
	Host:          "correct the host in spec.forProvider.source.oci.reference",
	PlainHTTP:     "set spec.forProvider.source.oci.plainHTTP if that is meant",
}

// A Source is an artifact in a registry. It has credentials, certificate authorities
// and errors of its own, independent of those of the target.
type Source struct {
	ref     registry.Reference // With a digest after resolve.
	verify  *verify.Options    // Nil if no signature is required.
	client  *registry.Client
	retries retry.Policy
	logf    func(format string, args ...any)

	descriptor  ocispec.Descriptor
	manifests   modelpack.Manifests
	config      []byte
	description modelpack.Description

	places map[string]place // By the file's path, after list.
	kept   budget
}

var _ source.Source = &Source{}

// A place is where the bytes of a file are.
type place struct {
	layer modelpack.Layer
	entry modelpack.Entry
}

// A budget limits bytes that are kept.
type budget struct {
	mu   sync.Mutex
	left int64
}

// take reserves bytes, and reports whether as many are left.
func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

// New returns the artifact that is a run's source.
func New(a pipeline.ArtifactSource, retries retry.Policy, throttle *connection.Throttle, logf func(format string, args ...any)) (*Source, error) {
	ref, err := registry.ParseReference(a.Reference)
	if err != nil {
		return nil, outcome.Errorf(outcome.ReasonOf(err), "spec.forProvider.source.oci.reference: %s", err).Because(err)
	}
	retries.Logf = logf
	c, err := pipeline.NewRegistryClient(a.DockerConfig, a.Identity, registry.Options{
		Retry: retries, Throttle: throttle,
		Host: ref.Registry, PlainHTTP: a.PlainHTTP, Repository: ref.Repository, Cures: sourceCures,
		CAFile: a.CAFile, CertificateFile: a.CertificateFile, KeyFile: a.KeyFile,
	})
	if err != nil {
		return nil, err
	}
	return &Source{
		ref: ref, verify: a.Verify, client: c, retries: retries, logf: logf,
		kept: budget{left: keptBytes},
	}, nil
}

// Resolve implements source.Source. It does not list the files of archives yet.
func (s *Source) Resolve(ctx context.Context) (source.Contents, error) {
	if err := s.readManifest(ctx); err != nil {
		return source.Contents{}, err
	}
	d, err := s.manifests.Describe()
	if err != nil {
		return source.Contents{}, s.several(err)
	}
	s.description = d
	if _, err := s.manifests.Blobs(); err != nil {
		return source.Contents{}, s.unfit(err)
	}
	if s.config, err = s.readConfig(ctx, d.Config); err != nil {
		return source.Contents{}, err
	}
	if err := modelpack.Whole(s.manifests.Main(), s.config); err != nil {
		return source.Contents{}, s.unfit(err)
	}
	facts := s.facts()
	named := s.ref
	s.ref.Digest = s.descriptor.Digest
	if named.Digest == "" {
		s.logf("%s is %s", named, s.ref)
	}
	s.logf("%s: %s, %s, licence %s", s.ref, cmp.Or(string(d.Format), "of another format"), pipeline.FormatBytes(d.Size), cmp.Or(facts.License, "not named"))
	return source.Contents{
		Facts: facts, Revision: s.descriptor.Digest.String(), License: facts.License, Model: model(facts),
		// Whoever packed it wrote the licence. Only a signer that is trusted vouches for it.
		Declared: s.verify == nil,
		Names:    []string{s.ref.Registry + "/" + s.ref.Repository}, Claimed: claimed(facts.SourceURL),
	}, nil
}

// model returns what is listed of the model, as the artifact's config describes it.
func model(f modelpack.Facts) filelist.Model {
	m := filelist.Model{ModelType: f.Family}
	if f.License != "" {
		m.Licenses = []string{f.License}
	}
	return m
}

// claimed returns the name of the model that an artifact says it was made from, as
// policies know it.
func claimed(url string) string {
	if name, ok := strings.CutPrefix(url, hub.DefaultEndpoint+"/"); ok {
		return name
	}
	return url
}

// Scan implements source.Source: a registry tells of none.
func (s *Source) Scan(context.Context) (policy.Scan, error) { return policy.Scan{}, nil }

// several returns the error for an index that is not one artifact.
func (s *Source) several(err error) error {
	return outcome.Errorf(outcome.Unsupported,
		"%s is an index of several artifacts, or none at all: name one manifest of it by its digest in spec.forProvider.source.oci.reference", s.ref).Because(err)
}

// readManifest reads the manifest, or the index and its manifests, and verifies their
// digests.
func (s *Source) readManifest(ctx context.Context) error {
	var err error
	var top []byte
	s.descriptor, top, err = s.client.Manifest(ctx, s.ref.Repository, s.ref.Name())
	switch {
	case registry.IsNotFound(err):
		return outcome.Errorf(outcome.NotFound,
			"registry %s has no %s, or does not show it to this account: check spec.forProvider.source.oci.reference and credentialsSecretRef", s.ref.Registry, s.ref).Because(err)
	case err != nil:
		return sourceFailed(err)
	case s.ref.Digest != "" && s.ref.Digest.Algorithm().FromBytes(top) != s.ref.Digest:
		return outcome.Errorf(outcome.Mismatch, "registry %s sent another manifest than that of %s", s.ref.Registry, s.ref)
	}
	// The media type in the manifest takes precedence over the server's header.
	var m ocispec.Manifest
	if decode.JSON(top, &m) == nil && m.MediaType != "" {
		s.descriptor.MediaType = m.MediaType
	}
	s.descriptor.Digest, s.descriptor.Size = digest.FromBytes(top), int64(len(top))
	if err := s.verified(ctx); err != nil {
		return err
	}
	s.manifests, err = modelpack.ReadManifests(ctx, s.client, s.ref.Repository, top)
	switch {
	case registry.IsNotFound(err):
		return outcome.Errorf(outcome.NotFound, "registry %s has the index of %s, and not all manifests that it names: "+
			"push it there again, or name another artifact in spec.forProvider.source.oci.reference", s.ref.Registry, s.ref).Because(err)
	case outcome.ReasonOf(err) == outcome.Unsupported:
		return s.several(err)
	case err != nil:
		return sourceFailed(err)
	}
	return nil
}

// verified returns an error with reason Unverified unless a trusted signer has signed
// the manifest's digest. All else is read by that digest, or by digests in the
// manifest.
func (s *Source) verified(ctx context.Context) error {
	if s.verify == nil {
		return nil
	}
	v, err := verify.New(*s.verify)
	if err != nil {
		return err
	}
	ref := s.ref
	ref.Digest = s.descriptor.Digest
	if err := v.Verify(ctx, s.client, ref); err != nil {
		return sourceFailed(err)
	}
	s.logf("%s is signed as %s demands", ref, s.verify.Field)
	return nil
}

// readConfig reads a config.
func (s *Source) readConfig(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if d.Size < 0 || d.Size > decode.MaxBytes {
		return nil, s.unfit(outcome.Errorf(outcome.Unsupported, "its config has %d bytes, and at most %d are read", d.Size, decode.MaxBytes))
	}
	if int64(len(d.Data)) == d.Size && d.Digest.Algorithm().FromBytes(d.Data) == d.Digest {
		return d.Data, nil
	}
	return s.readAll(ctx, d)
}

// readAll reads a small blob into memory, and verifies its digest.
func (s *Source) readAll(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	rc := s.client.ReadBlob(ctx, s.ref.Repository, d, 0, d.Size, s.retries)
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		return nil, s.lost(err, d)
	}
	if d.Digest.Algorithm().FromBytes(b) != d.Digest {
		return nil, s.Mismatch(d)
	}
	return b, nil
}

// facts returns what the artifact tells about the model; if it names no source, the
// artifact itself is the source.
func (s *Source) facts() modelpack.Facts {
	f := s.description.Model(s.config)
	if f.SourceURL == "" {
		f.SourceURL = "oci://" + s.ref.Registry + "/" + s.ref.Repository
		if f.Revision == "" {
			f.Revision = s.descriptor.Digest.String()
		}
	}
	if f.Name == "" {
		f.Name = path.Base(s.ref.Repository)
	}
	return f
}

// unfit returns the error for an artifact that cannot be used.
func (s *Source) unfit(err error) error {
	return outcome.Errorf(outcome.Unsupported, "%s cannot be used: %s", s.ref, err).Because(err)
}

// lost returns the error for a blob that cannot be read. If it is missing, the
// manifest is there without it.
func (s *Source) lost(err error, d ocispec.Descriptor) error {
	if registry.IsNotFound(err) {
		return outcome.Errorf(outcome.NotFound, "registry %s has the manifest of %s, and not all that belongs to it: blob %s is missing: "+
			"push it there again, or name another artifact in spec.forProvider.source.oci.reference", s.ref.Registry, s.ref, d.Digest).Because(err)
	}
	return sourceFailed(err)
}

// Mismatch returns the error for bytes that are not those of a blob.
func (s *Source) Mismatch(d ocispec.Descriptor) error {
	return outcome.Errorf(outcome.Mismatch, "registry %s sent other bytes than those of %s@%s: its storage, or a proxy before it, may be broken",
		s.ref.Registry, s.ref.Repository, d.Digest)
}

// sourceFailed returns err as permanent: it was retried already.
func sourceFailed(err error) error { return retry.Permanent(err) }

// Format returns the format of the artifact; empty for another one.
func (s *Source) Format() modelpack.Format { return s.description.Format }

// Reference returns the artifact's reference, with its digest after Resolve.
func (s *Source) Reference() registry.Reference { return s.ref }

// Artifact returns the artifact as it is at the source.
func (s *Source) Artifact(ctx context.Context) (modelpack.Artifact, error) {
	blobs, err := modelpack.Blobs(s.manifests.Main())
	if err != nil {
		return modelpack.Artifact{}, s.unfit(err)
	}
	a := modelpack.Artifact{Descriptor: s.descriptor, Manifest: s.manifests.Top, Layers: blobs[1:]}
	if len(s.manifests.Images) == 0 {
		a.ConfigDescriptor, a.Config = blobs[0], s.config
		return a, nil
	}
	for n, i := range s.manifests.Images {
		blobs, err := modelpack.Blobs(i.Content)
		if err != nil {
			return modelpack.Artifact{}, s.unfit(err)
		}
		config := s.config // Of the first image.
		if n > 0 {
			if config, err = s.readConfig(ctx, blobs[0]); err != nil {
				return modelpack.Artifact{}, err
			}
		}
		a.Images = append(a.Images, modelpack.Artifact{ConfigDescriptor: blobs[0], Config: config, Descriptor: i.Descriptor, Manifest: i.Content})
	}
	return a, nil
}

// Distinct returns the layers of an artifact of this source, each once.
func (s *Source) Distinct(a modelpack.Artifact) ([]ocispec.Descriptor, error) {
	seen := map[digest.Digest]int64{}
	var out []ocispec.Descriptor
	var total int64
	for _, d := range a.Layers {
		size, ok := seen[d.Digest]
		switch {
		case d.Size < 0, ok && size != d.Size:
			return nil, s.unfit(outcome.Errorf(outcome.Unsupported, "its layer %s has no size, or more than one", d.Digest))
		case ok:
			continue
		}
		if total += d.Size; total < 0 {
			return nil, s.unfit(outcome.Errorf(outcome.Unsupported, "its layers have more bytes than there can be"))
		}
		seen[d.Digest] = d.Size
		out = append(out, d)
	}
	return out, nil
}

// OpenBlob returns a blob's bytes from an offset on. Whether they are those of its
// digest is for the caller to verify, which returns Mismatch if they are not.
func (s *Source) OpenBlob(ctx context.Context, d ocispec.Descriptor, offset int64) io.ReadCloser {
	rc := s.client.ReadBlob(ctx, s.ref.Repository, d, offset, d.Size, s.retries)
	return &fileReader{Reader: rc, close: rc.Close, failed: func(err error) error { return retry.Permanent(s.lost(err, d)) }}
}

// Close implements source.Source.
func (s *Source) Close() { s.client.Close() }

// Open implements source.Source.
func (s *Source) Open(ctx context.Context, f file.File, offset int64) (io.ReadCloser, error) {
	p, ok := s.places[f.Path]
	if !ok {
		return nil, errors.Errorf("%q is no file of %s", f.Path, s.ref)
	}
	return s.openPlace(ctx, p, offset, p.entry.Size)
}

// Head implements source.Source.
func (s *Source) Head(ctx context.Context, f file.File, n int64) (io.ReadCloser, error) {
	p, ok := s.places[f.Path]
	if !ok {
		return nil, errors.Errorf("%q is no file of %s", f.Path, s.ref)
	}
	return s.openPlace(ctx, p, 0, min(n, p.entry.Size))
}
