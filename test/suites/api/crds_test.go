package api

import (
	"io/fs"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

func TestPrinterColumns(t *testing.T) {
	type column struct {
		name string
		wide bool
	}
	cases := map[string]struct {
		reason string
		args   schema.GroupVersionResource
		want   []column
	}{
		"Artifact": {
			reason: "kubectl get shows how an Artifact is and why; the rest is wide.",
			args:   modelv1alpha1.SchemeGroupVersion.WithResource("artifacts"),
			want: []column{
				{name: "Name"},
				{name: "READY"}, {name: "SYNCED"}, {name: "EXTERNAL-NAME"}, {name: "PHASE"}, {name: "PROGRESS"}, {name: "REASON"}, {name: "AGE"},
				{name: "REFERENCE", wide: true}, {name: "DIGEST", wide: true}, {name: "MESSAGE", wide: true},
			},
		},
		"ProviderConfig": {
			reason: "kubectl get shows whether the config works, which registry is meant and how many use it; the rest is wide.",
			args:   v1alpha1.SchemeGroupVersion.WithResource("providerconfigs"),
			want: []column{
				{name: "Name"},
				{name: "READY"}, {name: "REASON"}, {name: "REGISTRY"}, {name: "USERS"}, {name: "AGE"},
				{name: "MESSAGE", wide: true},
			},
		},
		"ClusterProviderConfig": {
			reason: "kubectl get shows whether the config works, which registry is meant and how many use it; the rest is wide.",
			args:   v1alpha1.SchemeGroupVersion.WithResource("clusterproviderconfigs"),
			want: []column{
				{name: "Name"},
				{name: "READY"}, {name: "REASON"}, {name: "REGISTRY"}, {name: "USERS"}, {name: "AGE"},
				{name: "MESSAGE", wide: true},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := []column{}
			for _, c := range table(t, tc.args).ColumnDefinitions {
				got = append(got, column{name: c.Name, wide: c.Priority > 0})
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(column{})); diff != "" {
				t.Errorf("\n%s\ncolumns: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// table asks the API server for the objects as kubectl get does.
func table(t *testing.T, gvr schema.GroupVersionResource) *metav1.Table {
	t.Helper()
	cfg := apiserver.Config(t)
	gv := gvr.GroupVersion()
	cfg.GroupVersion, cfg.APIPath, cfg.NegotiatedSerializer = &gv, "/apis", scheme.Codecs.WithoutConversion()
	c, err := rest.RESTClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.Get().Resource(gvr.Resource).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").Do(t.Context()).Raw()
	if err != nil {
		t.Fatal(err)
	}
	out := &metav1.Table{}
	if err := yaml.Unmarshal(raw, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDefinitions(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   string
		want   apiextensionsv1.ResourceScope
		short  []string
	}{
		"Artifact":              {reason: "A tenant owns an Artifact.", args: "artifacts.model.kitops.m.crossplane.io", want: apiextensionsv1.NamespaceScoped, short: []string{"kart"}},
		"ProviderConfig":        {reason: "A tenant owns a ProviderConfig.", args: "providerconfigs.kitops.m.crossplane.io", want: apiextensionsv1.NamespaceScoped, short: []string{"kpc"}},
		"ClusterProviderConfig": {reason: "An administrator owns a ClusterProviderConfig.", args: "clusterproviderconfigs.kitops.m.crossplane.io", want: apiextensionsv1.ClusterScoped, short: []string{"kcpc"}},
		"ProviderConfigUsage":   {reason: "A usage is beside its Artifact.", args: "providerconfigusages.kitops.m.crossplane.io", want: apiextensionsv1.NamespaceScoped},
	}
	got := definitions(t)
	if len(got) != len(cases) {
		t.Errorf("package/crds holds %d definitions, want %d", len(got), len(cases))
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			crd, ok := got[tc.args]
			if !ok {
				t.Fatalf("package/crds has no %s", tc.args)
			}
			if diff := cmp.Diff(tc.want, crd.Spec.Scope); diff != "" {
				t.Errorf("\n%s\nscope: -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.short, crd.Spec.Names.ShortNames); diff != "" {
				t.Errorf("\n%s\nshort names: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestDescriptions checks that kubectl explain has something to say to each
// field.
func TestDescriptions(t *testing.T) {
	for name, crd := range definitions(t) {
		t.Run(name, func(t *testing.T) {
			for _, v := range crd.Spec.Versions {
				if v.Schema.OpenAPIV3Schema.Description == "" {
					t.Errorf("%s has no description", crd.Spec.Names.Kind)
				}
				for _, path := range undescribed("", v.Schema.OpenAPIV3Schema) {
					t.Errorf("%s%s has no description: comment its field", crd.Spec.Names.Kind, path)
				}
			}
		})
	}
}

// describedElsewhere are the fields of others' types that come without a
// description: Kubernetes' own metadata, and Crossplane's key of a Secret.
var describedElsewhere = map[string]bool{
	".metadata":                            true,
	".spec.huggingFace.tokenSecretRef.key": true,
}

// undescribed returns the paths of the fields that have no description.
func undescribed(path string, s *apiextensionsv1.JSONSchemaProps) []string {
	out := []string{}
	for name, p := range s.Properties {
		at := path + "." + name
		if p.Description == "" && !describedElsewhere[at] {
			out = append(out, at)
		}
		out = append(out, undescribed(at, &p)...)
	}
	if s.Items != nil && s.Items.Schema != nil {
		out = append(out, undescribed(path+"[]", s.Items.Schema)...)
	}
	slices.Sort(out)
	return out
}

// definitions returns the CustomResourceDefinitions of the package, by name.
func definitions(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	dir := os.DirFS("../../../package/crds")
	files, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, f := range files {
		data, err := fs.ReadFile(dir, f)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		out[crd.GetName()] = crd
	}
	return out
}
