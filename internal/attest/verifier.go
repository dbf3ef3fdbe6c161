package attest

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"regexp"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// maxKeys bounds the keys that are given to a Verifier at once, each of which is tried for each signature.
const maxKeys = 32

// hintPattern matches the hint of a bundle that this package made. Other hints, which
// anyone can write, are not repeated in errors.
var hintPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// A Verifier verifies bundles that are signed by one of a set of keys, or by one of a set
// of identities.
type Verifier struct {
	keys       []trustedKey
	identities []IdentityVerifier
}

type trustedKey struct {
	id     string
	public *ecdsa.PublicKey
}

// NewVerifier returns a Verifier that trusts all public keys in these files in PEM. Each
// file must have at least one. Without any, the Verifier accepts nothing.
func NewVerifier(publicPEMs ...[]byte) (*Verifier, error) {
	v := &Verifier{}
	for _, b := range publicPEMs {
		keys, err := parsePublicKeys(b)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			if !slices.Contains(v.KeyIDs(), k.id) {
				v.keys = append(v.keys, k)
			}
		}
	}
	if len(v.keys) > maxKeys {
		return nil, errors.Errorf("there are %d public keys, and at most %d can be trusted at once: remove those that signed nothing that is still in use", len(v.keys), maxKeys)
	}
	return v, nil
}

// NewIdentityVerifier returns a Verifier that trusts an identity, and no key.
func NewIdentityVerifier(i IdentityVerifier) *Verifier {
	return &Verifier{identities: []IdentityVerifier{i}}
}

// And returns a Verifier that trusts the keys and the identities of both, of which either
// may be nil.
func (v *Verifier) And(other *Verifier) *Verifier {
	if v == nil || other == nil {
		return cmp.Or(v, other)
	}
	both := &Verifier{keys: slices.Clone(v.keys), identities: slices.Concat(v.identities, other.identities)}
	for _, k := range other.keys {
		if !slices.Contains(both.KeyIDs(), k.id) {
			both.keys = append(both.keys, k)
		}
	}
	return both
}

// KeyIDs returns the IDs of the keys, in the order in which they were given.
func (v *Verifier) KeyIDs() []string {
	ids := make([]string, len(v.keys))
	for i, k := range v.keys {
		ids[i] = k.id
	}
	return ids
}

// Open returns the in-toto statement in a bundle, and the ID of the key that signed it.
// It returns an error, which says why and repeats nothing foreign unbounded, unless one
// of the keys signed the bundle and the statement's one subject has this digest. What
// the predicate says is left to the caller: anyone who has one of the keys could have
// signed the statement, about the same manifest in another repository too.
func (v *Verifier) Open(bundle []byte, subject digest.Digest) ([]byte, string, error) {
	payload, id, err := v.OpenPayload(bundle)
	if err != nil {
		return nil, "", err
	}
	if err := isAbout(payload, subject); err != nil {
		return nil, "", err
	}
	return payload, id, nil
}

// OpenPayload returns the payload of a bundle, of which only the signature is verified, and
// the ID of the key or the identity that signed it.
func (v *Verifier) OpenPayload(b []byte) ([]byte, string, error) {
	decoded, err := decodeBundle(b)
	if errors.Is(err, errCertificate) {
		return v.openByIdentity(b)
	}
	if err != nil {
		return nil, "", err
	}
	e := decoded.Envelope
	if e.PayloadType != PayloadType {
		return nil, "", errors.New("the bundle holds no in-toto statement: its payloadType must be " + PayloadType)
	}
	if id := v.signer(preAuthEncoding(e.PayloadType, e.Payload), e.Signatures[0].Sig); id != "" {
		return e.Payload, id, nil
	}
	return nil, "", v.unverified(decoded.VerificationMaterial.PublicKey.Hint)
}

