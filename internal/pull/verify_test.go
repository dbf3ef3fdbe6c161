package pull

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/verify"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// sign pushes a signature of an artifact.
func (f *front) sign(t *testing.T, s *testregistry.Signer, d digest.Digest) {
	t.Helper()
	c, err := registry.New(registry.Options{Host: f.host(), PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	subject, err := c.Resolve(t.Context(), testRepository, d.String())
	if err != nil {
		t.Fatal(err)
	}
	testregistry.PushReferrer(t, c, testRepository, ocispec.Descriptor{MediaType: subject.MediaType, Digest: d, Size: subject.Size},
		testregistry.BundleType, s.Bundle(testregistry.SignType, d))
}

func TestVerify(t *testing.T) {
	trusted, stranger := testregistry.NewSigner(t), testregistry.NewSigner(t)
	cases := map[string]struct {
		reason string
		signer *testregistry.Signer
		before bool // Whether it was pulled before without verifying it.
		want   outcome.Reason
	}{
		"Signed":       {reason: "A signed artifact should be pulled.", signer: trusted},
		"SignedBefore": {reason: "What is here already should be verified.", signer: trusted, before: true},
		"Unsigned":     {reason: "An unsigned artifact should not be pulled.", want: outcome.Unverified},
		"Stranger":     {reason: "An artifact that a stranger signed should not be pulled.", signer: stranger, want: outcome.Unverified},
		"Before":       {reason: "An unsigned artifact that is here already should be an error.", before: true, want: outcome.Unverified},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, open, false)
			// All cases share a registry.
			files := map[string]string{"name.txt": name, "model.safetensors": strings.Repeat("w", 5000)}
			d := f.push(t, modelPack, rawLayers(files)...)
			if tc.signer != nil {
				f.sign(t, tc.signer, d)
			}
			dir := filepath.Join(t.TempDir(), "model")
			if tc.before {
				if p, log := f.pulling(dir, d); !succeeds(t, p) {
					t.Fatal(log)
				}
			}
			parts := filepath.Join(dir, partialDir)
			if err := os.MkdirAll(parts, 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(parts, "interrupted"), []byte("w"), 0o600); err != nil {
				t.Fatal(err)
			}
			p, log := f.pulling(dir, d)
			p.options.Verify = &verify.Options{Keys: trusted.PublicKey(), Field: "--verify-key or --verify-identity"}
			_, err := p.Run(t.Context())
			if (err != nil) != (tc.want != "") || err != nil && (outcome.ReasonOf(err) != tc.want || !strings.Contains(err.Error(), "correct --verify-key")) {
				t.Errorf("\n%s\nRun(...): want %q, got %v\n%s", tc.reason, tc.want, err, log)
			}
			want := files
			if tc.want != "" && !tc.before {
				want = nil
			}
			holdsFiles(t, dir, want)
			if left, err := os.ReadDir(parts); tc.want != "" && (err != nil || len(left) > 0) {
				t.Errorf("\n%s\nRun(...): want nothing to be left in partial form, got %v, %v", tc.reason, left, err)
			}
		})
	}
}

// succeeds reports whether a pull succeeds.
func succeeds(t *testing.T, p *Pull) bool {
	t.Helper()
	_, err := p.Run(t.Context())
	return err == nil
}
