package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// foreignSigners are keys of all kinds that others sign with.
func foreignSigners(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	p256, err256 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, err384 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	r, errRSA := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, errEd := ed25519.GenerateKey(rand.Reader)
	for _, err := range []error{err256, err384, errRSA, errEd} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return map[string]crypto.Signer{"P-256": p256, "P-384": p384, "RSA": r, "Ed25519": ed}
}

func foreignPublic(t *testing.T, s crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: der})
}

// foreignSign signs as cosign does.
func foreignSign(t *testing.T, s crypto.Signer, message []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(message)
	signed, hash := sum[:], crypto.SHA256
	if _, ok := s.(ed25519.PrivateKey); ok {
		signed, hash = message, crypto.Hash(0)
	}
	sig, err := s.Sign(rand.Reader, signed, hash)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func TestForeignKeys(t *testing.T) {
	subject := digest.FromString("manifest")
	statement := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"digest":{"sha256":"aa"}},{"digest":{"sha256":%q}}],"predicateType":"https://example.com/p","predicate":{},"other":1}`, subject.Encoded())
	payload := fmt.Appendf(nil, `{"critical":{"image":{"docker-manifest-digest":%q}}}`, subject)
	signers := foreignSigners(t)
	for name, s := range signers {
		t.Run(name, func(t *testing.T) {
			for other, o := range signers {
				keys, err := ParseForeignKeys(foreignPublic(t, o))
				if err != nil {
					t.Fatal(err)
				}
				b, err := json.Marshal(envelope{Payload: statement, PayloadType: PayloadType, Signatures: []signature{{Sig: foreignSign(t, s, preAuthEncoding(PayloadType, statement))}}})
				if err != nil {
					t.Fatal(err)
				}
				predicateType, err := keys.OpenEnvelope(b, subject)
				if got := err == nil && predicateType == "https://example.com/p"; got != (name == other) {
					t.Errorf("OpenEnvelope(...) of %s by the key %s: got %q, %v", name, other, predicateType, err)
				}
				sig := foreignSign(t, s, payload)
				if err := keys.OpenImageSignature(payload, sig, subject); (err == nil) != (name == other) {
					t.Errorf("OpenImageSignature(...) of %s by the key %s: got %v", name, other, err)
				}
				if err := keys.OpenImageSignature(payload, sig, digest.FromString("other")); err == nil {
					t.Error("A signature that claims another digest should be refused.\nOpenImageSignature(...): want an error")
				}
			}
		})
	}
}

func TestForeignStatement(t *testing.T) {
	subject := digest.FromString("manifest")
	of := func(statementType, subjects string) string {
		return fmt.Sprintf(`{"_type":%q,"subject":[%s],"predicateType":"p"}`, statementType, subjects)
	}
	right := fmt.Sprintf(`{"digest":{"sha256":%q}}`, subject.Encoded())
	cases := map[string]struct {
		reason    string
		statement string
		want      string // What the error says; empty for none.
	}{
		"One":     {reason: "A statement about the digest should be accepted.", statement: of(statementType, right)},
		"Several": {reason: "One of several subjects should be enough.", statement: of(statementType, `{"digest":{"sha512":"x"}},`+right)},
		"None":    {reason: "A statement about nothing should be refused.", statement: of(statementType, ""), want: "another digest"},
		"Other":   {reason: "A statement about another digest should be refused.", statement: of(statementType, `{"digest":{"sha256":"x"}}`), want: "another digest"},
		"Name":    {reason: "A digest in the subject's name should not count.", statement: of(statementType, fmt.Sprintf(`{"name":%q}`, subject)), want: "another digest"},
		"Type":    {reason: "Another document should be refused.", statement: of("https://example.com", right), want: "not an in-toto statement"},
		"Many":    {reason: "Too many subjects should be refused.", statement: of(statementType, right+strings.Repeat(","+right, maxSubjects)), want: "at most 1024"},
		"NoJSON":  {reason: "A document that is no JSON should be refused.", statement: "x", want: "cannot read"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := ForeignStatement([]byte(tc.statement), subject)
			if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("\n%s\nForeignStatement(...): want %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

// FuzzForeign checks that nothing foreign is accepted that the key has not signed, and
// that reading it ends.
func FuzzForeign(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	keys, err := ParseForeignKeys(pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: der}))
	if err != nil {
		f.Fatal(err)
	}
	subject := digest.FromString("manifest")
	f.Add([]byte(`{"mediaType":"`+BundleType+`","verificationMaterial":{"publicKey":{}},"dsseEnvelope":{"payload":"e30=","payloadType":"`+PayloadType+`","signatures":[{"sig":"eA=="}]}}`), []byte("sig"))
	f.Add([]byte(`{"payload":"e30=","payloadType":"`+PayloadType+`","signatures":[{"sig":"eA=="}]}`), []byte{})
	f.Add([]byte(`{"critical":{"image":{"docker-manifest-digest":"`+subject+`"}}}`), []byte{0x30})
	f.Fuzz(func(t *testing.T, b, sig []byte) {
		_, bundle := keys.OpenBundle(b, subject)
		_, envelope := keys.OpenEnvelope(b, subject)
		if image := keys.OpenImageSignature(b, sig, subject); bundle == nil || envelope == nil || image == nil {
			t.Errorf("accepted %q", b)
		}
		// What is signed is foreign, too.
		_, _ = ForeignStatement(b, subject)
		_ = ClaimedDigest(b, subject)
	})
}
