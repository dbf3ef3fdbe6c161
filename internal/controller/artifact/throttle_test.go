package artifact

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

// config creates a ProviderConfig of a registry without TLS.
func (w *world) config(name, host string) {
	w.t.Helper()
	w.create(&v1alpha1.ProviderConfig{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace},
		Spec: v1alpha1.ProviderConfigSpec{Registry: v1alpha1.RegistryConfig{
			Host:        v1alpha1.RegistryHost(host),
			PlainHTTP:   true,
			Credentials: v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceNone},
		}},
	})
}

// jobsWithin creates Artifacts of some ProviderConfigs, one after the other, and
// returns how long the slowest of their Jobs took.
func (w *world) jobsWithin(name string, configs ...string) time.Duration {
	w.t.Helper()
	var slowest time.Duration
	for i, config := range configs {
		a := w.artifact(fmt.Sprintf("%s-%d", name, i))
		a.Spec.ProviderConfigReference.Name = config
		began := time.Now()
		w.create(a)
		w.eventually("Job of "+a.GetName(), func() string {
			jobs := &batchv1.JobList{}
			if err := w.client.List(w.t.Context(), jobs, client.InNamespace(w.namespace), client.MatchingLabels(artifact.SelectorLabelsForArtifact(a.GetName()))); err != nil {
				return err.Error()
			}
			if len(jobs.Items) == 0 {
				return "there is none"
			}
			return ""
		})
		slowest = max(slowest, time.Since(began))
	}
	return slowest
}

// TestSilentRegistry has many Artifacts of a registry that accepts connections
// and never answers, beside those of healthy ones.
func TestSilentRegistry(t *testing.T) {
	const silentArtifacts, limit = 200, 2 * time.Second
	w := newWorld(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	var asked atomic.Int32
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	w.config("silent", silent.Addr().String())
	// The same registry by another name, which nobody has asked yet.
	w.config("fresh", strings.Replace(w.host, "127.0.0.1", "localhost", 1))
	startManager(t, w.namespace)
	w.jobsWithin("first", "default") // Once the controllers have started.
	without := w.jobsWithin("without", "default", "default", "default")

	for i := range silentArtifacts {
		a := w.artifact(fmt.Sprintf("silent-%d", i))
		a.Spec.ProviderConfigReference.Name = "silent"
		w.create(a)
	}
	w.eventually("silent registry", func() string {
		if asked.Load() == 0 {
			return "it was not asked"
		}
		return ""
	})
	with := w.jobsWithin("with", "default", "fresh", "default", "fresh", "default")
	t.Logf("the slowest Job came after %s without the silent registry's Artifacts, and after %s with them", without, with)
	if with > without+limit {
		t.Errorf("the slowest Job came after %s, and after %s without the silent registry's Artifacts", with, without)
	}
}

// TestCircuitBreaker has Synced say why a registry is not asked, and nothing be
// written while that stays so.
func TestCircuitBreaker(t *testing.T) {
	w := newWorld(t)
	down, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := down.Addr().String()
	_ = down.Close()
	w.config("down", host)
	startManager(t, w.namespace)
	var all []*modelv1alpha1.Artifact
	for i := range 6 {
		a := w.artifact(fmt.Sprintf("down-%d", i))
		a.Spec.ProviderConfigReference.Name = "down"
		w.create(a)
		all = append(all, a)
	}
	said := func(a *modelv1alpha1.Artifact) string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		return a.GetCondition(xpv2.TypeSynced).Message
	}
	want := host + " has not answered 5 times in a row: asked again after "
	w.eventually("Synced", func() string {
		for _, a := range all {
			if got := said(a); !strings.Contains(got, want) {
				return "it says: " + got
			}
		}
		return ""
	})
	// All say the same time, and their next looks change nothing.
	first := said(all[0])
	versions := map[string]string{}
	for _, a := range all {
		if got := said(a); got != first {
			t.Errorf("want all to say the same, got %q and %q", first, got)
		}
		versions[a.GetName()] = a.GetResourceVersion()
	}
	time.Sleep(3 * time.Second)
	for _, a := range all {
		if got := said(a); got == first && a.GetResourceVersion() != versions[a.GetName()] {
			t.Errorf("%s was written while it says the same", a.GetName())
		}
	}
}
