package attest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/verify"
)

// TestVerifyUpstream verifies what cosign has signed, as runs verify their sources.
func TestVerifyUpstream(t *testing.T) {
	needCosign(t)
	dir := t.TempDir()
	for _, name := range []string{"upstream", "stranger"} {
		if _, err := cosign(t, "generate-key-pair", "--output-key-prefix", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	predicate := filepath.Join(dir, "predicate.json")
	if err := os.WriteFile(predicate, []byte(`{"buildDefinition":{},"runDetails":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	by := []string{"--key", filepath.Join(dir, "upstream.key"), "--use-signing-config=false", "--tlog-upload=false", "--yes"}
	for kind, start := range registries {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, start(t))
			signed, attested, bare := w.artifact(t, "signed"), w.artifact(t, "attested"), w.artifact(t, "bare")
			if _, err := cosign(t, append([]string{"sign", w.name(signed.Digest)}, by...)...); err != nil {
				t.Fatal(err)
			}
			if _, err := cosign(t, append([]string{"attest", "--type", "slsaprovenance1", "--predicate", predicate, w.name(attested.Digest)}, by...)...); err != nil {
				t.Fatal(err)
			}
			cases := map[string]struct {
				reason string
				ref    string
				key    string
				typ    string
				want   bool
			}{
				"Signature":   {reason: "A signature should verify.", ref: w.name(signed.Digest), key: "upstream.pub", want: true},
				"OfType":      {reason: "A signature should be one of cosign's type.", ref: w.name(signed.Digest), key: "upstream.pub", typ: attest.SignatureType, want: true},
				"Attestation": {reason: "An attestation should verify by its type.", ref: w.name(attested.Digest), key: "upstream.pub", typ: attest.ProvenanceType, want: true},
				"NoneOfType":  {reason: "A signature should not be taken for an attestation.", ref: w.name(signed.Digest), key: "upstream.pub", typ: attest.ProvenanceType},
				"Stranger":    {reason: "Another key should not verify.", ref: w.name(signed.Digest), key: "stranger.pub"},
				"Bare":        {reason: "An artifact without a signature should not verify.", ref: w.name(bare.Digest), key: "upstream.pub"},
			}
			for name, tc := range cases {
				t.Run(name, func(t *testing.T) {
					v, err := verify.New(verify.Options{KeyFiles: []string{filepath.Join(dir, tc.key)}, PredicateType: tc.typ, Field: "verify"})
					if err != nil {
						t.Fatal(err)
					}
					ref, err := registry.ParseReference(tc.ref)
					if err != nil {
						t.Fatal(err)
					}
					err = v.Verify(t.Context(), w, ref)
					if tc.want != (err == nil) || err != nil && outcome.ReasonOf(err) != outcome.Unverified {
						t.Errorf("\n%s\nVerify(...): want it to verify: %t, got %v", tc.reason, tc.want, err)
					}
				})
			}
		})
	}
}
