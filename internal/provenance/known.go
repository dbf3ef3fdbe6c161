package provenance

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// Has says whether a registry has a record about the artifact of this digest,
// whoever's it is. What a list says of a record is not taken for it.
func Has(ctx context.Context, r Reader, repository string, subject digest.Digest) (bool, error) {
	all, err := r.Referrers(ctx, repository, subject, ArtifactType)
	if err != nil {
		return false, err
	}
	for _, d := range all[:min(len(all), maxFetched)] {
		if d.Digest.Validate() != nil {
			continue
		}
		found, is, err := fetch(ctx, r, repository, subject, d.Digest)
		if err != nil {
			return false, err
		}
		if is && (found.Owner != Owner{}) {
			return true, nil
		}
	}
	return false, nil
}
