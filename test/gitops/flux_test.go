package gitops

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// guide has the expressions for Flux.
const guide = "../../docs/guides/gitops.md"

// A testCase is an Artifact with what Flux makes of it.
type testCase struct {
	Name     string         `json:"name"`
	Reason   string         `json:"reason"`
	Kstatus  kstatus.Status `json:"kstatus"`
	Metadata map[string]any `json:"metadata"`
	Status   map[string]any `json:"status"`
}

// TestFluxReadsStatus has Flux read Artifacts as it does without an expression.
func TestFluxReadsStatus(t *testing.T) {
	for _, tc := range cases(t) {
		t.Run(tc.Name, func(t *testing.T) {
			got, err := kstatus.Compute(tc.artifact(t))
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != tc.Kstatus {
				t.Errorf("\n%s\nwant %s, got %s: %s", tc.Reason, tc.Kstatus, got.Status, got.Message)
			}
		})
	}
}

// TestFluxEvaluatesTheGuide has Flux evaluate the guide's expressions for the same: they
// must come to the same result.
func TestFluxEvaluatesTheGuide(t *testing.T) {
	checks := expressions(t)
	evaluator, err := cel.NewStatusEvaluator(&checks)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range cases(t) {
		t.Run(tc.Name, func(t *testing.T) {
			want := tc.Kstatus
			if want == kstatus.TerminatingStatus {
				// Flux waits for what it deletes in another way.
				want = kstatus.InProgressStatus
			}
			got, err := evaluator.Evaluate(t.Context(), tc.artifact(t))
			if err != nil {
				t.Fatalf("\n%s\n%v", tc.Reason, err)
			}
			if got.Status != want {
				t.Errorf("\n%s\nwant %s, got %s: %s", tc.Reason, want, got.Status, got.Message)
			}
		})
	}
}

// expressions returns the health check of the guide.
func expressions(t *testing.T) kustomize.HealthCheckExpressions {
	t.Helper()
	page, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```yaml\n(healthCheckExprs:\n.*?)```").FindSubmatch(page)
	if found == nil {
		t.Fatalf("%s has no healthCheckExprs", guide)
	}
	spec := struct {
		HealthCheckExprs []struct {
			APIVersion                       string `json:"apiVersion"`
			Kind                             string `json:"kind"`
			kustomize.HealthCheckExpressions `json:",inline"`
		} `json:"healthCheckExprs"`
	}{}
	if err := yaml.UnmarshalStrict(found[1], &spec); err != nil {
		t.Fatal(err)
	}
	if len(spec.HealthCheckExprs) != 1 {
		t.Fatalf("%s: want one check, got %d", guide, len(spec.HealthCheckExprs))
	}
	return spec.HealthCheckExprs[0].HealthCheckExpressions
}

// cases returns the Artifacts.
func cases(t *testing.T) []testCase {
	t.Helper()
	text, err := os.ReadFile("testdata/artifacts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var out []testCase
	if err := yaml.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("There are no cases.")
	}
	return out
}

// artifact returns a case's Artifact, with whole numbers as a client has them.
func (c testCase) artifact(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"apiVersion": "model.kitops.m.crossplane.io/v1alpha1", "kind": "Artifact", "metadata": c.Metadata, "status": c.Status,
	})
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	return u
}
