package provenance

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// What a record's fields may be. Whoever may push to a repository can write
// them, and what they say gets into conditions and events.
var (
	idPattern       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	namePattern     = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	hashPattern     = regexp.MustCompile(`^[0-9a-f]{16}$`)
	revisionPattern = regexp.MustCompile(`^([0-9a-f]{40}|sha256:[0-9a-f]{64})$`)
)

// maxTextBytes bounds what others call a source and a license.
const maxTextBytes = 256

func matching(pattern *regexp.Regexp, s string) string {
	if !pattern.MatchString(s) {
		return ""
	}
	return s
}

// printable returns a short text of one line, or nothing.
func printable(s string) string {
	if len(s) > maxTextBytes || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return s
}

// read returns the record that annotations hold. They are foreign: what cannot
// be such is as if it were not there.
func read(annotations map[string]string) Record {
	number := func(key string) int64 {
		n, err := strconv.ParseInt(annotations[key], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return Record{
		Owner:    Owner{ID: annotations[annotationOwner], Namespace: annotations[annotationNamespace], Name: annotations[annotationName]},
		RunHash:  annotations[annotationRunHash],
		Run:      number(annotationRun),
		Files:    number(annotationFiles),
		Source:   annotations[ocispec.AnnotationSource],
		Revision: annotations[ocispec.AnnotationRevision],
		License:  annotations[ocispec.AnnotationLicenses],
	}.known()
}

// A Reader reads from a registry.
type Reader interface {
	// Referrers to a manifest, of one type.
	Referrers(ctx context.Context, repository string, subject digest.Digest, artifactType string) ([]ocispec.Descriptor, error)

	// Manifest that a tag or a digest stands for.
	Manifest(ctx context.Context, repository, reference string) (ocispec.Descriptor, []byte, error)
}

// A Found record is in a registry.
type Found struct {
	Record

	// Descriptor of the record's manifest.
	Descriptor ocispec.Descriptor
}

// maxFetched is how many records are fetched at most to look for an owner's.
const maxFetched = 50

// Of returns an owner's records about the artifact of this digest, the latest
// run first. Those of others are left out. What a list says of a record is not
// taken for it: where the registry keeps no list itself, whoever pushes writes
// it.
func Of(ctx context.Context, r Reader, repository string, subject digest.Digest, owner Owner) ([]Found, error) {
	all, err := r.Referrers(ctx, repository, subject, ArtifactType)
	if err != nil {
		return nil, err
	}
	candidates := slices.DeleteFunc(slices.Clone(all), func(d ocispec.Descriptor) bool {
		said := read(d.Annotations)
		// Some registries list without annotations.
		return d.Digest.Validate() != nil || said.Owner != Owner{} && !owner.Owns(said)
	})
	slices.SortStableFunc(candidates, func(a, b ocispec.Descriptor) int {
		return cmp.Compare(read(b.Annotations).Run, read(a.Annotations).Run)
	})
	var out []Found
	for _, d := range candidates[:min(len(candidates), maxFetched)] {
		record, is, err := fetch(ctx, r, repository, subject, d.Digest)
		if err != nil {
			return nil, err
		}
		if is && owner.Owns(record.Record) {
			out = append(out, record)
		}
	}
	slices.SortFunc(out, func(a, b Found) int {
		return cmp.Or(cmp.Compare(b.Run, a.Run), cmp.Compare(a.Descriptor.Digest, b.Descriptor.Digest))
	})
	return slices.CompactFunc(out, func(a, b Found) bool { return a.Descriptor.Digest == b.Descriptor.Digest }), nil
}

// fetch returns the record with this digest. It reports whether it is one about
// the artifact.
func fetch(ctx context.Context, r Reader, repository string, subject, record digest.Digest) (Found, bool, error) {
	d, b, err := r.Manifest(ctx, repository, record.String())
	switch {
	case isGone(err):
		// A list may name it still.
		return Found{}, false, nil
	case err != nil:
		return Found{}, false, err
	}
	found, is := parse(b, subject)
	d.ArtifactType = ArtifactType
	return Found{Record: found, Descriptor: d}, is, nil
}

// parse reads a record's manifest. It reports whether it is one, and about the
// artifact.
func parse(manifest []byte, subject digest.Digest) (Record, bool) {
	var m ocispec.Manifest
	if decode.JSON(manifest, &m) != nil || m.ArtifactType != ArtifactType || m.Subject == nil || m.Subject.Digest != subject {
		return Record{}, false
	}
	return read(m.Annotations), true
}

// isGone reports whether a registry has no such thing.
func isGone(err error) bool { return err != nil && outcome.ReasonOf(err) == outcome.NotFound }
