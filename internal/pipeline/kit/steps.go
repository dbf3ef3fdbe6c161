package kit

import (
	"context"
	"os"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// assemble has kit make the artifact in its local storage, and checks it. It
// goes on from where an earlier try came to; where that turns out to be
// damaged, it begins anew, once.
func (r *task) assemble(ctx context.Context) (*artifact, error) {
	stage := r.workspace.stage(r.marker(stageNone))
	if stage == stageNone {
		if err := r.workspace.wipe(); err != nil {
			return nil, err
		}
		return r.assembleFrom(ctx, stage)
	}
	r.log.printf("the workspace holds this model already (%s): going on from there", stage)
	a, err := r.assembleFrom(ctx, stage)
	if err == nil || ctx.Err() != nil || outcome.ReasonOf(err).Transient() || outcome.ReasonOf(err) == outcome.NoSpace {
		return a, err
	}
	r.log.printf("what the workspace holds is damaged, importing it anew: %s", err)
	if err := r.workspace.wipe(); err != nil {
		return nil, err
	}
	return r.assembleFrom(ctx, stageNone)
}

// assembleFrom makes and checks the artifact from a stage on.
func (r *task) assembleFrom(ctx context.Context, stage stage) (*artifact, error) {
	if err := r.needRoom(stage); err != nil {
		return nil, err
	}
	if stage == stageNone {
		if err := r.importModel(ctx); err != nil {
			return nil, err
		}
		stage = stageImported
	}
	if r.run.Format == pipeline.FormatModelPack {
		if err := r.repack(ctx, stage); err != nil {
			return nil, err
		}
	}
	a, err := readArtifact(r.workspace.storage(), r.run.Target)
	if err != nil {
		return nil, err
	}
	if err := r.checkContent(ctx, a); err != nil {
		if outcome.ReasonOf(err) == outcome.Mismatch {
			// The next try shall not find it.
			err = errors.Join(err, r.workspace.wipe())
		}
		return nil, err
	}
	r.log.printf("all %d files are there, as the Hub has them", len(r.files))
	return a, nil
}

// importModel downloads the model and packs it as a ModelKit.
func (r *task) importModel(ctx context.Context) error {
	if err := writeKitfile(newKitfile(r.run.Source.Model, r.contents.License, r.files), r.workspace.kitfile); err != nil {
		return err
	}
	args := []string{
		"import", r.run.Source.Model, "--ref", r.contents.Revision, "--tool", "hf",
		"--file", r.workspace.kitfile, "--tag", r.run.Target.Reference(),
	}
	if r.run.Source.Token != "" {
		// The one way that kit takes it. Other processes of the Pod could see
		// it, and there are none.
		args = append(args, "--token", r.run.Source.Token)
	}
	if err := r.watched(ctx, r.gaugeImport(), args...); err != nil {
		return err
	}
	a, err := readArtifact(r.workspace.storage(), r.run.Target)
	if err != nil {
		return err
	}
	if err := r.checkPresence(ctx, a); err != nil {
		return err
	}
	return r.workspace.mark(r.marker(stageImported))
}

// repack makes a ModelPack of an imported ModelKit. In between only one of
// both is kept, which saves as much room as the model takes.
func (r *task) repack(ctx context.Context, stage stage) error {
	if stage == stageImported {
		if err := r.unpack(ctx); err != nil {
			return err
		}
	} else if err := os.RemoveAll(r.workspace.storage()); err != nil {
		return errors.Wrap(err, "cannot clear the workspace of a pack that did not end")
	}
	args := []string{"pack", r.workspace.unpacked, "--use-model-pack", "--tag", r.run.Target.Reference()}
	if r.abilities.rawLayers {
		args = append(args, "--layer-format", "raw")
	}
	return r.watched(ctx, r.gaugeRepack(), args...)
}

// unpack unpacks the imported ModelKit and removes it.
func (r *task) unpack(ctx context.Context) error {
	if err := os.RemoveAll(r.workspace.unpacked); err != nil {
		return errors.Wrap(err, "cannot clear the workspace of an unpacked model")
	}
	reference := r.run.Target.Reference()
	if err := r.watched(ctx, r.gaugeUnpack(), "unpack", reference, "--dir", r.workspace.unpacked); err != nil {
		return err
	}
	if err := r.setTimes(); err != nil {
		return err
	}
	if err := r.workspace.mark(r.marker(stageUnpacked)); err != nil {
		return err
	}
	return r.step(ctx, "remove", reference)
}

// setTimes gives all unpacked files the time of the commit. A raw layer's
// metadata has it, and so the digest would change with every run.
func (r *task) setTimes() error {
	t := r.contents.Facts.CommittedAt
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	for _, f := range r.files {
		err := os.Chtimes(r.inUnpacked(f), t, t)
		if errors.Is(err, os.ErrNotExist) {
			return outcome.Errorf(outcome.Mismatch, "kit did not unpack %s, which it had packed", f.Path)
		}
		if err != nil {
			return errors.Wrap(err, "cannot set the time of an unpacked file")
		}
	}
	return nil
}

// marker describes this run's workspace at a stage.
func (r *task) marker(stage stage) marker {
	return marker{
		Model:     r.run.Source.Model,
		Commit:    r.contents.Revision,
		Reference: r.run.Target.Reference(),
		Format:    r.run.Format,
		Stage:     stage,
	}
}
