package artifact

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"github.com/prometheus/client_golang/prometheus"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
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

// Labels of metrics. The namespace of an Artifact has a name that a scrape does not
// give to the namespace of the provider's Pod.
const (
	labelNamespace = "artifact_namespace"
	labelPipeline  = "pipeline"
	labelPhase     = "phase"
	labelReady     = "ready"
	labelReason    = "reason"
	labelStalled   = "stalled"
	labelResult    = "result"
	labelUpToDate  = "up_to_date"
	labelOperation = "operation"
	labelConfig    = "config"
)

// A MetricType is what Prometheus calls the type of a metric
// (https://prometheus.io/docs/concepts/metric_types/).
type MetricType string

// Types of metrics.
const (
	MetricCounter   MetricType = "counter"
	MetricGauge     MetricType = "gauge"
	MetricHistogram MetricType = "histogram"
)

// A MetricInfo describes a metric to those who query it.
type MetricInfo struct {
	// Name as it is scraped.
	Name string

	Type   MetricType
	Labels []string

	// Help says what is measured, with its unit.
	Help string
}

// The metrics. Counters come first, then what is read from the cache at each scrape.
var (
	infoRuns = MetricInfo{
		Name: "provider_kitops_runs_total", Type: MetricCounter, Labels: []string{labelNamespace, labelPipeline, labelResult},
		Help: "Runs that ended, by result: Succeeded or Failed. Each namespace with Artifacts has both, also if they are 0.",
	}
	infoFailures = MetricInfo{
		Name: "provider_kitops_run_failures_total", Type: MetricCounter, Labels: []string{labelNamespace, labelReason},
		Help: "Runs that failed, by reason: Other for one that a worker made up.",
	}
	infoPushed = MetricInfo{
		Name: "provider_kitops_pushed_bytes_total", Type: MetricCounter, Labels: []string{labelNamespace, labelPipeline},
		Help: "Size in bytes of the artifacts that runs staged. What the registry already had is included.",
	}
	infoRunBytes = MetricInfo{
		Name: "provider_kitops_run_bytes", Type: MetricHistogram, Labels: []string{labelPipeline},
		Help: "Size in bytes of the artifact that a run staged.",
	}
	infoRunSeconds = MetricInfo{
		Name: "provider_kitops_run_seconds", Type: MetricHistogram, Labels: []string{labelPipeline, labelResult},
		Help: "Seconds from the start of a run's Job to its end.",
	}
	infoRequests = MetricInfo{
		Name: "provider_kitops_registry_requests_total", Type: MetricCounter, Labels: []string{labelOperation, labelResult},
		Help: "Operations of the controllers on registries, by result: Succeeded, or the reason why not. Those of runs are not included.",
	}
	infoFollows = MetricInfo{
		Name: "provider_kitops_follow_requests_total", Type: MetricCounter, Labels: []string{labelResult},
		Help: "Questions to sources for the revisions that Artifacts follow, by result: Succeeded, or the reason why not. Artifacts with the same question share it.",
	}

	infoArtifacts = MetricInfo{
		Name: "provider_kitops_artifacts", Type: MetricGauge, Labels: []string{labelNamespace, labelPhase, labelReady, labelReason, labelStalled},
		Help: "Artifacts, by the phase of their latest run and by status and reason of their condition Ready; stalled is true if one that is not Ready waits for a person. The others are empty for an Artifact that was not reconciled yet.",
	}
	infoBytes = MetricInfo{
		Name: "provider_kitops_artifact_bytes", Type: MetricGauge, Labels: []string{labelNamespace},
		Help: "Size in bytes of the artifacts that Artifacts have in registries. Registries store content that artifacts share once, which is not considered.",
	}
	infoActive = MetricInfo{
		Name: "provider_kitops_active_runs", Type: MetricGauge, Labels: []string{labelNamespace},
		Help: "Runs that have a Job which has not ended: they start or are running.",
	}
	infoQueued = MetricInfo{
		Name: "provider_kitops_queued_runs", Type: MetricGauge, Labels: []string{labelNamespace},
		Help: "Runs that wait for room, by a limit of the provider or of a config, or by Kueue.",
	}
	infoOldestQueued = MetricInfo{
		Name: "provider_kitops_oldest_queued_run_timestamp_seconds", Type: MetricGauge, Labels: []string{labelNamespace},
		Help: "Time since which the run waits for room that has waited longest, in seconds since the epoch. Absent while no run waits.",
	}
	infoLastObserved = MetricInfo{
		Name: "provider_kitops_last_observation_timestamp_seconds", Type: MetricGauge, Labels: []string{labelNamespace},
		Help: "Time of the latest successful observation of an Artifact of the namespace, in seconds since the epoch. Absent until there is one.",
	}
	infoOldestObserved = MetricInfo{
		Name: "provider_kitops_oldest_observation_timestamp_seconds", Type: MetricGauge, Labels: []string{labelNamespace},
		Help: "Time of the latest successful observation of that Ready Artifact of the namespace which was not observed for longest, in seconds since the epoch: what Ready says is as old. An Artifact that was not observed since the provider started counts from then. Paused ones do not count. Absent if none is Ready.",
	}
	infoFollowed = MetricInfo{
		Name: "provider_kitops_followed_artifacts", Type: MetricGauge, Labels: []string{labelNamespace, labelUpToDate, labelReason},
		Help: "Artifacts that follow their source, by status and reason of their condition UpToDate. That is False also while the source cannot be looked up.",
	}
	infoConfigReady = MetricInfo{
		Name: "provider_kitops_cluster_config_ready", Type: MetricGauge, Labels: []string{labelConfig},
		Help: "Whether a ClusterProviderConfig is Ready: 1 if it is, 0 if it is not. Absent while that is not known.",
	}
	infoConfigs = MetricInfo{
		Name: "provider_kitops_provider_configs", Type: MetricGauge, Labels: []string{labelNamespace, labelReady, labelReason},
		Help: "ProviderConfigs, by status and reason of their condition Ready. Labels are empty for one that was not checked yet.",
	}
	infoBreakers = MetricInfo{
		Name: "provider_kitops_open_circuit_breakers", Type: MetricGauge,
		Help: "Hosts of registries and Hubs that have not answered several times in a row, and are asked less often therefore. A host that nobody asks any more is forgotten after an hour.",
	}
)

