package artifact

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// image returns an Artifact of which a run may leave a checkpoint.
func (w *world) image(name string) *modelv1alpha1.Artifact {
	a := w.artifact(name)
	a.Spec.ForProvider.Pipeline, a.Spec.ForProvider.Format = modelv1alpha1.PipelineStream, modelv1alpha1.PackFormatImage
	return a
}

// leaveCheckpoint pushes what a run of the Artifact leaves that is ended early,
// and returns its tag.
func (w *world) leaveCheckpoint(a *modelv1alpha1.Artifact) string {
	w.t.Helper()
	if err := w.get(a); err != nil {
		w.t.Fatal(err)
	}
	repository, tag := a.Spec.ForProvider.Target.Repository, provenance.CheckpointTag(ownerOf(a), artifact.RunHash(a))
	empty := ocispec.DescriptorEmptyJSON
	if err := w.registry.PushBlob(w.t.Context(), repository, empty, bytes.NewReader(empty.Data)); err != nil {
		w.t.Fatal(err)
	}
	empty.Data = nil
	b, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: provenance.CheckpointType,
		Config: empty, Annotations: map[string]string{ocispec.AnnotationRefName: tag},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := w.registry.PushManifest(w.t.Context(), repository, d, b, tag); err != nil {
		w.t.Fatal(err)
	}
	return tag
}

// isTagged reports whether the Artifact's repository has a tag.
func (w *world) isTagged(a *modelv1alpha1.Artifact, tag string) bool {
	w.t.Helper()
	_, err := w.registry.Resolve(w.t.Context(), a.Spec.ForProvider.Target.Repository, tag)
	return !registry.IsNotFound(err)
}

// TestCheckpointIsDeleted deletes an Artifact whose run was ended early, and
// has left what it had pushed.
func TestCheckpointIsDeleted(t *testing.T) {
	cases := map[string]struct {
		reason string
		refuse func(*http.Request) int
		stays  bool
	}{
		"Deleted":   {reason: "What a run left goes with its Artifact."},
		"Stays":     {reason: "A registry that deletes nothing holds nothing up.", refuse: status(http.StatusMethodNotAllowed, http.MethodDelete), stays: true},
		"Forbidden": {reason: "Nor does an account that may not delete.", refuse: status(http.StatusForbidden, http.MethodDelete), stays: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := startControllers(t)
			a, other := w.image("checkpoint-"+strings.ToLower(name)), w.image("other-"+strings.ToLower(name))
			other.Spec.ForProvider.Target.Repository = a.Spec.ForProvider.Target.Repository
			other.Spec.ForProvider.Target.Tag = "other"
			w.create(a)
			w.create(other)
			w.finish(w.job(a, 1), outcome.Result{Failure: &outcome.Failure{Reason: outcome.Mismatch, Message: "x"}}, "")
			w.job(other, 1)
			own, others := w.leaveCheckpoint(a), w.leaveCheckpoint(other)

			w.requests.refuseWith(tc.refuse)
			w.remove(a)
			w.waitGoneWithPods(a)
			if got := w.isTagged(a, own); got != tc.stays {
				t.Errorf("\n%s\nwant the tag to stay: %t, got %t", tc.reason, tc.stays, got)
			}
			if !w.isTagged(a, others) {
				t.Errorf("\n%s\nwhat another Artifact's run has left is gone", tc.reason)
			}
		})
	}
}

// TestCheckpointOfAnEarlierSpec changes the spec of an Artifact whose run has
// left what it had pushed.
func TestCheckpointOfAnEarlierSpec(t *testing.T) {
	w := startControllers(t)
	a := w.image("changed-checkpoint")
	w.create(a)
	w.finish(w.job(a, 1), outcome.Result{Failure: &outcome.Failure{Reason: outcome.Mismatch, Message: "x"}}, "")
	tag := w.leaveCheckpoint(a)
	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Format = modelv1alpha1.PackFormatModelPack })
	w.eventually("the tag is gone", func() string {
		if w.isTagged(a, tag) {
			return "it is there"
		}
		return ""
	})
}

// TestRunIsToldWhereBlobsAre begins a run of a model that another Artifact has
// pushed to another repository.
func TestRunIsToldWhereBlobsAre(t *testing.T) {
	w := startControllers(t)
	first, d := w.made("first")
	stranger, _ := w.made("stranger")
	w.update(stranger, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Model = "another/model" })

	second := w.artifact("second")
	second.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineStream
	w.create(second)
	got := ""
	for _, e := range w.job(second, 1).Spec.Template.Spec.Containers[0].Env {
		if e.Name == outcome.EnvMountFrom {
			got = e.Value
		}
	}
	if want := first.Spec.ForProvider.Target.Repository + "@" + d; got != want {
		t.Errorf("want the run to be told of %q, got %q", want, got)
	}
}
