package artifact

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
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
	a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a"}}
	a.Status.AtProvider.StartTime, a.Status.AtProvider.CompletionTime = &start, ptr.To(metav1.NewTime(start.Add(90*time.Second)))
	a.Status.AtProvider.Size = 7e6 // Of the artifact before.
	a.Status.AtProvider.Staged = &modelv1alpha1.StagedArtifact{Size: 5e6}
	m := NewMetrics()
	m.ended(a, artifact.ObservationResult{Phase: modelv1alpha1.PhaseSucceeded, Reason: "Available"})
	m.ended(a, artifact.ObservationResult{Phase: modelv1alpha1.PhaseFailed, Reason: string(outcome.Gated)})
	for _, word := range []string{"Anything", "AtAll"} {
		m.ended(a, artifact.ObservationResult{Phase: modelv1alpha1.PhaseFailed, Reason: word})
	}
	m.Requested("Resolve", nil)
	m.Requested("Resolve", outcome.Errorf(outcome.NotFound, "gone"))
	m.asked(outcome.Errorf(outcome.RateLimited, "later"))

	want := map[string]float64{
		`provider_kitops_registry_requests_total{operation="Resolve",result="NotFound"}`:            1,
		`provider_kitops_registry_requests_total{operation="Resolve",result="Succeeded"}`:           1,
		`provider_kitops_follow_requests_total{result="RateLimited"}`:                               1,
		`provider_kitops_runs_total{artifact_namespace="team-a",pipeline="Kit",result="Succeeded"}`: 1,
		`provider_kitops_runs_total{artifact_namespace="team-a",pipeline="Kit",result="Failed"}`:    3,
		`provider_kitops_run_failures_total{artifact_namespace="team-a",reason="Gated"}`:            1,
		`provider_kitops_run_failures_total{artifact_namespace="team-a",reason="Other"}`:            2,
		`provider_kitops_pushed_bytes_total{artifact_namespace="team-a",pipeline="Kit"}`:            5e6,
		`provider_kitops_run_bytes{pipeline="Kit"}`:                                                 5e6,
		`provider_kitops_run_seconds{pipeline="Kit",result="Succeeded"}`:                            90,
		`provider_kitops_run_seconds{pipeline="Kit",result="Failed"}`:                               270,
	}
	if diff := cmp.Diff(want, gathered(t, m)); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if problems, err := testutil.CollectAndLint(m); err != nil || len(problems) > 0 {
		t.Errorf("names: %v, %v", problems, err)
	}
}

// gathered returns the series of a collector with their values; of a histogram that has
// observed something, the sum.
func gathered(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h != nil && h.GetSampleCount() == 0 {
				continue
			}
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			series := f.GetName()
			if len(labels) > 0 {
				series += "{" + strings.Join(labels, ",") + "}"
			}
			out[series] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
		}
	}
	return out
}

// TestAllMetrics checks that what is documented is what is collected.
func TestAllMetrics(t *testing.T) {
	ch := make(chan *prometheus.Desc)
	go func() {
		defer close(ch)
		NewMetrics().Describe(ch)
	}()
	var got, want []string
	for d := range ch {
		got = append(got, d.String())
	}
	for _, m := range AllMetrics() {
		want = append(want, m.desc().String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-documented, +collected:\n%s", diff)
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
	if got := testutil.ToFloat64(m.runs.WithLabelValues(w.namespace, "Stream", resultSucceeded)); got != 1 {
		t.Errorf("runs: got %v, want 1", got)
	}
	if got := gathered(t, m)[fmt.Sprintf(`provider_kitops_artifacts{artifact_namespace=%q,phase="Succeeded",ready="True",reason="Available",stalled="false"}`, w.namespace)]; got != 1 {
		t.Errorf("Artifacts: got %v, want 1", got)
	}
	if got := testutil.ToFloat64(m.requests.WithLabelValues("Resolve", resultSucceeded)); got < 4 {
		t.Errorf("requests: got %v, want at least one a look", got)
	}
}
