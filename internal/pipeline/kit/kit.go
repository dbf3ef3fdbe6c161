// Package kit is the pipeline that runs KitOps' command line on a workspace.
package kit

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	hubsource "github.com/crossplane-contrib/provider-kitops/internal/source/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/source/volume"
)

// DefaultGrace is how long a command of kit may take to end after SIGTERM.
const DefaultGrace = 5 * time.Second

// A Pipeline runs KitOps' command line (https://kitops.org) step by step on a
// workspace, as a person would:
//
//	kit import  the model at one commit, as a ModelKit in kit's local storage
//	kit unpack, kit pack --use-model-pack   for format ModelPack
//	kit push    to the registry
//
// Files of a volume are copied into the workspace, and kit packs them there:
//
//	kit pack    as a ModelKit or a ModelPack
//	kit push    to the registry
//
// Kit checks no hash, silently omits files of folders with too many, and exits with 1
// whatever the error is. So the pipeline reads from the Hub first, which gives the
// best errors; it verifies what kit stored against the Hub's list of files before
// anything is pushed; and it takes the digest from the registry. It reuses nothing
// that an earlier try has staged, since only kit knows what config it would make.
// What an earlier try has packed is in the workspace.
type Pipeline struct {
	path       string
	grace      time.Duration
	gaugeEvery time.Duration
}

var _ pipeline.Pipeline = &Pipeline{}

// An Option of a Pipeline.
type Option func(*Pipeline)

// WithPath sets the path of the kit binary. It defaults to kit in PATH.
func WithPath(path string) Option {
	return func(k *Pipeline) { k.path = path }
}

// WithGrace sets how long a command may take to end after SIGTERM, before SIGKILL. It
// defaults to DefaultGrace.
func WithGrace(d time.Duration) Option {
	return func(k *Pipeline) { k.grace = d }
}

// New returns a Pipeline.
func New(o ...Option) *Pipeline {
	k := &Pipeline{path: "kit", grace: DefaultGrace, gaugeEvery: gaugeEvery}
	for _, fn := range o {
		fn(k)
	}
	return k
}

// Run implements pipeline.Pipeline. It needs run.Workspace, with room for about twice
// the model, and leaves there what a later try of the same run can reuse.
func (k *Pipeline) Run(ctx context.Context, run pipeline.Run) (outcome.Result, error) {
	if err := canServe(run); err != nil {
		return outcome.Result{}, err
	}
	r, err := k.start(run)
	if err != nil {
		return outcome.Result{}, err
	}
	run.Meter.Plan(plan(run)...)
	defer r.close()
	if err := inTurn(ctx, r.resolve, r.fits, r.detect, r.tryRead, r.askRegistry); err != nil {
		return outcome.Result{}, err
	}
	artifact, err := r.assemble(ctx)
	if err != nil {
		return outcome.Result{}, err
	}
	if err := r.push(ctx, artifact); err != nil {
		return outcome.Result{}, err
	}
	list, err := r.pushList(ctx, artifact)
	if err != nil {
		return outcome.Result{}, err
	}
	return outcome.Result{
		Digest:     artifact.manifest.Digest.String(),
		FileList:   list,
		Size:       artifact.size,
		Files:      len(r.files),
		Revision:   r.contents.Revision,
		CommitTime: outcome.FormatTime(r.contents.Facts.CommittedAt),
		License:    r.contents.License,
		Scan:       r.source.Verdict(),
	}, nil
}

// close closes idle connections.
func (r *task) close() {
	r.registry.Close()
	if r.source != nil {
		r.source.Close()
	}
}

