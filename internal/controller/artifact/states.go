package artifact

import (
	"context"
	"strconv"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	runqueue "github.com/crossplane-contrib/provider-kitops/internal/queue"
)

// collectTimeout bounds how long a scrape waits for the cache, which fills after the
// start.
const collectTimeout = 2 * time.Second

// Descriptions of what is read from the cache at each scrape.
var (
	descArtifacts      = infoArtifacts.desc()
	descBytes          = infoBytes.desc()
	descActive         = infoActive.desc()
	descQueued         = infoQueued.desc()
	descOldestQueued   = infoOldestQueued.desc()
	descLastObserved   = infoLastObserved.desc()
	descOldestObserved = infoOldestObserved.desc()
	descFollowed       = infoFollowed.desc()
	descConfigReady    = infoConfigReady.desc()
	descConfigs        = infoConfigs.desc()
	descBreakers       = infoBreakers.desc()

	stateDescs = []*prometheus.Desc{
		descArtifacts, descBytes, descActive, descQueued, descOldestQueued, descLastObserved, descOldestObserved,
		descFollowed, descConfigReady, descConfigs, descBreakers,
	}
)

// states are the Artifacts and configs in the cache. Whoever scrapes them counts them
// again, so that nothing is stale and nothing has to be forgotten.
type states struct {
	cached client.Reader
	log    logging.Logger

	// since is when this replica began to lead.
	since time.Time

	hosts    *connection.Hosts
	observed *once[types.UID, time.Time]
}

// A conditionState is the status and the reason of a condition.
type conditionState struct{ status, reason string }

// stalls reports whether what is not Ready for this reason waits for a person.
func (s conditionState) stalls() bool {
	return s.status == string(corev1.ConditionFalse) && outcome.Reason(s.reason).Stalls()
}

// An artifactState is what Artifacts are counted by.
type artifactState struct {
	phase string
	ready conditionState
}

// A namespaceState sums up the Artifacts of a namespace.
type namespaceState struct {
	artifacts                    map[artifactState]int
	followed                     map[conditionState]int
	pipelines                    map[string]bool
	bytes                        int64
	active, queued               int
	oldestQueued                 time.Time // Zero if none is.
	lastObserved, oldestObserved time.Time // Zero if there is none.
}

// collect sends what the cache has, and returns the namespaces with Artifacts. It
// reports false, and sends nothing, if the cache cannot be read.
func (s *states) collect(ch chan<- prometheus.Metric) (map[string]*namespaceState, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	namespaces, err := s.artifacts(ctx)
	if err != nil {
		s.log.Info("Cannot collect the metrics of Artifacts", "error", err)
		return nil, false
	}
	for name, n := range namespaces {
		n.collect(ch, name)
	}
	if err := s.collectConfigs(ctx, ch); err != nil {
		s.log.Info("Cannot collect the metrics of configs", "error", err)
	}
	gauge(ch, descBreakers, float64(s.hosts.OpenBreakers()))
	return namespaces, true
}

// artifacts sums the Artifacts up by their namespaces.
func (s *states) artifacts(ctx context.Context) (map[string]*namespaceState, error) {
	list := &modelv1alpha1.ArtifactList{}
	if err := s.cached.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	out := map[string]*namespaceState{}
	for i := range list.Items {
		a := &list.Items[i]
		n, ok := out[a.GetNamespace()]
		if !ok {
			n = &namespaceState{artifacts: map[artifactState]int{}, followed: map[conditionState]int{}, pipelines: map[string]bool{}}
			out[a.GetNamespace()] = n
		}
		n.add(a)
		n.observe(a, s.observed.get(a.GetUID()), s.since)
	}
	return out, nil
}

// add counts an Artifact.
func (n *namespaceState) add(a *modelv1alpha1.Artifact) {
	ready, p := a.GetCondition(xpv2.TypeReady), a.Status.AtProvider
	n.artifacts[artifactState{phase: phaseOf(p.Phase), ready: stateOf(ready)}]++
	n.bytes += p.Size
	if follows := a.GetCondition(modelv1alpha1.TypeUpToDate); !follows.LastTransitionTime.IsZero() {
		n.followed[stateOf(follows)]++
	}
	if p.Pipeline == v1alpha1.PipelineKit || p.Pipeline == v1alpha1.PipelineStream {
		n.pipelines[string(p.Pipeline)] = true
	}
	switch {
	case runqueue.IsQueued(a):
		n.queued++
		n.oldestQueued = earlier(n.oldestQueued, runqueue.EntryOf(a, ready.LastTransitionTime.Time).Since)
	case p.Phase == modelv1alpha1.PhasePending, p.Phase == modelv1alpha1.PhaseRunning:
		n.active++
	}
}

