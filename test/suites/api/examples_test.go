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
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	out := map[string]string{}
	files, err := filepath.Glob("../../../examples/artifact/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no examples", err)
	}
	for _, f := range files {
		out[filepath.Base(f)] = read(f)
	}
	for _, f := range []string{"../../../README.md", "../../../docs/crossplane.md", "../../../docs/formats.md"} {
		for i, m := range inMarkdown.FindAllStringSubmatch(read(f), -1) {
			if name, ok := strings.CutPrefix(m[1], "apiVersion: "); ok {
				kind := strings.Fields(name)
				out[fmt.Sprint(filepath.Base(f), " ", i+1, " ", strings.Join(kind[:min(3, len(kind))], " "))] = m[1]
			}
		}
	}
	return out
}
