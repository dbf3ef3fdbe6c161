package attest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	registryfake "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// buildTimeout bounds a cold build of cosign.
const buildTimeout = 25 * time.Minute

const repository = "models/qwen3"

// program builds cosign, once, and returns its path.
var program = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	dir, err := programs.Build(ctx, os.Stderr, programs.Cosign)
	return filepath.Join(dir, "cosign"), errors.Wrap(err, "cannot build cosign")
})

// cosign runs cosign, and returns its standard output and, if it fails, the rest of what
// it prints. No command reaches a public Sigstore: the
// home folder, where it would keep what it trusts, is empty.
func cosign(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "COSIGN_PASSWORD="}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	return out.String(), errors.Wrap(err, said.String())
}

// needCosign skips a test where cosign is not built.
func needCosign(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs cosign, whose build takes minutes, which -short leaves out")
	}
}

// A world is a registry with an artifact.
type world struct {
	*registry.Client
	host string
}

// registries are the kinds of registries that there are: CNCF Distribution, where the list
// of referrers is a tag, and one with a referrers API.
var registries = map[string]func(t *testing.T) string{
	"Tag": func(t *testing.T) string { return registryfake.Start(t, registryfake.Options{}).Host() },
	"API": func(t *testing.T) string {
		server := httptest.NewServer(registryfake.InMemory(true))
		t.Cleanup(server.Close)
		return strings.TrimPrefix(server.URL, "http://")
	},
}

func newWorld(t *testing.T, host string) world {
	t.Helper()
	c, err := registry.New(registry.Options{Host: host, PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return world{Client: c, host: host}
}

// name returns the name of a manifest.
func (w world) name(d digest.Digest) string { return w.host + "/" + repository + "@" + d.String() }

// push pushes a blob.
func (w world) push(t *testing.T, mediaType string, content []byte) ocispec.Descriptor {
	t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	if err := w.PushBlob(t.Context(), repository, d, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	return d
}

// pushManifest pushes a manifest under a tag, or under its digest for none.
func (w world) pushManifest(t *testing.T, b []byte, tag string) ocispec.Descriptor {
	t.Helper()
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if tag == "" {
		tag = d.Digest.String()
	}
	if err := w.PushManifest(t.Context(), repository, d, b, tag); err != nil {
		t.Fatal(err)
	}
	return d
}

// artifact pushes an artifact with this content.
func (w world) artifact(t *testing.T, content string) ocispec.Descriptor {
	t.Helper()
	return w.manifest(t, ocispec.Manifest{
		ArtifactType: "application/vnd.cncf.model.manifest.v1+json",
		Config:       w.push(t, "application/vnd.cncf.model.config.v1+json", []byte("{}")),
		Layers:       []ocispec.Descriptor{w.push(t, "application/vnd.cncf.model.weight.v1.raw", []byte(content))},
	})
}

// refer pushes a referrer of a type with one layer.
func (w world) refer(t *testing.T, subject ocispec.Descriptor, artifactType string, content []byte) ocispec.Descriptor {
	t.Helper()
	empty := ocispec.DescriptorEmptyJSON
	return w.manifest(t, ocispec.Manifest{
		ArtifactType: artifactType,
		Config:       w.push(t, empty.MediaType, empty.Data),
		Layers:       []ocispec.Descriptor{w.push(t, artifactType, content)},
		Subject:      &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	})
}

func (w world) manifest(t *testing.T, m ocispec.Manifest) ocispec.Descriptor {
	t.Helper()
	m.Versioned, m.MediaType = specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageManifest
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return w.pushManifest(t, b, "")
}

// legacy pushes layers under a legacy tag of an artifact.
func (w world) legacy(t *testing.T, subject digest.Digest, suffix string, layers ...attest.LegacyLayer) {
	t.Helper()
	descriptors := make([]ocispec.Descriptor, 0, len(layers))
	for _, l := range layers {
		w.push(t, l.Descriptor.MediaType, l.Content)
		descriptors = append(descriptors, l.Descriptor)
	}
	manifest, config, err := attest.LegacyManifest(ocispec.Manifest{}, descriptors)
	if err != nil {
		t.Fatal(err)
	}
	w.push(t, ocispec.MediaTypeImageConfig, config)
	w.pushManifest(t, manifest, attest.LegacyTag(subject, suffix))
}

// newKey returns a new key, and the path of its public part.
func newKey(t *testing.T) (*attest.Key, string) {
	t.Helper()
	private, err := attest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	k, err := attest.ParsePrivateKey(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cosign.pub")
	if err := os.WriteFile(path, k.PublicPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return k, path
}

// provenance returns the signed provenance of an artifact.
func (w world) provenance(t *testing.T, k attest.Signer, d digest.Digest) []byte {
	t.Helper()
	p := attest.Provenance{
		Repository: w.host + "/" + repository, Digest: d,
		Owner: attest.Owner{Cluster: "c", ID: "1", Namespace: "team-a", Name: "qwen3"}, Run: 1, RunHash: "20f1edbd2397685f",
		Finished: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	statement, err := p.Statement()
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, k, statement)
}

func sign(t *testing.T, k attest.Signer, statement []byte) []byte {
	t.Helper()
	b, err := k.Sign(t.Context(), attest.PayloadType, statement)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
