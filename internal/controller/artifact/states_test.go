package artifact

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A listing is a cache with these objects. It lists them as the manager's does if it
// must not copy them.
type listing struct {
	client.Reader

	artifacts, configs, clusters []runtime.Object
	err                          error
}

func (l *listing) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	o := client.ListOptions{}
	o.ApplyOptions(opts)
	if o.UnsafeDisableDeepCopy == nil || !*o.UnsafeDisableDeepCopy {
		return errors.New("a scrape must not copy what the cache has")
	}
	switch list.(type) {
	case *modelv1alpha1.ArtifactList:
		return errors.Join(l.err, apimeta.SetList(list, l.artifacts))
	case *v1alpha1.ProviderConfigList:
		return errors.Join(l.err, apimeta.SetList(list, l.configs))
	default:
		return errors.Join(l.err, apimeta.SetList(list, l.clusters))
	}
}

// epoch returns a time that many seconds after the epoch.
func epoch(seconds int64) time.Time { return time.Unix(seconds, 0) }

// condition returns a condition that was set at a time.
func condition(kind xpv2.ConditionType, status corev1.ConditionStatus, reason string, at int64) xpv2.Condition {
	return xpv2.Condition{Type: kind, Status: status, Reason: xpv2.ConditionReason(reason), LastTransitionTime: metav1.NewTime(epoch(at))}
}

// counted returns an Artifact whose UID is its name.
func counted(namespace, name string, s modelv1alpha1.ArtifactObservation, conditions ...xpv2.Condition) *modelv1alpha1.Artifact {
	a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name)}}
	a.Status.AtProvider = s
	a.SetConditions(conditions...)
	return a
}

// withStates returns metrics of a cache, by a replica that leads since 1000.
func withStates(l *listing) (*Metrics, *states) {
	m, s := NewMetrics(), &states{
		cached: l, log: logging.NewNopLogger(), since: epoch(1000), hosts: connection.NewHosts(), observed: &once[types.UID, time.Time]{},
	}
	m.states.Store(s)
	return m, s
}

