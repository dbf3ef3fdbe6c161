package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// SignatureType is the predicate type of a statement that signs an artifact and says
// nothing else about it
// (https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md). Signatures
// under legacy tags, which are no statements, count as such.
const SignatureType = "https://sigstore.dev/cosign/sign/v1"

// statementTypeV01 is the type of in-toto statements that cosign stores under legacy
// tags (https://github.com/in-toto/attestation/blob/main/spec/v0.1.0/README.md).
const statementTypeV01 = "https://in-toto.io/Statement/v0.1"

// maxSubjects bounds the subjects of a foreign statement, as sigstore-go does.
const maxSubjects = 1024

// ForeignKeys are public keys of others, who sign with what they have: ECDSA on any
// curve with SHA-256, RSA with SHA-256 or Ed25519, as cosign's --key verifies.
type ForeignKeys struct {
	keys []crypto.PublicKey
}

// ParseForeignKeys parses all public keys in files in PEM. Each file must have at least
// one.
func ParseForeignKeys(pems ...[]byte) (*ForeignKeys, error) {
	out := &ForeignKeys{}
	for _, b := range pems {
		if len(b) > maxKeyBytes {
			return nil, errors.Errorf("the public key has %d bytes, and at most %d are read: write keys in PEM and nothing else", len(b), maxKeyBytes)
		}
		before := len(out.keys)
		for len(out.keys) <= maxKeys {
			var block *pem.Block
			if block, b = pem.Decode(b); block == nil {
				break
			}
			key, err := parseForeignKey(block)
			if err != nil {
				return nil, err
			}
			out.keys = append(out.keys, key)
		}
		if len(out.keys) == before || len(out.keys) > maxKeys {
			return nil, errors.Errorf("there must be from 1 to %d public keys in PEM: write one that begins with -----BEGIN PUBLIC KEY-----, for example cosign.pub", maxKeys)
		}
	}
	return out, nil
}

func parseForeignKey(block *pem.Block) (crypto.PublicKey, error) {
	if block.Type != pemPublic {
		return nil, errors.New("the PEM block is no public key: write one that begins with -----BEGIN PUBLIC KEY-----, for example cosign.pub")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("cannot parse the public key: write a whole key as SubjectPublicKeyInfo in PEM, for example cosign.pub")
	}
	switch key.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey, ed25519.PublicKey:
		return key, nil
	default:
		return nil, errors.New("the public key is none that signatures are verified with: write an ECDSA, RSA or Ed25519 key, for example cosign.pub")
	}
}

// verify reports whether one of the keys signed a message.
func (k *ForeignKeys) verify(message, sig []byte) bool {
	sum := sha256.Sum256(message)
	return slices.ContainsFunc(k.keys, func(key crypto.PublicKey) bool {
		switch key := key.(type) {
		case *ecdsa.PublicKey:
			return ecdsa.VerifyASN1(key, sum[:], sig)
		case *rsa.PublicKey:
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
		case ed25519.PublicKey:
			return ed25519.Verify(key, message, sig)
		}
		return false
	})
}

// errForeignKey is returned for what none of the keys signed.
var errForeignKey = errors.New("signed by none of the trusted keys")

// OpenBundle returns the predicate type of the statement in a Sigstore bundle. It
// returns an error unless one of the keys signed it, and one of its subjects has this
// digest.
func (k *ForeignKeys) OpenBundle(b []byte, subject digest.Digest) (string, error) {
	decoded, err := decodeBundle(b)
	if err != nil {
		return "", err
	}
	return k.openEnvelope(*decoded.Envelope, subject)
}

// OpenEnvelope returns the predicate type of the statement in a DSSE envelope, as
// cosign stores it under a legacy .att tag. It returns an error as OpenBundle does.
func (k *ForeignKeys) OpenEnvelope(b []byte, subject digest.Digest) (string, error) {
	var e envelope
	if err := decode.JSON(b, &e); err != nil {
		return "", errors.Wrap(foreign(err), "cannot read the DSSE envelope")
	}
	return k.openEnvelope(e, subject)
}

func (k *ForeignKeys) openEnvelope(e envelope, subject digest.Digest) (string, error) {
	if e.PayloadType != PayloadType {
		return "", errors.New("not an in-toto statement: its payloadType must be " + PayloadType)
	}
	message := preAuthEncoding(e.PayloadType, e.Payload)
	if len(e.Signatures) > maxKeys || !slices.ContainsFunc(e.Signatures, func(s signature) bool { return k.verify(message, s.Sig) }) {
		return "", errForeignKey
	}
	return ForeignStatement(e.Payload, subject)
}

// OpenImageSignature returns an error unless one of the keys signed the payload, in the
// form that cosign stores under a legacy .sig tag, and the payload claims this digest.
// The tag and the layer may have been copied from another artifact.
func (k *ForeignKeys) OpenImageSignature(payload, sig []byte, subject digest.Digest) error {
	if !k.verify(payload, sig) {
		return errForeignKey
	}
	return ClaimedDigest(payload, subject)
}

// ForeignStatement returns the predicate type of an in-toto statement whose signature
// is verified. It returns an error unless one of its subjects has this digest.
func ForeignStatement(b []byte, subject digest.Digest) (string, error) {
	var s statement
	if err := decode.JSON(b, &s); err != nil {
		return "", errors.Wrap(foreign(err), "cannot read the in-toto statement")
	}
	if s.Type != statementType && s.Type != statementTypeV01 {
		return "", errors.New("not an in-toto statement: its _type must be " + statementType)
	}
	if len(s.Subject) > maxSubjects {
		return "", errors.Errorf("the statement has %d subjects, and at most %d are read", len(s.Subject), maxSubjects)
	}
	about := func(r resource) bool {
		return subject.Algorithm() == digest.SHA256 && r.Digest["sha256"] == subject.Encoded()
	}
	if !slices.ContainsFunc(s.Subject, about) {
		return "", errors.New("signed for another digest")
	}
	return s.PredicateType, nil
}

// ClaimedDigest returns an error unless the payload of an image signature claims this
// digest
// (https://github.com/containers/image/blob/main/docs/containers-signature.5.md).
func ClaimedDigest(payload []byte, subject digest.Digest) error {
	var claim struct {
		Critical struct {
			Image struct {
				Digest digest.Digest `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if err := decode.JSON(payload, &claim); err != nil {
		return errors.Wrap(foreign(err), "cannot read the signature's payload")
	}
	if claim.Critical.Image.Digest != subject {
		return errors.New("signed for another digest")
	}
	return nil
}
