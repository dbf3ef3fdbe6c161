package pipeline

import (
	"cmp"
	"slices"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// tarSlack is what a tar archive of one file has at most beside the file: its
// headers, padding and end.
const tarSlack = 4 << 10

// layerLimit is what is known of registries. Tests have their own.
var layerLimit = registry.LayerLimit

// fits refuses a file that the registry is known to refuse, before anything is
// moved. Each file becomes a layer of its own, with slack bytes more.
func fits(t Target, files []hub.File, slack int64) error {
	limit, origin, known := layerLimit(t.Registry)
	if !known || len(files) == 0 {
		return nil
	}
	largest := slices.MaxFunc(files, func(a, b hub.File) int { return cmp.Compare(a.Size, b.Size) })
	if largest.Size+slack <= limit {
		return nil
	}
	return outcome.Errorf(outcome.Unsupported,
		"file %s has %s, and registry %s takes at most %s a layer (%s): push to another registry, or pack a revision of the model with smaller files",
		largest.Path, formatBytes(largest.Size), t.Registry, formatBytes(limit), origin)
}
