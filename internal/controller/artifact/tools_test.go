package artifact

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

const (
	// toolsCases has Artifacts with what tools make of them.
	toolsCases = "../../../test/gitops/testdata/artifacts.yaml"

	// healthScript is Argo CD's script, and argoConfig the ConfigMap that embeds it.
	healthScript = "../../../examples/gitops/health.lua"
	argoConfig   = "../../../examples/gitops/argocd-cm.yaml"
)

// A toolsCase is an Artifact with what tools make of it.
type toolsCase struct {
	Name     string         `json:"name"`
	Reason   string         `json:"reason"`
	Kstatus  kstatus.Status `json:"kstatus"`
	ArgoCD   argoHealth     `json:"argocd"`
	Metadata map[string]any `json:"metadata"`
	Status   map[string]any `json:"status"`
}

// An argoHealth is what a script of Argo CD returns.
type argoHealth struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// TestToolsReadStatus has the library of kstatus, and Argo CD's script, read Artifacts.
func TestToolsReadStatus(t *testing.T) {
	for _, tc := range readToolsCases(t) {
		t.Run(tc.Name, func(t *testing.T) {
			u := tc.artifact(t)
			got, err := kstatus.Compute(u)
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != tc.Kstatus {
				t.Errorf("\n%s\nkstatus: want %s, got %s: %s", tc.Reason, tc.Kstatus, got.Status, got.Message)
			}
			if diff := cmp.Diff(tc.ArgoCD, argoHealthOf(t, u)); diff != "" {
				t.Errorf("\n%s\nArgo CD: -want, +got:\n%s", tc.Reason, diff)
			}
		})
	}
}

// TestToolsReadDecisions has the same read what is written of each decision of
// TestDecide, and checks that each is one of the cases, so that what other tools make of
// these they make of all decisions.
func TestToolsReadDecisions(t *testing.T) {
	cases := map[string]toolsCase{}
	for _, tc := range readToolsCases(t) {
		cases[shapeOf(tc.artifact(t))] = tc
	}
	for _, d := range decisions {
		t.Run(d.observed, func(t *testing.T) {
			a := decided(d.a...)
			if p := decide(a, d.o); meta.WasDeleted(a) {
				a.SetConditions(xpv2.Deleting().WithObservedGeneration(a.GetGeneration()))
			} else {
				a.SetConditions(p.ready)
			}
			a.SetConditions(xpv2.ReconcileSuccess().WithObservedGeneration(a.GetGeneration()))
			u := writtenBy(t, a)
			got, err := kstatus.Compute(u)
			if err != nil {
				t.Fatal(err)
			}
			if want := kstatusOf(a, d.want); got.Status != want {
				t.Errorf("kstatus: want %s, got %s: %s", want, got.Status, got.Message)
			}
			tc, ok := cases[shapeOf(u)]
			if !ok {
				t.Fatalf("%s has no case like this: %s", toolsCases, shapeOf(u))
			}
			if got.Status != tc.Kstatus {
				t.Errorf("kstatus: %s, but of %s, which is like this, %s", got.Status, tc.Name, tc.Kstatus)
			}
			if health := argoHealthOf(t, u); health.Status != tc.ArgoCD.Status {
				t.Errorf("Argo CD: %s, but of %s, which is like this, %s", health.Status, tc.Name, tc.ArgoCD.Status)
			}
		})
	}
}

// TestStalls has tools read failures that are or are not retried.
func TestStalls(t *testing.T) {
	observeOnly := policies(xpv2.ManagementActionObserve)
	retried := func(a *modelv1alpha1.Artifact) {
		failed(a)
		a.Status.AtProvider.Failure.NextTryTime = new(a.GetCreationTimestamp())
	}
	cases := map[string]struct {
		reason string
		a      []func(*modelv1alpha1.Artifact)
		ready  outcome.Reason
		want   kstatus.Status
	}{
		"Retried": {
			reason: "A transient error that is retried passes without a person.",
			a:      []func(*modelv1alpha1.Artifact){retried},
			ready:  outcome.Unavailable,
			want:   kstatus.InProgressStatus,
		},
		"RetriesUsedUp": {
			reason: "A transient error that is not retried any more waits for a person.",
			a:      []func(*modelv1alpha1.Artifact){failed},
			ready:  outcome.Unavailable,
			want:   kstatus.FailedStatus,
		},
		"OtherThanTheRuns": {
			reason: "A failed run that waits for nothing more must not hide what prevents the next one.",
			a:      []func(*modelv1alpha1.Artifact){retried},
			ready:  outcome.NotAllowed,
			want:   kstatus.FailedStatus,
		},
		"NotPushedYet": {
			reason: "What is only observed may be pushed later, by another Artifact of the same commit.",
			a:      []func(*modelv1alpha1.Artifact){observeOnly},
			ready:  outcome.NotFound,
			want:   kstatus.InProgressStatus,
		},
		"NotObservable": {
			reason: "What is only observed and can never be waits for a person.",
			a:      []func(*modelv1alpha1.Artifact){observeOnly},
			ready:  outcome.Unauthorized,
			want:   kstatus.FailedStatus,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := decided(tc.a...)
			a.SetConditions(unavailable(tc.ready, "why").WithObservedGeneration(a.GetGeneration()))
			got, err := kstatus.Compute(writtenBy(t, a))
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != tc.want {
				t.Errorf("\n%s\nwant %s, got %s", tc.reason, tc.want, got.Status)
			}
		})
	}
}

