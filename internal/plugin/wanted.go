package plugin

import (
	"path"
	"regexp"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
)

// A model is what a user wants to import.
type model struct {
	kind     hub.Kind
	name     string // organisation/name
	revision string
}

// parseModel returns the model that a user names: organisation/name, of a dataset
// datasets/organisation/name, with @revision or without, or its page on the Hub.
func parseModel(s string) (model, error) {
	m := model{kind: hub.Model, name: s, revision: defaultRevision}
	if page, ok := strings.CutPrefix(s, hub.DefaultEndpoint+"/"); ok {
		m.name = strings.TrimRight(page, "/")
		if name, revision, ok := strings.Cut(m.name, "/tree/"); ok {
			m.name, m.revision = name, revision
		}
	} else if name, revision, ok := strings.Cut(s, "@"); ok {
		m.name, m.revision = name, revision
	}
	if name, ok := strings.CutPrefix(m.name, policy.DatasetPrefix); ok {
		m.kind, m.name = hub.Dataset, name
	}
	if m.name == "" || m.revision == "" || strings.Contains(m.name, "://") || strings.Count(m.name, "/") > 1 {
		return model{}, errors.Errorf("%q is no model of the Hub: write organisation/name, datasets/organisation/name, or one of them with @revision", s)
	}
	return m, nil
}

// String returns the model as policies know it.
func (m model) String() string {
	if m.kind == hub.Dataset {
		return policy.DatasetPrefix + m.name
	}
	return m.name
}

// A target is the name in a registry that a user asks for.
type target struct {
	registry   string // "" for the config's.
	repository string
	tag        string // "" for the default one.
}

// parseTarget returns the target [registry/]repository[:tag]. The first part is a registry
// if it has a dot or a port, or is localhost, as for docker.
func parseTarget(s string) (target, error) {
	t := target{repository: s}
	if first, rest, ok := strings.Cut(s, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		t.registry, t.repository = first, rest
	}
	if repository, tag, ok := strings.Cut(t.repository, ":"); ok {
		t.repository, t.tag = repository, tag
		if tag == "" {
			return target{}, errors.Errorf("--to %s has an empty tag: write a tag, or leave out the colon", s)
		}
	}
	if t.repository == "" || strings.Contains(t.repository, "@") {
		return target{}, errors.Errorf("--to %s is no repository: write models/qwen3:v1", s)
	}
	return t, nil
}

// notInNames is what names of objects do not have
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names).
var notInNames = regexp.MustCompile(`[^a-z0-9.-]+`)

// objectName returns a name for the Artifact of a model.
func objectName(m model) string {
	return strings.Trim(notInNames.ReplaceAllString(strings.ToLower(path.Base(m.name)), "-"), ".-")
}
