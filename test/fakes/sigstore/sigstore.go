// Package sigstore is a Sigstore for tests: certificate authority, transparency log and
// timestamp authority in memory.
package sigstore

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"
)

// Issuer of the identities of this Sigstore.
const Issuer = "https://accounts.example.com"

// A Sigstore issues certificates to anybody.
type Sigstore struct {
	t  testing.TB
	vs *ca.VirtualSigstore

	// more returns these authorities together with a Server's; nil for none.
	more func([]root.CertificateAuthority, []root.TimestampingAuthority) ([]root.CertificateAuthority, []root.TimestampingAuthority)
}

// New returns a Sigstore with keys of its own.
func New(t testing.TB) *Sigstore {
	t.Helper()
	vs, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	return &Sigstore{t: t, vs: vs}
}

// TrustedRoot returns its trusted_root.json. It names no log of certificates, in which
// those of the fake are not.
func (s *Sigstore) TrustedRoot() []byte {
	s.t.Helper()
	logs := s.vs.RekorLogs()
	for _, l := range logs {
		l.ID = s.unhex(l.ID)
	}
	fulcio, tsa := s.vs.FulcioCertificateAuthorities(), s.vs.TimestampingAuthorities()
	if s.more != nil {
		fulcio, tsa = s.more(fulcio, tsa)
	}
	r, err := root.NewTrustedRoot(root.TrustedRootMediaType01, fulcio, nil, tsa, logs)
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// unhex decodes the ID of a log, which the fake has as a text.
func (s *Sigstore) unhex(id []byte) []byte {
	s.t.Helper()
	b, err := hex.DecodeString(string(id))
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// statement about a manifest.
func statement(predicateType string, subject digest.Digest) []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`, subject.Encoded(), predicateType)
}

// attest returns a statement that an e-mail address has signed.
func (s *Sigstore) attest(email, predicateType string, subject digest.Digest) (*ca.TestEntity, *protodsse.Envelope) {
	s.t.Helper()
	e, err := s.vs.AttestAtTime(email, Issuer, statement(predicateType, subject), time.Now().Add(time.Minute), true)
	if err != nil {
		s.t.Fatal(err)
	}
	content, err := e.SignatureContent()
	if err != nil {
		s.t.Fatal(err)
	}
	raw := content.EnvelopeContent().RawEnvelope()
	out := &protodsse.Envelope{Payload: s.unbase64(raw.Payload), PayloadType: raw.PayloadType}
	for _, sig := range raw.Signatures {
		out.Signatures = append(out.Signatures, &protodsse.Signature{Sig: s.unbase64(sig.Sig)})
	}
	return e, out
}

func (s *Sigstore) unbase64(text string) []byte {
	s.t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// Bundle returns a Sigstore bundle with a statement about a manifest that an e-mail
// address has signed.
func (s *Sigstore) Bundle(email, predicateType string, subject digest.Digest) []byte {
	s.t.Helper()
	e, envelope := s.attest(email, predicateType, subject)
	entry := s.entry(e)
	entry.KindVersion = &protorekor.KindVersion{Kind: "dsse", Version: "0.0.1"}
	timestamps, err := e.Timestamps()
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := protojson.Marshal(&protobundle.Bundle{
		MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content:     &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: s.certificate(e)}},
			TlogEntries: []*protorekor.TransparencyLogEntry{entry},
			TimestampVerificationData: &protobundle.TimestampVerificationData{
				Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: timestamps[0]}},
			},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: envelope},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *Sigstore) certificate(e *ca.TestEntity) []byte {
	s.t.Helper()
	content, err := e.VerificationContent()
	if err != nil {
		s.t.Fatal(err)
	}
	return content.Certificate().Raw
}

func (s *Sigstore) entry(e *ca.TestEntity) *protorekor.TransparencyLogEntry {
	s.t.Helper()
	entries, err := e.TlogEntries()
	if err != nil {
		s.t.Fatal(err)
	}
	return entries[0].TransparencyLogEntry()
}

// annotations of a layer under one of cosign's legacy tags.
func (s *Sigstore) annotations(e *ca.TestEntity, sig []byte) map[string]string {
	s.t.Helper()
	entry := s.entry(e)
	payload := tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(entry.GetCanonicalizedBody()), IntegratedTime: entry.GetIntegratedTime(),
		LogIndex: entry.GetLogIndex(), LogID: hex.EncodeToString(entry.GetLogId().GetKeyId()),
	}
	promise, err := s.vs.RekorSignPayload(payload)
	if err != nil {
		s.t.Fatal(err)
	}
	log, err := json.Marshal(map[string]any{"SignedEntryTimestamp": promise, "Payload": payload})
	if err != nil {
		s.t.Fatal(err)
	}
	return map[string]string{
		"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig),
		"dev.sigstore.cosign/certificate":    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.certificate(e)})),
		"dev.sigstore.cosign/bundle":         string(log),
	}
}

// LegacySignature returns the payload of an image signature under a legacy tag, and the
// annotations of its layer.
func (s *Sigstore) LegacySignature(email string, subject digest.Digest) ([]byte, map[string]string) {
	s.t.Helper()
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":""},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, subject)
	e, err := s.vs.SignAtTime(email, Issuer, payload, time.Now().Add(time.Minute))
	if err != nil {
		s.t.Fatal(err)
	}
	content, err := e.SignatureContent()
	if err != nil {
		s.t.Fatal(err)
	}
	return payload, s.annotations(e, content.Signature())
}

// LegacyAttestation returns a DSSE envelope under a legacy tag, and the annotations of
// its layer.
func (s *Sigstore) LegacyAttestation(email, predicateType string, subject digest.Digest) ([]byte, map[string]string) {
	s.t.Helper()
	e, envelope := s.attest(email, predicateType, subject)
	b, err := protojson.Marshal(envelope)
	if err != nil {
		s.t.Fatal(err)
	}
	annotations := s.annotations(e, nil)
	annotations["dev.cosignproject.cosign/signature"] = ""
	return b, annotations
}