// inTurn calls steps one after the other until one fails.
func inTurn(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A task is one run of the pipeline.
type task struct {
	kit       *Pipeline
	run       pipeline.Run
	log       *runLog
	workspace workspace
	env       []string
	registry  *registry.Client
	pid       atomic.Int64 // Of the command that runs; 0 for none.

	// Known after detect.
	abilities abilities

	// Known after resolve.
	source   *source.Policed
	contents source.Contents
	files    []file.File

	// Known after assemble: the SHA-256 of the files, in hex.
	sums map[string]string
}

// canServe returns an error for a run that kit cannot do, which would otherwise fail
// only after the download.
func canServe(run pipeline.Run) error {
	switch {
	case run.Workspace == "":
		return outcome.Errorf(outcome.Internal, "pipeline Kit was started without a workspace")
	case needsStream(run):
		return outcome.Errorf(outcome.Unsupported,
			"pipeline Kit packs whole models of the Hub, and files of volumes, as ModelPack or ModelKit: set spec.forProvider.pipeline to Stream for format Image, target.annotations, other sources, datasets, and source.files of a Hub")
	case run.Format != pipeline.FormatModelPack && run.Format != pipeline.FormatModelKit:
		return outcome.Errorf(outcome.Unsupported, "format %q is unknown: write ModelPack or ModelKit", run.Format)
	case run.Target.Identity != nil:
		return outcome.Errorf(outcome.Unsupported,
			"pipeline Kit cannot use an identity of a cloud, since kit keeps its first password for a whole push: set spec.forProvider.pipeline to Stream")
	case !strings.ContainsAny(run.Target.Registry, ".:"):
		return outcome.Errorf(outcome.Unsupported,
			"kit takes the registry %q for a part of the repository: name it with a domain or a port", run.Target.Registry)
	case run.Source.Volume != nil:
		return nil
	case !isPublicHub(run.Source.Endpoint):
		return outcome.Errorf(outcome.Unsupported,
			"pipeline Kit cannot use the Hub at %s, since kit speaks to %s only: set spec.forProvider.pipeline to Stream",
			run.Source.Endpoint, hub.DefaultEndpoint)
	case strings.Count(run.Source.Model, "/") != 1:
		return outcome.Errorf(outcome.Unsupported,
			"kit takes a model's full name only, and %q has no organisation: write organisation/name, or set spec.forProvider.pipeline to Stream",
			run.Source.Model)
	}
	return nil
}

// needsStream reports whether kit cannot do what a run asks for.
func needsStream(run pipeline.Run) bool {
	s := run.Source
	switch {
	case run.Format == pipeline.FormatImage, len(run.Annotations) > 0:
		return true
	case s.Volume != nil:
		return false
	}
	return !s.IsHub() || s.Kind == hub.Dataset || len(s.Files.Include)+len(s.Files.Exclude) > 0
}

func isPublicHub(endpoint string) bool {
	endpoint = strings.TrimRight(endpoint, "/")
	return endpoint == "" || endpoint == hub.DefaultEndpoint
}

// start prepares what all steps need.
func (k *Pipeline) start(run pipeline.Run) (*task, error) {
	w, err := openWorkspace(run.Workspace)
	if err != nil {
		return nil, err
	}
	secrets, err := pipeline.Secrets(run)
	if err != nil {
		return nil, err
	}
	r := &task{kit: k, run: run, log: newRunLog(run.Log, secrets), workspace: w}
	if r.env, err = environment(run, w); err != nil {
		return nil, err
	}
	return r, r.connect()
}

// fits returns an error if a file is larger than the registry is known to accept.
func (r *task) fits(context.Context) error {
	return pipeline.LayerLimit(registry.LayerLimit).Fits(r.run.Target, r.files, pipeline.TarSlack)
}

// newSource returns where the run's files come from.
func (r *task) newSource() (source.Source, error) {
	if r.run.Source.Volume == nil {
		return hubsource.New(r.run.Source, download.Options{}, r.log.printf)
	}
	folder, err := volume.New(*r.run.Source.Volume)
	if err != nil {
		return nil, err
	}
	return source.FromFolder(r.run.Source, folder, r.log.printf), nil
}

// resolve finds the version of the source that the run reads, and its files.
func (r *task) resolve(ctx context.Context) error {
	src, err := r.newSource()
	if err != nil {
		return err
	}
	r.source = source.Police(src, r.run.Policies, r.log.printf)
	if r.contents, err = r.source.Resolve(ctx); err != nil {
		return err
	}
	if at := r.contents.Facts.CommittedAt; !at.IsZero() || r.run.Source.Volume != nil {
		r.env = append(r.env, sourceDateEpoch(r.fileTime()))
	}
	all, err := r.source.List(ctx, r.run.Meter)
	if err != nil {
		return err
	}
	if r.files, err = packable(all); err != nil {
		return err
	}
	if err := r.run.Policies.CheckSize(pipeline.TotalSize(r.files)); err != nil {
		return err
	}
	r.log.printf("%d files, %s, as %s made by kit", len(r.files), pipeline.FormatBytes(pipeline.TotalSize(r.files)), r.run.Format)
	if left := len(all) - len(r.files); left > 0 {
		r.log.printf("%d of kit's own files are omitted, as kit does", left)
	}
	return nil
}

// tryRead reads the first byte of the smallest file that has any. A gated model
// shows its list of files to everyone, and only its files tell who may read them.
func (r *task) tryRead(ctx context.Context) error {
	var smallest file.File
	for _, f := range r.files {
		if f.Size > 0 && (smallest.Size == 0 || f.Size < smallest.Size) {
			smallest = f
		}
	}
	rc, err := r.source.Head(ctx, smallest, 1)
	if err != nil {
		return err
	}
	return errors.Wrap(rc.Close(), "cannot close a file of the source")
}
