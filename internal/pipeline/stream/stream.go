// Package stream is the pipeline that moves content in one pass, without a disk.
package stream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/memory"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack/inspect"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/parallel"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	"github.com/crossplane-contrib/provider-kitops/internal/source/buckets"
	httpsource "github.com/crossplane-contrib/provider-kitops/internal/source/http"
	hubsource "github.com/crossplane-contrib/provider-kitops/internal/source/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/source/oci"
	"github.com/crossplane-contrib/provider-kitops/internal/source/volume"
)

// A Pipeline streams a model from its source to the registry in one pass, in any
// format. No whole file is in memory or on disk: bytes are hashed while they pass. The
// Hub announces the SHA-256 of a large file, which is the digest of its layer in a
// ModelPack: what the registry has already is not moved.
type Pipeline struct {
	large, small    parallel.Options // Of the large and the small layers that are moved in parallel.
	inMemory        int64            // The size up to which a layer is small, and held in memory.
	ranges          int64            // The bytes of a file that one request asks for.
	prefetch        int64            // The bytes of archives' small files that are read before their turn at most.
	retry           retry.Policy
	uploads         retry.Policy
	checkpointEvery time.Duration // The interval at which a changed checkpoint is pushed.
	limit           pipeline.LayerLimit
	folder          func(s pipeline.Source, o download.Options) (source.Folder, error)
}

var _ pipeline.Pipeline = &Pipeline{}

// New returns a Pipeline.
func New() *Pipeline {
	return &Pipeline{
		large:    parallel.Options{Start: startLarge, Max: mostLarge},
		small:    parallel.Options{Start: startSmall, Max: mostSmall, Samples: 2},
		inMemory: 1 << 20, ranges: hubRange, prefetch: mostPrefetch, retry: retry.Default(), uploads: retry.Default(),
		checkpointEvery: checkpointAfter, limit: registry.LayerLimit, folder: newFolder,
	}
}

// Run implements Pipeline. The manifest is pushed last, and only if every file
// was what its source announced: a failed run stages nothing.
func (s *Pipeline) Run(ctx context.Context, run pipeline.Run) (outcome.Result, error) {
	r, err := s.start(run)
	if err != nil {
		return outcome.Result{}, err
	}
	defer r.close()
	ctx = connection.WithOverload(ctx, r.limits.overloaded(run.Target.Registry))
	result, err := r.transfer(ctx)
	if err != nil || run.Share.Last {
		r.unpin(ctx, err)
	}
	return result, err
}

// transfer transfers what the run is for.
func (r *task) transfer(ctx context.Context) (outcome.Result, error) {
	if err := r.resolve(ctx); err != nil {
		return outcome.Result{}, err
	}
	run := r.run
	r.contents.Facts.Annotations = run.Annotations
	o, ok := r.source.Source.(*oci.Source)
	if ok && string(o.Format()) == run.Format {
		if len(run.Annotations) > 0 {
			return outcome.Result{}, outcome.Errorf(outcome.Unsupported,
				"the artifact in spec.forProvider.source.oci is a %s already and is copied with its digest, which annotations would change: leave spec.forProvider.target.annotations out, or set spec.forProvider.format to another", run.Format)
		}
		return r.copyArtifact(ctx, o)
	}
	if ok && run.Source.Artifact.CopyReferrers {
		return outcome.Result{}, cannotCopyAttachments(run, o)
	}
	return r.pack(ctx)
}

// pack makes an artifact of the source's files.
func (r *task) pack(ctx context.Context) (outcome.Result, error) {
	files, err := r.source.List(ctx, r.run.Meter)
	if err != nil {
		return outcome.Result{}, err
	}
	// No format is smaller than its files.
	if err := r.run.Policies.CheckSize(pipeline.TotalSize(files)); err != nil {
		return outcome.Result{}, err
	}
	layout, err := r.layOut(files)
	if err != nil {
		return outcome.Result{}, err
	}
	if err := r.limit.Fits(r.run.Target, files, slackOf(layout)); err != nil {
		return outcome.Result{}, err
	}
	var a modelpack.Artifact
	return r.checkpointed(ctx, func(ctx context.Context) error {
		a, err = r.move(ctx, layout)
		return err
	}, func() (outcome.Result, error) {
		if r.run.Share.IsPart() {
			return r.share(ctx), nil
		}
		return r.stage(ctx, a, r.packedFiles(layout))
	})
}