// observe takes into account when an Artifact was observed last, if it was since the
// provider leads.
func (n *namespaceState) observe(a *modelv1alpha1.Artifact, at, since time.Time) {
	if at.After(n.lastObserved) {
		n.lastObserved = at
	}
	if a.GetCondition(xpv2.TypeReady).Status != corev1.ConditionTrue || meta.IsPaused(a) {
		return
	}
	if at.IsZero() {
		at = since
	}
	n.oldestObserved = earlier(n.oldestObserved, at)
}

// collect sends what is known of a namespace.
func (n *namespaceState) collect(ch chan<- prometheus.Metric, name string) {
	for s, count := range n.artifacts {
		gauge(ch, descArtifacts, float64(count), name, s.phase, s.ready.status, s.ready.reason, strconv.FormatBool(s.ready.stalls()))
	}
	for s, count := range n.followed {
		gauge(ch, descFollowed, float64(count), name, s.status, s.reason)
	}
	gauge(ch, descBytes, float64(n.bytes), name)
	gauge(ch, descActive, float64(n.active), name)
	gauge(ch, descQueued, float64(n.queued), name)
	timestamp(ch, descOldestQueued, n.oldestQueued, name)
	timestamp(ch, descLastObserved, n.lastObserved, name)
	timestamp(ch, descOldestObserved, n.oldestObserved, name)
}

// collectConfigs sends which configs are Ready. A ClusterProviderConfig is an
// administrator's, and there are few; ProviderConfigs may be many, and are counted.
func (s *states) collectConfigs(ctx context.Context, ch chan<- prometheus.Metric) error {
	clusters, configs := &v1alpha1.ClusterProviderConfigList{}, &v1alpha1.ProviderConfigList{}
	if err := s.cached.List(ctx, clusters, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	if err := s.cached.List(ctx, configs, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range clusters.Items {
		switch c := &clusters.Items[i]; c.Status.GetCondition(xpv2.TypeReady).Status {
		case corev1.ConditionTrue:
			gauge(ch, descConfigReady, 1, c.GetName())
		case corev1.ConditionFalse:
			gauge(ch, descConfigReady, 0, c.GetName())
		case corev1.ConditionUnknown:
		}
	}
	type state struct {
		namespace string
		ready     conditionState
	}
	counts := map[state]int{}
	for i := range configs.Items {
		c := &configs.Items[i]
		counts[state{c.GetNamespace(), stateOf(c.Status.GetCondition(xpv2.TypeReady))}]++
	}
	for c, count := range counts {
		gauge(ch, descConfigs, float64(count), c.namespace, c.ready.status, c.ready.reason)
	}
	return nil
}

// stateOf returns the labels of a condition: empty ones if it was not set yet.
func stateOf(c xpv2.Condition) conditionState {
	if c.LastTransitionTime.IsZero() {
		return conditionState{}
	}
	reason := string(c.Reason)
	if !outcome.Reason(reason).Known() && !ownReasons[c.Reason] {
		reason = reasonOther
	}
	status := c.Status
	if status != corev1.ConditionTrue && status != corev1.ConditionFalse {
		status = corev1.ConditionUnknown
	}
	return conditionState{status: string(status), reason: reason}
}

// phaseOf returns the label of a phase: who may write an Artifact's status can write any
// word there.
func phaseOf(p modelv1alpha1.ArtifactPhase) string {
	switch p {
	case "", modelv1alpha1.PhasePending, modelv1alpha1.PhaseRunning, modelv1alpha1.PhaseSucceeded, modelv1alpha1.PhaseFailed:
		return string(p)
	}
	return reasonOther
}

// ownReasons are those beside the vocabulary: Crossplane's, and those of UpToDate.
var ownReasons = map[xpv2.ConditionReason]bool{
	xpv2.ReasonAvailable: true, xpv2.ReasonUnavailable: true, xpv2.ReasonCreating: true, xpv2.ReasonDeleting: true,
	reasonCurrent: true, reasonRebuilding: true,
}

// earlier returns the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// gauge sends a gauge.
func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

// timestamp sends a time, unless there is none.
func timestamp(ch chan<- prometheus.Metric, d *prometheus.Desc, at time.Time, labels ...string) {
	if !at.IsZero() {
		gauge(ch, d, float64(at.UnixMilli())/1e3, labels...)
	}
}
