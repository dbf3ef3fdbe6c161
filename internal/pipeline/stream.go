package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack/inspect"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// A Stream takes a model from its source to the registry in one pass, in any
// format. A whole file is never in memory or on disk: its bytes go through this
// program's hands, hashed on the way. The Hub knows a large file's SHA-256
// beforehand, and that is the digest of its layer in a ModelPack: what the
// registry has already is not moved.
type Stream struct {
	large, small    int   // How many large layers, and small ones, are moved side by side.
	inMemory        int64 // Up to how many bytes a layer is small, and held in memory.
	ahead           int64 // How many bytes are read ahead at most, of all files together.
	ranges          int64 // How many bytes of a file one request asks for.
	retry           retry.Policy
	uploads         retry.Policy
	checkpointEvery time.Duration // How often a run's checkpoint is looked at.
}

var _ Pipeline = &Stream{}

// NewStream returns a Stream.
func NewStream() *Stream {
	return &Stream{large: 4, small: 8, inMemory: 1 << 20, ahead: 16 << 20, ranges: 2 << 20, retry: retry.Default(), uploads: retry.Default(), checkpointEvery: checkpointAfter}
}

// Run implements Pipeline. The manifest is pushed last, and only if every file
// was what its source announced: a failed run stages nothing.
func (s *Stream) Run(ctx context.Context, run Run) (outcome.Result, error) {
	r, err := s.start(run)
	if err != nil {
		return outcome.Result{}, err
	}
	defer r.close()
	if r.contents, err = r.origin.resolve(ctx); err != nil {
		return outcome.Result{}, err
	}
	o, ok := r.origin.(*ociOrigin)
	if !ok || string(o.description.Format) != run.Format {
		return r.pack(ctx)
	}
	return r.copyArtifact(ctx, o)
}

// pack makes an artifact of the origin's files.
func (r *streamRun) pack(ctx context.Context) (outcome.Result, error) {
	files, err := r.origin.list(ctx, r.run.Meter)
	if err != nil {
		return outcome.Result{}, err
	}
	layout, err := r.layOut(files)
	if err != nil {
		return outcome.Result{}, err
	}
	if err := fits(r.run.Target, files, slackOf(layout)); err != nil {
		return outcome.Result{}, err
	}
	var a modelpack.Artifact
	return r.checkpointed(ctx, func(ctx context.Context) error {
		a, err = r.move(ctx, layout)
		return err
	}, func() (outcome.Result, error) { return r.stage(ctx, a) })
}

