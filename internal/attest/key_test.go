package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// testKey returns the key whose number is n, which is the same in each test run.
func testKey(t testing.TB, n byte) *Key {
	t.Helper()
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	k, err := newKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func encodePEM(t testing.TB, kind string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return encodePEM(t, pemPrivate, der, err)
}

func TestParsePrivateKey(t *testing.T) {
	k := testKey(t, 1)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(k.private)
	ec := encodePEM(t, pemECPrivate, sec1, err)
	block, _ := pem.Decode(pkcs8(t, k.private))
	box, err := encrypted.EncryptWithCustomKDFParameters(block.Bytes, []byte("secret"), encrypted.Legacy)
	cosign := encodePEM(t, pemSigstorePrivate, box, err)
	emptyBox, err := encrypted.EncryptWithCustomKDFParameters(block.Bytes, nil, encrypted.Legacy)
	old := encodePEM(t, pemCosignPrivate, emptyBox, err)
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}})

	cases := map[string]struct {
		reason   string
		key      []byte
		password string
		want     string // Part of the error; empty for none.
	}{
		"PKCS8":       {reason: "PKCS#8 should be parsed.", key: pkcs8(t, k.private)},
		"EC":          {reason: "SEC 1 should be parsed.", key: ec},
		"Parameters":  {reason: "The curve's parameters, which openssl writes first, should be skipped.", key: append(bytes.Clone(parameters), ec...)},
		"Text":        {reason: "Text before the key should be skipped.", key: append([]byte("key of the team\n"), ec...)},
		"Cosign":      {reason: "cosign's encrypted key should be parsed with its password.", key: cosign, password: "secret"},
		"OldCosign":   {reason: "The form that cosign wrote before should be parsed, with an empty password.", key: old},
		"Password":    {reason: "A wrong password should be named as the cause.", key: cosign, password: "wrong", want: "cosign.password"},
		"NoPassword":  {reason: "A missing password should be named as the cause.", key: cosign, want: "cosign.password"},
		"P384":        {reason: "Another curve should be refused with the cure.", key: pkcs8(t, p384), want: "curve P-384, and only ECDSA keys on curve P-256 are supported, with which all verifiers work: make one with cosign"},
		"Ed25519":     {reason: "Another kind of key should be refused with the cure.", key: pkcs8(t, edwards), want: "no ECDSA key, and only"},
		"RSA":         {reason: "An RSA key should be refused with the cure.", key: pkcs8(t, rsaKey), want: "no ECDSA key, and only"},
		"PKCS1":       {reason: "An RSA key in its own form should be refused with the cure.", key: encodePEM(t, "RSA PRIVATE KEY", nil, nil), want: "an RSA key, and only"},
		"OpenSSH":     {reason: "An OpenSSH key should be refused with the cure.", key: encodePEM(t, "OPENSSH PRIVATE KEY", nil, nil), want: "an OpenSSH key, and only"},
		"Encrypted":   {reason: "PKCS#8's own encryption should be refused with the cure.", key: encodePEM(t, "ENCRYPTED PRIVATE KEY", nil, nil), want: "cosign import-key-pair"},
		"EncryptedEC": {reason: "openssl's old encryption should be refused with the cure.", key: []byte("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n"), want: "-nocrypt"},
		"Public":      {reason: "A public key should be refused as such.", key: k.PublicPEM(), want: "the key is a public one"},
		"Certificate": {reason: "Another PEM block should be refused with what to write.", key: encodePEM(t, "CERTIFICATE", nil, nil), want: "BEGIN PRIVATE KEY"},
		"Broken":      {reason: "A key that is cut should be refused.", key: encodePEM(t, pemPrivate, block.Bytes[:40], nil), want: "cannot parse the private key as PKCS#8"},
		"BrokenEC":    {reason: "A key in SEC 1 that is cut should be refused.", key: encodePEM(t, pemECPrivate, sec1[:40], nil), want: "cannot parse the EC private key"},
		"BrokenBox":   {reason: "cosign's form without its content should be refused.", key: encodePEM(t, pemSigstorePrivate, []byte(`{"kdf":{}}`), nil), want: "cannot decrypt"},
		"Empty":       {reason: "An empty file should be refused with what to write.", want: "there is no private key in PEM"},
		"DER":         {reason: "Anything but PEM should be refused with what to write.", key: block.Bytes, want: "there is no private key in PEM"},
		"Long":        {reason: "A file without end should not be parsed.", key: bytes.Repeat([]byte("a"), maxKeyBytes+1), want: "at most 16384 are read"},
		"Many":        {reason: "Only so many PEM blocks should be read.", key: append(bytes.Repeat(parameters, maxKeyBlocks), ec...), want: "there is no private key in PEM"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ParsePrivateKey(tc.key, []byte(tc.password))
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("\n%s\nParsePrivateKey(...): want one line with %q, got %v", tc.reason, tc.want, err)
				}
				return
			}
			if err != nil || got.KeyID() != k.KeyID() || !got.private.Equal(k.private) {
				t.Errorf("\n%s\nParsePrivateKey(...): want %s, got %v, %v", tc.reason, k, got, err)
			}
		})
	}
}

func TestGenerateKey(t *testing.T) {
	one, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	two, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(one, two) {
		t.Error("Two keys should differ.")
	}
	k, err := ParsePrivateKey(one, nil)
	if err != nil {
		t.Fatalf("A generated key should be parsed: %v", err)
	}
	sum := sha256.Sum256(k.PublicPEM())
	if want := hex.EncodeToString(sum[:]); k.KeyID() != want || !bytes.HasSuffix(k.PublicPEM(), []byte("\n")) {
		t.Errorf("The ID should be what model_signing computes of the public key.\nKeyID(): want %s, got %s", want, k.KeyID())
	}
}

func TestKeyIsNotPrinted(t *testing.T) {
	k := testKey(t, 1)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, k); got != "key "+k.KeyID() {
			t.Errorf("A key should be printed without its private part.\n%s: got %s", verb, got)
		}
	}
}

// FuzzParsePrivateKey checks that no file makes parsing panic, that what is parsed signs,
// and that errors repeat nothing of the file.
func FuzzParsePrivateKey(f *testing.F) {
	f.Add(pkcs8(f, testKey(f, 1).private), []byte(nil))
	f.Add(testKey(f, 1).PublicPEM(), []byte("x"))
	f.Add([]byte("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"), []byte("p"))
	f.Fuzz(func(t *testing.T, key, password []byte) {
		k, err := ParsePrivateKey(key, password)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 512 {
				t.Errorf("ParsePrivateKey(...): %q", err)
			}
			return
		}
		b, err := k.Sign(t.Context(), PayloadType, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		v, err := NewVerifier(k.PublicPEM())
		if err != nil {
			t.Fatal(err)
		}
		if _, id, err := v.OpenPayload(b); err != nil || id != k.KeyID() {
			t.Errorf("open(...): %s, %v", id, err)
		}
	})
}
