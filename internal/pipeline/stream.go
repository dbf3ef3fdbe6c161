package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"log"
	"path"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// A Stream takes a model from the Hub to the registry in one pass, as a
// ModelPack of raw layers. The Hub knows a large file's SHA-256 beforehand, and
// that is the digest of its layer: what the registry has already is not moved,
// and the rest goes through this program's hands, hashed on the way, without a
// whole file ever being in memory or on disk.
type Stream struct {
	parallel int   // How many files are moved side by side.
	inMemory int64 // Up to how many bytes a file may be held, if its digest is not known; a larger one is read twice.
	retry    retry.Policy
}

var _ Pipeline = &Stream{}

// NewStream returns a Stream.
func NewStream() *Stream {
	return &Stream{parallel: 4, inMemory: 16 << 20, retry: streamRetry()}
}

func streamRetry() retry.Policy {
	return retry.Policy{Tries: 4, First: 2 * time.Second, Longest: 30 * time.Second, Patience: 2 * time.Minute}
}

// Run implements Pipeline. The manifest is pushed last, and only if every file
// was what the Hub announced: no failed run can be seen under the tag.
func (s *Stream) Run(ctx context.Context, run Run) (outcome.Result, error) {
	if run.Format != FormatModelPack {
		return outcome.Result{}, outcome.Errorf(outcome.Unsupported,
			"the pipeline Stream makes artifacts of format %s, not %q: set spec.forProvider.pipeline to Kit, or format to %s",
			FormatModelPack, run.Format, FormatModelPack)
	}
	r, err := s.start(run)
	if err != nil {
		return outcome.Result{}, err
	}
	defer r.registry.Close()
	files, err := r.resolve(ctx)
	if err != nil {
		return outcome.Result{}, err
	}
	if err := r.claim.look(ctx); err != nil {
		return outcome.Result{}, err
	}
	if result, done, err := r.claim.conclude(ctx, provenanceOf(run, r.revision, len(files))); done || err != nil {
		return result, err
	}
	if err := fits(run.Target, files, 0); err != nil {
		return outcome.Result{}, err
	}
	layers, err := r.move(ctx, files)
	if err != nil {
		return outcome.Result{}, err
	}
	return r.publish(ctx, layers)
}

// A streamRun is one run of a Stream.
type streamRun struct {
	*Stream

	run      Run
	hub      *hub.Client
	registry *registry.Client
	claim    *claim
	log      *log.Logger
	again    retry.Policy // Tries a file again whole when its stream breaks.
	revision hub.Revision
}

func (s *Stream) start(run Run) (*streamRun, error) {
	if run.Log == nil {
		run.Log = io.Discard
	}
	r := &streamRun{Stream: s, run: run, log: log.New(run.Log, "", 0)}
	// This run's log is not another's.
	r.again = s.retry
	r.again.Logf = r.log.Printf
	var err error
	if r.hub, err = newHub(run.Source); err != nil {
		return nil, err
	}
	if r.registry, err = newRegistry(run.Target); err != nil {
		return nil, err
	}
	r.claim = &claim{run: run, registry: r.registry, logf: r.log.Printf}
	return r, nil
}

// resolve returns the files that the artifact will hold. It refuses a model of
// which no artifact can be made before anything is moved.
func (r *streamRun) resolve(ctx context.Context) ([]hub.File, error) {
	source := r.run.Source
	var err error
	if r.revision, err = r.hub.Resolve(ctx, source.Model, source.Revision); err != nil {
		return nil, err
	}
	r.log.Printf("%s: revision %q is commit %s, licence %s",
		source.Model, source.Revision, r.revision.Commit, cmp.Or(r.revision.License, "not named"))
	all, err := r.hub.List(ctx, source.Model, r.revision.Commit)
	if err != nil {
		return nil, err
	}
	files := withoutGit(all)
	if len(files) == 0 {
		return nil, outcome.Errorf(outcome.NotFound,
			"model %s has no files at revision %q: check model and revision", source.Model, source.Revision)
	}
	r.log.Printf("%d files, %s", len(files), formatBytes(totalSize(files)))

	layers := make([]ocispec.Descriptor, 0, len(files))
	for _, f := range files {
		// Any digest will do: all have the same length.
		layers = append(layers, modelpack.LayerFor(f.Path, f.Size, digest.Canonical.FromString("")))
	}
	_, err = modelpack.New(r.facts(), layers)
	return files, err
}

// withoutGit leaves out what only serves git.
func withoutGit(all []hub.File) []hub.File {
	files := make([]hub.File, 0, len(all))
	for _, f := range all {
		if base := path.Base(f.Path); base != ".gitattributes" && base != ".gitignore" {
			files = append(files, f)
		}
	}
	return files
}

func (r *streamRun) facts() modelpack.Facts {
	return modelpack.Facts{
		Name:        path.Base(r.run.Source.Model),
		SourceURL:   sourceURL(r.run.Source),
		Revision:    r.revision.Commit,
		License:     r.revision.License,
		CommittedAt: r.revision.LastModified,
	}
}

// publish pushes config and manifest of these layers, which must be in the
// repository.
func (r *streamRun) publish(ctx context.Context, layers []ocispec.Descriptor) (outcome.Result, error) {
	target := r.run.Target
	a, err := modelpack.New(r.facts(), layers)
	if err != nil {
		return outcome.Result{}, err
	}
	err = r.again.Do(ctx, "config", func() error {
		return r.pushBytes(ctx, a.ConfigDescriptor, a.Config)
	})
	if err != nil {
		return outcome.Result{}, err
	}
	if err := r.claimed(ctx, a, len(layers)); err != nil {
		return outcome.Result{}, err
	}
	if err := r.registry.PushManifest(ctx, target.Repository, a.Descriptor, a.Manifest, target.Tag); err != nil {
		return outcome.Result{}, err
	}
	r.claim.settle()
	size := a.Size(layers)
	r.log.Printf("pushed %s@%s, %s in %d layers", target.Reference(), a.Descriptor.Digest, formatBytes(size), len(layers))
	return outcome.Result{
		Digest:   a.Descriptor.Digest.String(),
		Size:     size,
		Files:    len(layers),
		Revision: r.revision.Commit,
		License:  r.revision.License,
	}, nil
}

// claimed pushes the manifest without its tag, and says in the registry whose it
// is. The tag is set afterwards.
func (r *streamRun) claimed(ctx context.Context, a modelpack.Artifact, files int) error {
	if r.claim.isNobodys() {
		return nil
	}
	err := r.registry.PushManifest(ctx, r.run.Target.Repository, a.Descriptor, a.Manifest, a.Descriptor.Digest.String())
	if err != nil {
		return err
	}
	return r.claim.stake(ctx, a.Descriptor, provenanceOf(r.run, r.revision, files))
}

// pushBytes pushes a small blob unless the registry has it.
func (r *streamRun) pushBytes(ctx context.Context, d ocispec.Descriptor, b []byte) error {
	has, err := r.registry.HasBlob(ctx, r.run.Target.Repository, d)
	if err != nil {
		return retry.Settled(err)
	}
	if has {
		return nil
	}
	return r.registry.PushBlob(ctx, r.run.Target.Repository, d, bytes.NewReader(b))
}
