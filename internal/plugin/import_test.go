package plugin_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// newHub returns a Hub with an open and a gated model and a dataset, and its address.
func newHub(t *testing.T) (*hub.Handler, string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"models/org/open/main/README.md":          "---\nlicense: apache-2.0\n---\n# Open\n",
		"models/org/open/main/config.json":        "{}",
		"models/org/open/main/model.safetensors":  strings.Repeat("x", 3<<20),
		"models/org/open/main/pytorch_model.bin":  strings.Repeat("y", 1<<20),
		"models/org/open/main/.gitattributes":     "*",
		"models/org/gated/main/README.md":         "---\nlicense: llama3.1\n---\n",
		"models/org/gated/main/model.safetensors": strings.Repeat("x", 2<<10),
		"models/org/gated/hub.json":               `{"gated": "manual"}`,
		"datasets/org/data/main/train.parquet":    "x",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := hub.NewHandler(dir)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return h, s.URL
}

// config creates a ClusterProviderConfig that only the test's namespace uses, and returns
// its name.
func (w world) config(t *testing.T, endpoint string, p *v1alpha1.ClusterPolicy) *v1alpha1.ClusterProviderConfig {
	t.Helper()
	pc := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	pc.Spec.Registry = v1alpha1.ClusterRegistryConfig{
		Host: "registry.example.com", RepositoryPrefix: "{namespace}/",
		Credentials: v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceNone},
	}
	pc.Spec.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{Endpoint: v1alpha1.HubEndpoint(endpoint)}
	pc.Spec.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.namespace}}
	pc.Spec.Policy = p
	if err := w.Create(t.Context(), pc); err != nil {
		t.Fatal(err)
	}
	return pc
}

func TestImport(t *testing.T) {
	w := newWorld(t)
	fake, address := newHub(t)
	w.config(t, address, nil)
	to := w.namespace + "/open:v1"

	got := w.run(t, "", "import", "org/open", "--to", to, "--config", w.namespace, "--exclude", "*.bin")
	if got.code != 0 {
		t.Fatalf("want an Artifact, got %+v", got)
	}
	for _, want := range []string{
		"Model     org/open\n", "Revision  main is ", "Licence   Apache-2.0\n", "Files     3, 3.0 MiB: 2 data, 1 safetensors\n",
		"          model.safetensors, 3.0 MiB\n", "Policy    allowed; the first bytes of the files are checked by the run\n",
	} {
		if !strings.Contains(got.err, want) {
			t.Errorf("What the Hub and policies say should be shown: want %q in\n%s", want, got.err)
		}
	}
	a := &modelv1alpha1.Artifact{}
	if err := yaml.UnmarshalStrict([]byte(got.out), a); err != nil {
		t.Fatalf("The standard output should be an Artifact alone: %s\n%s", err, got.out)
	}
	want := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "open"}}
	want.SetGroupVersionKind(modelv1alpha1.ArtifactGroupVersionKind)
	want.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: w.namespace}
	want.Spec.ForProvider = modelv1alpha1.ArtifactParameters{
		Source: &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "org/open", Revision: "main"}, Files: &modelv1alpha1.FileFilter{Exclude: []string{"*.bin"}}},
		Target: &modelv1alpha1.Target{Repository: w.namespace + "/open", Tag: "v1"},
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("The Artifact should have what was asked for and no defaults: -want, +got:\n%s", diff)
	}
	if strings.Contains(got.out, "status:") || strings.Contains(got.out, "creationTimestamp") {
		t.Errorf("A manifest has no status:\n%s", got.out)
	}

	args := []string{"import", "org/open", "--to", "registry.example.com/" + to, "--config", w.namespace, "--format", "Image", "--pin", "--apply"}
	if got := w.run(t, "", append(args, "--dry-run=server")...); got.code != 0 || got.out != w.namespace+"/open: created (server dry run)\n" {
		t.Errorf("A dry run should say that it is one: got %+v", got)
	}
	if got := w.run(t, "", args...); got.code != 0 || got.out != w.namespace+"/open: created\n" || !strings.Contains(got.err, "kubectl kitops status -w -n "+w.namespace+" open") {
		t.Errorf("The Artifact should be created: got %+v", got)
	}
	p := w.get(t, "open").Spec.ForProvider
	if p.Format != "Image" || len(p.Source.HuggingFace.Revision) != 40 || p.Target.Registry != "" || p.Target.Tag != "v1" {
		t.Errorf("The Artifact should be what was asked for, without the config's own registry: got %+v", p)
	}
	if got := w.run(t, "", args...); got.code != 1 || !strings.Contains(got.err, "exists, and is not changed") {
		t.Errorf("An Artifact that exists should not be changed: got %+v", got)
	}
	if got := w.run(t, "", append(args, "--name", "Not_A_Name")...); got.code != 1 || !strings.Contains(got.err, "cannot create Artifact") {
		t.Errorf("What the API server refuses should be an error: got %+v", got)
	}
	if got := w.run(t, "", "import", "datasets/org/data", "--to", w.namespace+"/data", "--config", w.namespace); got.code != 0 || !strings.Contains(got.out, "dataset: org/data") {
		t.Errorf("A dataset should be imported: got %+v", got)
	}
	if got := w.run(t, "", "import", "org/none", "--to", to, "--config", w.namespace); got.code != 1 || got.out != "" || !strings.Contains(got.err, "cannot ask the Hub about org/none") {
		t.Errorf("A model that the Hub does not have should be an error: got %+v", got)
	}
	if n := len(fake.Requests()); n == 0 {
		t.Error("The config's Hub should be asked.")
	}
}

