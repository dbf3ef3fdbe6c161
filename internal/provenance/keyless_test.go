package provenance

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/attest/keyless"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/sigstore"
)

// TestPushKeyless has an identity sign, of which no two signatures are the same.
func TestPushKeyless(t *testing.T) {
	s := sigstore.Start(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(sigstore.Token("system", "provider", sigstore.Audience, time.Now().Add(time.Hour))), 0o600); err != nil {
		t.Fatal(err)
	}
	signer, err := keyless.NewSigner(keyless.SignerOptions{
		FulcioURL: s.URL, RekorURL: s.URL, TokenFile: token, TrustedRoot: s.TrustedRoot(),
		Identity: keyless.Identity{Issuer: sigstore.Issuer, Subject: sigstore.Subject("system", "provider")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, api := range map[string]bool{"API": true, "Fallback": false} {
		t.Run(name, func(t *testing.T) {
			c, place := newRegistry(t, api, nil), placeOf(t, newKey(t))
			// What the provider's key signed before counts still.
			if _, err := place.Push(t.Context(), c, subjectOf("artifact"), testRecord(1)); err != nil {
				t.Fatal(err)
			}
			place.Signer, place.Verifier = signer, place.Verifier.And(attest.NewIdentityVerifier(signer.Verifier()))
			first, err := place.Push(t.Context(), c, subjectOf("artifact"), testRecord(2))
			if err != nil {
				t.Fatal(err)
			}
			asked := len(s.Asked())
			again, err := place.Push(t.Context(), c, subjectOf("artifact"), testRecord(2))
			if err != nil || again.Digest != first.Digest || len(s.Asked()) != asked {
				t.Errorf("The same record should not be signed again.\nPush(...): want %s, got %s with %d requests, %v", first.Digest, again.Digest, len(s.Asked())-asked, err)
			}
			if other, err := place.Push(t.Context(), c, subjectOf("artifact"), testRecord(3)); err != nil || other.Digest == first.Digest {
				t.Errorf("Another record should be signed.\nPush(...): got %s, %v", other.Digest, err)
			}
			found, _, err := place.Of(t.Context(), c, subjectOf("artifact").Digest, testRecord(2).Owner)
			if err != nil || len(found) != 3 || found[0].KeyID != signer.KeyID() || found[2].KeyID == signer.KeyID() {
				t.Errorf("Records of the identity and of the key should count.\nOf(...): got %+v, %v", found, err)
			}
			place.Verifier = placeOf(t, newKey(t)).Verifier
			if found, _, err := place.Of(t.Context(), c, subjectOf("artifact").Digest, testRecord(2).Owner); err != nil || len(found) > 0 {
				t.Errorf("Without the identity being trusted none should count.\nOf(...): got %+v, %v", found, err)
			}
			place.AnyKey = true
			if found, _, err := place.Of(t.Context(), c, subjectOf("artifact").Digest, testRecord(2).Owner); err != nil || len(found) != 3 {
				t.Errorf("An administrator should be able to adopt what an identity signed.\nOf(...): got %+v, %v", found, err)
			}
		})
	}
}
