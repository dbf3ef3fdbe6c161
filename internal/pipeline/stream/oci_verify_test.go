package stream

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/verify"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestOCIVerify has artifacts copied and packed again that must be signed.
func TestOCIVerify(t *testing.T) {
	cases := map[string]struct {
		reason string
		format string // Of the result; the source is a ModelPack.
		signer int    // Which of two signers has signed: 0 is trusted, -1 is none.
		want   string // Words of the error; none for success.
	}{
		"Copied":     {reason: "A signed artifact should be copied.", format: pipeline.FormatModelPack},
		"Packed":     {reason: "A signed artifact should be packed again.", format: pipeline.FormatImage},
		"Stranger":   {reason: "An artifact that a stranger signed should be refused.", format: pipeline.FormatModelPack, signer: 1, want: "found 1 Sigstore bundles (signed by none of the trusted keys)"},
		"Unsigned":   {reason: "An artifact that nobody signed should be refused.", format: pipeline.FormatModelPack, signer: -1, want: "found no signature"},
		"PackedNone": {reason: "Files should not be read of an artifact that nobody signed.", format: pipeline.FormatImage, signer: -1, want: "found no signature"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w, target, made := newOCIWorld(t, pipeline.FormatModelPack, testregistry.Options{}, testregistry.Options{})
			signers := []*testregistry.Signer{testregistry.NewSigner(t), testregistry.NewSigner(t)}
			subject := w.descriptor(t, made)
			if tc.signer >= 0 {
				bundle := signers[tc.signer].Bundle(testregistry.SignType, subject.Digest)
				testregistry.PushReferrer(t, w.client(t, w.source), w.from.Target.Repository, subject, testregistry.BundleType, bundle)
			}
			w.run.Format = tc.format
			w.run.Source.Artifact.Verify = &verify.Options{Keys: signers[0].PublicKey(), Field: "source.oci.verify"}
			w.source.ResetRequests()
			result, err := w.stream.Run(t.Context(), w.run)
			if tc.want == "" {
				if err != nil || result.Revision != made || !strings.Contains(w.log.String(), "is signed as source.oci.verify demands") {
					t.Errorf("\n%s\nRun(...): got %+v, %v\n%s", tc.reason, result, err, w.log)
				}
				return
			}
			if outcome.ReasonOf(err) != outcome.Unverified || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("\n%s\nRun(...): want %q, got %v", tc.reason, tc.want, err)
			}
			if reads, pushes := w.source.Count(http.MethodGet, "/blobs/"), target.Count(http.MethodPost, ""); reads > max(0, tc.signer) || pushes > 0 {
				t.Errorf("\n%s\nRun(...): want nothing of the artifact to be read or pushed, got %d reads and %d pushes", tc.reason, reads, pushes)
			}
		})
	}
}

// TestOCIVerifyTag has a tag moved while its artifact is read: what was verified is
// what is copied.
func TestOCIVerifyTag(t *testing.T) {
	w, _, made := newOCIWorld(t, pipeline.FormatModelPack, testregistry.Options{}, testregistry.Options{})
	c, signer := w.client(t, w.source), testregistry.NewSigner(t)
	subject := w.descriptor(t, made)
	testregistry.PushReferrer(t, c, w.from.Target.Repository, subject, testregistry.BundleType, signer.Bundle(testregistry.SignType, subject.Digest))
	w.run.Source.Artifact.Reference = w.from.Target.Registry + "/" + w.from.Target.Repository + ":" + stagingTag
	w.run.Source.Artifact.Verify = &verify.Options{Keys: signer.PublicKey(), Field: "source.oci.verify"}
	w.source.SetFault(testregistry.Times(1, testregistry.On(http.MethodGet, "/referrers/"), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			testregistry.PushForeign(t, c, w.from.Target.Repository, stagingTag)
			next.ServeHTTP(rw, r)
		})
	}))
	result, err := w.stream.Run(t.Context(), w.run)
	if err != nil || result.Digest != made {
		t.Errorf("The digest that the tag stood for at first should be copied.\nRun(...): got %+v, %v\n%s", result, err, w.log)
	}
}

// descriptor returns the descriptor of the source's manifest.
func (w *ociWorld) descriptor(t *testing.T, made string) ocispec.Descriptor {
	t.Helper()
	b := w.manifest(t, w.client(t, w.source), w.from.Target.Repository, made)
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
}
