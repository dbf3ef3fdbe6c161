package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// These tests are against a real registry, CNCF's distribution.

const (
	testPassword = "correct-horse-battery-staple"
	testType     = "application/vnd.test.record.v1+json"
)

var ada = testregistry.User{Name: "ada", Password: testPassword}

// optionsFor returns how to speak to a registry, as its first user.
func optionsFor(r *testregistry.Registry) Options {
	return Options{
		Host: r.Host(), PlainHTTP: r.CA() == nil, Repository: repository, CA: r.CA(), DockerConfig: r.DockerConfig(),
	}
}

// A stored artifact is what an operation works on.
type stored struct {
	repository string
	blob       ocispec.Descriptor
	content    []byte
	manifest   ocispec.Descriptor
	raw        []byte
}

// store pushes an artifact of one blob to a repository, with the tag v1.
func store(t *testing.T, c *Client, repository string) stored {
	t.Helper()
	s := stored{repository: repository, content: []byte(strings.Repeat(repository, 1000))}
	s.blob = describe("application/octet-stream", s.content)
	if err := c.PushBlob(t.Context(), repository, s.blob, bytes.NewReader(s.content)); err != nil {
		t.Fatal(err)
	}
	s.manifest, s.raw = manifestOf(t, s.blob, nil)
	if err := c.PushManifest(t.Context(), repository, s.manifest, s.raw, "v1"); err != nil {
		t.Fatal(err)
	}
	return s
}

// manifestOf returns a manifest of one blob, which refers to a subject if one
// is given.
func manifestOf(t *testing.T, blob ocispec.Descriptor, subject *ocispec.Descriptor) (ocispec.Descriptor, []byte) {
	t.Helper()
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest, Config: blob, Layers: []ocispec.Descriptor{blob}, Subject: subject,
	}
	if subject != nil {
		m.ArtifactType = testType
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return describe(ocispec.MediaTypeImageManifest, b), b
}

// operations are all that a client does with an artifact.
var operations = map[string]func(ctx context.Context, c *Client, s stored) error{
	"Resolve": func(ctx context.Context, c *Client, s stored) error {
		_, err := c.Resolve(ctx, s.repository, "v1")
		return err
	},
	"Manifest": func(ctx context.Context, c *Client, s stored) error {
		_, _, err := c.Manifest(ctx, s.repository, "v1")
		return err
	},
	"HasBlob": func(ctx context.Context, c *Client, s stored) error {
		_, err := c.HasBlob(ctx, s.repository, s.blob)
		return err
	},
	"OpenBlob": func(ctx context.Context, c *Client, s stored) error {
		rc, err := c.OpenBlob(ctx, s.repository, s.blob)
		if err != nil {
			return err
		}
		defer rc.Close()
		_, err = io.Copy(io.Discard, rc)
		return err
	},
	"PushBlob": func(ctx context.Context, c *Client, s stored) error {
		b := slices.Concat(s.content, []byte("more"))
		return c.PushBlob(ctx, s.repository, describe("application/octet-stream", b), io.MultiReader(bytes.NewReader(b)))
	},
	"PushManifest": func(ctx context.Context, c *Client, s stored) error {
		return c.PushManifest(ctx, s.repository, s.manifest, s.raw, "v2")
	},
	"Referrers": func(ctx context.Context, c *Client, s stored) error {
		_, err := c.Referrers(ctx, s.repository, s.manifest.Digest, testType)
		return err
	},
	"Tags": func(ctx context.Context, c *Client, s stored) error {
		_, err := c.Tags(ctx, s.repository)
		return err
	},
	"Untag": func(ctx context.Context, c *Client, s stored) error {
		return c.Untag(ctx, s.repository, "v1")
	},
	"DeleteManifest": func(ctx context.Context, c *Client, s stored) error {
		return c.DeleteManifest(ctx, s.repository, s.manifest)
	},
}

// inOrder are the operations, with those that take away last.
var inOrder = []string{"Resolve", "Manifest", "HasBlob", "OpenBlob", "PushBlob", "PushManifest", "Referrers", "Tags", "Untag", "DeleteManifest"}

func TestDistribution(t *testing.T) {
	t.Parallel()
	r := testregistry.Start(t, testregistry.Options{})
	c := newClient(t, optionsFor(r))
	s := store(t, c, repository)
	for _, name := range inOrder {
		if err := operations[name](t.Context(), c, s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Resolve(t.Context(), repository, s.manifest.Digest.String()); !IsNotFound(err) {
		t.Errorf("want the manifest to be deleted, got %v", err)
	}
}

// TestDistributionUntag checks that a tag alone goes, and nothing that shares
// its manifest.
func TestDistributionUntag(t *testing.T) {
	t.Parallel()
	c := newClient(t, optionsFor(testregistry.Start(t, testregistry.Options{})))
	s := store(t, c, repository)
	if err := c.PushManifest(t.Context(), repository, s.manifest, s.raw, "keep"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Untag(t.Context(), repository, "v1"); err != nil {
			t.Errorf("Untag(...): %v", err)
		}
	}
	got, err := c.Tags(t.Context(), repository)
	if diff := cmp.Diff([]string{"keep"}, got); diff != "" || err != nil {
		t.Errorf("Tags(...): %v: -want, +got:\n%s", err, diff)
	}
	if d, err := c.Resolve(t.Context(), repository, "keep"); d.Digest != s.manifest.Digest || err != nil {
		t.Errorf("Resolve(...): want the manifest to stay, got %s, %v", d.Digest, err)
	}
}

// TestDistributionReferrers checks that what refers to a manifest is found, and
// leaves nothing.
func TestDistributionReferrers(t *testing.T) {
	t.Parallel()
	c := newClient(t, optionsFor(testregistry.Start(t, testregistry.Options{})))
	s := store(t, c, repository)
	d, raw := manifestOf(t, s.blob, &s.manifest)
	if err := c.PushManifest(t.Context(), repository, d, raw, d.Digest.String()); err != nil {
		t.Fatal(err)
	}
	found := func(artifactType string) []string {
		t.Helper()
		list, err := c.Referrers(t.Context(), repository, s.manifest.Digest, artifactType)
		if err != nil {
			t.Error(err)
		}
		var out []string
		for _, l := range list {
			out = append(out, l.Digest.String())
		}
		return out
	}
	if diff := cmp.Diff([]string{d.Digest.String()}, found(testType)); diff != "" {
		t.Errorf("Referrers(...): -want, +got:\n%s", diff)
	}
	if got := found("application/vnd.other"); len(got) > 0 {
		t.Errorf("Referrers(...): want none of another type, got %v", got)
	}
	for range 2 {
		if err := c.DeleteManifest(t.Context(), repository, d); err != nil {
			t.Errorf("DeleteManifest(...): %v", err)
		}
	}
	tags, err := c.Tags(t.Context(), repository)
	if diff := cmp.Diff([]string{"v1"}, tags); diff != "" || err != nil || len(found(testType)) > 0 {
		t.Errorf("want the manifest to go from the list, and an empty list to go, too: %v: tags: -want, +got:\n%s", err, diff)
	}
}

func TestDistributionNoDelete(t *testing.T) {
	t.Parallel()
	c := newClient(t, optionsFor(testregistry.Start(t, testregistry.Options{NoDelete: true})))
	s := store(t, c, repository)
	for _, name := range inOrder {
		err := operations[name](t.Context(), c, s)
		if name == "Untag" || name == "DeleteManifest" {
			if !IsUnsupported(err) {
				t.Errorf("%s: want Unsupported, got %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
