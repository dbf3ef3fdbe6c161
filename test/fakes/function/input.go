package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/fieldpath"
	"google.golang.org/protobuf/types/known/structpb"
)

// What of function-patch-and-transform's input is known here
// (https://github.com/crossplane-contrib/function-patch-and-transform).
const (
	inputVersion = "pt.fn.crossplane.io/v1beta1"
	inputKind    = "Resources"

	fromComposite        = "FromCompositeFieldPath"
	combineFromComposite = "CombineFromComposite"
	toComposite          = "ToCompositeFieldPath"

	policyRequired = "Required"

	matchCondition = "MatchCondition"
	noCheck        = "None"
)

type input struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Resources  []template `json:"resources"`
}

// A template of a composed resource.
type template struct {
	Name            string           `json:"name"`
	Base            json.RawMessage  `json:"base"`
	Patches         []patch          `json:"patches,omitempty"`
	ReadinessChecks []readinessCheck `json:"readinessChecks,omitempty"`
}

// A patch takes a field's value to another field.
type patch struct {
	Type          string   `json:"type,omitempty"`
	FromFieldPath string   `json:"fromFieldPath,omitempty"`
	ToFieldPath   string   `json:"toFieldPath,omitempty"`
	Combine       *combine `json:"combine,omitempty"`
	Policy        *policy  `json:"policy,omitempty"`
}

type policy struct {
	FromFieldPath string `json:"fromFieldPath,omitempty"`
}

// A combine makes one text of several fields.
type combine struct {
	Strategy  string     `json:"strategy"`
	Variables []variable `json:"variables"`
	String    format     `json:"string"`
}

type variable struct {
	FromFieldPath string `json:"fromFieldPath"`
}

type format struct {
	Format string `json:"fmt"`
}

// A readinessCheck says when a resource is ready.
type readinessCheck struct {
	Type           string     `json:"type"`
	MatchCondition *condition `json:"matchCondition,omitempty"`
}

type condition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
}

// readInput reads the input, and refuses fields that this fake does not know: they would be
// left out without a word.
func readInput(s *structpb.Struct) (*input, error) {
	b, err := s.MarshalJSON()
	if err != nil {
		return nil, errors.Wrap(err, "cannot encode it")
	}
	in := &input{}
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(in); err != nil {
		return nil, errors.Wrap(err, "cannot decode it")
	}
	if in.APIVersion != inputVersion || in.Kind != inputKind {
		return nil, errors.Errorf("it is %s %s, not %s %s", in.APIVersion, in.Kind, inputVersion, inputKind)
	}
	for _, t := range in.Resources {
		if err := t.validate(); err != nil {
			return nil, errors.Wrapf(err, "resource %q", t.Name)
		}
	}
	return in, nil
}

// validate returns an error of a template that cannot be applied.
func (t template) validate() error {
	if t.Name == "" || len(t.Base) == 0 {
		return errors.New("it needs a name and a base")
	}
	for i, p := range t.Patches {
		combines := p.Type == combineFromComposite
		switch {
		case combines != (p.Combine != nil), combines == (p.FromFieldPath != ""):
			return errors.Errorf("patch %d needs one of combine and fromFieldPath, as its type says", i)
		case combines && (p.Combine.Strategy != "string" || p.ToFieldPath == ""):
			return errors.Errorf("patch %d needs strategy string and a toFieldPath", i)
		}
	}
	for i, c := range t.ReadinessChecks {
		if c.Type != noCheck && (c.Type != matchCondition || c.MatchCondition == nil) {
			return errors.Errorf("readiness check %d is not known here", i)
		}
	}
	return nil
}

// to is where a patch's value goes: the field that it is from, by default.
func (p patch) to() string {
	if p.ToFieldPath == "" {
		return p.FromFieldPath
	}
	return p.ToFieldPath
}

func (p patch) required() bool { return p.Policy != nil && p.Policy.FromFieldPath == policyRequired }

// toComposed reports whether a patch is to a composed resource, not from one.
func (p patch) toComposed() bool { return p.Type != toComposite }

// combine formats the variables.
func (c *combine) combine(from map[string]any) (any, error) {
	values := make([]any, 0, len(c.Variables))
	for _, v := range c.Variables {
		value, err := fieldpath.Pave(from).GetValue(v.FromFieldPath)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return fmt.Sprintf(c.String.Format, values...), nil
}
