package provenance

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// Keys are what a provider signs and verifies records with. The zero Keys sign
// nothing and trust nothing: who owns an artifact is then in statuses only.
type Keys struct {
	// Cluster is the ID of the provider's cluster. Records of another one do not
	// count, even if they are signed by the same key.
	Cluster string

	// Signer signs records; nil for none.
	Signer attest.Signer

	// Verifier verifies records; nil to trust none.
	Verifier *attest.Verifier

	// Unusable says why the key that is to sign cannot be used; nil if it can. Nothing
	// is signed meanwhile, and no record that the Verifier rejects is taken for a
	// foreign one, since that key may have signed it.
	Unusable error
}

// A Place is where records are, and what they bind.
type Place struct {
	Keys

	// Repository in the registry.
	Repository string

	// Name is the repository with its registry's host, as host/repository. A record
	// that was copied from another repository does not count.
	Name string

	// AnyKey has records count whatever key has signed them. Anybody who may push can
	// have written them.
	AnyKey bool

	// AttestCopies has records of copies be for verifiers, too.
	AttestCopies bool
}

// IsForVerifiers reports whether a record about an artifact is an attestation that
// verifiers find. Of a copy with the digest of its source it is not, by default: a Sigstore
// bundle would have cosign, Kyverno and Flux ignore signatures that the source has under
// legacy tags.
func (p Place) IsForVerifiers(subject digest.Digest, r Record) bool {
	return p.AttestCopies || r.Revision != subject.String()
}

// artifactType returns the type of the manifest of a record about an artifact.
func (p Place) artifactType(subject digest.Digest, r Record) string {
	if p.IsForVerifiers(subject, r) {
		return attest.BundleType
	}
	return attest.OwnershipType
}

// provenance returns what is signed of a record.
func (p Place) provenance(subject digest.Digest, r Record) attest.Provenance {
	out := attest.Provenance{
		Repository: p.Name, Digest: subject,
		Owner: attest.Owner{Cluster: p.Cluster, ID: r.Owner.ID, Namespace: r.Owner.Namespace, Name: r.Owner.Name},
		Run:   r.Run, RunHash: r.RunHash, Started: r.Started, Finished: r.Finished,
		Source: r.Source, Revision: r.Revision, License: r.License, Files: r.Files, FileList: r.FileList,
		Parameters: r.Parameters, Version: version.Version, Scan: r.Scan,
	}
	switch d := digest.Digest(r.Revision); {
	case r.Source == "" || r.Revision == "":
	case d.Validate() == nil && strings.Contains(r.Source, "://"):
		out.Dependencies = []attest.Dependency{attest.FolderDependency(r.Source, d)}
	case d.Validate() == nil:
		out.Dependencies = []attest.Dependency{attest.OCIDependency(r.Source, d)}
	default:
		out.Dependencies = []attest.Dependency{attest.HubDependency(r.Source, r.Revision)}
	}
	return out
}

// recordOf returns the record that a provenance states.
func recordOf(p attest.Provenance) Record {
	return Record{
		Owner:   Owner{ID: p.Owner.ID, Namespace: p.Owner.Namespace, Name: p.Owner.Name},
		RunHash: p.RunHash, Run: p.Run, Files: p.Files,
		Source: p.Source, Revision: p.Revision, License: p.License,
		Started: p.Started, Finished: p.Finished, Parameters: p.Parameters, FileList: p.FileList, Scan: p.Scan,
	}
}

// manifest returns the manifest of a bundle about a subject, in the form that cosign
// reads, with its descriptor and the bundle's. It is the same for the same bundle.
func (p Place) manifest(subject ocispec.Descriptor, r Record, bundle []byte) (d, layer ocispec.Descriptor, b []byte, err error) {
	empty := ocispec.DescriptorEmptyJSON
	empty.Data = nil
	layer = ocispec.Descriptor{MediaType: p.artifactType(subject.Digest, r), Digest: digest.FromBytes(bundle), Size: int64(len(bundle))}
	b, err = json.Marshal(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: layer.MediaType,
		Config:       empty,
		Layers:       []ocispec.Descriptor{layer},
		Subject:      &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations:  r.annotations(),
	})
	if err != nil {
		return d, layer, nil, errors.Wrap(err, "cannot encode the manifest of the provenance")
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}, layer, b, nil
}

// annotations of a record's manifest, without those that have no value.
func (r Record) annotations() map[string]string {
	out := map[string]string{
		annotationContent:   "dsse-envelope",
		annotationPredicate: attest.ProvenanceType,
		annotationOwner:     r.Owner.ID,
		annotationNamespace: r.Owner.Namespace,
		annotationName:      r.Owner.Name,
		annotationRun:       strconv.FormatInt(r.Run, 10),
	}
	if !r.Finished.IsZero() {
		out[ocispec.AnnotationCreated] = r.Finished.UTC().Truncate(time.Second).Format(time.RFC3339)
	}
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	return out
}

// hints returns what annotations say of a record. Anyone who may push can have written
// them.
func hints(annotations map[string]string) Record {
	run, err := strconv.ParseInt(annotations[annotationRun], 10, 64)
	if err != nil {
		run = 0
	}
	return Record{
		Owner: Owner{ID: annotations[annotationOwner], Namespace: annotations[annotationNamespace], Name: annotations[annotationName]}.Known(),
		Run:   max(run, 0),
	}
}

// IsRecordType reports whether a manifest of this type may hold a record. Some
// registries list the type of the config instead.
func IsRecordType(artifactType string) bool {
	switch artifactType {
	case attest.BundleType, attest.OwnershipType, ocispec.MediaTypeEmptyJSON, "":
		return true
	}
	return false
}
