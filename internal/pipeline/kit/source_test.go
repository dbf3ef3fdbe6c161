package kit

import (
	"os"
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// TestKitNamesStream has pipeline Kit asked for what kit cannot do, as it is
// where the API server checked nothing.
func TestKitNamesStream(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*pipeline.Run)
	}{
		"Image":   {reason: "An image should be refused.", change: func(r *pipeline.Run) { r.Format = pipeline.FormatImage }},
		"Dataset": {reason: "A dataset should be refused.", change: func(r *pipeline.Run) { r.Source.Kind = hub.Dataset }},
		"Include": {reason: "A selection of files should be refused.", change: func(r *pipeline.Run) { r.Source.Files.Include = []string{"*"} }},
		"Exclude": {reason: "A selection of files should be refused.", change: func(r *pipeline.Run) { r.Source.Files.Exclude = []string{"*.bin"} }},
		"Artifact": {reason: "An artifact of a registry should be refused.", change: func(r *pipeline.Run) {
			r.Source = pipeline.Source{Artifact: &pipeline.ArtifactSource{Reference: "registry.example.com/a:v1"}}
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run := pipeline.Run{
				Source: pipeline.Source{Model: "org/model", Kind: hub.Model}, Target: pipeline.Target{Registry: "registry.example.com", Repository: "a", StagingTag: stagingTag},
				Format: pipeline.FormatModelKit, Workspace: t.TempDir(), Log: os.Stderr,
			}
			if err := canServe(run); err != nil {
				t.Fatalf("want kit to serve a model, got %v", err)
			}
			tc.change(&run)
			_, err := New(WithPath("/nowhere/kit")).Run(t.Context(), run)
			if outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), "set spec.forProvider.pipeline to Stream") {
				t.Errorf("\n%s\nRun(...): want Unsupported, and what to write, got %v", tc.reason, err)
			}
		})
	}
}
