package api

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

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

// inMarkdown matches YAML in a document.
var inMarkdown = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// examples returns objects by where they stand.
func examples(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	add := func(place, text string) {
		for i, o := range strings.Split(text, "\n---\n") {
			kind := &metav1.TypeMeta{}
			if err := yaml.Unmarshal([]byte(o), kind); err == nil && kind.Kind != "" {
				out[fmt.Sprintf("%s %d %s", place, i+1, kind.Kind)] = o
			}
		}
	}
	for _, f := range glob(t, "examples/artifact/*.yaml", "examples/local/*.yaml", "examples/quickstart/*.yaml", "examples/install/isolated-runs.yaml", "examples/install/rbac*.yaml") {
		add(filepath.Base(filepath.Dir(f))+" "+filepath.Base(f), read(t, f))
	}
	for _, f := range glob(t, "*.md", "docs/*.md", "docs/*/*.md") {
		for i, m := range inMarkdown.FindAllStringSubmatch(read(t, f), -1) {
			if strings.HasPrefix(m[1], "apiVersion: ") {
				add(fmt.Sprint(filepath.Base(f), " ", i+1), m[1])
			}
		}
	}
	return out
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
