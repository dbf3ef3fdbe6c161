package keyless

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// Annotations of a layer under one of cosign's legacy tags
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).
const (
	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationLog         = "dev.sigstore.cosign/bundle"
	annotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
)

// legacyType is the type of bundles that need no inclusion proof of the log, which
// legacy signatures do not have.
const legacyType = "application/vnd.dev.sigstore.bundle+json;version=0.1"

// A legacyLog is cosign's former form of an entry in a transparency log.
type legacyLog struct {
	SignedEntryTimestamp []byte
	Payload              struct {
		Body           []byte `json:"body"`
		IntegratedTime int64  `json:"integratedTime"`
		LogIndex       int64  `json:"logIndex"`
		LogID          string `json:"logID"`
	}
}

// legacyBundle returns a bundle, without what is signed, of a legacy layer's
// annotations.
func legacyBundle(annotations map[string]string) (*protobundle.Bundle, error) {
	block, _ := pem.Decode([]byte(annotations[annotationCertificate]))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("signed with a key, and not by an identity")
	}
	material := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
			Certificates: []*protocommon.X509Certificate{{RawBytes: block.Bytes}},
		}},
	}
	if text := annotations[annotationLog]; text != "" {
		entry, err := legacyEntry(text)
		if err != nil {
			return nil, err
		}
		material.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	}
	if text := annotations[annotationTimestamp]; text != "" {
		var t struct{ SignedRFC3161Timestamp []byte }
		if err := decode.JSON([]byte(text), &t); err != nil {
			return nil, errors.New("cannot read the timestamp")
		}
		material.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: t.SignedRFC3161Timestamp}},
		}
	}
	return &protobundle.Bundle{MediaType: legacyType, VerificationMaterial: material}, nil
}

// legacyEntry returns an entry of a transparency log.
func legacyEntry(text string) (*protorekor.TransparencyLogEntry, error) {
	var l legacyLog
	if err := decode.JSON([]byte(text), &l); err != nil {
		return nil, errors.New("cannot read the transparency log's entry")
	}
	id, err := hex.DecodeString(l.Payload.LogID)
	if err != nil {
		return nil, errors.New("the transparency log's entry names no log")
	}
	var body struct {
		Kind    string `json:"kind"`
		Version string `json:"apiVersion"`
	}
	if err := decode.JSON(l.Payload.Body, &body); err != nil {
		return nil, errors.New("cannot read the body of the transparency log's entry")
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex:          l.Payload.LogIndex,
		LogId:             &protocommon.LogId{KeyId: id},
		KindVersion:       &protorekor.KindVersion{Kind: body.Kind, Version: body.Version},
		IntegratedTime:    l.Payload.IntegratedTime,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: l.SignedEntryTimestamp},
		CanonicalizedBody: l.Payload.Body,
	}, nil
}

// addSignature adds the signature of a payload.
func addSignature(b *protobundle.Bundle, payload []byte, annotations map[string]string) error {
	sig, err := base64.StdEncoding.DecodeString(annotations[annotationSignature])
	if err != nil {
		return errors.New("the signature is not base64")
	}
	sum := sha256.Sum256(payload)
	b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
		Signature:     sig,
	}}
	return nil
}

// addEnvelope adds a signed statement.
func addEnvelope(b *protobundle.Bundle, envelope []byte) error {
	if err := decode.Check(envelope); err != nil {
		return err
	}
	e := &protodsse.Envelope{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(envelope, e); err != nil {
		return errors.New("cannot read the DSSE envelope")
	}
	b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: e}
	return nil
}
