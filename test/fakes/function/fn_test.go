package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/fieldpath"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"
	"sigs.k8s.io/yaml"
)

const (
	oldRef = "registry.example.com/models/team-a/qwen3@sha256:1111"
	newRef = "registry.example.com/models/team-a/qwen3@sha256:2222"
)

// exampleInput is the input of the first step of examples/compositions.
func exampleInput(t *testing.T) *structpb.Struct {
	t.Helper()
	b, err := os.ReadFile("../../../examples/compositions/composition.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := struct {
		Spec struct {
			Pipeline []struct {
				Input map[string]any `json:"input"`
			} `json:"pipeline"`
		} `json:"spec"`
	}{}
	if err := yaml.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return toStruct(t, c.Spec.Pipeline[0].Input)
}

func toStruct(t *testing.T, object map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(object)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fromYAML(t *testing.T, text string) *structpb.Struct {
	t.Helper()
	object := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	return toStruct(t, object)
}

// server is a ModelServer that serves a revision and has this status.
func server(t *testing.T, revision, reference string) *structpb.Struct {
	t.Helper()
	return fromYAML(t, `{apiVersion: platform.example.org/v1alpha1, kind: ModelServer, metadata: {namespace: team-a, name: qwen3},
		spec: {model: Qwen/Qwen3, revision: `+revision+`, replicas: 2, image: server:v1, args: [a, b]}, status: {reference: "`+reference+`"}}`)
}

// artifact is an Artifact that is ready or not, and has this status.
func artifact(t *testing.T, ready, reference string) *fnv1.Resource {
	t.Helper()
	return &fnv1.Resource{Resource: fromYAML(t, `{apiVersion: model.kitops.m.crossplane.io/v1alpha1, kind: Artifact, metadata: {namespace: team-a, name: qwen3},
		status: {conditions: [{type: Ready, status: "`+ready+`"}], atProvider: {digest: "sha256:of-it", pinnedReference: "`+reference+`"}}}`)}
}

// deployment is a Deployment that has this artifact.
func deployment(t *testing.T, reference string) *fnv1.Resource {
	t.Helper()
	return &fnv1.Resource{Resource: fromYAML(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: team-a, name: qwen3},
		spec: {template: {spec: {initContainers: [{args: ["`+reference+`"]}]}}}, status: {availableReplicas: 2}}`)}
}

// noStatus is a ModelServer that was just made.
func noStatus(t *testing.T) *structpb.Struct {
	t.Helper()
	s := server(t, "main", "")
	delete(s.GetFields(), "status")
	return s
}

// What is looked at in an answer.
type answer struct {
	Revision   string            // The Artifact's.
	Repository string            // The Artifact's.
	Pulls      string            // The Deployment's reference; empty without one.
	Status     map[string]any    // The ModelServer's.
	Ready      map[string]string // By resource; empty for the ModelServer itself.
	Fatal      bool
}

func read(t *testing.T, rsp *fnv1.RunFunctionResponse) answer {
	t.Helper()
	a := answer{Ready: map[string]string{}}
	for _, r := range rsp.GetResults() {
		a.Fatal = a.Fatal || r.GetSeverity() == fnv1.Severity_SEVERITY_FATAL
	}
	desired := rsp.GetDesired()
	if desired.GetComposite().GetReady() != fnv1.Ready_READY_UNSPECIFIED {
		a.Ready[""] = desired.GetComposite().GetReady().String()
	}
	a.Status, _ = desired.GetComposite().GetResource().AsMap()["status"].(map[string]any)
	for name, r := range desired.GetResources() {
		a.Ready[name] = r.GetReady().String()
		paved := fieldpath.Pave(r.GetResource().AsMap())
		switch name {
		case "artifact":
			a.Revision, _ = paved.GetString("spec.forProvider.source.huggingFace.revision")
			a.Repository, _ = paved.GetString("spec.forProvider.target.repository")
		case "servers":
			a.Pulls, _ = paved.GetString("spec.template.spec.initContainers[0].args[0]")
		}
	}
	return a
}

// TestExample checks what the example's Composition makes of a ModelServer in
// each part of its life.
func TestExample(t *testing.T) {
	const no, yes, unknown = "READY_FALSE", "READY_TRUE", "READY_UNSPECIFIED"
	const repository = "models/team-a/qwen3"
	cases := map[string]struct {
		reason   string
		xr       *structpb.Struct
		observed map[string]*fnv1.Resource
		want     answer
	}{
		"New": {
			reason: "Without an artifact there is no Deployment, and the ModelServer cannot be ready.",
			xr:     noStatus(t),
			want:   answer{Revision: "main", Repository: repository, Ready: map[string]string{"": no, "artifact": unknown}},
		},
		"Packing": {
			reason:   "The Artifact is there, and has nothing to show.",
			xr:       noStatus(t),
			observed: map[string]*fnv1.Resource{"artifact": {Resource: fromYAML(t, `{apiVersion: v1, kind: Artifact, metadata: {name: qwen3}}`)}},
			want:     answer{Revision: "main", Repository: repository, Ready: map[string]string{"": no, "artifact": unknown}},
		},
		"Packed": {
			reason:   "The artifact is told of, and not served yet.",
			xr:       noStatus(t),
			observed: map[string]*fnv1.Resource{"artifact": artifact(t, "True", oldRef)},
			want: answer{
				Revision: "main", Repository: repository, Status: map[string]any{"digest": "sha256:of-it", "reference": oldRef},
				Ready: map[string]string{"": no, "artifact": yes},
			},
		},
		"Told": {
			reason:   "The Deployment pulls it.",
			xr:       server(t, "main", oldRef),
			observed: map[string]*fnv1.Resource{"artifact": artifact(t, "True", oldRef)},
			want: answer{
				Revision: "main", Repository: repository, Pulls: oldRef, Status: map[string]any{"digest": "sha256:of-it", "reference": oldRef},
				Ready: map[string]string{"artifact": yes, "servers": unknown},
			},
		},
		"Serving": {
			reason:   "Both are there.",
			xr:       server(t, "main", oldRef),
			observed: map[string]*fnv1.Resource{"artifact": artifact(t, "True", oldRef), "servers": deployment(t, oldRef)},
			want: answer{
				Revision: "main", Repository: repository, Pulls: oldRef,
				Status: map[string]any{"digest": "sha256:of-it", "reference": oldRef, "serving": oldRef},
				Ready:  map[string]string{"artifact": yes, "servers": unknown},
			},
		},
		"Changed": {
			reason:   "While another revision is packed, the Deployment keeps what it has.",
			xr:       server(t, "v2", oldRef),
			observed: map[string]*fnv1.Resource{"artifact": artifact(t, "False", oldRef), "servers": deployment(t, oldRef)},
			want: answer{
				Revision: "v2", Repository: repository, Pulls: oldRef,
				Status: map[string]any{"digest": "sha256:of-it", "reference": oldRef, "serving": oldRef},
				Ready:  map[string]string{"artifact": unknown, "servers": unknown},
			},
		},
		"Repacked": {
			reason:   "The new artifact is told of first.",
			xr:       server(t, "v2", oldRef),
			observed: map[string]*fnv1.Resource{"artifact": artifact(t, "True", newRef), "servers": deployment(t, oldRef)},
			want: answer{
				Revision: "v2", Repository: repository, Pulls: oldRef,
				Status: map[string]any{"digest": "sha256:of-it", "reference": newRef, "serving": oldRef},
				Ready:  map[string]string{"artifact": yes, "servers": unknown},
			},
		},
		"RolledOver": {
			reason:   "The Deployment gets it then.",
			xr:       server(t, "v2", newRef),
			observed: map[string]*fnv1.Resource{"artifact": artifact(t, "True", newRef), "servers": deployment(t, oldRef)},
			want: answer{
				Revision: "v2", Repository: repository, Pulls: newRef,
				Status: map[string]any{"digest": "sha256:of-it", "reference": newRef, "serving": oldRef},
				Ready:  map[string]string{"artifact": yes, "servers": unknown},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rsp, err := (&Function{}).RunFunction(t.Context(), &fnv1.RunFunctionRequest{
				Input:    exampleInput(t),
				Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: tc.xr}, Resources: tc.observed},
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, read(t, rsp)); diff != "" {
				t.Errorf("\n%s\nRunFunction(...): -want, +got:\n%s\n%v", tc.reason, diff, rsp.GetResults())
			}
		})
	}
}

// TestDeployment checks the whole of the Deployment that the example makes.
func TestDeployment(t *testing.T) {
	rsp, err := (&Function{}).RunFunction(t.Context(), &fnv1.RunFunctionRequest{
		Input:    exampleInput(t),
		Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: server(t, "main", oldRef)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(rsp.GetDesired().GetResources()["servers"].GetResource())
	if err != nil {
		t.Fatal(err)
	}
	paved := fieldpath.Pave(nil)
	if err := json.Unmarshal(b, paved); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"metadata.name": "qwen3",
		"spec.replicas": int64(2),
		"spec.selector.matchLabels[app.kubernetes.io/instance]":         "qwen3",
		"spec.template.metadata.labels[app.kubernetes.io/instance]":     "qwen3",
		"spec.template.spec.containers[0].image":                        "server:v1",
		"spec.template.spec.containers[0].args":                         []any{"a", "b"},
		"spec.template.spec.initContainers[0].command":                  []any{"/usr/local/bin/worker", "pull"},
		"spec.template.spec.initContainers[0].args":                     []any{oldRef, "/model", "--docker-config=/registry"},
		"spec.template.spec.initContainers[0].volumeMounts[0].name":     "model",
		"spec.template.spec.containers[0].volumeMounts[0].name":         "model",
		"spec.template.spec.containers[0].securityContext.capabilities": map[string]any{"drop": []any{"ALL"}},
	}
	for path, value := range want {
		got, err := paved.GetValue(path)
		if f, ok := got.(float64); ok {
			got = int64(f)
		}
		if diff := cmp.Diff(value, got); diff != "" || err != nil {
			t.Errorf("%s: -want, +got:\n%s\n%v", path, diff, err)
		}
	}
}

// TestInput checks that unknown fields are refused.
func TestInput(t *testing.T) {
	const head = "apiVersion: pt.fn.crossplane.io/v1beta1\nkind: Resources\nresources:\n- name: a\n  base: {apiVersion: v1, kind: Secret}\n"
	cases := map[string]struct {
		reason string
		input  string
		want   string
	}{
		"Transforms":  {reason: "A patch would give another value.", input: head + "  patches: [{fromFieldPath: a, transforms: []}]\n", want: "transforms"},
		"PatchSets":   {reason: "Patches would be missing.", input: head + "patchSets: []\n", want: "patchSets"},
		"Type":        {reason: "A patch would be missing.", input: head + "  patches: [{type: FromEnvironmentFieldPath, fromFieldPath: metadata}]\n", want: "not known here"},
		"Check":       {reason: "It would be ready too early.", input: head + "  readinessChecks: [{type: NonEmpty}]\n", want: "not known here"},
		"NoCombine":   {reason: "There is nothing to combine.", input: head + "  patches: [{type: CombineFromComposite, toFieldPath: a}]\n", want: "needs one of"},
		"NoBase":      {reason: "There is nothing to patch.", input: "apiVersion: pt.fn.crossplane.io/v1beta1\nkind: Resources\nresources: [{name: a}]\n", want: "base"},
		"OtherObject": {reason: "It is for another function.", input: "apiVersion: v1\nkind: Secret\n", want: "not pt.fn"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rsp, err := (&Function{}).RunFunction(t.Context(), &fnv1.RunFunctionRequest{
				Input:    fromYAML(t, tc.input),
				Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: noStatus(t)}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if r := rsp.GetResults(); !read(t, rsp).Fatal || !strings.Contains(r[0].GetMessage(), tc.want) {
				t.Errorf("\n%s\nRunFunction(...): want %q, got %v", tc.reason, tc.want, r)
			}
		})
	}
}
