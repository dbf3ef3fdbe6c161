package artifact

import (
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// Keys of an Artifact's connection details.
const (
	detailRegistry        = "registry"
	detailRepository      = "repository"
	detailTag             = "tag"
	detailDigest          = "digest"
	detailReference       = "reference"
	detailPinnedReference = "pinnedReference"
)

// connectionDetails say where the artifact is that was pushed last, or that is
// observed. There are none before the first is there.
func connectionDetails(a *modelv1alpha1.Artifact) managed.ConnectionDetails {
	s := a.Status.AtProvider
	if s.Digest == "" {
		return nil
	}
	details := managed.ConnectionDetails{
		detailDigest:          []byte(s.Digest),
		detailReference:       []byte(s.Reference),
		detailPinnedReference: []byte(s.PinnedReference),
	}
	if ref, err := registry.ParseReference(s.Reference); err == nil {
		details[detailRegistry], details[detailRepository], details[detailTag] = []byte(ref.Registry), []byte(ref.Repository), []byte(ref.Tag)
	}
	return details
}