// checkpointed calls move, with a checkpoint for the next run in case that this one is
// interrupted, and then stage.
func (r *task) checkpointed(ctx context.Context, move func(ctx context.Context) error, stage func() (outcome.Result, error)) (outcome.Result, error) {
	r.staged, r.checkpoint = r.readStaged(ctx), r.newCheckpoint(ctx)
	watched, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { r.checkpoint.watch(watched) })
	err := move(ctx)
	stop()
	watching.Wait()
	if err != nil {
		r.checkpoint.keep(ctx)
		return outcome.Result{}, err
	}
	return stage()
}

// A task is one run of the pipeline.
type task struct {
	*Pipeline

	run      pipeline.Run
	source   *source.Policed
	registry *registry.Client
	log      *log.Logger
	throttle *connection.Throttle

	uploading  retry.Policy // uploads, with this run's log.
	contents   source.Contents
	files      []file.File     // As the source announced them, by path.
	copied     []file.File     // The files of an artifact that is copied, if policies have rules for them.
	packed     int             // The files in the artifact: a format may omit some.
	digests    []digest.Digest // Of the layers, once they were moved.
	sums       sums
	inspection *inspect.Inspection
	staged     staged
	verified   map[string]filelist.File // What an earlier run of the Artifact has verified, by path.
	main       storedCheckpoint         // Of all shares, if the run is divided.
	partless   bool                     // The registry does not take a part of it.
	mine       outcome.Share            // What the run has transferred as its share.
	moves      []*layerMove             // The layers of that share, unless it is of a copy.
	checkpoint *checkpoint
	mounts     mounts
	limits     *limits
	prefetcher *prefetcher
	hashers    hashers
	planned    int64 // Bytes that files and their plan take.
}

// plannedFile is about how many bytes a run holds of each of its files: what the source
// announced, the plan, and what it has hashed. Without them, the collector's limit would be
// below what is live in a run of very many files.
const plannedFile = 768

func (s *Pipeline) start(run pipeline.Run) (*task, error) {
	if run.Log == nil {
		run.Log = io.Discard
	}
	r := &task{Pipeline: s, run: run, log: log.New(run.Log, "", 0), limits: s.newLimits(run)}
	r.prefetcher = newPrefetcher(r.limits.prefetch, r.limits.files)
	r.uploading = s.uploads
	r.uploading.Logf = r.log.Printf
	r.throttle = &connection.Throttle{Sleep: s.uploads.Sleep}
	if err := r.openSource(run.Source); err != nil {
		return nil, err
	}
	var err error
	if r.registry, err = pipeline.NewRegistry(run.Target, r.uploading, r.throttle); err != nil {
		r.source.Close()
		return nil, err
	}
	return r, nil
}

// openSource has the run read from a source.
func (r *task) openSource(s pipeline.Source) error {
	r.run.Source = s
	from, err := r.newSource(r.run, r.throttle, r.limits, r.log.Printf)
	if err == nil {
		r.source = source.Police(from, r.run.Policies, r.log.Printf)
	}
	return err
}

// newSource returns where a run's files come from.
func (s *Pipeline) newSource(run pipeline.Run, throttle *connection.Throttle, l *limits, logf func(format string, args ...any)) (source.Source, error) {
	options := download.Options{Range: s.rangeOf(run.Source), Budget: l.ahead, Ahead: l.ranges, Logf: logf}
	switch {
	case run.Source.Artifact != nil:
		return oci.New(*run.Source.Artifact, s.retry, throttle, logf)
	case run.Source.IsHub():
		return hubsource.New(run.Source, options, logf)
	}
	folder, err := s.folder(run.Source, options)
	if err != nil {
		return nil, err
	}
	return source.FromFolder(run.Source, folder, logf), nil
}

// newFolder returns the folder that a run's source is.
func newFolder(s pipeline.Source, o download.Options) (source.Folder, error) {
	switch {
	case buckets.Is(s):
		return buckets.New(s, retry.Default(), o)
	case s.HTTP != nil:
		return httpsource.New(s, retry.Default(), o)
	case s.Volume != nil:
		return volume.New(*s.Volume)
	}
	return nil, outcome.Errorf(outcome.Internal, "the run has a source that this program does not know")
}

func (r *task) close() {
	memory.AddBuffers(-r.planned)
	r.source.Close()
	r.registry.Close()
}

