package attest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// A bundle is a Sigstore bundle v0.3 with a DSSE envelope
// (https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto).
type bundle struct {
	MediaType            string               `json:"mediaType"`
	VerificationMaterial verificationMaterial `json:"verificationMaterial"`
	Envelope             *envelope            `json:"dsseEnvelope"`
}

// verificationMaterial says what a bundle is verified with. Of the entries of logs
// and of timestamps, which prove nothing more about a trusted key, only the presence
// is known.
type verificationMaterial struct {
	PublicKey   *publicKey      `json:"publicKey,omitempty"`
	Certificate json.RawMessage `json:"certificate,omitempty"`
	Chain       json.RawMessage `json:"x509CertificateChain,omitempty"`
	Log         json.RawMessage `json:"tlogEntries,omitempty"`
	Timestamps  json.RawMessage `json:"timestampVerificationData,omitempty"`
}

type publicKey struct {
	Hint string `json:"hint,omitempty"`
}

// An envelope is a DSSE envelope
// (https://github.com/secure-systems-lab/dsse/blob/master/envelope.md).
type envelope struct {
	Payload     []byte      `json:"payload"`
	PayloadType string      `json:"payloadType"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	Sig   []byte `json:"sig"`
	KeyID string `json:"keyid,omitempty"`
}

// preAuthEncoding returns what a DSSE signature is over
// (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md).
func preAuthEncoding(payloadType string, payload []byte) []byte {
	return append(fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload)), payload...)
}

// encodeBundle returns the bundle of a payload that a key has signed.
func encodeBundle(keyID, payloadType string, payload, sig []byte) ([]byte, error) {
	b, err := json.Marshal(bundle{
		MediaType:            BundleType,
		VerificationMaterial: verificationMaterial{PublicKey: &publicKey{Hint: keyID}},
		Envelope:             &envelope{Payload: payload, PayloadType: payloadType, Signatures: []signature{{Sig: sig}}},
	})
	return b, errors.Wrap(err, "cannot encode a bundle")
}

// errCertificate is of a bundle that an identity has signed.
var errCertificate = errors.New("the bundle is signed with a certificate, and not with a key")

// decodeBundle decodes a bundle whose one signature is by a key. It returns errCertificate
// for one by an identity.
func decodeBundle(b []byte) (bundle, error) {
	var out bundle
	if err := strictJSON(b, &out); err != nil {
		return bundle{}, errors.Wrap(err, "cannot read the Sigstore bundle")
	}
	material := out.VerificationMaterial
	switch {
	case out.MediaType != BundleType:
		return bundle{}, errors.New("the document is no Sigstore bundle v0.3: its mediaType must be " + BundleType)
	case len(material.Certificate) > 0 || len(material.Chain) > 0:
		return out, errCertificate
	case material.PublicKey == nil:
		return bundle{}, errors.New("the bundle does not say what it is verified with: verificationMaterial.publicKey is missing")
	case out.Envelope == nil:
		return bundle{}, errors.New("the bundle holds no statement: dsseEnvelope is missing")
	case len(out.Envelope.Signatures) != 1:
		return bundle{}, errors.Errorf("the bundle has %d signatures, and must have exactly one", len(out.Envelope.Signatures))
	}
	return out, nil
}

// OpenUnverified returns the in-toto statement in a bundle that anything has signed. It
// returns an error unless the statement's one subject has this digest. Anybody can have
// made it.
func OpenUnverified(b []byte, subject digest.Digest) ([]byte, error) {
	decoded, err := decodeBundle(b)
	if err != nil && (!errors.Is(err, errCertificate) || decoded.Envelope == nil) {
		return nil, err
	}
	return decoded.Envelope.Payload, isAbout(decoded.Envelope.Payload, subject)
}

// strictJSON decodes one JSON document within bounds. It returns an error for a field
// that is not known, and for anything after the document.
func strictJSON(b []byte, into any) error {
	if err := decode.Check(b); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return foreign(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the JSON document")
	}
	return nil
}

// maxForeignBytes bounds what an error repeats of a foreign document.
const maxForeignBytes = 120

// foreign returns an error of encoding/json, which may repeat a part of the document,
// within bounds.
func foreign(err error) error {
	text := strings.TrimPrefix(err.Error(), "json: ")
	if len(text) > maxForeignBytes {
		text = strings.ToValidUTF8(text[:maxForeignBytes], "") + "…"
	}
	return errors.New(text)
}