// AllMetrics describes all metrics of this controller, in the order of the reference.
func AllMetrics() []MetricInfo {
	return []MetricInfo{
		infoArtifacts, infoBytes, infoActive, infoQueued, infoOldestQueued, infoRuns, infoFailures, infoPushed, infoRunBytes, infoRunSeconds,
		infoLastObserved, infoOldestObserved, infoFollowed, infoFollows, infoConfigReady, infoConfigs, infoRequests, infoBreakers,
	}
}

func (i MetricInfo) counter() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: i.Name, Help: i.Help}, i.Labels)
}

func (i MetricInfo) histogram(buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: i.Name, Help: i.Help, Buckets: buckets}, i.Labels)
}

// desc returns the description of a metric that is read at each scrape.
func (i MetricInfo) desc() *prometheus.Desc { return prometheus.NewDesc(i.Name, i.Help, i.Labels, nil) }

// Metrics count runs and the controllers' requests, and describe the Artifacts and
// configs in the cache. Counters and gauges have the namespaces of Artifacts, whose
// series go with the last Artifact of a namespace, but no names of Artifacts and no
// hosts; histograms have no namespaces either.
type Metrics struct {
	runs, failures, pushed *prometheus.CounterVec // By namespace.
	bytes, seconds         *prometheus.HistogramVec
	requests, follows      *prometheus.CounterVec

	// states are nil while this replica does not lead.
	states atomic.Pointer[states]

	// mu makes what is counted and the removal of a namespace's series exclude each
	// other. namespaces are those that may have series.
	mu         sync.Mutex
	namespaces map[string]bool
}

// NewMetrics returns metrics, which must be registered once.
func NewMetrics() *Metrics {
	const megabyte, buckets = 1e6, 11
	m := &Metrics{
		runs:       infoRuns.counter(),
		failures:   infoFailures.counter(),
		pushed:     infoPushed.counter(),
		bytes:      infoRunBytes.histogram(prometheus.ExponentialBuckets(megabyte, 4, buckets)), // Up to 1 TB.
		seconds:    infoRunSeconds.histogram(prometheus.ExponentialBuckets(1, 2.5, buckets)),    // Up to 2.6 hours.
		requests:   infoRequests.counter(),
		follows:    infoFollows.counter(),
		namespaces: map[string]bool{},
	}
	// The first run is an increase, too.
	for _, p := range []modelv1alpha1.PipelineType{modelv1alpha1.PipelineKit, modelv1alpha1.PipelineStream} {
		m.bytes.WithLabelValues(string(p))
		m.seconds.WithLabelValues(string(p), resultSucceeded)
		m.seconds.WithLabelValues(string(p), resultFailed)
	}
	return m
}

