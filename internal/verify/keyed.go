package verify

import (
	"encoding/base64"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// annotationSignature is the annotation of a layer under a legacy .sig tag that holds
// the signature of the layer
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).
const annotationSignature = "dev.cosignproject.cosign/signature"

// keyed verifies signatures by public keys. Logs and timestamps are not needed for that,
// as with cosign's --insecure-ignore-tlog: whoever has the key can sign at any time.
type keyed struct{ *attest.ForeignKeys }

var _ opener = keyed{}

// OpenLegacySignature implements opener.
func (k keyed) OpenLegacySignature(payload []byte, annotations map[string]string, subject digest.Digest) error {
	sig, err := base64.StdEncoding.DecodeString(annotations[annotationSignature])
	if err != nil {
		return errors.New("the signature is not base64")
	}
	return k.OpenImageSignature(payload, sig, subject)
}

// OpenLegacyAttestation implements opener.
func (k keyed) OpenLegacyAttestation(envelope []byte, _ map[string]string, subject digest.Digest) (string, error) {
	return k.OpenEnvelope(envelope, subject)
}