// openByIdentity returns the payload of a bundle that an identity has signed.
func (v *Verifier) openByIdentity(b []byte) ([]byte, string, error) {
	err := errCertificate
	for _, i := range v.identities {
		payload, id, why := i.OpenPayload(b)
		if why == nil {
			return payload, id, nil
		}
		err = foreign(why)
	}
	return nil, "", err
}

// OpenEnvelope returns the in-toto statement in a DSSE envelope, as LegacyAttestation
// returns it. It returns an error as Open does.
func (v *Verifier) OpenEnvelope(b []byte, subject digest.Digest) ([]byte, error) {
	var e envelope
	if err := strictJSON(b, &e); err != nil {
		return nil, errors.Wrap(err, "cannot read the DSSE envelope")
	}
	if e.PayloadType != PayloadType || len(e.Signatures) != 1 || v.signer(preAuthEncoding(e.PayloadType, e.Payload), e.Signatures[0].Sig) == "" {
		return nil, errors.New("the envelope does not hold an in-toto statement with one signature, by a trusted key")
	}
	if err := isAbout(e.Payload, subject); err != nil {
		return nil, err
	}
	return e.Payload, nil
}

// signer returns the ID of the key that signed a message; empty if none did.
func (v *Verifier) signer(message, sig []byte) string {
	sum := sha256.Sum256(message)
	for _, k := range v.keys {
		if ecdsa.VerifyASN1(k.public, sum[:], sig) {
			return k.id
		}
	}
	return ""
}

// isAbout returns an error unless a statement's one subject has this digest.
func isAbout(payload []byte, subject digest.Digest) error {
	s, err := decodeStatement(payload)
	if err != nil {
		return err
	}
	if got := subjectDigest(s); got != subject {
		return errors.Errorf("the statement is about %s, and not about %s", got, subject)
	}
	return nil
}

// unverified returns the error for a bundle that none of the keys verifies.
func (v *Verifier) unverified(hint string) error {
	switch {
	case len(v.keys) == 0:
		return errors.New("the bundle cannot be verified: no key is trusted")
	case slices.Contains(v.KeyIDs(), hint):
		return errors.Errorf("the signature does not match the statement, though it names the trusted key %s: the statement was altered", hint)
	case hintPattern.MatchString(hint):
		return errors.Errorf("the bundle is signed by none of the trusted keys, of which there are %d; it names key %s", len(v.keys), hint)
	default:
		return errors.Errorf("the bundle is signed by none of the trusted keys, of which there are %d", len(v.keys))
	}
}

// parsePublicKeys parses all public keys of a file in PEM.
func parsePublicKeys(b []byte) ([]trustedKey, error) {
	if len(b) > maxKeyBytes {
		return nil, errors.Errorf("the public key has %d bytes, and at most %d are read: write keys in PEM and nothing else", len(b), maxKeyBytes)
	}
	var out []trustedKey
	for len(out) <= maxKeyBlocks {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		k, err := parsePublicKey(block)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	if len(out) == 0 || len(out) > maxKeyBlocks {
		return nil, errors.Errorf("there must be from 1 to %d public keys in PEM: write one that begins with -----BEGIN PUBLIC KEY-----, for example cosign.pub", maxKeyBlocks)
	}
	return out, nil
}

func parsePublicKey(block *pem.Block) (trustedKey, error) {
	if block.Type != pemPublic {
		return trustedKey{}, errors.New("the PEM block is no public key: write one that begins with -----BEGIN PUBLIC KEY-----, for example cosign.pub")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return trustedKey{}, errors.New("cannot parse the public key: write a whole ECDSA key on curve P-256 as SubjectPublicKeyInfo in PEM, for example cosign.pub")
	}
	public, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return trustedKey{}, unsupportedKey("no ECDSA key")
	}
	if public.Curve != elliptic.P256() {
		return trustedKey{}, unsupportedKey("an ECDSA key on curve " + public.Curve.Params().Name)
	}
	normal, err := publicPEM(public)
	if err != nil {
		return trustedKey{}, err
	}
	return trustedKey{id: keyID(normal), public: public}, nil
}
