package pipeline

import (
	"cmp"
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// DefaultKitGrace is how long a step of kit gets to end after it was told to.
const DefaultKitGrace = 5 * time.Second

// Kit is the pipeline that a person would type: it runs KitOps' command line
// (https://kitops.org) step by step on a workspace.
//
//	kit import  the model at one commit, as a ModelKit in kit's local storage
//	kit unpack, kit pack --use-model-pack   where a ModelPack is asked for
//	kit push    to the registry
//
// Kit checks no hash, drops files without a word where a folder has too many,
// and exits with 1 whatever went wrong. So the pipeline asks the Hub itself
// first, which also tells best what is wrong; it checks what kit stored against
// the Hub's list of files before anything is pushed; and it takes the digest from
// the registry. It reuses nothing that an earlier try has staged: only kit knows
// what config it would make. What an earlier try has packed is in the workspace.
type Kit struct {
	path       string
	grace      time.Duration
	gaugeEvery time.Duration
}

var _ Pipeline = &Kit{}

// A KitOption of a Kit.
type KitOption func(*Kit)

// WithKitPath sets where the kit binary is. By default it is looked up as kit
// in PATH.
func WithKitPath(path string) KitOption {
	return func(k *Kit) { k.path = path }
}

// WithKitGrace sets how long a step gets to end after SIGTERM, before SIGKILL;
// DefaultKitGrace by default.
func WithKitGrace(d time.Duration) KitOption {
	return func(k *Kit) { k.grace = d }
}

// NewKit returns a Kit pipeline.
func NewKit(o ...KitOption) *Kit {
	k := &Kit{path: "kit", grace: DefaultKitGrace, gaugeEvery: kitGaugeEvery}
	for _, fn := range o {
		fn(k)
	}
	return k
}

// Run implements Pipeline. It needs run.Workspace, with room for about twice
// the model, and leaves there what a later try of the same run can use.
func (k *Kit) Run(ctx context.Context, run Run) (outcome.Result, error) {
	if err := kitCanServe(run); err != nil {
		return outcome.Result{}, err
	}
	r, err := k.start(run)
	if err != nil {
		return outcome.Result{}, err
	}
	run.Meter.Plan(kitPlan(run.Format)...)
	defer func() { r.registry.Close() }()
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
	return outcome.Result{
		Digest:   artifact.manifest.Digest.String(),
		Size:     artifact.size,
		Files:    len(r.files),
		Revision: r.revision.Commit,
		License:  r.revision.License,
	}, nil
}

// inTurn takes steps until one of them fails.
func inTurn(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A kitRun is one run of the pipeline.
type kitRun struct {
	kit       *Kit
	run       Run
	log       *kitLog
	workspace kitWorkspace
	env       []string
	registry  *registry.Client
	pid       atomic.Int64 // Of the command that runs; 0 for none.

	// Known after detect.
	abilities kitAbilities

	// Known after resolve.
	hub      *hub.Client
	revision hub.Revision
	files    []hub.File
}

// kitCanServe refuses early what would fail only after the model's download.
func kitCanServe(run Run) error {
	switch {
	case run.Workspace == "":
		return outcome.Errorf(outcome.Internal, "pipeline Kit was started without a workspace")
	case needsStream(run):
		return outcome.Errorf(outcome.Unsupported,
			"pipeline Kit packs whole models of the Hub, as ModelPack or ModelKit: set spec.forProvider.pipeline to Stream for format Image, source.oci, and source.huggingFace's dataset and files")
	case run.Format != FormatModelPack && run.Format != FormatModelKit:
		return outcome.Errorf(outcome.Unsupported, "format %q is none: write ModelPack or ModelKit", run.Format)
	case !isPublicHub(run.Source.Endpoint):
		return outcome.Errorf(outcome.Unsupported,
			"pipeline Kit cannot use the Hub at %s, since kit speaks to %s only: set spec.forProvider.pipeline to Stream",
			run.Source.Endpoint, hub.DefaultEndpoint)
	case strings.Count(run.Source.Model, "/") != 1:
		return outcome.Errorf(outcome.Unsupported,
			"kit takes a model's full name only, and %q has no organisation: write organisation/name, or set spec.forProvider.pipeline to Stream",
			run.Source.Model)
	case !strings.ContainsAny(run.Target.Registry, ".:"):
		return outcome.Errorf(outcome.Unsupported,
			"kit takes the registry %q for a part of the repository: name it with a domain or a port", run.Target.Registry)
	}
	return nil
}

// needsStream says whether kit cannot do what a run asks for.
func needsStream(run Run) bool {
	s := run.Source
	return run.Format == FormatImage || s.Artifact != nil || s.Kind == hub.Dataset || len(s.Files.Include)+len(s.Files.Exclude) > 0
}

func isPublicHub(endpoint string) bool {
	endpoint = strings.TrimRight(endpoint, "/")
	return endpoint == "" || endpoint == hub.DefaultEndpoint
}

// start prepares what every step needs.
func (k *Kit) start(run Run) (*kitRun, error) {
	w, err := openKitWorkspace(run.Workspace)
	if err != nil {
		return nil, err
	}
	secrets, err := secretsOf(run)
	if err != nil {
		return nil, err
	}
	r := &kitRun{kit: k, run: run, log: newKitLog(run.Log, secrets), workspace: w}
	if r.env, err = kitEnvironment(run, w); err != nil {
		return nil, err
	}
	return r, r.connect()
}

// fits refuses a model with a file that the registry is known to refuse.
func (r *kitRun) fits(context.Context) error { return fits(r.run.Target, r.files, tarSlack) }

// resolve asks the Hub what the revision stands for and which files it has.
func (r *kitRun) resolve(ctx context.Context) error {
	source := r.run.Source
	client, err := newHub(source)
	if err != nil {
		return err
	}
	r.hub = client
	if r.revision, err = client.Resolve(ctx, source.Model, source.Revision); err != nil {
		return err
	}
	if !r.revision.LastModified.IsZero() {
		r.env = append(r.env, sourceDateEpoch(r.revision.LastModified))
	}
	all, err := client.List(ctx, source.Model, r.revision.Commit)
	if err != nil {
		return err
	}
	if r.files, err = kitFiles(all); err != nil {
		return err
	}
	r.log.printf("%s: revision %q is commit %s, licence %s",
		source.Model, source.Revision, r.revision.Commit, cmp.Or(r.revision.License, "not named"))
	r.log.printf("%d files, %s, as %s made by kit", len(r.files), formatBytes(totalSize(r.files)), r.run.Format)
	if left := len(all) - len(r.files); left > 0 {
		r.log.printf("left out, as kit does: %d of git's or kit's own files, such as .gitattributes", left)
	}
	return nil
}

// tryRead opens the smallest file. A gated model shows its list of files to
// everybody, and only its files tell who may read them.
func (r *kitRun) tryRead(ctx context.Context) error {
	smallest := r.files[0]
	for _, f := range r.files {
		if f.Size < smallest.Size {
			smallest = f
		}
	}
	rc, err := r.hub.Open(ctx, r.run.Source.Model, r.revision.Commit, smallest.Path)
	if err != nil {
		return err
	}
	return errors.Wrap(rc.Close(), "cannot close a file of the Hub")
}
