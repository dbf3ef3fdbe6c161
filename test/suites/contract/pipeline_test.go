package contract

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline/kit"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	"github.com/crossplane-contrib/provider-kitops/test/models"
	"github.com/crossplane-contrib/provider-kitops/test/pull"
)

// newRun returns a run of a model to the registry without TLS.
func newRun(t *testing.T, model, format string) pipeline.Run {
	t.Helper()
	return pipeline.Run{
		Source: pipeline.Source{Endpoint: "https://huggingface.co", Model: model, Revision: "main", CAFile: suite.world.caFile},
		Target: pipeline.Target{
			Registry: suite.world.plain.host, Repository: strings.ToLower(model), StagingTag: stagingTag, PlainHTTP: true,
			DockerConfig: dockerConfig(t, suite.world.plain.host, password),
		},
		Format:    format,
		Workspace: t.TempDir(),
	}
}

func dockerConfig(t *testing.T, host, password string) string {
	t.Helper()
	dir := t.TempDir()
	pair := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, pair)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runKit runs the pipeline, and returns its log too.
func runKit(ctx context.Context, t *testing.T, run pipeline.Run) (outcome.Result, string, error) {
	t.Helper()
	log := &bytes.Buffer{}
	run.Log = log
	got, err := kit.New(kit.WithPath(suite.kit), kit.WithGrace(time.Second)).Run(ctx, run)
	t.Logf("log of the run:\n%s", log)
	if err != nil {
		t.Logf("error of the run (%s): %s", outcome.ReasonOf(err), err)
	}
	return got, log.String(), err
}

// harm does harm to the Hub for the length of a test.
func harm(t *testing.T, f hub.Fault) {
	t.Helper()
	suite.world.hub.SetFault(f)
	t.Cleanup(func() { suite.world.hub.SetFault(nil) })
}

func refuse(t *testing.T, r *testRegistry, f func(*http.Request) int) {
	t.Helper()
	r.refuseBy(f)
	t.Cleanup(func() { r.refuseBy(nil) })
}

// TestModels runs the pipeline in both formats, and compares each file in the
// registry with the Hub's.
func TestModels(t *testing.T) {
	cases := map[string]struct {
		reason       string
		format       string
		artifactType string
		configType   string
	}{
		"ModelKit": {
			reason:       "A ModelKit should be pushed as kit imports it.",
			format:       pipeline.FormatModelKit,
			artifactType: "application/vnd.kitops.modelkit.manifest.v1+json",
			configType:   "application/vnd.kitops.modelkit.config.v1+json",
		},
		"ModelPack": {
			reason:       "A ModelPack should have raw layers where kit can make them, else tar archives.",
			format:       pipeline.FormatModelPack,
			artifactType: "application/vnd.cncf.model.manifest.v1+json",
			configType:   "application/vnd.cncf.model.config.v1+json",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.format == pipeline.FormatModelPack {
				needKit(t, "v1.10.0", "ModelPack")
			}
			files := speechFiles(t)
			run := newRun(t, addModel(t, files), tc.format)
			got, log, err := runKit(t.Context(), t, run)
			if err != nil {
				t.Fatalf("\n%s\nRun(...): %v", tc.reason, err)
			}
			a := fetch(t, suite.world.plain, run.Target.Repository, stagingTag)
			if diff := cmp.Diff(models.Packed(files), a.Files); diff != "" {
				t.Errorf("\n%s\nfiles in the registry: -want, +got:\n%s", tc.reason, diff)
			}
			if got.Digest != a.Descriptor.Digest.String() || got.Files != len(models.Packed(files)) || got.License != "MIT" || len(got.Revision) != 40 {
				t.Errorf("\n%s\nresult %+v does not describe what is at the registry, %s", tc.reason, got, a.Descriptor.Digest)
			}
			if a.Manifest.Config.MediaType != tc.configType {
				t.Errorf("\n%s\nconfig is of type %s", tc.reason, a.Manifest.Config.MediaType)
			}
			if kitHas("v1.10.0") && a.Manifest.ArtifactType != tc.artifactType {
				t.Errorf("\n%s\nartifact is of type %s", tc.reason, a.Manifest.ArtifactType)
			}
			checkLayers(t, tc.format, a)
			if strings.Contains(log, password) {
				t.Error("the log shows the registry's password")
			}
			checkAgain(t, run, got)
		})
	}
}

// checkLayers checks the form of layers: one file each, and raw where it can
// be.
func checkLayers(t *testing.T, format string, a *pull.Artifact) {
	t.Helper()
	suffix := ".tar"
	if format == pipeline.FormatModelPack && kitHas("v1.15.0") {
		suffix = ".raw"
	}
	if len(a.Manifest.Layers) != len(a.Files) {
		t.Errorf("%d layers for %d files", len(a.Manifest.Layers), len(a.Files))
	}
	for _, l := range a.Manifest.Layers {
		if !strings.HasSuffix(l.MediaType, suffix) {
			t.Errorf("layer of type %s, not %s", l.MediaType, suffix)
		}
	}
}

// checkAgain checks that the same commit makes the same digest, from an empty
// workspace too.
func checkAgain(t *testing.T, run pipeline.Run, first outcome.Result) {
	t.Helper()
	if !kitHas("v1.16.0") {
		t.Logf("kit %s cannot be asked for the same digest twice: SOURCE_DATE_EPOCH came with a later one", suite.version)
		return
	}
	run.Workspace = t.TempDir()
	second, _, err := runKit(t.Context(), t, run)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("a second run of the same commit: -first, +second:\n%s", diff)
	}
}
