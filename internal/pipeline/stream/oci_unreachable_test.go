package stream

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestOCIUnreachable has a source that cannot be read say what of the spec is to
// be changed.
func TestOCIUnreachable(t *testing.T) {
	open := testregistry.Start(t, testregistry.Options{})
	w, _, digest := newOCIWorldIn(t, pipeline.FormatModelPack, testregistry.Start(t, ociTokens), open)
	secure := testregistry.Start(t, ociTLS)
	index := pushIndex(t, w.registry)
	const spec = "spec.forProvider.source.oci."
	cases := map[string]struct {
		reason string
		change func(*pipeline.ArtifactSource)
		want   outcome.Reason
		says   string
	}{
		"NoTag":        {reason: "A missing tag should name the field.", change: func(a *pipeline.ArtifactSource) { a.Reference = w.source.Host() + "/models/origin:v2" }, want: outcome.NotFound, says: spec + "reference"},
		"NoRepository": {reason: "A missing repository should name the field.", change: func(a *pipeline.ArtifactSource) { a.Reference = w.source.Host() + "/models/other@" + digest }, want: outcome.NotFound, says: spec + "reference"},
		"Anonymous":    {reason: "Missing credentials should name the field.", change: func(a *pipeline.ArtifactSource) { a.DockerConfig = "" }, want: outcome.Unauthorized, says: spec + "credentialsSecretRef"},
		"NoCA":         {reason: "A missing authority should name the field.", change: func(a *pipeline.ArtifactSource) { *a = pipeline.ArtifactSource{Reference: secure.Host() + "/a/b:v1"} }, want: outcome.Untrusted, says: spec + "certSecretRef"},
		"NoTLS":        {reason: "A registry without TLS should name the field.", change: func(a *pipeline.ArtifactSource) { a.PlainHTTP = false }, want: outcome.Untrusted, says: spec + "plainHTTP"},
		"NoReference":  {reason: "An incomplete reference should be refused.", change: func(a *pipeline.ArtifactSource) { a.Reference = "models/origin" }, want: outcome.Unsupported, says: spec + "reference"},
		"Index": {reason: "An index of several artifacts should be refused.", change: func(a *pipeline.ArtifactSource) {
			*a = pipeline.ArtifactSource{Reference: open.Host() + "/" + aRepository + "@" + index.String(), PlainHTTP: true}
		}, want: outcome.Unsupported, says: "by its digest in " + spec + "reference"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run, a := w.run, *w.run.Source.Artifact
			tc.change(&a)
			run.Source.Artifact = &a
			_, err := w.stream.Run(t.Context(), run)
			if err == nil || outcome.ReasonOf(err) != tc.want || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("\n%s\nRun(...): want %s with %q, got %v", tc.reason, tc.want, tc.says, err)
			}
		})
	}
	if n := open.Count(http.MethodPost, "/models/model/blobs/uploads/"); n != 0 {
		t.Errorf("want nothing to be pushed, got %d uploads", n)
	}
}

// pushIndex pushes an index of no manifests.
func pushIndex(t *testing.T, c *registry.Client) digest.Digest {
	t.Helper()
	return pushManifest(t, c, ocispec.MediaTypeImageIndex,
		ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}})
}

// TestOCILimit has an artifact refused whose layer the registry would refuse, as
// it is and packed anew, before anything is pushed.
func TestOCILimit(t *testing.T) {
	for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit} {
		w, target, _ := newOCIWorld(t, pipeline.FormatModelPack, testregistry.Options{}, testregistry.Options{})
		w.run.Format = format
		w.stream.limit = func(string) (int64, string, bool) { return 1 << 20, "https://example.com/limits", true }
		_, err := w.stream.Run(t.Context(), w.run)
		if err == nil || outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), "file model.safetensors has 1.1 MiB") && !strings.Contains(err.Error(), "file copy/same.safetensors has 1.1 MiB") {
			t.Errorf("Run(...) to %s: want the layer to be refused, got %v", format, err)
		}
		if n := target.Count(http.MethodPost, "/blobs/uploads/"); n != 0 {
			t.Errorf("Run(...) to %s: want nothing to be pushed, got %d uploads", format, n)
		}
	}
}
