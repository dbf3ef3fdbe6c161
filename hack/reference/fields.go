package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// kubernetesTypes are fields whose own fields are Kubernetes' and documented there.
var kubernetesTypes = []string{
	"affinity", "env", "envFrom", "hostAliases", "imagePullSecrets", "resources", "tolerations", "topologySpreadConstraints", "volumes", "volumeMounts",
	"podSecurityContext", "securityContext", "conditions",
}

// fieldPages returns a page for each kind of the CRDs in a folder, by name.
func fieldPages(dir string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, errors.Errorf("there are no CRDs in %s", dir)
	}
	out := map[string]string{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, errors.Wrap(err, "cannot read a CRD")
		}
		crd := &apiextensions.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			return nil, errors.Wrapf(err, "cannot parse %s", f)
		}
		out[filepath.Join("api", strings.ToLower(crd.Spec.Names.Kind)+".md")] = kindPage(crd)
	}
	return out, nil
}

// kindPage returns the page of a kind.
func kindPage(crd *apiextensions.CustomResourceDefinition) string {
	v := crd.Spec.Versions[0]
	schema := v.Schema.OpenAPIV3Schema
	var b strings.Builder
	scope := "It is namespaced."
	if crd.Spec.Scope == apiextensions.ClusterScoped {
		scope = "It is cluster-scoped."
	}
	fmt.Fprintf(&b, "# %s\n\n%s`%s/%s`. %s %s\n\n`kubectl explain %s` shows the same. What is *required* is so where its parent is written.\n",
		crd.Spec.Names.Kind, generated, crd.Spec.Group, v.Name, prose(schema.Description), scope, crd.Spec.Names.Plural+"."+crd.Spec.Group)
	top := slices.Sorted(maps.Keys(schema.Properties))
	for _, name := range top {
		if slices.Contains([]string{"apiVersion", "kind", "metadata"}, name) {
			continue
		}
		rows := fieldRows(name, schema.Properties[name])
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n", name)
		table(&b, []string{"field", "type", "what it is"}, rows)
	}
	return b.String()
}

// fieldRows returns a row for each field below one, parents first.
func fieldRows(path string, s apiextensions.JSONSchemaProps) [][]string {
	var out [][]string
	if s.Items != nil && s.Items.Schema != nil {
		return fieldRows(path+"[]", *s.Items.Schema)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		return fieldRows(path+".*", *s.AdditionalProperties.Schema)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		field := s.Properties[name]
		full := path + "." + name
		out = append(out, []string{quoted(full), fieldType(field, slices.Contains(s.Required, name)), fieldText(field)})
		if !slices.Contains(kubernetesTypes, name) {
			out = append(out, fieldRows(full, field)...)
		}
	}
	return out
}

// fieldType returns the type of a field, its default and whether it is required.
func fieldType(s apiextensions.JSONSchemaProps, required bool) string {
	t := s.Type
	switch {
	case s.XIntOrString:
		t = "quantity"
	case s.Format == "date-time":
		t = "time"
	case s.Items != nil && s.Items.Schema != nil:
		t = "list of " + s.Items.Schema.Type + "s"
	case s.AdditionalProperties != nil:
		t = "map"
	}
	if len(s.Enum) > 0 {
		var values []string
		for _, e := range s.Enum {
			values = append(values, enumValue(e))
		}
		t = strings.Join(values, ", ")
	}
	if required && s.Default == nil {
		t += "; *required*"
	}
	if s.Default != nil {
		t += "; default " + quoted(string(s.Default.Raw))
	}
	return t
}

// enumValue returns a value of an enumeration as code.
func enumValue(j apiextensions.JSON) string {
	var s string
	if err := json.Unmarshal(j.Raw, &s); err != nil {
		s = string(j.Raw)
	}
	return quoted(s)
}

// fieldText returns what a field's documentation says.
func fieldText(s apiextensions.JSONSchemaProps) string { return prose(s.Description) }

// prose returns documentation without TODOs for who maintains it.
func prose(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
