package keyless

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	rekor "github.com/sigstore/rekor/pkg/generated/client"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	// signTimeout bounds the time that one signature takes.
	signTimeout = 45 * time.Second

	// requestTimeout bounds one request.
	requestTimeout = 20 * time.Second

	// tsaPath is where a timestamp authority answers, if its address has no path
	// (https://github.com/sigstore/timestamp-authority, openapi.yaml).
	tsaPath = "/api/v1/timestamp"

	// maxProofBytes is how much of a bundle may be something other than the payload: a
	// certificate, timestamps and an entry of a log, of a few KiB each.
	maxProofBytes = 128 << 10
)

// SignerOptions say with what an identity signs.
type SignerOptions struct {
	// FulcioURL issues certificates. Of RekorURL, a transparency log with the API of
	// version 1, and TimestampURL, an RFC 3161 timestamp authority, one may be empty.
	FulcioURL, RekorURL, TimestampURL string

	// PlainHTTP allows addresses without TLS on other hosts than this machine: the token
	// is sent over it as it is.
	PlainHTTP bool

	// CA are certificate authorities in PEM to trust for all of them beside the
	// system's.
	CA []byte

	// TokenFile has the OIDC token, which is read for each signature.
	TokenFile string

	// TrustedRoot is the trusted_root.json by which what was signed must verify.
	TrustedRoot []byte

	// Identity that the certificates must name, exactly.
	Identity Identity
}

// A Signer signs with an ephemeral key for each signature, for which Fulcio issues a
// certificate that names the identity of a token.
type Signer struct {
	options  SignerOptions
	pool     *x509.CertPool
	token    *connection.MountedFile
	verifier *Verifier
}

var (
	_ attest.Signer           = &Signer{}
	_ attest.IdentityVerifier = &Verifier{}
)

// NewSigner returns a Signer. It sends no request. Its error says what is wrong with the
// options, and how to correct it.
func NewSigner(o SignerOptions) (*Signer, error) {
	if strings.HasPrefix(o.Identity.Issuer, "^") || strings.HasPrefix(o.Identity.Subject, "^") {
		return nil, errors.New("the identity that signs must be exact: write its issuer and subject without regular expressions")
	}
	verifier, err := New(o.TrustedRoot, []Identity{o.Identity})
	if err != nil {
		return nil, err
	}
	if o.RekorURL == "" && o.TimestampURL == "" {
		return nil, errors.New("neither rekorURL nor timestampURL is there, one of which must say when a short-lived certificate was used: write one")
	}
	for name, address := range map[string]*string{"fulcioURL": &o.FulcioURL, "rekorURL": &o.RekorURL, "timestampURL": &o.TimestampURL} {
		if *address == "" && name != "fulcioURL" {
			continue
		}
		if !isAddress(*address) {
			return nil, errors.Errorf("%s is no address: write one such as https://sigstore.example.com", name)
		}
		if !o.PlainHTTP && !isProtected(*address) {
			return nil, errors.Errorf("%s has no TLS: write https://, or plainHTTP: true if the provider's token may be sent unencrypted", name)
		}
		*address = strings.TrimRight(*address, "/")
	}
	pool, err := connection.Roots(o.CA, "")
	if err != nil {
		return nil, errors.New("caBundle holds no certificate in PEM: write one that begins with -----BEGIN CERTIFICATE-----")
	}
	return &Signer{options: o, pool: pool, token: connection.NewMountedFile(o.TokenFile), verifier: verifier}, nil
}

