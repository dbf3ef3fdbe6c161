package pipeline

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// A claim is a run's right to its tag. Nothing foreign is overwritten: the tag
// must be free, or point to what the run's Artifact pushed, before anything is
// moved and again right before the tag is set, since moving a model may take
// hours. And the registry knows whose an artifact is before its tag points to
// it. A run of nobody's claims nothing.
type claim struct {
	run      Run
	registry *registry.Client
	logf     func(format string, args ...any)

	// tagged is what the tag pointed to at first, if the run may overwrite it;
	// empty where the tag was free or not shown.
	tagged digest.Digest

	// recorded is the record that this run pushed; zero before that.
	recorded ocispec.Descriptor

	// refused says that the registry did not take the record, and never will.
	refused bool
}

// isNobodys says whether no Artifact stands behind the run.
func (c *claim) isNobodys() bool { return c.run.Owner == provenance.Owner{} }

// look refuses a tag that is somebody else's, before anything is moved.
func (c *claim) look(ctx context.Context) error {
	if provenance.IsCheckpointTag(c.run.Target.Tag) {
		return outcome.Errorf(outcome.Unsupported, "tag %s is kept for what runs leave that are ended early: write another in spec.forProvider.target.tag", c.run.Target.Tag)
	}
	if c.isNobodys() {
		return nil
	}
	d, err := c.registry.Resolve(ctx, c.run.Target.Repository, c.run.Target.Tag)
	switch {
	case registry.IsNotFound(err):
		return nil
	case registry.IsUnauthorized(err):
		// Some registries refuse to show what does not exist yet. Whether this
		// run may push is for the first push to tell.
		c.logf("cannot see whether tag %s is free: %s; it is looked at again before it is set", c.run.Target.Tag, err)
		return nil
	case err != nil:
		return err
	}
	own, err := c.isOwn(ctx, d.Digest)
	switch {
	case err != nil:
		return err
	case own:
	case c.run.Overwrite:
		c.logf("tag %s points to %s, which this Artifact did not push: it is overwritten, as the spec says", c.run.Target.Tag, d.Digest)
	default:
		return c.conflict(d.Digest)
	}
	c.tagged = d.Digest
	return nil
}

// lookAgain refuses a tag that has become somebody else's since look.
func (c *claim) lookAgain(ctx context.Context) error {
	if c.isNobodys() || c.run.Overwrite {
		return nil
	}
	d, err := c.registry.Resolve(ctx, c.run.Target.Repository, c.run.Target.Tag)
	switch {
	case registry.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case d.Digest == c.tagged:
		return nil
	}
	own, err := c.isOwn(ctx, d.Digest)
	if err == nil && !own {
		err = c.conflict(d.Digest)
	}
	return err
}

// isOwn says whether the run's Artifact pushed what has this digest. The record
// of this very run does not count: another Artifact may have pushed the same.
func (c *claim) isOwn(ctx context.Context, d digest.Digest) (bool, error) {
	if d.String() == c.run.Replaces {
		return true, nil
	}
	found, err := provenance.Of(ctx, c.registry, c.run.Target.Repository, d, c.run.Owner)
	return slices.ContainsFunc(found, func(f provenance.Found) bool { return f.Descriptor.Digest != c.recorded.Digest }), err
}

func (c *claim) conflict(d digest.Digest) error {
	t := c.run.Target
	return outcome.Errorf(outcome.TagConflict,
		"Tag %q of %s at registry %s points to %s, which this Artifact did not push: "+
			"remove that tag, write another in spec.forProvider.target.tag, or set spec.forProvider.target.conflictPolicy: Overwrite",
		t.Tag, t.Repository, t.Registry, d)
}

// stake says in the registry whose the artifact is that the tag is to point to
// next, and that the tag may do so. The artifact need not be there yet.
func (c *claim) stake(ctx context.Context, subject ocispec.Descriptor, r provenance.Record) error {
	if c.isNobodys() {
		return nil
	}
	// Nobody shall own what another has pushed alike and tagged meanwhile.
	if err := c.lookAgain(ctx); err != nil {
		return err
	}
	if err := c.record(ctx, subject, r); err != nil {
		return err
	}
	err := c.lookAgain(ctx)
	if err != nil && outcome.ReasonOf(err) == outcome.TagConflict {
		c.withdraw(ctx)
	}
	return err
}

// record pushes the run's provenance. A registry that does not take such
// manifests fails no run.
func (c *claim) record(ctx context.Context, subject ocispec.Descriptor, r provenance.Record) error {
	d, _, err := r.Manifest(subject)
	if err != nil {
		return err
	}
	err = provenance.Push(ctx, c.registry, c.run.Target.Repository, subject, r)
	c.refused = err != nil && ctx.Err() == nil && provenance.IsRefusal(err)
	switch {
	case c.refused:
		c.logf("the registry takes no record of who pushed this: %s", err)
		return nil
	case err != nil:
		return err
	}
	c.recorded = d
	return nil
}

// recordLate pushes the run's provenance once its subject is there, if the
// registry did not take it before.
func (c *claim) recordLate(ctx context.Context, subject ocispec.Descriptor, r provenance.Record) error {
	if !c.refused {
		return nil
	}
	return c.record(ctx, subject, r)
}

// settle tells how the run's claim ended.
func (c *claim) settle() {
	if c.refused {
		c.logf("if the Artifact loses its status, it cannot tell that this artifact is its own, and does not adopt it")
	}
}

// withdraw takes back the record of a run that does not get its tag, where this
// account may delete.
func (c *claim) withdraw(ctx context.Context) {
	if c.recorded.Digest == "" {
		return
	}
	if err := c.registry.DeleteManifest(ctx, c.run.Target.Repository, c.recorded); err != nil {
		c.logf("the record of who pushed this stays in the registry: %s", err)
	}
}

// provenanceOf is the record of a run that packs these files.
func provenanceOf(run Run, revision hub.Revision, files int) provenance.Record {
	return provenance.Record{
		Owner:    run.Owner,
		RunHash:  run.RunHash,
		Run:      run.Number,
		Files:    int64(files),
		Source:   sourceURL(run.Source),
		Revision: revision.Commit,
		License:  revision.License,
	}
}

// sourceURL is where people find a model: its page on the Hub, or the repository
// of the artifact that it is read from.
func sourceURL(s Source) string {
	if s.Artifact != nil {
		ref, err := registry.ParseReference(s.Artifact.Reference)
		if err != nil {
			return ""
		}
		return ref.Registry + "/" + ref.Repository
	}
	return cmp.Or(strings.TrimRight(s.Endpoint, "/"), hub.DefaultEndpoint) + page(s)
}

// canonicalURL is where a model is on the public Hub. It is what an artifact
// names as its source, so that the same model has the same digest whichever
// mirror it came through.
func canonicalURL(s Source) string { return hub.DefaultEndpoint + page(s) }

// page returns the path of a model's page on a Hub.
func page(s Source) string {
	if s.Kind == hub.Dataset {
		return "/datasets/" + s.Model
	}
	return "/" + s.Model
}
