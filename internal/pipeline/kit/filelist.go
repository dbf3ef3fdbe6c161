package kit

import (
	"context"

	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// pushList pushes the list of the files beside the staged artifact and returns its
// digest; "" for none. Their hashes are those that were taken when what kit stored was
// verified.
func (r *task) pushList(ctx context.Context, a *artifact) (string, error) {
	l := filelist.List{Files: make([]filelist.File, 0, len(r.files)), Model: r.contents.Model}
	formats := r.source.Formats(ctx, r.files)
	for i, f := range r.files {
		l.Files = append(l.Files, filelist.File{Path: f.Path, Size: f.Size, SHA256: r.sums[f.Path], Format: formats[i]})
	}
	l.Model.Scan = r.source.Verdict()
	d, err := pipeline.PushFileList(ctx, r.registry, r.run.Target.Repository, a.manifest, l, r.log.printf)
	return d.String(), err
}
