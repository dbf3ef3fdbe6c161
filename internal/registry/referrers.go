package registry

import (
	"context"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// maxReferrers is how many referrers of one type are read. They are small, and
// no tool pushes that many by accident.
const maxReferrers = 1000

// maxPages bounds the pages of a list, of tags or of referrers.
const maxPages = 200

// errEnough ends a list of which enough was read.
var errEnough = errors.New("enough was read")

// Referrers returns the manifests of a type that refer to a manifest, which
// need not exist: by the registry's referrers API (distribution-spec 1.1,
// "Listing Referrers"), or by its fallback tag where the registry has none
// ("Unavailable Referrers API"). It reads maxReferrers at most,
// and no more pages than fit maxListBytes.
func (c *Client) Referrers(ctx context.Context, repository string, subject digest.Digest, artifactType string) (_ []ocispec.Descriptor, err error) {
	defer c.observe("Referrers", &err)
	repo, err := c.resolvable(repository, subject.String())
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.ask(noteWaits(ctx))
	defer cancel()
	var out []ocispec.Descriptor
	err = repo.Referrers(ctx, ocispec.Descriptor{Digest: subject}, artifactType, func(page []ocispec.Descriptor) error {
		out = append(out, page...)
		if len(out) >= maxReferrers {
			return errEnough
		}
		return nil
	})
	if err == nil || errors.Is(err, errEnough) {
		return out[:min(len(out), maxReferrers)], nil
	}
	if err := c.failed(ctx, err, operation{"list referrers of", at(repository, subject.String())}); !IsNotFound(err) {
		return nil, err
	}
	return nil, nil
}

// AllReferrers returns the manifests of any type that refer to a manifest, each once:
// those that the registry lists, and those in the fallback tag's index. A registry
// whose API lists nothing may have them there, as clients push them that do not know
// the API.
func (c *Client) AllReferrers(ctx context.Context, repository string, subject digest.Digest) ([]ocispec.Descriptor, error) {
	out, err := c.Referrers(ctx, repository, subject, "")
	if err != nil {
		return nil, err
	}
	_, b, err := c.Manifest(ctx, repository, FallbackTag(subject))
	switch {
	case IsNotFound(err):
		return out, nil
	case err != nil:
		return nil, err
	}
	var index ocispec.Index
	if err := decode.JSON(b, &index); err != nil {
		// Whoever may push can write it; it hides nothing that the API lists.
		return out, nil //nolint:nilerr // See above.
	}
	seen := make(map[digest.Digest]bool, len(out))
	for _, d := range out {
		seen[d.Digest] = true
	}
	for _, d := range index.Manifests {
		if !seen[d.Digest] && len(out) < maxReferrers {
			seen[d.Digest] = true
			out = append(out, d)
		}
	}
	return out, nil
}

// FallbackTag returns the tag of the index that lists the referrers of a manifest where
// a registry has no API for them (distribution-spec 1.1, "Referrers Tag Schema").
func FallbackTag(subject digest.Digest) string {
	algorithm, encoded, _ := strings.Cut(subject.String(), ":")
	return algorithm[:min(len(algorithm), 32)] + "-" + encoded[:min(len(encoded), 64)]
}

// DeleteManifest deletes a manifest by its digest, and with it all its tags. A
// manifest that refers to another is taken from the fallback tag's list, too,
// where the registry has no referrers API. One that is not there is success.
// IsUnsupported tells of its error whether the registry deletes nothing: the
// specification leaves that to it (distribution-spec 1.1, "Deleting Manifests").
func (c *Client) DeleteManifest(ctx context.Context, repository string, d ocispec.Descriptor) (err error) {
	defer c.observe("DeleteManifest", &err)
	repo, err := c.resolvable(repository, d.Digest.String())
	if err != nil {
		return err
	}
	ctx, cancel := c.ask(noteWaits(ctx))
	defer cancel()
	// Else an empty list would stay.
	repo.SkipReferrersGC = false
	err = repo.Manifests().Delete(ctx, d)
	if err == nil || errors.Is(err, errdef.ErrNotFound) {
		return nil
	}
	err = c.failed(ctx, err, operation{"delete", at(repository, d.Digest.String())})
	if IsNotFound(err) {
		return nil
	}
	return err
}

// maxTags is how many tags of a repository are read. Each of them may have to
// be looked at.
const maxTags = 1000

// Tags returns the tags of a repository. Of one that has more than maxTags it
// is an error with reason Unsupported.
func (c *Client) Tags(ctx context.Context, repository string) (_ []string, err error) {
	defer c.observe("Tags", &err)
	repo, err := c.repository(repository)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.ask(noteWaits(ctx))
	defer cancel()
	var out []string
	err = repo.Tags(ctx, "", func(page []string) error {
		out = append(out, page...)
		if len(out) > maxTags {
			return errEnough
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return nil, outcome.Errorf(outcome.Unsupported, "repository %s at registry %s has more than %d tags, or names longer than tags are", repository, c.host, maxTags)
	case err != nil:
		return nil, c.failed(ctx, err, operation{"list tags of", repository})
	}
	return out, nil
}