func TestImportRefused(t *testing.T) {
	w := newWorld(t)
	_, address := newHub(t)
	size := resource.MustParse("2Mi")
	w.config(t, address, &v1alpha1.ClusterPolicy{ContentPolicy: v1alpha1.ContentPolicy{
		Models: &v1alpha1.ModelRules{Deny: []v1alpha1.ModelPattern{"org/*"}}, Licenses: &v1alpha1.LicenseRules{Deny: []v1alpha1.LicenseName{"Apache-2.0"}},
		Files: &v1alpha1.FileRules{Deny: []v1alpha1.FileFormat{"pickle"}}, HubScan: v1alpha1.HubScanRequire, MaxSize: &size,
	}})
	of := `ClusterProviderConfig "` + w.namespace + `"`
	got := w.run(t, "", "import", "org/open", "--to", "elsewhere/open:v1", "--config", w.namespace, "--apply")
	if got.code != 1 || got.out != "" || !strings.Contains(got.err, "error: org/open is refused, and no Artifact was written\n") {
		t.Errorf("What a policy refuses should not be created: got %+v", got)
	}
	for _, want := range []string{
		"Policy    refused: " + of + " admits for namespace", of + " denies model org/open", of + " does not allow licence Apache-2.0",
		of + " does not allow pytorch_model.bin (pickle)", of + " allows artifacts of at most 2097152 bytes", of + " requires a clean security scan",
	} {
		if !strings.Contains(got.err, want) {
			t.Errorf("Each rule that refuses should be named: want %q in\n%s", want, got.err)
		}
	}

	// A tenant's own config for the same registry does not help.
	own := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "own"}}
	own.Spec.Registry = v1alpha1.RegistryConfig{Host: "registry.example.com", Credentials: v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceNone}}
	own.Spec.HuggingFace = &v1alpha1.HuggingFaceConfig{Endpoint: v1alpha1.HubEndpoint(address)}
	if err := w.Create(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	got = w.run(t, "", "import", "org/open", "--to", w.namespace+"/open:v1", "--config", "ProviderConfig/own")
	if got.code != 1 || !strings.Contains(got.err, of+" denies model org/open") {
		t.Errorf("Policies of the registry's administrator should count: got %+v", got)
	}
	got = w.run(t, "", "import", "org/open", "--to", "elsewhere/open:v1", "--config", "providerconfig/own")
	if got.code != 0 || !strings.Contains(got.out, "kind: ProviderConfig\n") {
		t.Errorf("Policies for other repositories should not: got %+v", got)
	}
}

// TestImportToken checks that the user's token reaches no Hub that only a config names.
func TestImportToken(t *testing.T) {
	w := newWorld(t)
	fake, address := newHub(t)
	w.config(t, address, nil)
	t.Setenv("HF_TOKEN", "hf_secret")
	args := []string{"import", "org/gated", "--to", w.namespace + "/gated:v1", "--config", w.namespace}
	sent := func() bool {
		return slices.ContainsFunc(fake.Requests(), func(r hub.Request) bool { return r.Authorization })
	}

	got := w.run(t, "", args...)
	if got.code != 0 || !strings.Contains(got.err, "Files     not shown to this account: ") || !strings.Contains(got.err, "Licence   LicenseRef-llama3.1") || !strings.Contains(got.err, "add tokenSecretRef") {
		t.Errorf("A gated model should be imported, and what is not known be said: got %+v", got)
	}
	if sent() {
		t.Error("The Hub of a config should not get the user's token.")
	}
	if _ = w.run(t, "", append(args, "--hub", address)...); !sent() {
		t.Error("The Hub that the user names should get the user's token.")
	}
	if strings.Contains(got.out+got.err, "hf_secret") {
		t.Error("The token should not be shown.")
	}
}

// TestImportWithoutCluster checks that a manifest is written also where there is no
// cluster.
func TestImportWithoutCluster(t *testing.T) {
	_, address := newHub(t)
	k := kubectl{kubeconfig: filepath.Join(t.TempDir(), "none")}
	got := k.run(t, "", "import", "org/open", "--to", "models/open", "--hub", address)
	if got.code != 0 || !strings.Contains(got.err, "Policy    not known, the provider decides: ") || !strings.Contains(got.out, "repository: models/open") || strings.Contains(got.out, "namespace:") {
		t.Errorf("The Artifact should be written, and policies be unknown: got %+v", got)
	}
	if got := k.run(t, "", "import", "org/open", "--to", "models/open", "--hub", address, "--apply"); got.code != 1 || got.out != "" {
		t.Errorf("Without a cluster nothing can be created: got %+v", got)
	}
}
