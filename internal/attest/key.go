package attest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"sync"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// Types of PEM blocks that hold keys. The two that are encrypted are cosign's
// (https://github.com/sigstore/cosign/blob/main/pkg/cosign/keys.go), by its present
// and its former name.
const (
	pemPrivate         = "PRIVATE KEY"
	pemECPrivate       = "EC PRIVATE KEY"
	pemSigstorePrivate = "ENCRYPTED SIGSTORE PRIVATE KEY"
	pemCosignPrivate   = "ENCRYPTED COSIGN PRIVATE KEY"
	pemPublic          = "PUBLIC KEY"
)

const (
	// maxKeyBytes bounds a key file. One of an ECDSA key has less than 1 KiB.
	maxKeyBytes = 16 << 10

	// maxKeyBlocks bounds the PEM blocks of a key file.
	maxKeyBlocks = 16
)

// newKeyHint tells how to make a key of the one supported kind.
const newKeyHint = "make one with cosign generate-key-pair, or with openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"

// decrypting is held while a key is decrypted: that takes up to 128 MiB of memory.
var decrypting sync.Mutex

// A Key is an ECDSA private key on curve P-256, the one kind of key with which cosign,
// Kyverno, policy-controller and model_signing all verify. It is a Signer.
type Key struct {
	private *ecdsa.PrivateKey
	public  []byte // In PEM.
	id      string
}

var _ Signer = &Key{}

// GenerateKey returns a new private key as PKCS#8 in PEM, not encrypted.
func GenerateKey() ([]byte, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, errors.Wrap(err, "cannot generate a key")
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, errors.Wrap(err, "cannot encode a generated key")
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: der}), nil
}

// ParsePrivateKey parses the first private key in PEM: PKCS#8, SEC 1 (EC PRIVATE KEY),
// or cosign's encrypted form, for which the password is needed, be it empty. It
// returns an error that names the cure for a key that is not ECDSA on P-256. No error
// contains anything of the key or the password.
func ParsePrivateKey(b, password []byte) (*Key, error) {
	if len(b) > maxKeyBytes {
		return nil, errors.Errorf("the private key has %d bytes, and at most %d are read: write one key in PEM", len(b), maxKeyBytes)
	}
	for range maxKeyBlocks {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		// openssl ecparam writes the curve's parameters first.
		if block.Type == "EC PARAMETERS" {
			continue
		}
		private, err := parsePrivate(block, password)
		if err != nil {
			return nil, err
		}
		return newKey(private)
	}
	return nil, errors.Errorf("there is no private key in PEM: write one that begins with -----BEGIN PRIVATE KEY----- or -----BEGIN %s-----; %s", pemSigstorePrivate, newKeyHint)
}

func parsePrivate(block *pem.Block, password []byte) (any, error) {
	switch block.Type {
	case pemPrivate:
		return parsePKCS8(block.Bytes)
	case pemECPrivate:
		if block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the private key is encrypted by openssl, which is not supported: write it unencrypted, as openssl pkcs8 -topk8 -nocrypt does, or convert it with cosign import-key-pair")
		}
		private, err := x509.ParseECPrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("cannot parse the EC private key: write a whole ECDSA key on curve P-256; " + newKeyHint)
		}
		return private, nil
	case pemSigstorePrivate, pemCosignPrivate:
		decrypting.Lock()
		defer decrypting.Unlock()
		der, err := encrypted.Decrypt(block.Bytes, password)
		if err != nil {
			return nil, errors.New("cannot decrypt the private key: write the password that cosign generate-key-pair was given, as key cosign.password beside cosign.key")
		}
		return parsePKCS8(der)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("the private key is encrypted as PKCS#8, which is not supported: write it unencrypted, as openssl pkcs8 -topk8 -nocrypt does, or convert it with cosign import-key-pair")
	case "RSA PRIVATE KEY":
		return nil, unsupportedKey("an RSA key")
	case "OPENSSH PRIVATE KEY":
		return nil, unsupportedKey("an OpenSSH key")
	case pemPublic:
		return nil, errors.New("the key is a public one, and signing needs the private one: write the private key, for example cosign.key")
	default:
		return nil, errors.Errorf("the PEM block is none that holds a private key: write one that begins with -----BEGIN PRIVATE KEY----- or -----BEGIN %s-----; %s", pemSigstorePrivate, newKeyHint)
	}
}

func parsePKCS8(der []byte) (any, error) {
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("cannot parse the private key as PKCS#8: write a whole ECDSA key on curve P-256; " + newKeyHint)
	}
	return private, nil
}

// newKey returns the Key of a parsed private key.
func newKey(private any) (*Key, error) {
	p, ok := private.(*ecdsa.PrivateKey)
	if !ok {
		return nil, unsupportedKey("no ECDSA key")
	}
	if p.Curve != elliptic.P256() {
		return nil, unsupportedKey("an ECDSA key on curve " + p.Curve.Params().Name)
	}
	public, err := publicPEM(&p.PublicKey)
	if err != nil {
		return nil, err
	}
	return &Key{private: p, public: public, id: keyID(public)}, nil
}

// unsupportedKey returns the error for a key of another kind.
func unsupportedKey(kind string) error {
	return errors.Errorf("the key is %s, and only ECDSA keys on curve P-256 are supported, with which all verifiers work: %s", kind, newKeyHint)
}

// PublicPEM returns the public key as SubjectPublicKeyInfo in PEM, which ends with a
// newline.
func (k *Key) PublicPEM() []byte { return bytes.Clone(k.public) }

// KeyID returns the hexadecimal SHA-256 of PublicPEM, which model_signing wants as the
// hint of a bundle's key (OpenSSF Model Signing v1.0, section 4.1). cosign, which
// would write another, ignores the hint if it is given a key.
func (k *Key) KeyID() string { return k.id }

// IsDeterministic returns true.
func (k *Key) IsDeterministic() bool { return true }

// String returns a text without the private key.
func (k *Key) String() string { return "key " + k.id }

// GoString returns a text without the private key.
func (k *Key) GoString() string { return k.String() }

// Sign returns a Sigstore bundle with the payload in a DSSE envelope. It returns the
// same bundle for the same payload.
func (k *Key) Sign(_ context.Context, payloadType string, payload []byte) ([]byte, error) {
	signature, err := k.signBlob(preAuthEncoding(payloadType, payload))
	if err != nil {
		return nil, err
	}
	return encodeBundle(k.id, payloadType, payload, signature)
}

// signBlob returns the DER signature of b's SHA-256.
func (k *Key) signBlob(b []byte) ([]byte, error) {
	sum := sha256.Sum256(b)
	// Without a source of randomness the signature is deterministic (RFC 6979), so
	// that signing again yields the referrer that is there already.
	signature, err := k.private.Sign(nil, sum[:], crypto.SHA256)
	return signature, errors.Wrap(err, "cannot sign")
}

// publicPEM returns a public key as SubjectPublicKeyInfo in PEM.
func publicPEM(public *ecdsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, errors.Wrap(err, "cannot encode a public key")
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: der}), nil
}

// keyID returns the ID of the key with this public key in PEM.
func keyID(public []byte) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:])
}
