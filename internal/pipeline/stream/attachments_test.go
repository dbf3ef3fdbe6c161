package stream

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/verify"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

const typeBOM = "application/vnd.cyclonedx+json"

// TestCopyReferrers copies an artifact with what belongs to it, and verifies the copy by
// its upstream's signatures.
func TestCopyReferrers(t *testing.T) {
	w, _, made := newOCIWorld(t, pipeline.FormatModelPack, testregistry.Options{}, testregistry.Options{})
	from, repository, signer := w.client(t, w.source), w.from.Target.Repository, testregistry.NewSigner(t)
	subject := w.descriptor(t, made)
	bundle := testregistry.PushReferrer(t, from, repository, subject, testregistry.BundleType, signer.Bundle(testregistry.ProvenanceType, subject.Digest))
	bom := testregistry.PushReferrer(t, from, repository, subject, typeBOM, []byte(`{"bomFormat":"CycloneDX"}`))
	own := testregistry.PushReferrer(t, from, repository, subject, "application/vnd.kitops.crossplane.ownership.v1+json", []byte("{}"))
	payload, annotations := signer.Signature(subject.Digest)
	sig := testregistry.PushLegacy(t, from, repository, subject.Digest, ".sig", testregistry.SimpleSigningType, payload, annotations)
	testregistry.PushLegacy(t, from, repository, subject.Digest, ".att", testregistry.EnvelopeType, []byte("{}"), nil)
	// Somebody has attested the copy's digest in the target before.
	theirs := testregistry.PushLegacy(t, w.registry, w.run.Target.Repository, subject.Digest, ".att", testregistry.EnvelopeType, []byte("{ }"), nil)

	w.run.Source.Artifact.CopyReferrers = true
	for range 2 { // A repeated run must find all as it is.
		if _, err := w.stream.Run(t.Context(), w.run); err != nil {
			t.Fatalf("Run(...): %v\n%s", err, w.log)
		}
	}
	listed, err := w.registry.AllReferrers(t.Context(), w.run.Target.Repository, subject.Digest)
	if err != nil {
		t.Fatal(err)
	}
	got := map[digest.Digest]bool{}
	for _, d := range listed {
		if d.ArtifactType != filelist.MediaType { // The run's own.
			got[d.Digest] = true
		}
	}
	if diff := cmp.Diff(map[digest.Digest]bool{bundle.Digest: true, bom.Digest: true}, got); diff != "" {
		t.Errorf("All referrers but the provider's own %s should be copied.\nAllReferrers(...): -want, +got:\n%s", own.Digest, diff)
	}
	for suffix, want := range map[string]digest.Digest{".sig": sig.Digest, ".att": theirs.Digest} {
		d, err := w.registry.Resolve(t.Context(), w.run.Target.Repository, attest.LegacyTag(subject.Digest, suffix))
		if err != nil || d.Digest != want {
			t.Errorf("A tag should be copied, unless it is there.\nResolve(%s): want %s, got %s, %v", suffix, want, d.Digest, err)
		}
	}
	for _, predicateType := range []string{testregistry.ProvenanceType, testregistry.SignType} {
		v, err := verify.New(verify.Options{Keys: signer.PublicKey(), PredicateType: predicateType, Field: "verify"})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Verify(t.Context(), w.registry, registry.Reference{Registry: "r.example.com", Repository: w.run.Target.Repository, Digest: subject.Digest}); err != nil {
			t.Errorf("The copy should be signed as the original is.\nVerify(...): %v", err)
		}
	}
}

func TestCopyReferrersRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		format string
		push   func(t *testing.T, c *registry.Client, repository string, subject ocispec.Descriptor)
		want   string
	}{
		"Format": {
			reason: "Referrers do not belong to what is packed again.", format: pipeline.FormatImage,
			push: func(*testing.T, *registry.Client, string, ocispec.Descriptor) {},
			want: "is not of format Image and would get another digest",
		},
		"Large": {
			reason: "A blob that is too large should be refused before anything is moved.", format: pipeline.FormatModelPack,
			push: func(t *testing.T, c *registry.Client, repository string, subject ocispec.Descriptor) {
				testregistry.PushReferrer(t, c, repository, subject, typeBOM, bytes.Repeat([]byte(" "), 32<<20+1))
			},
			want: "at most 32.0 MiB are copied",
		},
		"Many": {
			reason: "Too many referrers should be refused before anything is moved.", format: pipeline.FormatModelPack,
			push: func(t *testing.T, c *registry.Client, repository string, subject ocispec.Descriptor) {
				for i := range 51 {
					testregistry.PushReferrer(t, c, repository, subject, typeBOM, bytes.Repeat([]byte(" "), i+1))
				}
			},
			want: "51 manifests refer to it, and at most 50 are copied",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w, target, made := newOCIWorld(t, pipeline.FormatModelPack, testregistry.Options{}, testregistry.Options{})
			tc.push(t, w.client(t, w.source), w.from.Target.Repository, w.descriptor(t, made))
			w.run.Format, w.run.Source.Artifact.CopyReferrers = tc.format, true
			_, err := w.stream.Run(t.Context(), w.run)
			if outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "leave spec.forProvider.source.oci.referrers out") {
				t.Errorf("\n%s\nRun(...): want %q, got %v", tc.reason, tc.want, err)
			}
			if n := target.Count("POST", ""); n > 0 {
				t.Errorf("\n%s\nRun(...): want nothing to be pushed, got %d", tc.reason, n)
			}
		})
	}
}