// Describe sends the metrics' descriptions.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.counted() {
		c.Describe(ch)
	}
	for _, d := range stateDescs {
		ch <- d
	}
}

// addStates has the manager's cache described while this replica leads, so that replicas
// do not count the same Artifacts.
func (m *Metrics) addStates(mgr ctrl.Manager, log logging.Logger, hosts *connection.Hosts, known *memory) error {
	return errors.Wrap(mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		m.states.Store(&states{
			cached: mgr.GetClient(), log: log, since: time.Now(), hosts: hosts, observed: &known.observed,
		})
		<-ctx.Done()
		m.states.Store(nil)
		return nil
	})), "cannot describe Artifacts by metrics")
}

// Collect sends the metrics.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	if s := m.states.Load(); s != nil {
		if namespaces, ok := s.collect(ch); ok {
			m.retain(namespaces)
		}
	}
	for _, c := range m.counted() {
		c.Collect(ch)
	}
}

// counted returns what is counted as it happens.
func (m *Metrics) counted() []prometheus.Collector {
	return []prometheus.Collector{m.runs, m.failures, m.pushed, m.bytes, m.seconds, m.requests, m.follows}
}

// retain gives each namespace with Artifacts its series, so that the first run that
// fails is an increase, and removes those of all others.
func (m *Metrics) retain(namespaces map[string]*namespaceState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.namespaces {
		if namespaces[name] != nil {
			continue
		}
		for _, c := range []*prometheus.CounterVec{m.runs, m.failures, m.pushed} {
			c.DeletePartialMatch(prometheus.Labels{labelNamespace: name})
		}
		delete(m.namespaces, name)
	}
	for name, s := range namespaces {
		m.namespaces[name] = true
		for pipeline := range s.pipelines {
			m.runs.WithLabelValues(name, pipeline, resultSucceeded)
			m.runs.WithLabelValues(name, pipeline, resultFailed)
			m.pushed.WithLabelValues(name, pipeline)
		}
	}
}

// ended counts a run that has ended, as the Artifact's status says.
func (m *Metrics) ended(a *modelv1alpha1.Artifact, o artifact.ObservationResult) {
	m.mu.Lock()
	defer m.mu.Unlock()
	namespace, pipeline, s := a.GetNamespace(), string(artifact.Pipeline(a)), a.Status.AtProvider
	m.namespaces[namespace] = true
	result := resultSucceeded
	if o.Phase == modelv1alpha1.PhaseFailed {
		result = resultFailed
		m.failures.WithLabelValues(namespace, runReason(o.Reason)).Inc()
	} else if s.Staged != nil && s.Staged.Size > 0 {
		m.bytes.WithLabelValues(pipeline).Observe(float64(s.Staged.Size))
		m.pushed.WithLabelValues(namespace, pipeline).Add(float64(s.Staged.Size))
	}
	m.runs.WithLabelValues(namespace, pipeline, result).Inc()
	if s.StartTime != nil && s.CompletionTime != nil {
		m.seconds.WithLabelValues(pipeline, result).Observe(s.CompletionTime.Sub(s.StartTime.Time).Seconds())
	}
}

// runReason returns the label of the reason of a failed run.
func runReason(reason string) string {
	if !outcome.Reason(reason).Known() {
		return reasonOther
	}
	return reason
}

// Requested counts an operation of a registry's client; it is its
// registry.Options.Observe.
func (m *Metrics) Requested(operation string, err error) {
	m.requests.WithLabelValues(operation, resultOf(err)).Inc()
}

// asked counts a question for a followed revision.
func (m *Metrics) asked(err error) { m.follows.WithLabelValues(resultOf(err)).Inc() }

// resultOf returns the label of how a request ended.
func resultOf(err error) string {
	if err != nil {
		return string(outcome.ReasonOf(err))
	}
	return resultSucceeded
}
