package attest

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// statementType is the type of an in-toto statement
// (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md).
const statementType = "https://in-toto.io/Statement/v1"

// A statement is an in-toto statement. cosign and sigstore-go refuse one with other
// fields.
type statement struct {
	Type          string          `json:"_type"`
	Subject       []resource      `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// A resource is an in-toto resource descriptor, with the fields that are used
// (https://github.com/in-toto/attestation/blob/main/spec/v1/resource_descriptor.md).
type resource struct {
	Name      string            `json:"name,omitempty"`
	URI       string            `json:"uri,omitempty"`
	Digest    map[string]string `json:"digest,omitempty"`
	MediaType string            `json:"mediaType,omitempty"`
}

// encodeStatement returns the statement of a predicate about one subject.
func encodeStatement(name, sha256 string, predicateType string, predicate any) ([]byte, error) {
	p, err := json.Marshal(predicate)
	if err != nil {
		return nil, errors.Wrap(err, "cannot encode a predicate")
	}
	b, err := json.Marshal(statement{
		Type:          statementType,
		Subject:       []resource{{Name: name, Digest: map[string]string{"sha256": sha256}}},
		PredicateType: predicateType,
		Predicate:     p,
	})
	return b, errors.Wrap(err, "cannot encode a statement")
}

// decodeStatement decodes a statement about exactly one subject, of which it has
// exactly the SHA-256 digest.
func decodeStatement(b []byte) (statement, error) {
	var s statement
	if err := strictJSON(b, &s); err != nil {
		return statement{}, errors.Wrap(err, "cannot read the in-toto statement")
	}
	switch {
	case s.Type != statementType:
		return statement{}, errors.New("the signed payload is no in-toto statement v1: its _type must be " + statementType)
	case len(s.Subject) != 1:
		return statement{}, errors.Errorf("the statement has %d subjects, and must have exactly one", len(s.Subject))
	case len(s.Subject[0].Digest) != 1 || subjectDigest(s).Validate() != nil:
		return statement{}, errors.New("the statement's subject must have exactly one digest, a SHA-256")
	}
	return s, nil
}

// subjectDigest returns the SHA-256 digest of a statement's first subject.
func subjectDigest(s statement) digest.Digest {
	return digest.NewDigestFromEncoded(digest.SHA256, s.Subject[0].Digest["sha256"])
}