// layOut plans the layers. It returns an error for a model of which no artifact can be
// made, before anything is moved.
func (r *task) layOut(listed []file.File) (*modelpack.Layout, error) {
	files := make([]modelpack.File, 0, len(listed))
	r.files, r.planned = listed, plannedFile*int64(len(listed))
	memory.AddBuffers(r.planned)
	slices.SortFunc(r.files, func(a, b file.File) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range listed {
		files = append(files, modelpack.File{Path: f.Path, Size: f.Size})
	}
	newLayout := modelpack.NewLayout
	if r.run.Source.Kind == hub.Dataset {
		newLayout = modelpack.NewDatasetLayout
	}
	layout, err := newLayout(modelpack.Format(r.run.Format), files)
	if err != nil {
		return nil, err
	}
	for _, l := range layout.Layers {
		r.packed += len(l.Files)
	}
	r.log.Printf("%d files, %s, as %s in %d layers", r.packed, pipeline.FormatBytes(pipeline.TotalSize(listed)), layout.Format, len(layout.Layers))
	// Any digest will do for the manifest's size: all have the same length.
	digests := slices.Repeat([]digest.Digest{digest.Canonical.FromString("")}, len(layout.Layers))
	if _, err := layout.Artifact(r.contents.Facts, digests); err != nil {
		return nil, err
	}
	if r.inspection = inspect.New(files); r.run.Share.IsPart() {
		// What a share found out would be lost: the last run looks at all files.
		r.inspection = inspect.New(nil)
	}
	return layout, nil
}

// slackOf returns the most bytes that a layer has beside its file.
func slackOf(l *modelpack.Layout) int64 {
	if l.Format == modelpack.FormatModelPack {
		return 0
	}
	return pipeline.TarSlack
}

// stage pushes config and manifest of an artifact whose layers are in the
// repository, and the list of these files, if there are any.
func (r *task) stage(ctx context.Context, a modelpack.Artifact, files []file.File) (outcome.Result, error) {
	if err := r.source.Finish(ctx); err != nil {
		return outcome.Result{}, err
	}
	if err := r.pushImages(ctx, a); err != nil {
		return outcome.Result{}, err
	}
	if err := r.pushStaged(ctx, a); err != nil {
		return outcome.Result{}, err
	}
	list, err := r.pushList(ctx, a, files)
	if err != nil {
		return outcome.Result{}, err
	}
	return outcome.Result{
		Digest:     a.Descriptor.Digest.String(),
		FileList:   list,
		Size:       a.Size(),
		Files:      r.packed,
		Revision:   r.contents.Revision,
		CommitTime: outcome.FormatTime(r.contents.Facts.CommittedAt),
		License:    r.contents.License,
		Scan:       r.source.Verdict(),
	}, nil
}

// pushStaged pushes an artifact's manifest under the staging tag, unless the tag
// points to it already. A registry that refuses the tag gets the manifest by its
// digest alone: the tag only keeps the registry from collecting it.
func (r *task) pushStaged(ctx context.Context, a modelpack.Artifact) error {
	t, d := r.run.Target, a.Descriptor
	what := fmt.Sprintf("%s@%s, %s in %d layers", t.Reference(), d.Digest, pipeline.FormatBytes(a.Size()), len(a.Layers))
	if r.staged.descriptor.Digest == d.Digest {
		r.log.Printf("%s, is staged already: there is nothing to push", what)
		return nil
	}
	err := r.registry.PushManifest(ctx, t.Repository, d, a.Manifest, t.StagingTag)
	if err != nil && ctx.Err() == nil && !outcome.ReasonOf(err).Transient() {
		tagged := err
		if err = r.registry.PushManifest(ctx, t.Repository, d, a.Manifest, d.Digest.String()); err == nil {
			r.log.Printf("the manifest is staged without a tag, since the registry refuses tag %s: %s", t.StagingTag, tagged)
		}
	}
	if err == nil {
		r.log.Printf("pushed %s", what)
	}
	return err
}

// pushImages pushes what the artifact's manifest or index refers to beside the layers:
// its config, or the configs and manifests of its images.
func (r *task) pushImages(ctx context.Context, a modelpack.Artifact) error {
	if len(a.Images) == 0 {
		return r.push(ctx, a.ConfigDescriptor, a.Config)
	}
	for _, i := range a.Images {
		if err := r.push(ctx, i.ConfigDescriptor, i.Config); err != nil {
			return err
		}
		if r.staged.descriptor.Digest == a.Descriptor.Digest {
			continue
		}
		if err := r.registry.PushManifest(ctx, r.run.Target.Repository, i.Descriptor, i.Manifest, i.Descriptor.Digest.String()); err != nil {
			return err
		}
	}
	return nil
}

// push pushes a small blob unless the registry has it.
func (r *task) push(ctx context.Context, d ocispec.Descriptor, b []byte) error {
	has, err := r.registry.HasBlob(ctx, r.run.Target.Repository, d)
	if has || err != nil {
		return err
	}
	return r.pushNew(ctx, d, b)
}

// pushNew pushes a small blob.
func (r *task) pushNew(ctx context.Context, d ocispec.Descriptor, b []byte) error {
	open := func(_ context.Context, offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b[offset:])), nil
	}
	return r.registry.Upload(ctx, r.run.Target.Repository, d, open, r.uploading)
}