// isAddress reports whether a service may have an address.
func isAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// isProtected reports whether what is sent to an address is encrypted, or stays on this
// machine.
func isProtected(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "https" {
		return err == nil
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

// KeyID identifies the identity that signs.
func (s *Signer) KeyID() string { return s.options.Identity.id() }

// IsDeterministic returns false: each signature has a key and a certificate of its own.
func (s *Signer) IsDeterministic() bool { return false }

// Verifier verifies what the identity has signed.
func (s *Signer) Verifier() *Verifier { return s.verifier }

// Sign returns a Sigstore bundle with the payload in a DSSE envelope, which verifies by
// the trusted root and for the identity. Its error is an outcome.Error whose reason says
// whether it may be transient. It sends nothing, and its error has the reason Refused, if
// nobody would read a bundle of that size.
func (s *Signer) Sign(ctx context.Context, payloadType string, payload []byte) ([]byte, error) {
	if size := base64.StdEncoding.EncodedLen(len(payload)) + maxProofBytes; size > attest.MaxBundleBytes {
		return nil, tooLarge(size)
	}
	ctx, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	token, err := s.token.Text()
	if err != nil || !isJWT(token) {
		return nil, outcome.Errorf(outcome.ConfigMissing,
			"there is no OIDC token in %s to sign with: have the provider's DeploymentRuntimeConfig project a token of its ServiceAccount there, for the audience that Fulcio expects", s.options.TokenFile).Because(err)
	}
	key, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, errors.Wrap(err, "cannot generate a key")
	}
	c := calls{Signer: s, ctx: ctx}
	defer c.close()
	b, err := sign.Bundle(&sign.DSSEData{Data: payload, PayloadType: payloadType}, key, c.options(token))
	if err != nil {
		return nil, c.explain(err)
	}
	return s.encode(b, payload)
}

// encode returns the bundle once it verifies.
func (s *Signer) encode(b *protobundle.Bundle, payload []byte) ([]byte, error) {
	out, err := protojson.Marshal(b)
	if err != nil {
		return nil, errors.Wrap(err, "cannot encode a bundle")
	}
	if len(out) > attest.MaxBundleBytes {
		return nil, tooLarge(len(out))
	}
	signed, _, err := s.verifier.OpenPayload(out)
	if err != nil || !bytes.Equal(signed, payload) {
		return nil, s.misfit("what was signed does not verify")
	}
	return out, nil
}

// tooLarge returns the error for a bundle of so many bytes.
func tooLarge(size int) error {
	return outcome.Errorf(outcome.Refused, "the signed bundle would have %d bytes, and at most %d are read", size, attest.MaxBundleBytes)
}

// misfit returns the error for what the Sigstore gave that would not verify.
func (s *Signer) misfit(what string) error {
	return outcome.Errorf(outcome.ConfigInvalid,
		"%s as %q of %q by the trusted root: correct spec.attestation.keyless.identity, or the trusted root so that it is of the Sigstore at %s",
		what, s.options.Identity.Subject, s.options.Identity.Issuer, s.options.FulcioURL)
}

// isJWT reports whether a token has the form of a JSON Web Token and can be in a header.
func isJWT(token string) bool {
	return len(token) <= 16<<10 && strings.Count(token, ".") == 2 && connection.InHeader(token)
}

// calls are the requests for one signature.
type calls struct {
	*Signer
	ctx  context.Context //nolint:containedctx // sigstore-go's clients take none.
	open []*service
}

// to returns the transport to a service at an address.
func (c *calls) to(name, field, address string) *service {
	s := newService(c.ctx, name, field, address, c.pool)
	c.open = append(c.open, s)
	return s
}

func (c *calls) close() {
	for _, s := range c.open {
		s.next.CloseIdleConnections()
	}
}

// options of a signature by these calls.
func (c *calls) options(token string) sign.BundleOptions {
	o := c.Signer.options
	out := sign.BundleOptions{
		Context: c.ctx,
		CertificateProvider: issuer{c.Signer, sign.NewFulcio(&sign.FulcioOptions{
			BaseURL: o.FulcioURL, Timeout: requestTimeout, Transport: c.to("Fulcio", "fulcioURL", o.FulcioURL),
		})},
		CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: token},
	}
	if o.TimestampURL != "" {
		address := o.TimestampURL
		if u, err := url.Parse(address); err == nil && u.Path == "" {
			address += tsaPath
		}
		out.TimestampAuthorities = []*sign.TimestampAuthority{sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{
			URL: address, Timeout: requestTimeout, Transport: c.to("the timestamp authority", "timestampURL", o.TimestampURL),
		})}
	}
	if u, err := url.Parse(o.RekorURL); err == nil && o.RekorURL != "" {
		r := client.New(u.Host, cmp.Or(u.Path, rekor.DefaultBasePath), []string{u.Scheme})
		r.Transport = c.to("Rekor", "rekorURL", o.RekorURL)
		out.TransparencyLogs = []sign.Transparency{sign.NewRekor(&sign.RekorOptions{
			BaseURL: o.RekorURL, Timeout: requestTimeout, Client: rekor.New(r, strfmt.Default).Entries,
		})}
	}
	return out
}

// explain returns the error of a service that failed, or of one whose answer cannot be
// used.
func (c *calls) explain(err error) error {
	var why *outcome.Error
	if errors.As(err, &why) {
		return why
	}
	last := &service{name: "the Sigstore", field: "fulcioURL", address: c.Signer.options.FulcioURL}
	for _, s := range c.open {
		if s.asked {
			last = s
		}
	}
	return outcome.Errorf(outcome.ConfigInvalid, "what answers at %s is not %s, or of a version that is not supported: correct spec.attestation.keyless.%s", last.address, last.name, last.field).Because(err)
}

// An issuer issues certificates, and returns only those with the key and the identity
// that are asked for, so that nothing else is ever logged.
type issuer struct {
	signer *Signer
	fulcio *sign.Fulcio
}

// GetCertificate implements sign.CertificateProvider.
func (i issuer) GetCertificate(ctx context.Context, key sign.Keypair, o *sign.CertificateProviderOptions) ([]byte, error) {
	der, err := i.fulcio.GetCertificate(ctx, key, o)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	public, err := key.GetPublicKeyPem()
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode([]byte(public)); block == nil || !bytes.Equal(block.Bytes, leaf.RawSubjectPublicKeyInfo) {
		return nil, i.signer.misfit("Fulcio certified another key than the one that signs")
	}
	s, err := certificate.SummarizeCertificate(leaf)
	if err != nil {
		return nil, err
	}
	if own := i.signer.options.Identity; s.SubjectAlternativeName != own.Subject || s.Issuer != own.Issuer {
		return nil, i.signer.misfit("Fulcio's certificate is for " + outcome.Shorten(s.SubjectAlternativeName) + " of " + outcome.Shorten(s.Issuer) + ", which does not verify")
	}
	return der, nil
}
