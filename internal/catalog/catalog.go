// Package catalog decides who owns a name in a registry, and changes names: it
// commits what a run staged, retags, adopts and deletes. Content is the worker's:
// nothing here moves a layer.
package catalog

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// A Catalog is what one Artifact has, or will have, in one repository: its tags,
// and the records of ownership about what it pushed.
type Catalog struct {
	// Registry that the repository is in.
	Registry *registry.Client

	// Repository in the registry.
	Repository string

	// Owner is the Artifact.
	Owner provenance.Owner

	// Keys sign and verify the records of ownership, and sign the files of models.
	Keys provenance.Keys

	// Name is the repository with its registry's host, as host/repository, which
	// records bind.
	Name string

	// AttestCopies has copies that have the digest of their source be attested to
	// verifiers, too; see provenance.Place.
	AttestCopies bool

	// LegacyTags has what is attested be written under legacy tags as well.
	LegacyTags bool

	// Shares is how many shares a run of the owner may have been divided into, whatever its
	// checkpoint says, which anyone who may push can replace; 0 for runs of one Pod.
	Shares int

	// Earlier is whom the Artifact claims to have been before it was restored. It
	// is believed only in Adoptable; the zero Owner stands for none.
	Earlier provenance.Owner
}

// A Tag is what a tag of the repository points to.
type Tag struct {
	// Name of the tag.
	Name string

	// Further means that the tag is one beside the Artifact's own, which its spec asks for
	// by additionalTags or keepVersions.
	Further bool

	// Descriptor of the manifest; zero if the tag is free.
	Descriptor ocispec.Descriptor

	// Records of the owner about the manifest, the latest run first. They are not
	// looked for if the manifest is one that the owner is known to have pushed.
	Records []provenance.Found

	// Rejected says why a record about the manifest does not count; empty if there is
	// none, or one of the owner that does.
	Rejected string
}

// IsFree reports whether the registry has no such tag.
func (t Tag) IsFree() bool { return t.Descriptor.Digest == "" }

// IsOn reports whether the tag points to a digest, which may be empty.
func (t Tag) IsOn(d string) bool { return d != "" && t.Descriptor.Digest.String() == d }

// Look returns what a tag points to. If that is known, which is the digest of what
// the owner pushed last as its status says, nothing else is asked.
func (c Catalog) Look(ctx context.Context, tag, known string) (Tag, error) {
	return c.look(ctx, c.place(), tag, known, c.Owner)
}

// Adoptable returns what a tag points to, with records of the owner or, if there
// are none, of whom it claims to have been earlier. With anyKey, records that no trusted
// key has signed count if there are none that one has.
func (c Catalog) Adoptable(ctx context.Context, tag string, anyKey bool) (Tag, error) {
	t, err := c.look(ctx, c.place(), tag, "", c.Owner, c.Earlier)
	if err != nil || len(t.Records) > 0 || t.Rejected == "" || !anyKey {
		return t, err
	}
	p := c.place()
	p.AnyKey = true
	return c.look(ctx, p, tag, "", c.Owner, c.Earlier)
}

func (c Catalog) look(ctx context.Context, p provenance.Place, tag, known string, owners ...provenance.Owner) (Tag, error) {
	t := Tag{Name: tag}
	d, err := c.Registry.Resolve(ctx, c.Repository, tag)
	if registry.IsNotFound(err) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	t.Descriptor = d
	if t.IsOn(known) {
		return t, nil
	}
	for _, owner := range owners {
		t.Records, t.Rejected, err = p.Of(ctx, c.Registry, d.Digest, owner)
		if err != nil || len(t.Records) > 0 {
			break
		}
	}
	return t, err
}

// MayChange reports whether the owner may change a tag: the tag is free, points to
// what is known to be the owner's, or to what a record names as the owner's.
func (t Tag) MayChange(known string) bool {
	return t.IsFree() || t.IsOn(known) || len(t.Records) > 0
}

// Conflict returns the error of a foreign tag, with the cure.
func (t Tag) Conflict() error {
	why := ""
	if t.Rejected != "" {
		why = fmt.Sprintf(" (it has an attestation that does not count: %s)", t.Rejected)
	}
	change := "write another in spec.forProvider.target.tag"
	if t.Further {
		change = "change spec.forProvider.target.additionalTags or keepVersions, which asks for it"
	}
	return outcome.Errorf(outcome.TagConflict,
		"Tag %q points to %s, which this Artifact did not push%s: remove that tag, %s, or set spec.forProvider.target.conflictPolicy: Overwrite",
		t.Name, t.Descriptor.Digest, why, change)
}

// place of the owner's records.
func (c Catalog) place() provenance.Place {
	return provenance.Place{Keys: c.Keys, Repository: c.Repository, Name: c.Name, AttestCopies: c.AttestCopies}
}

// Has reports whether the repository has a manifest.
func (c Catalog) Has(ctx context.Context, d string) (bool, error) {
	if d == "" {
		return false, nil
	}
	_, err := c.Registry.Resolve(ctx, c.Repository, d)
	if registry.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// Records returns the records of the owner about a manifest, the latest run first.
func (c Catalog) Records(ctx context.Context, subject digest.Digest) ([]provenance.Found, error) {
	found, _, err := c.place().Of(ctx, c.Registry, subject, c.Owner)
	return found, err
}

// Retag has a tag point to a manifest that is there. Other tags of the manifest
// stay, since others may pull by them.
func (c Catalog) Retag(ctx context.Context, d digest.Digest, tag string) error {
	there, content, err := c.Registry.Manifest(ctx, c.Repository, d.String())
	if err != nil {
		return err
	}
	return c.Registry.PushManifest(ctx, c.Repository, there, content, tag)
}

// Adopt records the owner as that of a manifest which a record names an earlier
// owner of, or which no trusted key has signed. It deletes that record in the latter case,
// where replaced is its descriptor. A registry that takes no records costs a later adoption,
// not this one.
func (c Catalog) Adopt(ctx context.Context, subject ocispec.Descriptor, r provenance.Record, replaced ocispec.Descriptor) error {
	recorded, err := c.record(ctx, subject, r)
	if err != nil || recorded.Digest == "" || replaced.Digest == "" || recorded.Digest == replaced.Digest {
		return err
	}
	_, err = c.deleteIfAllowed(ctx, replaced)
	return err
}
