package api

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

// TestExamples has the API server take the examples, and the whole objects that
// the documentation shows.
func TestExamples(t *testing.T) {
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	for name, text := range examples(t) {
		t.Run(name, func(t *testing.T) {
			o := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
				t.Fatal(err)
			}
			if o.GetNamespace() != "" {
				o.SetNamespace(namespace)
			}
			if err := c.Create(t.Context(), o, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}

// TestExamplesIsolateRuns checks that ClusterProviderConfigs of examples and documentation
// that have credentials keep these out of the namespaces of Artifacts.
func TestExamplesIsolateRuns(t *testing.T) {
	all := examples(t)
	for _, f := range glob(t, "examples/external-secrets/*.yaml") {
		addObjects(all, "external-secrets "+filepath.Base(f), read(t, f))
	}
	isolated := 0
	for name, text := range all {
		pc := &v1alpha1.ClusterProviderConfig{}
		if err := yaml.Unmarshal([]byte(text), pc); err != nil || pc.Kind != v1alpha1.ClusterProviderConfigGroupVersionKind.Kind {
			continue
		}
		switch {
		case pc.Spec.Job != nil && pc.Spec.Job.Namespace != "":
			isolated++
		case pc.Spec.Registry.Credentials.Source != xpv2.CredentialsSourceNone:
			t.Errorf("%s should have job.namespace, as is recommended:\n%s", name, text)
		}
	}
	if isolated == 0 {
		t.Error("No example has job.namespace: are they read?")
	}
}

// inMarkdown matches YAML in a document.
var inMarkdown = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// examples returns objects by where they stand.
func examples(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, f := range glob(t, "examples/artifact/*.yaml", "examples/sources/*.yaml", "examples/local/*.yaml", "examples/quickstart/*.yaml", "examples/kueue/config.yaml", "examples/install/isolated-runs.yaml", "examples/install/rbac*.yaml", "examples/gitops/*.yaml") {
		addObjects(out, filepath.Base(filepath.Dir(f))+" "+filepath.Base(f), read(t, f))
	}
	for _, f := range glob(t, "*.md", "docs/*.md", "docs/*/*.md") {
		for i, m := range inMarkdown.FindAllStringSubmatch(read(t, f), -1) {
			if strings.HasPrefix(m[1], "apiVersion: ") {
				addObjects(out, fmt.Sprint(filepath.Base(f), " ", i+1), m[1])
			}
		}
	}
	return out
}

// addObjects adds the objects of a text to others, by where they stand.
func addObjects(out map[string]string, place, text string) {
	for i, o := range strings.Split(text, "\n---\n") {
		kind := &metav1.TypeMeta{}
		if err := yaml.Unmarshal([]byte(o), kind); err == nil && kind.Kind != "" {
			out[fmt.Sprintf("%s %d %s", place, i+1, kind.Kind)] = o
		}
	}
}

// glob returns the files that match patterns, of which each must match one, from
// the root of the repository.
func glob(t *testing.T, patterns ...string) []string {
	t.Helper()
	var out []string
	for _, p := range patterns {
		files, err := filepath.Glob(filepath.Join("..", "..", "..", p))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			t.Fatalf("nothing matches %s", p)
		}
		out = append(out, files...)
	}
	return out
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
