// Package keyless verifies what identities have signed with short-lived certificates, as
// cosign does without a key: by a trusted root, without any request. It is a package of
// its own because of what it imports.
package keyless

import (
	"bytes"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// An Identity is who may have signed. Issuer and Subject are exact, or regular
// expressions (https://pkg.go.dev/regexp/syntax) if they begin with ^ and end with $.
type Identity struct {
	// Issuer of the identity's token: the URL of an OIDC provider.
	Issuer string

	// Subject of the certificate: an e-mail address or a URI.
	Subject string
}

// A Verifier verifies signatures by identities.
type Verifier struct {
	verifier   *verify.Verifier
	identities []verify.PolicyOption
}

// New returns a Verifier that trusts these identities, by a trusted_root.json
// (https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto).
// What the root names is required: an entry in a transparency log, a timestamp, a
// certificate that is logged.
func New(trustedRoot []byte, identities []Identity) (*Verifier, error) {
	if err := decode.Check(trustedRoot); err != nil {
		return nil, errors.Wrap(err, "cannot read the trusted root")
	}
	r, err := root.NewTrustedRootFromJSON(trustedRoot)
	if err != nil {
		return nil, errors.New("cannot read the trusted root: write a trusted_root.json, as cosign trusted-root create makes it")
	}
	v := &Verifier{}
	for _, i := range identities {
		option, err := i.policy()
		if err != nil {
			return nil, err
		}
		v.identities = append(v.identities, option)
	}
	if len(v.identities) == 0 {
		return nil, errors.New("no identity is trusted")
	}
	if len(r.RekorLogs())+len(r.TimestampingAuthorities()) == 0 {
		return nil, errors.New("the trusted root names neither a transparency log nor a timestamp authority, one of which must say when a short-lived certificate was used")
	}
	v.verifier, err = verify.NewVerifier(r, required(r)...)
	return v, errors.Wrap(err, "cannot use the trusted root")
}

// required returns what a signature must have, by what the trusted root names.
func required(r root.TrustedMaterial) []verify.VerifierOption {
	out := []verify.VerifierOption{verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate()}
	if len(r.RekorLogs()) > 0 {
		out = append(out, verify.WithTransparencyLog(1))
	}
	if len(r.CTLogs()) > 0 {
		out = append(out, verify.WithSignedCertificateTimestamps(1))
	}
	return out
}

// id returns what identifies the identity where a key's ID would be.
func (i Identity) id() string { return i.Subject + " of " + i.Issuer }

// policy returns the requirement that the identity has signed.
func (i Identity) policy() (verify.PolicyOption, error) {
	if i.Issuer == "" || i.Subject == "" {
		return nil, errors.New("an identity needs an issuer and a subject")
	}
	issuer, issuerPattern := pattern(i.Issuer)
	subject, subjectPattern := pattern(i.Subject)
	for _, p := range []string{issuerPattern, subjectPattern} {
		if _, err := regexp.Compile(p); err != nil {
			return nil, errors.Wrap(err, "cannot parse the identity's regular expression")
		}
	}
	identity, err := verify.NewShortCertificateIdentity(issuer, issuerPattern, subject, subjectPattern)
	return verify.WithCertificateIdentity(identity), errors.Wrap(err, "cannot use the identity")
}

// pattern returns an exact text, or a regular expression for the whole of a text.
func pattern(s string) (exact, expression string) {
	if strings.HasPrefix(s, "^") && strings.HasSuffix(s, "$") {
		return "", "^(?:" + s + ")$"
	}
	return s, ""
}

// OpenBundle returns the predicate type of the statement in a Sigstore bundle. It
// returns an error unless one of the identities signed it, and one of its subjects has
// this digest.
func (v *Verifier) OpenBundle(b []byte, subject digest.Digest) (string, error) {
	if err := decode.Check(b); err != nil {
		return "", err
	}
	parsed := &bundle.Bundle{}
	if err := parsed.UnmarshalJSON(b); err != nil {
		return "", errors.New("cannot read the Sigstore bundle")
	}
	return v.open(parsed, subject)
}

// OpenPayload returns the payload of a Sigstore bundle, of which only the signature is
// verified, and the ID of the identity that signed it. It returns an error unless it is
// one that is trusted.
func (v *Verifier) OpenPayload(b []byte) ([]byte, string, error) {
	if err := decode.Check(b); err != nil {
		return nil, "", err
	}
	parsed := &bundle.Bundle{}
	if err := parsed.UnmarshalJSON(b); err != nil {
		return nil, "", errors.New("cannot read the Sigstore bundle")
	}
	result, err := v.verify(parsed, verify.WithoutArtifactUnsafe())
	if err != nil {
		return nil, "", err
	}
	envelope := parsed.GetDsseEnvelope()
	if envelope == nil || envelope.GetPayloadType() != attest.PayloadType || result.Signature == nil || result.Signature.Certificate == nil {
		return nil, "", errors.New("the bundle holds no in-toto statement by an identity")
	}
	c := result.Signature.Certificate
	return envelope.GetPayload(), Identity{Issuer: c.Issuer, Subject: c.SubjectAlternativeName}.id(), nil
}

// open verifies a bundle about a digest.
func (v *Verifier) open(b *bundle.Bundle, subject digest.Digest) (string, error) {
	raw, err := hex.DecodeString(subject.Encoded())
	if err != nil || subject.Algorithm() != digest.SHA256 {
		return "", errors.New("signatures are verified for SHA-256 digests only")
	}
	result, err := v.verify(b, verify.WithArtifactDigest("sha256", raw))
	if err != nil {
		return "", err
	}
	if result.Statement == nil {
		return attest.SignatureType, nil
	}
	return result.Statement.GetPredicateType(), nil
}

// verify verifies a bundle about something.
func (v *Verifier) verify(b *bundle.Bundle, about verify.ArtifactPolicyOption) (*verify.VerificationResult, error) {
	content, err := b.VerificationContent()
	if err != nil {
		return nil, errors.New("cannot read the certificate")
	}
	leaf := content.Certificate()
	if leaf == nil {
		return nil, errors.New("signed with a key, and not by an identity")
	}
	result, err := v.verifier.Verify(b, verify.NewPolicy(about, v.identities...))
	var other *verify.ErrNoMatchingCertificateIdentity
	if !errors.As(err, &other) {
		return result, err
	}
	s, serr := certificate.SummarizeCertificate(leaf)
	if serr != nil {
		return nil, err
	}
	return nil, errors.Errorf("signed by %q of %q, who is not trusted", s.SubjectAlternativeName, s.Issuer)
}

// OpenLegacySignature returns an error unless one of the identities signed the payload
// of a layer under cosign's legacy .sig tag, and the payload claims this digest.
func (v *Verifier) OpenLegacySignature(payload []byte, annotations map[string]string, subject digest.Digest) error {
	b, err := legacyBundle(annotations)
	if err != nil {
		return err
	}
	if err := addSignature(b, payload, annotations); err != nil {
		return err
	}
	parsed, err := bundle.NewBundle(b)
	if err != nil {
		return errors.New("cannot read the signature's annotations")
	}
	if _, err := v.verify(parsed, verify.WithArtifact(bytes.NewReader(payload))); err != nil {
		return err
	}
	return attest.ClaimedDigest(payload, subject)
}

// OpenLegacyAttestation returns the predicate type of the statement in a layer under
// cosign's legacy .att tag. It returns an error as OpenBundle does.
func (v *Verifier) OpenLegacyAttestation(envelope []byte, annotations map[string]string, subject digest.Digest) (string, error) {
	b, err := legacyBundle(annotations)
	if err != nil {
		return "", err
	}
	if err := addEnvelope(b, envelope); err != nil {
		return "", err
	}
	parsed, err := bundle.NewBundle(b)
	if err != nil {
		return "", errors.New("cannot read the attestation's annotations")
	}
	return v.open(parsed, subject)
}
