package artifact

import (
	"cmp"
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
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

// NewMetrics returns metrics that are to be registered once.
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
	pipeline := string(cmp.Or(a.Spec.ForProvider.Pipeline, modelv1alpha1.PipelineKit))
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

// requested counts a request to a registry.
func (m *Metrics) requested(operation string, err error) {
	result := resultSucceeded
	if err != nil {
		result = string(outcome.ReasonOf(err))
	}
	m.requests.WithLabelValues(operation, result).Inc()
}

// A countedRegistry counts what a registry is asked.
type countedRegistry struct {
	registryClient

	metrics *Metrics
}

// Resolve a tag or a digest.
func (c *countedRegistry) Resolve(ctx context.Context, repository, reference string) (ocispec.Descriptor, error) {
	d, err := c.registryClient.Resolve(ctx, repository, reference)
	c.metrics.requested("Resolve", err)
	return d, err
}

// Manifest that a tag or a digest stands for.
func (c *countedRegistry) Manifest(ctx context.Context, repository, reference string) (ocispec.Descriptor, []byte, error) {
	d, b, err := c.registryClient.Manifest(ctx, repository, reference)
	c.metrics.requested("Manifest", err)
	return d, b, err
}

// PushManifest under a tag, or under its digest.
func (c *countedRegistry) PushManifest(ctx context.Context, repository string, d ocispec.Descriptor, content []byte, reference string) error {
	err := c.registryClient.PushManifest(ctx, repository, d, content, reference)
	c.metrics.requested("PushManifest", err)
	return err
}

// Referrers to a manifest, of one type.
func (c *countedRegistry) Referrers(ctx context.Context, repository string, subject digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	d, err := c.registryClient.Referrers(ctx, repository, subject, artifactType)
	c.metrics.requested("Referrers", err)
	return d, err
}

// Tags of a repository.
func (c *countedRegistry) Tags(ctx context.Context, repository string) ([]string, error) {
	tags, err := c.registryClient.Tags(ctx, repository)
	c.metrics.requested("Tags", err)
	return tags, err
}

// HasBlob says whether a repository has a blob.
func (c *countedRegistry) HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error) {
	has, err := c.registryClient.HasBlob(ctx, repository, d)
	c.metrics.requested("HasBlob", err)
	return has, err
}

// PushBlob pushes a blob.
func (c *countedRegistry) PushBlob(ctx context.Context, repository string, d ocispec.Descriptor, r io.Reader) error {
	err := c.registryClient.PushBlob(ctx, repository, d, r)
	c.metrics.requested("PushBlob", err)
	return err
}

// DeleteManifest deletes a manifest, and all its tags.
func (c *countedRegistry) DeleteManifest(ctx context.Context, repository string, d ocispec.Descriptor) error {
	err := c.registryClient.DeleteManifest(ctx, repository, d)
	c.metrics.requested("DeleteManifest", err)
	return err
}

// OpenBlob opens a blob for reading.
func (c *countedRegistry) OpenBlob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error) {
	r, err := c.registryClient.OpenBlob(ctx, repository, d)
	c.metrics.requested("OpenBlob", err)
	return r, err
}

// Untag removes a tag.
func (c *countedRegistry) Untag(ctx context.Context, repository, tag string) error {
	err := c.registryClient.Untag(ctx, repository, tag)
	c.metrics.requested("Untag", err)
	return err
}
