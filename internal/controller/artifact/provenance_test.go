package artifact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/attest"
)

// TestSignedHub has a ProviderConfig name another Hub than a run reads while the run
// lasts: what is signed should name the one that was read.
func TestSignedHub(t *testing.T) {
	w := startControllers(t)
	hub := func(endpoint v1alpha1.HubEndpoint) {
		w.updateConfig(func(c *v1alpha1.ProviderConfigSpec) { c.HuggingFace = &v1alpha1.HuggingFaceConfig{Endpoint: endpoint} })
	}
	hub("https://own.example.com")
	a := w.artifact("hub")
	w.create(a)
	w.job(a, 1)
	hub("https://other.example.com")
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")

	const page = "https://own.example.com/org/model"
	records := w.records(a, a.Status.AtProvider.Digest)
	if len(records) == 0 || records[0].Source != page {
		t.Fatalf("want a record with source %s, got %+v", page, records)
	}
	want := map[string]any{"huggingFace": map[string]any{"endpoint": "https://own.example.com", "model": "org/model", "revision": "main"}}
	if diff := cmp.Diff(want, records[0].Parameters["source"]); diff != "" {
		t.Errorf("signed parameters of the source: -want, +got:\n%s", diff)
	}
	if got := a.Status.AtProvider.Source.URL; got != page {
		t.Errorf("status.atProvider.source.url: got %q, want %q", got, page)
	}
}

func TestSourceURL(t *testing.T) {
	model := func(change func(*modelv1alpha1.Source)) *modelv1alpha1.Artifact {
		s := &modelv1alpha1.Source{}
		change(s)
		a := &modelv1alpha1.Artifact{}
		a.Effective.HubEndpoint = "https://other.example.com"
		a.Spec.ForProvider.Source = s
		return a
	}
	hf := func(h modelv1alpha1.HuggingFaceSource) *modelv1alpha1.Artifact {
		return model(func(s *modelv1alpha1.Source) { s.HuggingFace = &h })
	}
	type want struct{ URL, Hub string }
	cases := map[string]struct {
		reason   string
		a        *modelv1alpha1.Artifact
		recorded string
		want     want
	}{
		"Model": {
			reason: "The Hub that was read should be described.", a: hf(modelv1alpha1.HuggingFaceSource{Model: "org/model"}),
			recorded: "https://hub.example.com/mirror/org/model", want: want{URL: "https://hub.example.com/mirror/org/model", Hub: "https://hub.example.com/mirror"},
		},
		"Dataset": {
			reason: "A dataset has a page of its own.", a: hf(modelv1alpha1.HuggingFaceSource{Dataset: "org/data"}),
			recorded: "https://hub.example.com/datasets/org/data", want: want{URL: "https://hub.example.com/datasets/org/data", Hub: "https://hub.example.com"},
		},
		"Nothing":    {reason: "What was not recorded should not be made up.", a: hf(modelv1alpha1.HuggingFaceSource{Model: "org/model"})},
		"OtherModel": {reason: "The page of another model says nothing of this one's Hub.", a: hf(modelv1alpha1.HuggingFaceSource{Model: "org/model"}), recorded: "https://hub.example.com/org/other"},
		"Registry": {
			reason: "A repository is what the spec names.",
			a:      model(func(s *modelv1alpha1.Source) { s.OCI = &modelv1alpha1.OCISource{Reference: "r.example.com/a/b:v1"} }),
			want:   want{URL: "r.example.com/a/b"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := want{URL: sourceURL(tc.a, tc.recorded)}
			source, _ := parametersOf(tc.a, tc.recorded)["source"].(map[string]any)
			if hub, ok := source["huggingFace"].(map[string]any); ok {
				got.Hub, _ = hub["endpoint"].(string)
			}
			if got != tc.want {
				t.Errorf("\n%s\ngot %+v, want %+v", tc.reason, got, tc.want)
			}
		})
	}
}

// TestSignedTexts has annotations and patterns that a statement must not repeat, or that
// would make it too large.
func TestSignedTexts(t *testing.T) {
	a := &modelv1alpha1.Artifact{}
	a.Spec.ForProvider.Source = &modelv1alpha1.Source{
		HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "org/model"},
		Files:       &modelv1alpha1.FileFilter{Include: []string{"*.json", "https://user:secret@example.com/"}, Exclude: []string{"*.bin"}},
	}
	a.Spec.ForProvider.Target = &modelv1alpha1.Target{Repository: "models/m", Annotations: map[string]string{
		"example.com/team": "a", "example.com/url": "https://example.com/x",
		"example.com/account": "https://user:secret@example.com/x",
		"example.com/large":   strings.Repeat("x", 1<<16),
		"example.com/bytes":   "\xff",
	}}
	want := map[string]string{"example.com/team": "a", "example.com/url": "https://example.com/x"}
	if diff := cmp.Diff(any(want), parametersOf(a, "")["annotations"]); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	source, _ := parametersOf(a, "")["source"].(map[string]any)
	if diff := cmp.Diff(any(map[string]any{"exclude": []string{"*.bin"}}), source["files"]); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if n := len(artifact.Annotations(a)); n != 5 {
		t.Errorf("The manifest should keep all of its annotations, got %d", n)
	}
	if _, err := (attest.Provenance{
		Repository: "r.example.com/models/m", Digest: digest.FromString("m"), Parameters: parametersOf(a, ""),
		Owner: attest.Owner{Cluster: "c", Namespace: "team", Name: "m"},
	}).Statement(); err != nil {
		t.Errorf("What is left should be stated: %v", err)
	}
}
