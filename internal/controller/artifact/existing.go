package artifact

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/reconciler/managed"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/settings"
)

// observeExisting looks at an artifact that is not to be made, and records what
// it is.
func (e *external) observeExisting(ctx context.Context, a *modelv1alpha1.Artifact) (managed.ExternalObservation, error) {
	forgetStopped(a)
	ref, err := settings.ExistingReference(a, e.settings.Effective.Registry)
	if err != nil {
		return unusable(a, err)
	}
	there, err := e.registry.Resolve(ctx, ref.Repository, ref.Name())
	if registry.IsNotFound(err) {
		a.SetConditions(unavailable(outcome.NotFound, fmt.Sprintf("The registry has no %s", ref)).WithObservedGeneration(a.GetGeneration()))
		return managed.ExternalObservation{}, nil
	}
	if err != nil {
		sayWhy(a, err)
		return managed.ExternalObservation{}, err
	}
	if s := a.Status.AtProvider; s.Digest != there.Digest.String() || s.Reference != ref.String() || s.Format == "" {
		if err := e.describe(ctx, a, ref, there); err != nil {
			return unusable(a, err)
		}
	}
	a.SetConditions(xpv2.Available().WithObservedGeneration(a.GetGeneration()))
	return settled(), nil
}

// formatOther is the format of what is none that an Artifact can have.
const formatOther = "Other"

// unusable says why what is named cannot be observed: in a condition where it
// stays so, and with an error where another look may help.
func unusable(a *modelv1alpha1.Artifact, err error) (managed.ExternalObservation, error) {
	switch reason := outcome.ReasonOf(err); reason {
	case outcome.Unsupported, outcome.ConfigMissing, outcome.ConfigInvalid:
		a.SetConditions(unavailable(reason, err.Error()).WithObservedGeneration(a.GetGeneration()))
		return settled(), nil
	default:
		sayWhy(a, err)
		return managed.ExternalObservation{}, err
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
		s.RunHash, s.Files = "", 0
	}
	s.Reference = ref.String()
	s.Digest = there.Digest.String()
	s.PinnedReference = ref.Registry + "/" + ref.Repository + "@" + s.Digest
	s.Size, s.Format = d.Size, cmp.Or(string(d.Format), formatOther)
	s.Source = &modelv1alpha1.SourceObservation{URL: facts.SourceURL, Revision: facts.Revision, License: facts.License}
	remember(s, before)
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
	s.Size, s.Files, s.Source = 0, 0, nil
}

// knowsNothing reports whether the status of an Artifact whose run succeeded does
// not know what it pushed, since another artifact was observed after that.
func knowsNothing(a *modelv1alpha1.Artifact) bool {
	s := a.Status.AtProvider
	return s.Digest == "" && s.Phase == modelv1alpha1.PhaseSucceeded
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
