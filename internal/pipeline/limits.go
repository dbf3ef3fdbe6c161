package pipeline

import (
	"cmp"
	"slices"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TarSlack is what a tar archive of one file has at most beside the file: its
// headers, padding and end.
const TarSlack = 4 << 10

// A LayerLimit returns the largest layer that a registry accepts and the page that
// documents it, as registry.LayerLimit does.
type LayerLimit func(host string) (limit int64, origin string, known bool)

// Fits returns an error if a file is larger than the registry is known to accept,
// before anything is moved. Each file becomes a layer of its own, with at most slack
// more bytes.
func (limit LayerLimit) Fits(t Target, files []file.File, slack int64) error {
	most, origin, known := limit(t.Registry)
	if !known || len(files) == 0 {
		return nil
	}
	largest := slices.MaxFunc(files, func(a, b file.File) int { return cmp.Compare(a.Size, b.Size) })
	if largest.Size+slack <= most {
		return nil
	}
	return outcome.Errorf(outcome.Unsupported,
		"file %s has %s, and registry %s takes at most %s a layer (%s): push to another registry, or pack a revision of the model with smaller files",
		largest.Path, FormatBytes(largest.Size), t.Registry, FormatBytes(most), origin)
}
