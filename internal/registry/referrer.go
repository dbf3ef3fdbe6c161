package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Referrer is a document about a manifest, such as a signature: the one layer of a
// manifest that refers to it (image-spec 1.1, "Guidelines for Artifact Usage").
type Referrer struct {
	// Type of the document: the artifact type of the manifest and the media type of
	// its layer.
	Type string

	// Title is the name of the file that clients write the document to; empty for
	// none.
	Title string

	// Annotations of the manifest.
	Annotations map[string]string

	// Content of the document.
	Content []byte
}

// Layer returns the descriptor of the document.
func (r Referrer) Layer() ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: r.Type, Digest: digest.FromBytes(r.Content), Size: int64(len(r.Content))}
	if r.Title != "" {
		d.Annotations = map[string]string{ocispec.AnnotationTitle: r.Title}
	}
	return d
}

// Manifest returns the manifest that refers to a subject. It is the same for the same
// document.
func (r Referrer) Manifest(subject ocispec.Descriptor) (ocispec.Descriptor, []byte, error) {
	config := ocispec.DescriptorEmptyJSON
	// Some registries list referrers by the type of the config, as all did before
	// artifacts had types of their own.
	config.Data, config.MediaType = nil, r.Type
	b, err := json.Marshal(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: r.Type,
		Config:       config,
		Layers:       []ocispec.Descriptor{r.Layer()},
		Subject:      &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations:  r.Annotations,
	})
	if err != nil {
		return ocispec.Descriptor{}, nil, errors.Wrap(err, "cannot encode a manifest that refers to another")
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}, b, nil
}

// PushReferrer pushes a document about a manifest, and returns the descriptor of the
// manifest that refers to it. Where a registry has no referrers API, their list is one
// manifest, which two may write at once: who needs the document to be listed must look.
func (c *Client) PushReferrer(ctx context.Context, repository string, subject ocispec.Descriptor, r Referrer) (ocispec.Descriptor, error) {
	d, manifest, err := r.Manifest(subject)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	empty, layer := ocispec.DescriptorEmptyJSON, r.Layer()
	layer.Annotations = nil
	for _, b := range []struct {
		ocispec.Descriptor
		content []byte
	}{{empty, empty.Data}, {layer, r.Content}} {
		if has, err := c.HasBlob(ctx, repository, b.Descriptor); err == nil && has {
			continue
		}
		// Some registries do not tell; all let push who may.
		if err := c.PushBlob(ctx, repository, b.Descriptor, bytes.NewReader(b.content)); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	return d, c.PushManifest(ctx, repository, d, manifest, d.Digest.String())
}

// Blob returns the bytes of a small blob whose size is not known. It returns an error
// with reason Unsupported if there are more than a number of them, and one with reason
// Mismatch if they are not those of the digest.
func (c *Client) Blob(ctx context.Context, repository string, d digest.Digest, most int64) (b []byte, err error) {
	defer c.observe("Blob", &err)
	if _, err := c.resolvable(repository, d.String()); err != nil {
		return nil, err
	}
	read := operation{"read", at(repository, d.String())}
	err = c.retried(ctx, func(ctx context.Context) error {
		if err := c.throttle.Wait(ctx, c.host); err != nil {
			return c.failed(ctx, err, read)
		}
		ctx, cancel := c.ask(noteWaits(ctx))
		defer cancel()
		rsp, _, err := c.getBlob(ctx, repository, ocispec.Descriptor{Digest: d}, 0, false)
		if err != nil {
			return c.failed(ctx, err, read)
		}
		defer rsp.Body.Close()
		if b, err = io.ReadAll(io.LimitReader(rsp.Body, most+1)); err != nil {
			return c.failed(ctx, err, read)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > most:
		return nil, outcome.Errorf(outcome.Unsupported, "%s at registry %s has more than the %d bytes that are read of it", read.object, c.host, most)
	case d.Algorithm().FromBytes(b) != d:
		return nil, outcome.Errorf(outcome.Mismatch, "registry %s sent other bytes than those of %s", c.host, read.object)
	}
	return b, nil
}
