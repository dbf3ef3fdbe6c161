package artifact

import (
	"github.com/prometheus/client_golang/prometheus"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Values of the label result.
const (
	resultSucceeded = "Succeeded"
	resultFailed    = "Failed"
)

// reasonOther is the label of a reason that is none of the vocabulary: labels
// must be few, and a run's result can hold any word.
const reasonOther = "Other"

// Metrics count runs and the controller's requests to registries. They have no
// labels of Artifacts or hosts, so that there are never many.
type Metrics struct {
	runs     *prometheus.CounterVec
	bytes    *prometheus.HistogramVec
	seconds  *prometheus.HistogramVec
	requests *prometheus.CounterVec
}

// NewMetrics returns metrics, which must be registered once.
func NewMetrics() *Metrics {
	const (
		namespace         = "provider_kitops"
		megabyte, buckets = 1e6, 11
	)
	return &Metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "runs_total",
			Help: "Runs that ended, by pipeline, result (Succeeded or Failed) and, of those that failed, the reason (Other for one that a worker made up).",
		}, []string{"pipeline", "result", "reason"}),
		bytes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "run_bytes",
			Help:    "Size in bytes of the artifacts that runs pushed.",
			Buckets: prometheus.ExponentialBuckets(megabyte, 4, buckets), // Up to 1 TB.
		}, []string{"pipeline"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "run_seconds",
			Help:    "Seconds from the start of a run's Job to its end.",
			Buckets: prometheus.ExponentialBuckets(1, 2.5, buckets), // Up to 2.6 hours.
		}, []string{"pipeline", "result"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "registry_requests_total",
			Help: "What the controller asked of registries, by operation and result: Succeeded, or the reason why not.",
		}, []string{"operation", "result"}),
	}
}

// Describe sends the metrics' descriptions.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect sends the metrics.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.runs, m.bytes, m.seconds, m.requests}
}

// ended counts a run that has ended, as the Artifact's status says.
func (m *Metrics) ended(a *modelv1alpha1.Artifact, o artifact.ObservationResult) {
	s := a.Status.AtProvider
	pipeline := string(artifact.Pipeline(a))
	result, reason := resultSucceeded, ""
	if o.Phase == modelv1alpha1.PhaseFailed {
		result, reason = resultFailed, o.Reason
		if !outcome.Reason(reason).Known() {
			reason = reasonOther
		}
	} else if s.Size > 0 {
		m.bytes.WithLabelValues(pipeline).Observe(float64(s.Size))
	}
	m.runs.WithLabelValues(pipeline, result, reason).Inc()
	if s.StartTime != nil && s.CompletionTime != nil {
		m.seconds.WithLabelValues(pipeline, result).Observe(s.CompletionTime.Sub(s.StartTime.Time).Seconds())
	}
}

// Requested counts an operation of a registry's client; it is its
// registry.Options.Observe.
func (m *Metrics) Requested(operation string, err error) {
	result := resultSucceeded
	if err != nil {
		result = string(outcome.ReasonOf(err))
	}
	m.requests.WithLabelValues(operation, result).Inc()
}
