package main

import (
	"context"
	"encoding/json"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/fieldpath"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/request"
	"github.com/crossplane/function-sdk-go/resource"
	"github.com/crossplane/function-sdk-go/resource/composed"
	"github.com/crossplane/function-sdk-go/resource/composite"
	"github.com/crossplane/function-sdk-go/response"
)

// A Function composes resources of templates and patches.
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer
}

// RunFunction answers with the resources that the input asks for.
func (f *Function) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	rsp := response.To(req, response.DefaultTTL)
	if err := compose(req, rsp); err != nil {
		response.Fatal(rsp, err)
	}
	return rsp, nil
}

// A composition is what the templates are applied to.
type composition struct {
	xr       *composite.Unstructured // The composite as it is.
	wanted   *resource.Composite     // What becomes of its status.
	observed map[resource.Name]resource.ObservedComposed
	rsp      *fnv1.RunFunctionResponse
}

// compose applies all templates of the input.
func compose(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) error {
	in, err := readInput(req.GetInput())
	if err != nil {
		return errors.Wrap(err, "cannot read the input")
	}
	xr, err := request.GetObservedCompositeResource(req)
	if err != nil {
		return errors.Wrap(err, "cannot get the composite")
	}
	wanted, err := request.GetDesiredCompositeResource(req)
	if err != nil {
		return errors.Wrap(err, "cannot get the composite's desired state")
	}
	observed, err := request.GetObservedComposedResources(req)
	if err != nil {
		return errors.Wrap(err, "cannot get the composed resources")
	}
	desired, err := request.GetDesiredComposedResources(req)
	if err != nil {
		return errors.Wrap(err, "cannot get the desired resources")
	}
	c := composition{xr: xr.Resource, wanted: wanted, observed: observed, rsp: rsp}
	held := false
	for _, t := range in.Resources {
		r, err := c.apply(t)
		switch {
		case err != nil:
			return errors.Wrapf(err, "cannot compose %q", t.Name)
		case r == nil:
			held = true
		default:
			desired[resource.Name(t.Name)] = r
		}
	}
	if err := response.SetDesiredCompositeResource(rsp, wanted); err != nil {
		return errors.Wrap(err, "cannot set the composite's status")
	}
	if held {
		rsp.GetDesired().GetComposite().Ready = fnv1.Ready_READY_FALSE
	}
	return errors.Wrap(response.SetDesiredComposedResources(rsp, desired), "cannot set the resources")
}

// apply applies a template. It returns nothing if a resource that is not there
// yet lacks something that it is required to have.
func (c *composition) apply(t template) (*resource.DesiredComposed, error) {
	out := &resource.DesiredComposed{Resource: composed.New()}
	if err := json.Unmarshal(t.Base, out.Resource); err != nil {
		return nil, errors.Wrap(err, "cannot read its base")
	}
	is, exists := c.observed[resource.Name(t.Name)]
	if exists {
		out.Resource.SetNamespace(is.Resource.GetNamespace())
		out.Resource.SetName(is.Resource.GetName())
		if t.ready(is.Resource) {
			out.Ready = resource.ReadyTrue
		}
	}
	for i, p := range t.Patches {
		err := c.patch(p, is.Resource, out.Resource)
		switch {
		case err == nil:
		case !fieldpath.IsNotFound(err):
			return nil, errors.Wrapf(err, "cannot apply patch %d", i)
		case p.required() && p.toComposed() && !exists:
			response.Warning(c.rsp, errors.Wrapf(err, "%q waits for what its patch %d requires", t.Name, i))
			return nil, nil //nolint:nilnil // The resource is not wanted.
		}
	}
	return out, nil
}

// patch applies one patch: always from observed state to desired state.
func (c *composition) patch(p patch, is, out *composed.Unstructured) error {
	switch p.Type {
	case "", fromComposite:
		value, err := fieldpath.Pave(c.xr.Object).GetValue(p.FromFieldPath)
		if err != nil {
			return err
		}
		return set(out.Object, p.to(), value)
	case combineFromComposite:
		value, err := p.Combine.combine(c.xr.Object)
		if err != nil {
			return err
		}
		return set(out.Object, p.to(), value)
	case toComposite:
		if is == nil {
			return nil
		}
		value, err := fieldpath.Pave(is.Object).GetValue(p.FromFieldPath)
		if err != nil {
			return err
		}
		return set(c.wanted.Resource.Object, p.to(), value)
	}
	return errors.Errorf("patches of type %q are not known here", p.Type)
}

// set sets a field, whose whole numbers stay whole.
func set(object map[string]any, path string, value any) error {
	if f, ok := value.(float64); ok && f == float64(int64(f)) {
		value = int64(f)
	}
	return fieldpath.Pave(object).SetValue(path, value)
}

// ready reports whether a resource passes the template's checks: the condition
// Ready, where it names none.
func (t template) ready(r *composed.Unstructured) bool {
	checks := t.ReadinessChecks
	if len(checks) == 0 {
		checks = []readinessCheck{{Type: matchCondition, MatchCondition: &condition{Type: string(xpv2.TypeReady), Status: "True"}}}
	}
	for _, check := range checks {
		if check.Type == matchCondition && string(r.GetCondition(xpv2.ConditionType(check.MatchCondition.Type)).Status) != check.MatchCondition.Status {
			return false
		}
	}
	return true
}
