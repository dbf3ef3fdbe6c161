// Package provenance says of an artifact in a registry which Artifact pushed
// it: in a manifest of its own that refers to the artifact's (image-spec 1.1,
// "Image Manifest Property Descriptions", subject), so that the artifact's own
// manifest holds nothing but facts about its content.
package provenance

import (
	"encoding/json"
	"maps"
	"strconv"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ArtifactType of the manifests that hold a Record.
const ArtifactType = "application/vnd.kitops.crossplane.provenance.v1+json"

// Annotations of a Record, beside those of image-spec for source, revision and
// license.
const (
	annotationOwner     = "io.crossplane.m.kitops.owner"
	annotationNamespace = "io.crossplane.m.kitops.namespace"
	annotationName      = "io.crossplane.m.kitops.name"
	annotationRunHash   = "io.crossplane.m.kitops.run-hash"
	annotationRun       = "io.crossplane.m.kitops.run"
	annotationFiles     = "io.crossplane.m.kitops.files"
)

// An Owner is an Artifact as others know it.
type Owner struct {
	// ID that the Artifact got when it was created first, and keeps where it
	// is restored elsewhere; empty where it is not known. One that is no ID (a
	// word of at most 64 letters, digits and . _ -) counts as not known.
	ID string

	// Namespace and Name of the Artifact.
	Namespace, Name string
}

// Owns reports whether an Artifact is the one that a Record names: by its ID where
// it has one, otherwise by its namespace and name.
func (o Owner) Owns(r Record) bool {
	o = o.Known()
	if o.ID != "" {
		return o.ID == r.Owner.ID
	}
	return o.Name != "" && o.Name == r.Owner.Name && o.Namespace == r.Owner.Namespace
}

// Known returns the owner with what can be such; the rest is empty.
func (o Owner) Known() Owner {
	return Owner{ID: matching(idPattern, o.ID), Namespace: matching(namePattern, o.Namespace), Name: matching(namePattern, o.Name)}
}

// A Record says who pushed an artifact, in which run, from what.
type Record struct {
	// Owner is the Artifact.
	Owner Owner

	// RunHash and Run identify the run.
	RunHash string
	Run     int64

	// Files is how many of the model's files the artifact holds.
	Files int64

	// Source is where people find the model, Revision its commit or, of an
	// artifact in a registry, the digest, and License as the source names it.
	Source, Revision, License string
}

// known returns the record with what can be such; the rest is empty.
func (r Record) known() Record {
	return Record{
		Owner:    r.Owner.Known(),
		RunHash:  matching(hashPattern, r.RunHash),
		Run:      max(r.Run, 0),
		Files:    max(r.Files, 0),
		Source:   printable(r.Source),
		Revision: matching(revisionPattern, r.Revision),
		License:  printable(r.License),
	}
}

// annotations of the record's manifest; what is not known is left out.
func (r Record) annotations() map[string]string {
	r = r.known()
	out := map[string]string{
		annotationOwner:            r.Owner.ID,
		annotationNamespace:        r.Owner.Namespace,
		annotationName:             r.Owner.Name,
		annotationRunHash:          r.RunHash,
		annotationRun:              strconv.FormatInt(r.Run, 10),
		annotationFiles:            strconv.FormatInt(r.Files, 10),
		ocispec.AnnotationSource:   r.Source,
		ocispec.AnnotationRevision: r.Revision,
		ocispec.AnnotationLicenses: r.License,
	}
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	return out
}

// Manifest returns the manifest of a record about the artifact with this
// manifest. It is the same for the same record.
func (r Record) Manifest(subject ocispec.Descriptor) (ocispec.Descriptor, []byte, error) {
	empty := ocispec.DescriptorEmptyJSON
	empty.Data = nil
	config := empty
	// For registries that list by the config's type, as all did before
	// artifacts had types of their own.
	config.MediaType = ArtifactType
	b, err := json.Marshal(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactType,
		Config:       config,
		Layers:       []ocispec.Descriptor{empty},
		Subject:      &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations:  r.annotations(),
	})
	if err != nil {
		return ocispec.Descriptor{}, nil, errors.Wrap(err, "cannot encode the artifact's provenance")
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}, b, nil
}
