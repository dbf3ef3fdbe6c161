package attest

import (
	"encoding/base64"
	"encoding/json"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
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

// maxLegacyLayers bounds the signatures under one legacy tag.
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
	var payload simpleSigning
	payload.Critical.Identity.Reference = repository
	payload.Critical.Image.Digest = d
	payload.Critical.Type = signatureType
	content, err := json.Marshal(payload)
	if err != nil {
		return LegacyLayer{}, errors.Wrap(err, "cannot encode a signature's payload")
	}
	sig, err := k.signBlob(content)
	if err != nil {
		return LegacyLayer{}, err
	}
	return legacyLayer(simpleSigningType, content, map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(sig)}), nil
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

// LegacyLayers returns the layers of the manifest under a legacy tag. All who sign an
// artifact share the tag: whoever writes it must keep the layers of the others.
func LegacyLayers(manifest []byte) ([]ocispec.Descriptor, error) {
	var m ocispec.Manifest
	if err := decode.JSON(manifest, &m); err != nil {
		return nil, errors.Wrap(foreign(err), "cannot read the manifest of signatures")
	}
	if len(m.Layers) > maxLegacyLayers {
		return nil, errors.Errorf("the manifest of signatures has %d layers, and at most %d are kept: delete those that nobody verifies", len(m.Layers), maxLegacyLayers)
	}
	return m.Layers, nil
}

// LegacyManifest returns the manifest that is pushed under a legacy tag, and its config.
func LegacyManifest(layers []ocispec.Descriptor) (manifest, config []byte, err error) {
	image := ocispec.Image{RootFS: ocispec.RootFS{Type: "layers"}}
	for _, l := range layers {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, l.Digest)
	}
	if config, err = json.Marshal(image); err != nil {
		return nil, nil, errors.Wrap(err, "cannot encode the config of signatures")
	}
	manifest, err = json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))},
		Layers:    layers,
	})
	return manifest, config, errors.Wrap(err, "cannot encode the manifest of signatures")
}