func TestStates(t *testing.T) {
	ready := func(at int64) xpv2.Condition {
		return condition(xpv2.TypeReady, corev1.ConditionTrue, string(xpv2.ReasonAvailable), at)
	}
	succeeded := modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhaseSucceeded, Size: 5, Pipeline: modelv1alpha1.PipelineStream}
	queued := func(name string, at int64) *modelv1alpha1.Artifact {
		a := counted("a", name, modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhasePending}, condition(xpv2.TypeReady, corev1.ConditionFalse, string(outcome.Queued), at+5))
		a.SetCreationTimestamp(metav1.NewTime(epoch(at)))
		return a
	}
	paused := counted("a", "paused", succeeded, ready(1))
	meta.AddAnnotations(paused, map[string]string{meta.AnnotationKeyReconciliationPaused: "true"})
	config := func(namespace string, conditions ...xpv2.Condition) *v1alpha1.ProviderConfig {
		c := &v1alpha1.ProviderConfig{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}
		c.Status.SetConditions(conditions...)
		return c
	}
	cluster := func(name string, conditions ...xpv2.Condition) *v1alpha1.ClusterProviderConfig {
		c := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: name}}
		c.Status.SetConditions(conditions...)
		return c
	}
	const always = "provider_kitops_open_circuit_breakers"
	zeros := func(namespace string, more map[string]float64) map[string]float64 {
		out := map[string]float64{always: 0}
		for _, name := range []string{"artifact_bytes", "active_runs", "queued_runs"} {
			out[fmt.Sprintf("provider_kitops_%s{artifact_namespace=%q}", name, namespace)] = 0
		}
		for series, value := range more {
			out[series] = value
		}
		return out
	}
	cases := map[string]struct {
		reason   string
		listing  listing
		observed map[types.UID]time.Time
		want     map[string]float64
	}{
		"None": {reason: "Without Artifacts and configs there should be nothing but what is the provider's own.", want: map[string]float64{always: 0}},
		"New": {
			reason:  "An Artifact that was not reconciled should count with empty labels.",
			listing: listing{artifacts: []runtime.Object{counted("a", "new", modelv1alpha1.ArtifactObservation{})}},
			want:    zeros("a", map[string]float64{`provider_kitops_artifacts{artifact_namespace="a",phase="",ready="",reason="",stalled="false"}`: 1}),
		},
		"Forged": {
			reason: "Words that somebody wrote into a status should be no labels, of which there would be any number.",
			listing: listing{artifacts: []runtime.Object{
				counted("a", "forged", modelv1alpha1.ArtifactObservation{Phase: "Forged", Pipeline: "Forged"}, condition(xpv2.TypeReady, "Forged", "Forged", 1)),
			}},
			want: zeros("a", map[string]float64{`provider_kitops_artifacts{artifact_namespace="a",phase="Other",ready="Unknown",reason="Other",stalled="false"}`: 1}),
		},
		"Runs": {
			reason: "A run should be active from its Job on, and one that is queued should not be.",
			listing: listing{artifacts: []runtime.Object{
				counted("a", "starts", modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhasePending}, condition(xpv2.TypeReady, corev1.ConditionFalse, string(outcome.Unschedulable), 1)),
				counted("a", "runs", modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhaseRunning}, condition(xpv2.TypeReady, corev1.ConditionFalse, string(xpv2.ReasonCreating), 1)),
				queued("later", 90), queued("first", 70), queued("last", 95),
			}},
			want: zeros("a", map[string]float64{
				`provider_kitops_artifacts{artifact_namespace="a",phase="Pending",ready="False",reason="Unschedulable",stalled="false"}`: 1,
				`provider_kitops_artifacts{artifact_namespace="a",phase="Running",ready="False",reason="Creating",stalled="false"}`:      1,
				`provider_kitops_artifacts{artifact_namespace="a",phase="Pending",ready="False",reason="Queued",stalled="false"}`:        3,
				`provider_kitops_active_runs{artifact_namespace="a"}`:                                                                    2,
				`provider_kitops_queued_runs{artifact_namespace="a"}`:                                                                    3,
				`provider_kitops_oldest_queued_run_timestamp_seconds{artifact_namespace="a"}`:                                            70,
			}),
		},
		"Words": {
			reason:  "A reason that a worker made up should not become a label.",
			listing: listing{artifacts: []runtime.Object{counted("a", "odd", modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhaseFailed}, condition(xpv2.TypeReady, corev1.ConditionFalse, "MadeUp", 1))}},
			want:    zeros("a", map[string]float64{`provider_kitops_artifacts{artifact_namespace="a",phase="Failed",ready="False",reason="Other",stalled="false"}`: 1}),
		},
		"Observed": {
			reason:   "What Ready says is as old as the Ready Artifact that was not observed for longest, and one that was not observed should count since the provider leads.",
			listing:  listing{artifacts: []runtime.Object{counted("a", "one", succeeded, ready(1)), counted("a", "two", succeeded, ready(1)), paused}},
			observed: map[types.UID]time.Time{"one": epoch(2000), "paused": epoch(1500)},
			want: zeros("a", map[string]float64{
				`provider_kitops_artifacts{artifact_namespace="a",phase="Succeeded",ready="True",reason="Available",stalled="false"}`: 3,
				`provider_kitops_artifact_bytes{artifact_namespace="a"}`:                                                              15,
				`provider_kitops_last_observation_timestamp_seconds{artifact_namespace="a"}`:                                          2000,
				`provider_kitops_oldest_observation_timestamp_seconds{artifact_namespace="a"}`:                                        1000,
				`provider_kitops_runs_total{artifact_namespace="a",pipeline="Stream",result="Failed"}`:                                0,
				`provider_kitops_runs_total{artifact_namespace="a",pipeline="Stream",result="Succeeded"}`:                             0,
				`provider_kitops_pushed_bytes_total{artifact_namespace="a",pipeline="Stream"}`:                                        0,
			}),
		},
		"Followed": {
			reason: "Artifacts that follow their source should count by whether they are up to date, and others should not.",
			listing: listing{artifacts: []runtime.Object{
				counted("a", "current", modelv1alpha1.ArtifactObservation{}, condition(modelv1alpha1.TypeUpToDate, corev1.ConditionTrue, string(reasonCurrent), 1)),
				counted("a", "away", modelv1alpha1.ArtifactObservation{}, condition(modelv1alpha1.TypeUpToDate, corev1.ConditionFalse, string(outcome.Unavailable), 1)),
				counted("a", "pinned", modelv1alpha1.ArtifactObservation{}),
			}},
			want: zeros("a", map[string]float64{
				`provider_kitops_artifacts{artifact_namespace="a",phase="",ready="",reason="",stalled="false"}`:      3,
				`provider_kitops_followed_artifacts{artifact_namespace="a",reason="Current",up_to_date="True"}`:      1,
				`provider_kitops_followed_artifacts{artifact_namespace="a",reason="Unavailable",up_to_date="False"}`: 1,
			}),
		},
		"Configs": {
			reason: "ClusterProviderConfigs should have a series each, ProviderConfigs should count, and what is not known yet should not be 0.",
			listing: listing{
				clusters: []runtime.Object{
					cluster("well", ready(1)), cluster("ill", condition(xpv2.TypeReady, corev1.ConditionFalse, string(outcome.Unauthorized), 1)), cluster("new"),
				},
				configs: []runtime.Object{
					config("a", ready(1)), config("a", ready(2)), config("a"), config("b", condition(xpv2.TypeReady, corev1.ConditionFalse, string(outcome.Unavailable), 1)),
				},
			},
			want: map[string]float64{
				always: 0,
				`provider_kitops_cluster_config_ready{config="well"}`:                                         1,
				`provider_kitops_cluster_config_ready{config="ill"}`:                                          0,
				`provider_kitops_provider_configs{artifact_namespace="a",ready="True",reason="Available"}`:    2,
				`provider_kitops_provider_configs{artifact_namespace="a",ready="",reason=""}`:                 1,
				`provider_kitops_provider_configs{artifact_namespace="b",ready="False",reason="Unavailable"}`: 1,
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m, s := withStates(&tc.listing)
			for uid, at := range tc.observed {
				s.observed.put(uid, at)
			}
			if diff := cmp.Diff(tc.want, gathered(t, m)); diff != "" {
				t.Errorf("\n%s\nCollect(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestStatesUnreadable(t *testing.T) {
	m, _ := withStates(&listing{err: errors.New("the cache is not filled yet")})
	m.ended(counted("a", "ended", modelv1alpha1.ArtifactObservation{}), artifact.ObservationResult{Phase: modelv1alpha1.PhaseSucceeded})
	want := map[string]float64{`provider_kitops_runs_total{artifact_namespace="a",pipeline="Kit",result="Succeeded"}`: 1}
	if diff := cmp.Diff(want, gathered(t, m)); diff != "" {
		t.Errorf("What is counted should stay while the cache cannot be read: -want, +got:\n%s", diff)
	}
}

// TestNamespaceGoes deletes the last Artifact of a namespace.
func TestNamespaceGoes(t *testing.T) {
	stays, goes := counted("stays", "one", modelv1alpha1.ArtifactObservation{}), counted("goes", "two", modelv1alpha1.ArtifactObservation{})
	l := &listing{artifacts: []runtime.Object{stays, goes}}
	m, _ := withStates(l)
	for _, a := range []*modelv1alpha1.Artifact{stays, goes} {
		m.ended(a, artifact.ObservationResult{Phase: modelv1alpha1.PhaseSucceeded})
		m.ended(a, artifact.ObservationResult{Phase: modelv1alpha1.PhaseFailed, Reason: string(outcome.Gated)})
	}
	before := gathered(t, m)
	l.artifacts = l.artifacts[:1]
	after := gathered(t, m)
	for s := range before {
		_, stayed := after[s]
		if want := !strings.Contains(s, `artifact_namespace="goes"`); stayed != want {
			t.Errorf("%s: stayed: %t, want %t", s, stayed, want)
		}
	}
	if len(before) <= len(after) || len(after) == 0 {
		t.Errorf("got %d series, and %d after", len(before), len(after))
	}
}

// BenchmarkCollect scrapes 10,000 Artifacts of 40 namespaces.
func BenchmarkCollect(b *testing.B) {
	l := &listing{}
	for i := range 10_000 {
		l.artifacts = append(l.artifacts, counted(fmt.Sprint("team-", i%40), fmt.Sprint("model-", i),
			modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhaseSucceeded, Size: 5, Pipeline: modelv1alpha1.PipelineStream},
			condition(xpv2.TypeReady, corev1.ConditionTrue, string(xpv2.ReasonAvailable), 1),
			condition(xpv2.TypeSynced, corev1.ConditionTrue, string(xpv2.ReasonReconcileSuccess), 1)))
	}
	m, s := withStates(l)
	for i := range 10_000 {
		s.observed.put(types.UID(fmt.Sprint("model-", i)), epoch(2000))
	}
	r := prometheus.NewRegistry()
	r.MustRegister(m)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