// TestArgoConfig checks that the ConfigMap embeds the script.
func TestArgoConfig(t *testing.T) {
	script, err := os.ReadFile(healthScript)
	if err != nil {
		t.Fatal(err)
	}
	config := &corev1.ConfigMap{}
	readYAML(t, argoConfig, config)
	for _, kind := range []string{"model.kitops.m.crossplane.io_Artifact", "kitops.m.crossplane.io_ProviderConfig", "kitops.m.crossplane.io_ClusterProviderConfig"} {
		if diff := cmp.Diff(string(script), config.Data["resource.customizations.health."+kind]); diff != "" {
			t.Errorf("%s: -%s, +%s:\n%s", kind, healthScript, argoConfig, diff)
		}
	}
}

// kstatusOf returns what kstatus must make of an Artifact for which this was decided.
func kstatusOf(a *modelv1alpha1.Artifact, d want) kstatus.Status {
	// Reasons of the table for which a plan waits without a person, or with one.
	passes := map[string]bool{
		"Creating": true, string(outcome.ImagePull): true, string(outcome.ConfigMissing): true, string(outcome.Queued): true,
		// Without a time of the next try retries are used up.
		string(outcome.Unavailable): false,
	}
	switch {
	case meta.WasDeleted(a):
		return kstatus.TerminatingStatus
	case d.ready == corev1.ConditionTrue:
		return kstatus.CurrentStatus
	case d.action != actionWait && d.action != actionNone, passes[d.reason]:
		return kstatus.InProgressStatus
	case d.action == actionNone:
		// What is only observed may be pushed by another.
		return kstatus.InProgressStatus
	}
	return kstatus.FailedStatus
}

// shapeOf returns what tools look at in an Artifact.
func shapeOf(u *unstructured.Unstructured) string {
	out := []string{}
	generation, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	if generation != u.GetGeneration() {
		out = append(out, "of another generation")
	}
	if u.GetDeletionTimestamp() != nil {
		out = append(out, "deleted")
	}
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, kind := range []string{"Ready", "Synced", "Reconciling", "Stalled"} {
		for _, c := range conditions {
			if c, ok := c.(map[string]any); ok && c["type"] == kind {
				out = append(out, kind+"="+c["status"].(string)) //nolint:forcetypeassert // A condition has a status.
			}
		}
	}
	return strings.Join(out, ", ")
}

// writtenBy returns an Artifact as the runtime's client would write its status.
func writtenBy(t *testing.T, a *modelv1alpha1.Artifact) *unstructured.Unstructured {
	t.Helper()
	to := &keptStatus{}
	w := &statusWriter{SubResourceWriter: to, cached: fake.NewClientBuilder().WithScheme(apiserver.Scheme(t)).Build(), memory: &memory{}}
	if err := w.Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(to.o)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: content}
}

// A keptStatus keeps the object whose status is written.
type keptStatus struct {
	client.SubResourceWriter

	o client.Object
}

func (w *keptStatus) Update(_ context.Context, o client.Object, _ ...client.SubResourceUpdateOption) error {
	w.o = o
	return nil
}

// argoHealthOf returns what Argo CD's script makes of an object, with the libraries that
// Argo CD opens (https://argo-cd.readthedocs.io/en/stable/operator-manual/health/).
func argoHealthOf(t *testing.T, u *unstructured.Unstructured) argoHealth {
	t.Helper()
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	l.SetContext(t.Context())
	for name, open := range map[string]lua.LGFunction{lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var content any
	if err := json.Unmarshal(text, &content); err != nil {
		t.Fatal(err)
	}
	l.SetGlobal("obj", luajson.DecodeValue(l, content))
	if err := l.DoFile(healthScript); err != nil {
		t.Fatal(err)
	}
	answer, err := luajson.Encode(l.Get(-1))
	if err != nil {
		t.Fatal(err)
	}
	out := argoHealth{}
	if err := json.Unmarshal(answer, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// readToolsCases returns the Artifacts with what tools make of them.
func readToolsCases(t *testing.T) []toolsCase {
	t.Helper()
	var out []toolsCase
	readYAML(t, toolsCases, &out)
	if len(out) == 0 {
		t.Fatalf("%s has no cases", toolsCases)
	}
	return out
}

// artifact returns a case's Artifact.
func (c toolsCase) artifact(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	text, err := json.Marshal(map[string]any{"metadata": c.Metadata, "status": c.Status})
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	// The decoder of unstructured content has whole numbers, as a client has.
	if err := json.Unmarshal([]byte(strings.Replace(string(text), "{", `{"apiVersion":"model.kitops.m.crossplane.io/v1alpha1","kind":"Artifact",`, 1)), u); err != nil {
		t.Fatal(err)
	}
	return u
}

// readYAML reads a file.
func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatal(err)
	}
}
