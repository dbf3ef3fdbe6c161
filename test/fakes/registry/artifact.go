package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Pusher pushes to a registry.
type Pusher interface {
	// PushBlob pushes a blob.
	PushBlob(ctx context.Context, repository string, d ocispec.Descriptor, r io.Reader) error

	// PushManifest pushes a manifest under a tag.
	PushManifest(ctx context.Context, repository string, d ocispec.Descriptor, manifest []byte, tag string) error
}

// PushForeign pushes a small artifact that is not a model under a tag, and returns
// its descriptor.
func PushForeign(t testing.TB, p Pusher, repository, tag string) ocispec.Descriptor {
	t.Helper()
	empty := ocispec.DescriptorEmptyJSON
	if err := p.PushBlob(t.Context(), repository, empty, bytes.NewReader(empty.Data)); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: "application/vnd.example", Config: empty, Layers: []ocispec.Descriptor{empty},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := p.PushManifest(t.Context(), repository, d, b, tag); err != nil {
		t.Fatal(err)
	}
	return d
}
