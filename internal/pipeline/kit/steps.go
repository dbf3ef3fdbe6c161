package kit

import (
	"context"
	"os"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// assemble has kit make the artifact in its local storage, and verifies it. It
// resumes from the stage that an earlier try has reached; if that turns out to be
// damaged, it starts again, once.
func (r *task) assemble(ctx context.Context) (*artifact, error) {
	stage := r.workspace.stage(r.marker(stageNone))
	if stage == stageNone || r.run.Source.Volume != nil {
		// A volume tells no hashes by which an earlier copy could be verified.
		stage = stageNone
		if err := r.workspace.wipe(); err != nil {
			return nil, err
		}
		return r.assembleFrom(ctx, stage)
	}
	r.log.printf("the workspace holds this model already (%s): resuming from there", stage)
	a, err := r.assembleFrom(ctx, stage)
	if reason := outcome.ReasonOf(err); err == nil || ctx.Err() != nil || reason.Transient() || reason == outcome.NoSpace || reason == outcome.PolicyViolation {
		return a, err
	}
	r.log.printf("what the workspace holds is damaged, importing it again: %s", err)
	if err := r.workspace.wipe(); err != nil {
		return nil, err
	}
	return r.assembleFrom(ctx, stageNone)
}

// assembleFrom makes and verifies the artifact from a stage on.
func (r *task) assembleFrom(ctx context.Context, stage stage) (*artifact, error) {
	if err := r.needRoom(stage); err != nil {
		return nil, err
	}
	if err := r.fill(ctx, stage); err != nil {
		return nil, err
	}
	a, err := readArtifact(r.workspace.storage(), r.run.Target)
	if err != nil {
		return nil, err
	}
	if err := r.checkContent(ctx, a); err != nil {
		if outcome.ReasonOf(err) == outcome.Mismatch {
			// The next try must not reuse it.
			err = errors.Join(err, r.workspace.wipe())
		}
		return nil, err
	}
	r.log.printf("all %d files are verified against the source", len(r.files))
	return a, nil
}

// fill has kit pack the artifact into its storage, from a stage on.
func (r *task) fill(ctx context.Context, stage stage) error {
	if r.run.Source.Volume != nil {
		if err := r.copyFiles(ctx); err != nil {
			return err
		}
		return r.pack(ctx)
	}
	if stage == stageNone {
		if err := r.importModel(ctx); err != nil {
			return err
		}
		stage = stageImported
	}
	if r.run.Format != pipeline.FormatModelPack {
		return nil
	}
	return r.repack(ctx, stage)
}

// importModel downloads the model and packs it as a ModelKit.
func (r *task) importModel(ctx context.Context) error {
	if err := writeKitfile(newKitfile(r.contents.Facts.Author, r.contents.Facts.Name, r.contents.License, r.files), r.workspace.kitfile); err != nil {
		return err
	}
	args := []string{
		"import", r.run.Source.Model, "--ref", r.contents.Revision, "--tool", "hf",
		"--file", r.workspace.kitfile, "--tag", r.run.Target.Reference(),
	}
	token, err := r.run.Source.Token()
	if err != nil {
		return err
	}
	if token != "" {
		// Kit takes it in no other way, neither from a file nor from a variable, and
		// keeps it for the whole import. No other user can see the arguments of processes
		// in the Pod.
		args = append(args, "--token", token)
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

// repack makes a ModelPack of an imported ModelKit. Only one of both is kept at a
// time, which saves as much room as the model takes.
func (r *task) repack(ctx context.Context, stage stage) error {
	if stage == stageImported {
		if err := r.unpack(ctx); err != nil {
			return err
		}
	} else if err := os.RemoveAll(r.workspace.storage()); err != nil {
		return errors.Wrap(err, "cannot clear the workspace of a pack that did not end")
	}
	return r.pack(ctx)
}

// pack packs the files in the workspace.
func (r *task) pack(ctx context.Context) error {
	args := []string{"pack", r.workspace.unpacked}
	if r.run.Format == pipeline.FormatModelPack {
		args = append(args, "--use-model-pack")
	}
	args = append(args, "--tag", r.run.Target.Reference())
	if r.run.Format == pipeline.FormatModelPack && r.abilities.rawLayers {
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

// setTimes sets the time of all unpacked files to that of the source commit. A raw
// layer's metadata includes it, so the digest would otherwise change with every run.
func (r *task) setTimes() error {
	t := r.fileTime()
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

// fileTime returns the time that all files in the artifact have.
func (r *task) fileTime() time.Time {
	if t := r.contents.Facts.CommittedAt; !t.IsZero() {
		return t
	}
	return time.Unix(0, 0)
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
