package artifact

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// TestUnfinishedIsDeleted deletes an Artifact whose run was ended early, and
// has left what it had pushed.
func TestUnfinishedIsDeleted(t *testing.T) {
	cases := map[string]struct {
		reason string
		refuse func(*http.Request) int
		stays  bool
	}{
		"Deleted": {reason: "What a run left goes with its Artifact."},
		"Stays":   {reason: "A registry that deletes nothing holds nothing up.", refuse: status(http.StatusMethodNotAllowed, http.MethodDelete), stays: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := startControllers(t)
			a := w.artifact("unfinished-" + strings.ToLower(name))
			a.Spec.ForProvider.Pipeline, a.Spec.ForProvider.Format = modelv1alpha1.PipelineStream, modelv1alpha1.PackFormatImage
			w.create(a)
			w.finish(w.job(a, 1), outcome.Result{Failure: &outcome.Failure{Reason: outcome.Mismatch, Message: "x"}}, "")
			repository, tag := a.Spec.ForProvider.Target.Repository, provenance.UnfinishedTag(artifact.RunHash(a))
			w.push(repository, tag, "unfinished")

			w.requests.refuseWith(tc.refuse)
			w.remove(a)
			w.waitGoneWithPods(a)
			if _, err := w.registry.Resolve(t.Context(), repository, tag); registry.IsNotFound(err) == tc.stays {
				t.Errorf("\n%s\nwant the tag to stay: %t, got %v", tc.reason, tc.stays, err)
			}
		})
	}
}

// TestRunIsToldWhereBlobsAre begins a run of a model that another Artifact has
// pushed to another repository.
func TestRunIsToldWhereBlobsAre(t *testing.T) {
	w := startControllers(t)
	first, digest := w.made("first")
	stranger, _ := w.made("stranger")
	w.update(stranger, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Model = "another/model" })

	second := w.artifact("second")
	second.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineStream
	w.create(second)
	args := w.job(second, 1).Spec.Template.Spec.Containers[0].Args
	got := slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return !strings.HasPrefix(arg, "--mount-from=") })
	if want := []string{"--mount-from=" + first.Spec.ForProvider.Target.Repository + "@" + digest}; !slices.Equal(got, want) {
		t.Errorf("want the run to be told of %q, got %q", want, got)
	}
}
