package attest

import (
	"encoding/base64"
	"encoding/json"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// Suffixes of the tags under which cosign kept signatures and attestations before there
// were referrers (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md and
// ATTESTATION_SPEC.md).
const (
	LegacySignatureSuffix   = ".sig"
	LegacyAttestationSuffix = ".att"
)

const (
	// simpleSigningType is the type of a layer with a signature's payload.
	simpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json"

	// envelopeType is the type of a layer with a DSSE envelope.
	envelopeType = "application/vnd.dsse.envelope.v1+json"

	// signatureAnnotation holds the signature of a layer, and is empty on an envelope.
	signatureAnnotation = "dev.cosignproject.cosign/signature"

	// predicateTypeAnnotation holds the predicate type of an envelope's statement.
	predicateTypeAnnotation = "predicateType"

	// signatureType is the one type of a signature's payload.
	signatureType = "cosign container image signature"
)

// maxLegacyLayers bounds the signatures under one legacy tag. cosign reads 1000
// (pkg/oci/remote/signatures.go), which is more than consumers want to verify.
const maxLegacyLayers = 256

// A LegacyLayer is one signature or attestation under a legacy tag.
type LegacyLayer struct {
	// Descriptor of the layer, with its annotations.
	Descriptor ocispec.Descriptor

	// Content of the layer's blob.
	Content []byte
}

// simpleSigning is the payload of a signature under a legacy tag.
type simpleSigning struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest digest.Digest `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]string `json:"optional"`
}

// LegacyTag returns the tag of an artifact's signatures or attestations.
func LegacyTag(d digest.Digest, suffix string) string {
	return d.Algorithm().String() + "-" + d.Encoded() + suffix
}

// LegacySignature returns a signature of the artifact with this digest in
// host/repository.
func (k *Key) LegacySignature(repository string, d digest.Digest) (LegacyLayer, error) {
	content, err := signaturePayload(repository, d)
	if err != nil {
		return LegacyLayer{}, err
	}
	sig, err := k.signBlob(content)
	if err != nil {
		return LegacyLayer{}, err
	}
	return legacyLayer(simpleSigningType, content, map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(sig)}), nil
}

// signaturePayload returns what a signature of an artifact in host/repository is over.
func signaturePayload(repository string, d digest.Digest) ([]byte, error) {
	var payload simpleSigning
	payload.Critical.Identity.Reference = repository
	payload.Critical.Image.Digest = d
	payload.Critical.Type = signatureType
	b, err := json.Marshal(payload)
	return b, errors.Wrap(err, "cannot encode a signature's payload")
}

// IsLegacySignature reports whether a layer under a legacy tag is a signature that
// LegacySignature returned of the artifact with this digest in host/repository, by one of
// the keys.
func (v *Verifier) IsLegacySignature(repository string, d digest.Digest, layer ocispec.Descriptor) bool {
	payload, err := signaturePayload(repository, d)
	if err != nil || layer.MediaType != simpleSigningType || layer.Digest != digest.FromBytes(payload) {
		return false
	}
	sig, err := base64.StdEncoding.DecodeString(layer.Annotations[signatureAnnotation])
	return err == nil && v.signer(payload, sig) != ""
}

// IsLegacyProvenance reports whether a layer under a legacy tag says that it is an
// attestation with a provenance.
func IsLegacyProvenance(layer ocispec.Descriptor) bool {
	return layer.MediaType == envelopeType && layer.Annotations[predicateTypeAnnotation] == ProvenanceType
}

// LegacyAttestation returns the attestation that a bundle holds, which must be signed by a
// key.
func LegacyAttestation(bundle []byte) (LegacyLayer, error) {
	b, err := decodeBundle(bundle)
	if err != nil {
		return LegacyLayer{}, err
	}
	s, err := decodeStatement(b.Envelope.Payload)
	if err != nil {
		return LegacyLayer{}, err
	}
	content, err := json.Marshal(b.Envelope)
	if err != nil {
		return LegacyLayer{}, errors.Wrap(err, "cannot encode an envelope")
	}
	return legacyLayer(envelopeType, content, map[string]string{signatureAnnotation: "", predicateTypeAnnotation: s.PredicateType}), nil
}

func legacyLayer(mediaType string, content []byte, annotations map[string]string) LegacyLayer {
	return LegacyLayer{
		Content:    content,
		Descriptor: ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content)), Annotations: annotations},
	}
}

// ReadLegacyManifest returns the manifest under a legacy tag. All who sign an artifact
// share the tag: whoever writes it must keep the layers of the others. It returns an error
// for a manifest that is not as cosign writes it, which must not be rewritten.
func ReadLegacyManifest(b []byte) (ocispec.Manifest, error) {
	var m ocispec.Manifest
	if err := decode.JSON(b, &m); err != nil {
		return ocispec.Manifest{}, errors.Wrap(foreign(err), "cannot read the manifest of signatures")
	}
	switch {
	case m.MediaType != "" && m.MediaType != ocispec.MediaTypeImageManifest, m.Config.MediaType != ocispec.MediaTypeImageConfig, m.Subject != nil, m.ArtifactType != "":
		return ocispec.Manifest{}, errors.New("it holds something else than signatures as cosign writes them: remove the tag if nobody needs it")
	case len(m.Layers) > maxLegacyLayers:
		return ocispec.Manifest{}, errors.Errorf("the manifest of signatures has %d layers, and at most %d are kept: delete those that nobody verifies", len(m.Layers), maxLegacyLayers)
	}
	return m, nil
}

// LegacyManifest returns the manifest that is pushed under a legacy tag in place of m,
// which is zero for none, and its config. It keeps the annotations of m. The config says
// nothing that the layers do not.
func LegacyManifest(m ocispec.Manifest, layers []ocispec.Descriptor) (manifest, config []byte, err error) {
	image := ocispec.Image{RootFS: ocispec.RootFS{Type: "layers"}}
	for _, l := range layers {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, l.Digest)
	}
	if config, err = json.Marshal(image); err != nil {
		return nil, nil, errors.Wrap(err, "cannot encode the config of signatures")
	}
	manifest, err = json.Marshal(ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageManifest,
		Config:      ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))},
		Layers:      layers,
		Annotations: m.Annotations,
	})
	return manifest, config, errors.Wrap(err, "cannot encode the manifest of signatures")
}
