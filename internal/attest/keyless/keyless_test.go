package keyless

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/sigstore"
)

const email = "release@example.com"

func TestVerifier(t *testing.T) {
	s, stranger := sigstore.New(t), sigstore.New(t)
	subject, other := digest.FromString("manifest"), digest.FromString("other")
	own := Identity{Issuer: sigstore.Issuer, Subject: email}
	cases := map[string]struct {
		reason     string
		identities []Identity
		sigstore   *sigstore.Sigstore
		subject    digest.Digest
		want       string // What the error says; empty for none.
	}{
		"Exact":        {reason: "The identity should be accepted.", identities: []Identity{own}, sigstore: s, subject: subject},
		"Pattern":      {reason: "Regular expressions should be accepted, as Flux has them.", identities: []Identity{{Issuer: `^https://accounts\.example\.com$`, Subject: `^[a-z]+@example\.com$`}}, sigstore: s, subject: subject},
		"Second":       {reason: "One of several identities should be enough.", identities: []Identity{{Issuer: sigstore.Issuer, Subject: "other@example.com"}, own}, sigstore: s, subject: subject},
		"OtherSubject": {reason: "Another subject should be refused, and named.", identities: []Identity{{Issuer: sigstore.Issuer, Subject: "other@example.com"}}, sigstore: s, subject: subject, want: `signed by "` + email + `" of "` + sigstore.Issuer + `"`},
		"OtherIssuer":  {reason: "Another issuer should be refused.", identities: []Identity{{Issuer: "https://example.com", Subject: email}}, sigstore: s, subject: subject, want: "not trusted"},
		"Part":         {reason: "A part of the subject should not be enough.", identities: []Identity{{Issuer: sigstore.Issuer, Subject: "example.com"}}, sigstore: s, subject: subject, want: "not trusted"},
		"PatternPart":  {reason: "An alternative in a regular expression should not end its anchors.", identities: []Identity{{Issuer: sigstore.Issuer, Subject: "^release|other$"}}, sigstore: s, subject: subject, want: "not trusted"},
		"OtherDigest":  {reason: "A signature of another digest should be refused.", identities: []Identity{own}, sigstore: s, subject: other, want: "digest"},
		"OtherRoot":    {reason: "A certificate of another authority should be refused.", identities: []Identity{own}, sigstore: stranger, subject: subject, want: "failed to verify"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v, err := New(s.TrustedRoot(), tc.identities)
			if err != nil {
				t.Fatal(err)
			}
			check := func(form, predicateType, want string, err error) {
				t.Helper()
				if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
					t.Errorf("\n%s\n%s: want %q, got %v", tc.reason, form, tc.want, err)
				}
				if err == nil && predicateType != want {
					t.Errorf("\n%s\n%s: want type %q, got %q", tc.reason, form, want, predicateType)
				}
			}
			const provenance = testregistry.ProvenanceType
			predicateType, err := v.OpenBundle(tc.sigstore.Bundle(email, provenance, subject), tc.subject)
			check("OpenBundle(...)", predicateType, provenance, err)
			envelope, annotations := tc.sigstore.LegacyAttestation(email, provenance, subject)
			predicateType, err = v.OpenLegacyAttestation(envelope, annotations, tc.subject)
			check("OpenLegacyAttestation(...)", predicateType, provenance, err)
			payload, annotations := tc.sigstore.LegacySignature(email, subject)
			err = v.OpenLegacySignature(payload, annotations, tc.subject)
			check("OpenLegacySignature(...)", attest.SignatureType, attest.SignatureType, err)
		})
	}
}

// TestTampered has a signature altered in each of its parts.
func TestTampered(t *testing.T) {
	s := sigstore.New(t)
	subject := digest.FromString("manifest")
	v, err := New(s.TrustedRoot(), []Identity{{Issuer: sigstore.Issuer, Subject: email}})
	if err != nil {
		t.Fatal(err)
	}
	good, strange := s.Bundle(email, testregistry.SignType, subject), s.Bundle("x@example.com", testregistry.SignType, subject)
	part := func(b []byte, from, to string) string {
		_, rest, _ := strings.Cut(string(b), from)
		out, _, _ := strings.Cut(rest, to)
		return out
	}
	for name, from := range map[string]string{"certificate": `"rawBytes":`, "log entry": `"canonicalizedBody":`, "signature": `"sig":`} {
		was, is := part(good, from, "\"}"), part(strange, from, "\"}")
		if was == "" || was == is {
			t.Fatalf("no %s in %s", name, good)
		}
		b := strings.ReplaceAll(string(good), was, is)
		if _, err := v.OpenBundle([]byte(b), subject); err == nil {
			t.Errorf("Another %s should be refused.\nOpenBundle(...): want an error", name)
		}
	}
	if _, err := v.OpenBundle(testregistry.NewSigner(t).Bundle(testregistry.SignType, subject), subject); err == nil || !strings.Contains(err.Error(), "signed with a key") {
		t.Errorf("A signature with a key should be refused.\nOpenBundle(...): got %v", err)
	}
	payload, annotations := testregistry.NewSigner(t).Signature(subject)
	if err := v.OpenLegacySignature(payload, annotations, subject); err == nil || !strings.Contains(err.Error(), "signed with a key") {
		t.Errorf("A legacy signature with a key should be refused.\nOpenLegacySignature(...): got %v", err)
	}
}

func TestNew(t *testing.T) {
	trusted := sigstore.New(t).TrustedRoot()
	own := []Identity{{Issuer: sigstore.Issuer, Subject: email}}
	cases := map[string]struct {
		reason     string
		root       string
		identities []Identity
		want       string
	}{
		"NoJSON":     {reason: "A root that is none should be refused.", root: "x", identities: own, want: "cosign trusted-root create"},
		"Empty":      {reason: "A root without a source of time should be refused.", root: `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`, identities: own, want: "neither a transparency log nor a timestamp authority"},
		"Nobody":     {reason: "Somebody must be trusted.", root: string(trusted), want: "no identity"},
		"NoIssuer":   {reason: "An identity should have an issuer.", root: string(trusted), identities: []Identity{{Subject: email}}, want: "needs an issuer"},
		"BadPattern": {reason: "A regular expression that is none should be refused.", root: string(trusted), identities: []Identity{{Issuer: "^(", Subject: "^($"}}, want: "regular expression"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := New([]byte(tc.root), tc.identities); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("\n%s\nNew(...): want %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

// FuzzOpen checks that nothing foreign is accepted, and that reading it ends.
func FuzzOpen(f *testing.F) {
	s := sigstore.New(f)
	subject := digest.FromString("manifest")
	v, err := New(s.TrustedRoot(), []Identity{{Issuer: sigstore.Issuer, Subject: email}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Bundle("x@example.com", testregistry.SignType, subject), "", "")
	envelope, annotations := s.LegacyAttestation("x@example.com", testregistry.SignType, subject)
	f.Add(envelope, annotations["dev.sigstore.cosign/certificate"], annotations["dev.sigstore.cosign/bundle"])
	f.Fuzz(func(t *testing.T, b []byte, certificate, log string) {
		annotations := map[string]string{annotationCertificate: certificate, annotationLog: log, annotationTimestamp: log, annotationSignature: log}
		_, bundle := v.OpenBundle(b, subject)
		_, attestation := v.OpenLegacyAttestation(b, annotations, subject)
		if signature := v.OpenLegacySignature(b, annotations, subject); bundle == nil || attestation == nil || signature == nil {
			t.Errorf("accepted %q", b)
		}
	})
}
