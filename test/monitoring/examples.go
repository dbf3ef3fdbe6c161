// Package monitoring reads examples/monitoring and runs a real Prometheus, for tests that
// hold what is monitored to what the provider measures.
package monitoring

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"sigs.k8s.io/yaml"

	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// A Rule of examples/monitoring/prometheusrule.yaml alerts.
type Rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Rules returns the rules, and the file of them as Prometheus itself reads it.
func Rules(ctx context.Context) ([]Rule, []byte, error) {
	data, err := example(ctx, "prometheusrule.yaml")
	if err != nil {
		return nil, nil, err
	}
	manifest := struct {
		Spec struct {
			Groups []struct {
				Name  string `json:"name"`
				Rules []Rule `json:"rules"`
			} `json:"groups"`
		} `json:"spec"`
	}{}
	if err := yaml.Unmarshal(data, &manifest); err != nil {
		return nil, nil, errors.Wrap(err, "cannot read the rules")
	}
	var rules []Rule
	for _, g := range manifest.Spec.Groups {
		rules = append(rules, g.Rules...)
	}
	file, err := yaml.Marshal(manifest.Spec)
	return rules, file, errors.Wrap(err, "cannot write the rules")
}

// Queries returns the expressions of the dashboard by the titles of their panels, and those
// of its variables by their names. Variables of the dashboard are in them as they are.
func Queries(ctx context.Context) (map[string][]string, error) {
	data, err := example(ctx, "dashboard.json")
	if err != nil {
		return nil, err
	}
	type panel struct {
		Title   string `json:"title"`
		Targets []struct {
			Expr string `json:"expr"`
		} `json:"targets"`
	}
	d := struct {
		Panels []struct {
			panel

			Panels []panel `json:"panels"` // Of a row that is folded.
		} `json:"panels"`
		Templating struct {
			List []struct {
				Name  string `json:"name"`
				Type  string `json:"type"`
				Query any    `json:"query"`
			} `json:"list"`
		} `json:"templating"`
	}{}
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, errors.Wrap(err, "cannot read the dashboard")
	}
	out := map[string][]string{}
	for _, p := range d.Panels {
		for _, q := range append(p.Panels, p.panel) {
			for _, t := range q.Targets {
				out[q.Title] = append(out[q.Title], t.Expr)
			}
		}
	}
	for _, v := range d.Templating.List {
		if query, ok := v.Query.(string); ok && v.Type == "query" {
			out["variable "+v.Name] = []string{query}
		}
	}
	return out, nil
}

// example returns a file of examples/monitoring.
func example(ctx context.Context, name string) ([]byte, error) {
	root, err := programs.SourceTree(ctx)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(root, "examples", "monitoring", name))
	return data, errors.Wrap(err, "cannot read an example")
}
