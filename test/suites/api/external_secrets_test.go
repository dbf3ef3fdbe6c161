package api

import (
	"bytes"
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// The version of External Secrets that the examples name, and what go.sum would have of
// it. Nothing of it is compiled: only its CustomResourceDefinitions are read.
const (
	externalSecrets        = "github.com/external-secrets/external-secrets"
	externalSecretsVersion = "v0.20.4"
	externalSecretsSum     = "h1:HhNAjWfFEshhItphr28SGsHzf2bUP7uDAOVLg76uNAg="
)

// TestExternalSecrets has the API server take the examples for External Secrets by the
// CustomResourceDefinitions of its own.
func TestExternalSecrets(t *testing.T) {
	c := apiserver.Client(t)
	dir, err := programs.Module(t.Context(), externalSecrets, externalSecretsVersion, externalSecretsSum)
	if err != nil {
		t.Fatal(err)
	}
	var crds []string
	for _, kind := range []string{
		"external-secrets.io_externalsecrets", "generators.external-secrets.io_ecrauthorizationtokens",
		"generators.external-secrets.io_gcraccesstokens", "generators.external-secrets.io_acraccesstokens",
	} {
		crds = append(crds, filepath.Join(dir, "config", "crds", "bases", kind+".yaml"))
	}
	if _, err := envtest.InstallCRDs(apiserver.Config(t), envtest.CRDInstallOptions{Paths: crds, ErrorIfPathMissing: true}); err != nil {
		t.Fatal(err)
	}
	namespace := apiserver.Namespace(t, c)
	for _, file := range glob(t, "examples/external-secrets/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text := read(t, file)
			if version := strings.TrimPrefix(externalSecretsVersion, "v"); !strings.Contains(text, "External Secrets "+version) {
				t.Errorf("it does not say that it was checked against External Secrets %s", version)
			}
			for _, o := range objects(t, text) {
				if o.GetNamespace() != "" {
					o.SetNamespace(namespace)
				}
				if err := c.Create(t.Context(), o, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
					t.Errorf("%s: %v", o.GetKind(), err)
				}
			}
		})
	}
}

// TestExternalSecretsTemplates checks that the Secret that each example's template makes
// of a password has an account for the registry of its ClusterProviderConfig, which names
// that Secret.
func TestExternalSecretsTemplates(t *testing.T) {
	for _, file := range glob(t, "examples/external-secrets/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var secret, wants []string
			host, config := "", []byte(nil)
			for _, o := range objects(t, read(t, file)) {
				field := func(path ...string) string {
					s, _, err := unstructured.NestedString(o.Object, path...)
					if err != nil {
						t.Fatal(err)
					}
					return s
				}
				switch o.GetKind() {
				case "ExternalSecret":
					secret = []string{o.GetNamespace(), field("spec", "target", "name"), field("spec", "target", "template", "type")}
					config = render(t, field("spec", "target", "template", "data", ".dockerconfigjson"))
				case "ClusterProviderConfig":
					host = field("spec", "registry", "host")
					wants = []string{
						field("spec", "registry", "credentials", "secretRef", "namespace"), field("spec", "registry", "credentials", "secretRef", "name"),
						"kubernetes.io/dockerconfigjson",
					}
				}
			}
			if strings.Join(secret, " ") != strings.Join(wants, " ") {
				t.Errorf("the template makes Secret %v, and the config names %v", secret, wants)
			}
			got, err := registry.CredentialIn(config, host, "")
			if err != nil || got.Username != "user" || got.Password != `pass"word` {
				t.Errorf("the template's account for %s: got %q, %v, want that of the generator", host, got.Username, err)
			}
		})
	}
}

// render renders a template as External Secrets does, for an account that JSON would have
// to quote.
func render(t *testing.T, text string) []byte {
	t.Helper()
	functions := template.FuncMap{"b64enc": func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }}
	parsed, err := template.New("").Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	if err := parsed.Execute(out, map[string]string{"username": "user", "password": `pass"word`}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// objects returns the objects of a YAML file.
func objects(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for doc := range strings.SplitSeq(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatal(err)
		}
		out = append(out, o)
	}
	return out
}
