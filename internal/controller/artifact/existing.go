package artifact

import (
	"cmp"
	"context"
	"io"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// gatherExisting looks at an artifact that is only observed, and records what it is.
func (e *external) gatherExisting(ctx context.Context, a *modelv1alpha1.Artifact) (observation, error) {
	forgetStopped(a)
	var o observation
	ref, err := settings.ExistingReference(a, e.settings.Effective.Registry)
	if err != nil {
		return o, unusable(a, err, &o)
	}
	o.reference = ref.String()
	there, err := e.registry.Resolve(ctx, ref.Repository, ref.Name())
	if registry.IsNotFound(err) {
		return o, nil
	}
	if err != nil {
		return o, err
	}
	o.found = true
	if s := a.Status.AtProvider; s.Digest != there.Digest.String() || s.Reference != ref.String() || s.Format == "" {
		if err := e.describe(ctx, a, ref, there); err != nil {
			return o, unusable(a, err, &o)
		}
	}
	return o, nil
}

// formatOther is the format of what is none that an Artifact can have.
const formatOther = "Other"

// unusable makes an error the obstacle of an observation if it is permanent, and
// returns it if another look may help.
func unusable(a *modelv1alpha1.Artifact, err error, o *observation) error {
	switch reason := outcome.ReasonOf(err); reason {
	case outcome.Unsupported, outcome.ConfigMissing, outcome.ConfigInvalid:
		c := unavailable(reason, err.Error())
		o.obstacle = &c
		return nil
	default:
		reportError(a, err)
		return err
	}
}

// describe records what the registry has under a reference. What this Artifact
// itself pushed stays known as such.
func (e *external) describe(ctx context.Context, a *modelv1alpha1.Artifact, ref registry.Reference, there ocispec.Descriptor) error {
	manifests, err := e.readManifests(ctx, ref.Repository, there.Digest.String())
	if err != nil {
		return err
	}
	d, err := manifests.Describe()
	if err != nil {
		return err
	}
	var config []byte
	if d.HasConfig() {
		if config, err = e.readBlob(ctx, ref.Repository, d.Config); err != nil {
			return err
		}
	}
	if err := modelpack.Whole(manifests.Main(), config); err != nil {
		return err
	}
	s, facts := &a.Status.AtProvider, d.Facts(config)
	var before *modelv1alpha1.PushedArtifact
	if s.Digest != there.Digest.String() {
		if s.RunHash != "" {
			before = pushedBefore(s)
		}
		s.RunHash, s.Files, s.FileList = "", 0, ""
	}
	s.Reference = ref.String()
	s.Digest = there.Digest.String()
	s.PinnedReference = ref.Registry + "/" + ref.Repository + "@" + s.Digest
	s.Size, s.Format = d.Size, cmp.Or(string(d.Format), formatOther)
	if s.RunHash == "" || s.Source == nil {
		s.Source = &modelv1alpha1.SourceObservation{URL: facts.SourceURL, Revision: facts.Revision, License: facts.License}
	}
	remember(s, before)
	forgetOlder(a)
	return nil
}

// forgetStopped drops from the status of an Artifact that is only observed the run
// that had not ended when it was last looked at: the cleaner stops it.
func forgetStopped(a *modelv1alpha1.Artifact) {
	s := &a.Status.AtProvider
	if hasEnded(s.Phase) {
		return
	}
	s.Phase, s.JobRef, s.StartTime, s.CompletionTime, s.Progress = "", nil, nil, nil, nil
}

// forgetObserved drops from the status of an Artifact that is managed now what was
// only observed, which has no run hash: it is foreign, and may be neither
// overwritten nor deleted because the status knows it.
func forgetObserved(a *modelv1alpha1.Artifact) {
	s := &a.Status.AtProvider
	if s.Digest == "" || s.RunHash != "" {
		return
	}
	s.Digest, s.Reference, s.PinnedReference, s.Format = "", "", "", ""
	s.Size, s.Files, s.FileList, s.Source = 0, 0, "", nil
}

// readManifests reads the manifest of an artifact, or its index and the manifests
// that this names.
func (e *external) readManifests(ctx context.Context, repository, digest string) (modelpack.Manifests, error) {
	_, top, err := e.registry.Manifest(ctx, repository, digest)
	if err != nil {
		return modelpack.Manifests{}, err
	}
	return modelpack.ReadManifests(ctx, e.registry, repository, top)
}

// readBlob reads a small blob.
func (e *external) readBlob(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error) {
	r, err := e.registry.OpenBlob(ctx, repository, d)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(r)
	return b, errors.Wrap(err, "cannot read the artifact's config")
}
