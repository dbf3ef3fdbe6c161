package registry

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A finder has some blobs, and cannot tell of others.
type finder struct {
	has map[string]bool
	err error
}

func (f finder) HasBlob(_ context.Context, _ string, d ocispec.Descriptor) (bool, error) {
	return f.has[d.MediaType], f.err
}

func TestMissing(t *testing.T) {
	var all []ocispec.Descriptor
	for _, name := range []string{"c", "a", "b", "a", "c"} {
		all = append(all, describe(name, []byte(name)))
	}
	got, err := Missing(t.Context(), finder{has: map[string]bool{"b": true}}, repository, all)
	if diff := cmp.Diff(all[:2], got); diff != "" || err != nil {
		t.Errorf("Missing(...): %v: -want, +got:\n%s", err, diff)
	}
	down := outcome.Errorf(outcome.Unavailable, "down")
	if got, err := Missing(t.Context(), finder{err: down}, repository, all); got != nil || reasonOf(err) != outcome.Unavailable {
		t.Errorf("Missing(...): got %v, %v", got, err)
	}
}
