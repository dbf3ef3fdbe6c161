package attest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/attest/keyless"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/sigstore"
)

// TestVerifyKeyless checks what cosign says of provenance that an identity has signed.
func TestVerifyKeyless(t *testing.T) {
	needCosign(t)
	s := sigstore.Start(t)
	dir := t.TempDir()
	token, root := filepath.Join(dir, "token"), filepath.Join(dir, "trusted_root.json")
	for path, content := range map[string]string{
		token: sigstore.Token("crossplane-system", "provider-kitops", sigstore.Audience, time.Now().Add(time.Hour)),
		root:  string(s.TrustedRoot()),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	subject := sigstore.Subject("crossplane-system", "provider-kitops")
	signer, err := keyless.NewSigner(keyless.SignerOptions{
		FulcioURL: s.URL, RekorURL: s.URL, TimestampURL: s.URL, TokenFile: token, TrustedRoot: s.TrustedRoot(),
		Identity: keyless.Identity{Issuer: sigstore.Issuer, Subject: subject},
	})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, registries["Tag"](t))
	signed, bare := w.artifact(t, "signed"), w.artifact(t, "bare")
	bundle := w.provenance(t, signer, signed.Digest)
	w.refer(t, signed, attest.BundleType, bundle)
	w.refer(t, bare, attest.BundleType, bundle)

	attestation := []string{"verify-attestation", "--type", "slsaprovenance1"}
	cases := map[string]struct {
		reason          string
		args            []string
		subject, issuer string
		digest          digest.Digest
		fails           bool
	}{
		"Attestation":  {reason: "Provenance should verify by the identity.", args: attestation, subject: subject, issuer: sigstore.Issuer, digest: signed.Digest},
		"Signature":    {reason: "It should stand for a signature.", args: []string{"verify"}, subject: subject, issuer: sigstore.Issuer, digest: signed.Digest},
		"OtherSubject": {reason: "Another identity should be refused.", args: attestation, subject: sigstore.Subject("other", "x"), issuer: sigstore.Issuer, digest: signed.Digest, fails: true},
		"OtherIssuer":  {reason: "So should another issuer.", args: attestation, subject: subject, issuer: "https://example.com", digest: signed.Digest, fails: true},
		"Replayed":     {reason: "So should provenance of another artifact.", args: attestation, subject: subject, issuer: sigstore.Issuer, digest: bare.Digest, fails: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			// The fake logs no certificates, which a real Fulcio does.
			out, err := cosign(t, append(tc.args, "--certificate-identity", tc.subject, "--certificate-oidc-issuer", tc.issuer,
				"--trusted-root", root, "--insecure-ignore-sct", w.name(tc.digest))...)
			if (err != nil) != tc.fails {
				t.Errorf("\n%s\ncosign %v: want it to fail: %t, got %v:\n%s", tc.reason, tc.args, tc.fails, err, out)
			}
		})
	}
}
