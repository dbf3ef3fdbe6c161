// Package provenance records of an artifact in a registry which Artifact pushed it:
// in a signed statement whose manifest refers to the artifact's (image-spec 1.1,
// "Image Manifest Property Descriptions", subject), so that the artifact's own
// manifest holds nothing but facts about its content.
package provenance

import (
	"regexp"
	"time"

	"github.com/opencontainers/go-digest"
)

// Annotations by which a list of referrers says whom an attestation names. They are
// not signed, and only used to choose which attestations to read first.
const (
	annotationOwner     = "io.crossplane.m.kitops.owner"
	annotationNamespace = "io.crossplane.m.kitops.namespace"
	annotationName      = "io.crossplane.m.kitops.name"
	annotationRun       = "io.crossplane.m.kitops.run"
)

// Annotations of a Sigstore bundle's manifest
// (https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md).
const (
	annotationContent   = "dev.sigstore.bundle.content"
	annotationPredicate = "dev.sigstore.bundle.predicateType"
)

// What the names of an owner and a run hash may be.
var (
	idPattern   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	hashPattern = regexp.MustCompile(`^[0-9a-f]{16}$`)
)

func matching(pattern *regexp.Regexp, s string) string {
	if !pattern.MatchString(s) {
		return ""
	}
	return s
}

// An Owner is an Artifact as others know it.
type Owner struct {
	// ID that the Artifact got when it was created first, and keeps where it
	// is restored elsewhere; empty if unknown. One that is not an ID (a
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

	// Started and Finished are the times of the run, not those of recording: the
	// record of a run is the same whenever it is made.
	Started, Finished time.Time

	// Parameters are what the spec asked for, as attest.Provenance documents.
	Parameters map[string]any

	// FileList is the digest of the list of the files; empty if there is none.
	FileList digest.Digest

	// Scan is the verdict of the Hub's security scan; empty if there is none.
	Scan string
}
