package keyless

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/sigstore"
)

var provider = Identity{Issuer: sigstore.Issuer, Subject: sigstore.Subject("crossplane-system", "provider-kitops")}

// aStatement returns a statement about a manifest.
func aStatement(d digest.Digest) []byte {
	return []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"models/qwen3","digest":{"sha256":"` + d.Encoded() + `"}}],"predicateType":"` + attest.ProvenanceType + `","predicate":{"a":"b"}}`)
}

// writeToken writes a token into a file.
func writeToken(t *testing.T, path, audience string, life time.Duration) {
	t.Helper()
	token := sigstore.Token("crossplane-system", "provider-kitops", audience, time.Now().Add(life))
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// optionsFor returns the options of a Signer by a Server.
func optionsFor(t *testing.T, s *sigstore.Server) SignerOptions {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	writeToken(t, path, sigstore.Audience, time.Minute)
	return SignerOptions{
		FulcioURL: s.URL, RekorURL: s.URL, TimestampURL: s.URL, TokenFile: path, TrustedRoot: s.TrustedRoot(), Identity: provider,
	}
}

func TestSign(t *testing.T) {
	s := sigstore.Start(t)
	subject := digest.FromString("manifest")
	const fulcio, log, tsa = "/api/v2/signingCert", "/api/v1/log/entries", "/api/v1/timestamp"
	type want struct {
		Reason outcome.Reason // Empty for a success.
		Error  string
		Asked  []string
	}
	cases := map[string]struct {
		reason string
		change func(o *SignerOptions)
		faults sigstore.Faults
		want   want
	}{
		"All":          {reason: "A certificate, a timestamp and an entry of the log should be in the bundle.", want: want{Asked: []string{fulcio, tsa, log}}},
		"LogAlone":     {reason: "The log should be enough.", change: func(o *SignerOptions) { o.TimestampURL = "" }, want: want{Asked: []string{fulcio, log}}},
		"Slash":        {reason: "An address may end with a slash, and that of a timestamp authority may have its path.", change: func(o *SignerOptions) { o.FulcioURL += "/"; o.RekorURL += "/"; o.TimestampURL += tsa }, want: want{Asked: []string{fulcio, tsa, log}}},
		"NoToken":      {reason: "A token that is missing should be named with its file.", change: func(o *SignerOptions) { o.TokenFile += "x" }, want: want{Reason: outcome.ConfigMissing, Error: "DeploymentRuntimeConfig"}},
		"Expired":      {reason: "A token that Fulcio refuses should be named with what to check.", change: func(o *SignerOptions) { writeToken(t, o.TokenFile, sigstore.Audience, -time.Minute) }, want: want{Reason: outcome.Unauthorized, Error: "has not expired", Asked: []string{fulcio}}},
		"Audience":     {reason: "So should one for another audience.", change: func(o *SignerOptions) { writeToken(t, o.TokenFile, "vault", time.Minute) }, want: want{Reason: outcome.Unauthorized, Error: "audience", Asked: []string{fulcio}}},
		"RekorDown":    {reason: "A failure of the log should count as transient.", faults: sigstore.Faults{RekorStatus: http.StatusServiceUnavailable}, want: want{Reason: outcome.Unavailable, Error: "Rekor at " + s.URL + " failed", Asked: []string{fulcio, tsa, log}}},
		"FulcioDown":   {reason: "So should one of Fulcio.", faults: sigstore.Faults{FulcioStatus: http.StatusBadGateway}, want: want{Reason: outcome.Unavailable, Error: "Fulcio", Asked: []string{fulcio}}},
		"RateLimit":    {reason: "A limit should count as one.", faults: sigstore.Faults{FulcioStatus: http.StatusTooManyRequests}, want: want{Reason: outcome.RateLimited, Error: "Fulcio", Asked: []string{fulcio}}},
		"TSADown":      {reason: "So should one of the timestamp authority.", faults: sigstore.Faults{TimestampStatus: http.StatusInternalServerError}, want: want{Reason: outcome.Unavailable, Error: "the timestamp authority", Asked: []string{fulcio, tsa}}},
		"RekorRefuses": {reason: "A log that refuses the entry should be named.", faults: sigstore.Faults{RekorStatus: http.StatusBadRequest}, want: want{Reason: outcome.Refused, Error: "Rekor", Asked: []string{fulcio, tsa, log}}},
		"Redirect":     {reason: "The token should follow no redirect.", faults: sigstore.Faults{FulcioStatus: http.StatusTemporaryRedirect}, want: want{Reason: outcome.ConfigInvalid, Error: "correct spec.attestation.keyless.fulcioURL", Asked: []string{fulcio}}},
		"TooLong":      {reason: "An answer should be bounded.", faults: sigstore.Faults{TooLong: true}, want: want{Reason: outcome.ConfigInvalid, Error: "more than", Asked: []string{fulcio}}},
		"Nonsense":     {reason: "An answer that is none should be told, and not be repeated.", faults: sigstore.Faults{Nonsense: true}, want: want{Reason: outcome.ConfigInvalid, Error: "is not Fulcio", Asked: []string{fulcio}}},
		"OtherKey":     {reason: "A certificate for another key should be refused before anything is logged.", faults: sigstore.Faults{OtherKey: true}, want: want{Reason: outcome.ConfigInvalid, Error: "another key", Asked: []string{fulcio}}},
		"OtherSubject": {reason: "So should one for another identity, which should be named.", change: func(o *SignerOptions) { o.Identity.Subject = sigstore.Subject("other", "x") }, want: want{Reason: outcome.ConfigInvalid, Error: provider.Subject, Asked: []string{fulcio}}},
		"OtherRoot":    {reason: "What does not verify by the trusted root should not be returned.", change: func(o *SignerOptions) { o.TrustedRoot = sigstore.New(t).TrustedRoot() }, want: want{Reason: outcome.ConfigInvalid, Error: "trusted root", Asked: []string{fulcio, tsa, log}}},
		"Unreachable":  {reason: "A service that cannot be reached should count as transient.", change: func(o *SignerOptions) { o.FulcioURL = "http://127.0.0.1:1" }, want: want{Reason: outcome.Unavailable, Error: "cannot reach Fulcio at http://127.0.0.1:1"}},
		"NoTLS":        {reason: "A service without TLS should be told.", change: func(o *SignerOptions) { o.FulcioURL = strings.Replace(o.FulcioURL, "http:", "https:", 1) }, want: want{Reason: outcome.Untrusted, Error: "have it speak TLS"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := optionsFor(t, s)
			if tc.change != nil {
				tc.change(&o)
			}
			s.Misbehave(tc.faults)
			signer, err := NewSigner(o)
			if err != nil {
				t.Fatal(err)
			}
			before := len(s.Asked())
			payload := aStatement(subject)
			bundle, err := signer.Sign(t.Context(), attest.PayloadType, payload)
			asked := s.Asked()[before:]
			if len(asked) == 0 {
				asked = nil
			}
			if diff := cmp.Diff(tc.want.Asked, asked); diff != "" {
				t.Errorf("\n%s\nSign(...): -want requests, +got:\n%s", tc.reason, diff)
			}
			if tc.want.Reason != "" {
				if err == nil || outcome.ReasonOf(err) != tc.want.Reason || !strings.Contains(err.Error(), tc.want.Error) || strings.ContainsAny(err.Error(), "\n\r") {
					t.Errorf("\n%s\nSign(...): want %s with %q, got %v", tc.reason, tc.want.Reason, tc.want.Error, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("\n%s\nSign(...): %v", tc.reason, err)
			}
			got, id, err := attest.NewIdentityVerifier(signer.Verifier()).Open(bundle, subject)
			if err != nil || string(got) != string(payload) || id != signer.KeyID() {
				t.Errorf("\n%s\nOpen(...): got %s by %q, %v", tc.reason, got, id, err)
			}
		})
	}
}

// TestSignAgain has a token renewed between signatures, of which each has a key of its own.
func TestSignAgain(t *testing.T) {
	s := sigstore.Start(t)
	o := optionsFor(t, s)
	signer, err := NewSigner(o)
	if err != nil {
		t.Fatal(err)
	}
	sign := func() ([]byte, error) {
		return signer.Sign(t.Context(), attest.PayloadType, aStatement(digest.FromString("manifest")))
	}
	first, err := sign()
	if err != nil {
		t.Fatal(err)
	}
	writeToken(t, o.TokenFile, sigstore.Audience, -time.Hour)
	if _, err := sign(); outcome.ReasonOf(err) != outcome.Unauthorized {
		t.Errorf("The token should be read for each signature.\nSign(...): got %v", err)
	}
	writeToken(t, o.TokenFile, sigstore.Audience, 2*time.Hour)
	second, err := sign()
	if err != nil || slices.Equal(first, second) || signer.IsDeterministic() {
		t.Errorf("Each signature should have a key of its own.\nSign(...): got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := signer.Sign(ctx, attest.PayloadType, aStatement(digest.FromString("manifest"))); err == nil {
		t.Error("A context that is done should end it.\nSign(...): want an error")
	}
}

// TestOpenByIdentity has the verifier of attest refuse what others have signed.
func TestOpenByIdentity(t *testing.T) {
	s := sigstore.Start(t)
	signer, err := NewSigner(optionsFor(t, s))
	if err != nil {
		t.Fatal(err)
	}
	subject := digest.FromString("manifest")
	bundle, err := signer.Sign(t.Context(), attest.PayloadType, aStatement(subject))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := attest.NewVerifier()
	if err != nil {
		t.Fatal(err)
	}
	both := keys.And(attest.NewIdentityVerifier(signer.Verifier()))
	cases := map[string]struct {
		reason   string
		verifier *attest.Verifier
		bundle   []byte
		subject  digest.Digest
		want     string
	}{
		"Own":    {reason: "What the identity signed should be accepted beside keys.", verifier: both, bundle: bundle, subject: subject},
		"Keys":   {reason: "Keys alone should not accept it.", verifier: keys, bundle: bundle, subject: subject, want: "signed with a certificate"},
		"Digest": {reason: "A statement about another artifact should be refused.", verifier: both, bundle: bundle, subject: digest.FromString("other"), want: "not about"},
		"Other":  {reason: "So should a statement that another identity signed.", verifier: both, bundle: s.Bundle("x@example.com", attest.ProvenanceType, subject), subject: subject, want: "not trusted"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, _, err := tc.verifier.Open(tc.bundle, tc.subject)
			if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("\n%s\nOpen(...): want %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

// TestSignTooLarge has a payload signed that nobody would read, of which nothing should
// be sent.
func TestSignTooLarge(t *testing.T) {
	s := sigstore.Start(t)
	signer, err := NewSigner(optionsFor(t, s))
	if err != nil {
		t.Fatal(err)
	}
	_, err = signer.Sign(t.Context(), attest.PayloadType, bytes.Repeat([]byte(" "), attest.MaxBundleBytes/4*3))
	if outcome.ReasonOf(err) != outcome.Refused || len(s.Asked()) > 0 {
		t.Errorf("want Refused before a request, got %v, requests %v", err, s.Asked())
	}
}

func TestPlainHTTP(t *testing.T) {
	o := optionsFor(t, sigstore.Start(t))
	o.FulcioURL, o.RekorURL, o.TimestampURL, o.PlainHTTP = "http://fulcio.example.com", "http://localhost:3000", "http://[::1]/tsa", true
	if _, err := NewSigner(o); err != nil {
		t.Errorf("What an administrator allows should be used: %v", err)
	}
}

func TestNewSigner(t *testing.T) {
	s := sigstore.Start(t)
	cases := map[string]struct {
		reason string
		change func(o *SignerOptions)
		want   string
	}{
		"Pattern": {reason: "The identity that signs should be one.", change: func(o *SignerOptions) { o.Identity.Subject = "^.*$" }, want: "must be exact"},
		"NoTime":  {reason: "Something should say when the certificate was used.", change: func(o *SignerOptions) { o.RekorURL, o.TimestampURL = "", "" }, want: "neither rekorURL nor timestampURL"},
		"Address": {reason: "An address that is none should be named.", change: func(o *SignerOptions) { o.RekorURL = "rekor.example.com" }, want: "rekorURL is no address"},
		"NoTLS":   {reason: "The token should not be sent unencrypted.", change: func(o *SignerOptions) { o.FulcioURL = "http://fulcio.example.com" }, want: "plainHTTP: true if the provider's token"},
		"NoTLSIP": {reason: "So should no entry of a log.", change: func(o *SignerOptions) { o.RekorURL = "http://10.0.0.1:3000" }, want: "rekorURL has no TLS"},
		"CA":      {reason: "So should authorities that are none.", change: func(o *SignerOptions) { o.CA = []byte("x") }, want: "caBundle"},
		"Root":    {reason: "So should a trusted root that is none.", change: func(o *SignerOptions) { o.TrustedRoot = []byte("x") }, want: "trusted_root.json"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := optionsFor(t, s)
			tc.change(&o)
			if _, err := NewSigner(o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("\n%s\nNewSigner(...): want %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}
