package artifact

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

func TestMetrics(t *testing.T) {
	start := metav1.NewTime(time.Unix(1000, 0))
	a := &modelv1alpha1.Artifact{}
	a.Status.AtProvider.StartTime, a.Status.AtProvider.CompletionTime = &start, ptr.To(metav1.NewTime(start.Add(90*time.Second)))
	a.Status.AtProvider.Size = 5e6
	m := NewMetrics()
	m.ended(a, artifact.ObservationResult{Phase: modelv1alpha1.PhaseSucceeded, Reason: "Available"})
	m.ended(a, artifact.ObservationResult{Phase: modelv1alpha1.PhaseFailed, Reason: string(outcome.Gated)})
	for _, word := range []string{"Anything", "AtAll"} {
		m.ended(a, artifact.ObservationResult{Phase: modelv1alpha1.PhaseFailed, Reason: word})
	}
	m.Requested("Resolve", nil)
	m.Requested("Resolve", outcome.Errorf(outcome.NotFound, "gone"))

	want := `
# HELP provider_kitops_registry_requests_total What the controller asked of registries, by operation and result: Succeeded, or the reason why not.
# TYPE provider_kitops_registry_requests_total counter
provider_kitops_registry_requests_total{operation="Resolve",result="NotFound"} 1
provider_kitops_registry_requests_total{operation="Resolve",result="Succeeded"} 1
# HELP provider_kitops_runs_total Runs that ended, by pipeline, result (Succeeded or Failed) and, of those that failed, the reason (Other for one that a worker made up).
# TYPE provider_kitops_runs_total counter
provider_kitops_runs_total{pipeline="Kit",reason="",result="Succeeded"} 1
provider_kitops_runs_total{pipeline="Kit",reason="Gated",result="Failed"} 1
provider_kitops_runs_total{pipeline="Kit",reason="Other",result="Failed"} 2
`
	if err := testutil.CollectAndCompare(m, strings.NewReader(want), "provider_kitops_registry_requests_total", "provider_kitops_runs_total"); err != nil {
		t.Error(err)
	}
	for name, series := range map[string]int{"provider_kitops_run_bytes": 1, "provider_kitops_run_seconds": 2} {
		if got := testutil.CollectAndCount(m, name); got != series {
			t.Errorf("%s: got %d series, want %d", name, got, series)
		}
	}
	if problems, err := testutil.CollectAndLint(m); err != nil || len(problems) > 0 {
		t.Errorf("names: %v, %v", problems, err)
	}
}

// TestRunsAreCountedOnce has a run observed many times.
func TestRunsAreCountedOnce(t *testing.T) {
	m := NewMetrics()
	w := newWorld(t)
	startManagerAs(t, apiserver.Config(t), []string{w.namespace}, Options{Images: testImages, Metrics: m})
	a := w.artifact("counted")
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, "True", "Available")
	for _, again := range []string{"1", "2", "3"} {
		w.poke(a, again)
	}
	if got := testutil.ToFloat64(m.runs.WithLabelValues("Stream", resultSucceeded, "")); got != 1 {
		t.Errorf("runs: got %v, want 1", got)
	}
	if got := testutil.ToFloat64(m.requests.WithLabelValues("Resolve", resultSucceeded)); got < 4 {
		t.Errorf("requests: got %v, want at least one a look", got)
	}
}
