package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestKitNamesStream has pipeline Kit asked for what kit cannot do, as it is
// where the API server checked nothing.
func TestKitNamesStream(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*Run)
	}{
		"Image":    {reason: "kit makes no images.", change: func(r *Run) { r.Format = FormatImage }},
		"Dataset":  {reason: "kit imports models.", change: func(r *Run) { r.Source.Kind = hub.Dataset }},
		"Include":  {reason: "kit imports all files.", change: func(r *Run) { r.Source.Files.Include = []string{"*"} }},
		"Exclude":  {reason: "kit imports all files.", change: func(r *Run) { r.Source.Files.Exclude = []string{"*.bin"} }},
		"Artifact": {reason: "kit imports from the Hub.", change: func(r *Run) { r.Source = Source{Artifact: &ArtifactSource{Reference: "registry.example.com/a:v1"}} }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run := Run{
				Source: Source{Model: "org/model", Kind: hub.Model}, Target: Target{Registry: "registry.example.com", Repository: "a", StagingTag: stagingTag},
				Format: FormatModelKit, Workspace: t.TempDir(), Log: os.Stderr,
			}
			if err := kitCanServe(run); err != nil {
				t.Fatalf("want kit to serve a model, got %v", err)
			}
			tc.change(&run)
			_, err := NewKit(WithKitPath("/nowhere/kit")).Run(t.Context(), run)
			if outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), "set spec.forProvider.pipeline to Stream") {
				t.Errorf("\n%s\nRun(...): want Unsupported, and what to write, got %v", tc.reason, err)
			}
		})
	}
}

func TestCanonicalURL(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   Source
		want   string
	}{
		"Model":    {reason: "A model should have its page on the Hub.", args: Source{Model: "org/model"}, want: "https://huggingface.co/org/model"},
		"Endpoint": {reason: "A mirror should change nothing.", args: Source{Endpoint: "https://hub.example.com/", Model: "org/model", Kind: hub.Model}, want: "https://huggingface.co/org/model"},
		"Dataset":  {reason: "A dataset's page should be below datasets.", args: Source{Model: "org/data", Kind: hub.Dataset}, want: "https://huggingface.co/datasets/org/data"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := canonicalURL(tc.args); got != tc.want {
				t.Errorf("\n%s\ncanonicalURL(...): want %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

// TestMaskOfSource has a source's registry repeat what it was asked with.
func TestMaskOfSource(t *testing.T) {
	dir := t.TempDir()
	config := testregistry.DockerConfig(map[string]testregistry.Entry{"registry.example.com": {Username: "u", Password: "REPEATEDPASSWORD"}})
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "tls.key")
	if err := os.WriteFile(key, []byte("-----BEGIN\nREPEATEDKEYREPEATEDKEY\n-----END\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets, err := secretsOf(Run{Source: Source{Artifact: &ArtifactSource{DockerConfig: dir, KeyFile: key}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := newMask(secrets).replace("REPEATEDPASSWORD u:REPEATEDPASSWORD REPEATEDKEYREPEATEDKEY"); strings.Contains(got, "REPEATED") {
		t.Errorf("a secret is shown: %s", got)
	}
}