// checkpointed moves what a run moves, with a checkpoint for the next run in case
// that this one ends early, and stages it.
func (r *streamRun) checkpointed(ctx context.Context, move func(ctx context.Context) error, stage func() (outcome.Result, error)) (outcome.Result, error) {
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

// A streamRun is one run of a Stream.
type streamRun struct {
	*Stream

	run      Run
	origin   origin
	registry *registry.Client
	log      *log.Logger

	uploading  retry.Policy // With this run's log, which is not another's.
	contents   contents
	byPath     map[string]hub.File
	packed     int // How many files go into the artifact: a format may leave some out.
	inspection *inspect.Inspection
	staged     staged
	checkpoint *checkpoint
	mounts     mounts
}

func (s *Stream) start(run Run) (*streamRun, error) {
	if run.Log == nil {
		run.Log = io.Discard
	}
	r := &streamRun{Stream: s, run: run, log: log.New(run.Log, "", 0)}
	r.uploading = s.uploads
	r.uploading.Logf = r.log.Printf
	var err error
	throttle := &connection.Throttle{Sleep: s.uploads.Sleep}
	if r.origin, err = s.newOrigin(run, throttle, r.log.Printf); err != nil {
		return nil, err
	}
	if r.registry, err = newRegistry(run.Target, r.uploading, throttle); err != nil {
		r.origin.close()
		return nil, err
	}
	return r, nil
}

// newOrigin returns where a run's files come from.
func (s *Stream) newOrigin(run Run, throttle *connection.Throttle, logf func(format string, args ...any)) (origin, error) {
	if run.Source.Artifact != nil {
		return newOCIOrigin(*run.Source.Artifact, s.retry, throttle, logf)
	}
	h, err := newHub(run.Source)
	if err != nil {
		return nil, err
	}
	return &hubOrigin{
		source: run.Source, hub: h, logf: logf,
		download: hub.DownloadOptions{Range: s.ranges, Budget: hub.NewBudget(s.ahead), Logf: logf},
	}, nil
}

func (r *streamRun) close() {
	r.origin.close()
	r.registry.Close()
}

// layOut says which layers there will be. It refuses a model of which no
// artifact can be made before anything is moved.
func (r *streamRun) layOut(listed []hub.File) (*modelpack.Layout, error) {
	files := make([]modelpack.File, 0, len(listed))
	r.byPath = make(map[string]hub.File, len(listed))
	for _, f := range listed {
		files = append(files, modelpack.File{Path: f.Path, Size: f.Size})
		r.byPath[f.Path] = f
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
	r.log.Printf("%d files, %s, as %s in %d layers", r.packed, formatBytes(totalSize(listed)), layout.Format, len(layout.Layers))
	// Any digest will do: all have the same length.
	digests := slices.Repeat([]digest.Digest{digest.Canonical.FromString("")}, len(layout.Layers))
	if _, err := layout.Artifact(r.contents.facts, digests); err != nil {
		return nil, err
	}
	r.inspection = inspect.New(files)
	return layout, nil
}

// slackOf is what a layer has at most beside its file.
func slackOf(l *modelpack.Layout) int64 {
	if l.Format == modelpack.FormatModelPack {
		return 0
	}
	return tarSlack
}

// stage pushes config and manifest of an artifact whose layers are in the
// repository.
func (r *streamRun) stage(ctx context.Context, a modelpack.Artifact) (outcome.Result, error) {
	if err := r.pushImages(ctx, a); err != nil {
		return outcome.Result{}, err
	}
	if err := r.pushStaged(ctx, a); err != nil {
		return outcome.Result{}, err
	}
	return outcome.Result{
		Digest:   a.Descriptor.Digest.String(),
		Size:     a.Size(),
		Files:    r.packed,
		Revision: r.contents.revision,
		License:  r.contents.license,
	}, nil
}

// pushStaged pushes an artifact's manifest under the staging tag, unless the tag
// points to it already. A registry that refuses the tag gets the manifest by its
// digest alone: the tag only keeps the registry from collecting it.
func (r *streamRun) pushStaged(ctx context.Context, a modelpack.Artifact) error {
	t, d := r.run.Target, a.Descriptor
	what := fmt.Sprintf("%s@%s, %s in %d layers", t.Reference(), d.Digest, formatBytes(a.Size()), len(a.Layers))
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

// pushImages pushes what the artifact's manifest, or its index, refers to beside
// the layers: its config, or configs and manifests of its images.
func (r *streamRun) pushImages(ctx context.Context, a modelpack.Artifact) error {
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
func (r *streamRun) push(ctx context.Context, d ocispec.Descriptor, b []byte) error {
	has, err := r.registry.HasBlob(ctx, r.run.Target.Repository, d)
	if has || err != nil {
		return err
	}
	return r.pushNew(ctx, d, b)
}

// pushNew pushes a small blob.
func (r *streamRun) pushNew(ctx context.Context, d ocispec.Descriptor, b []byte) error {
	open := func(_ context.Context, offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b[offset:])), nil
	}
	return r.registry.Upload(ctx, r.run.Target.Repository, d, open, r.uploading)
}

// totalBytes is what blobs have together, in bytes.
func totalBytes(blobs []ocispec.Descriptor) int64 {
	var n int64
	for _, b := range blobs {
		n += b.Size
	}
	return n
}

// canonicalURL is where a model is on the public Hub. It is what an artifact
// names as its source, so that the same model has the same digest whichever
// mirror it came through.
func canonicalURL(s Source) string {
	if s.Kind == hub.Dataset {
		return hub.DefaultEndpoint + "/datasets/" + s.Model
	}
	return hub.DefaultEndpoint + "/" + s.Model
}
