package e2e

import (
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// TestSeveralPodsOfOneModel has three Pods transfer one model, and ends one of them in
// mid-transfer: only its share is transferred again, and the artifact is the same as that
// of one Pod.
func TestSeveralPodsOfOneModel(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	files := largeFiles()
	h := n.startHub(files)
	hub := func(c *v1alpha1.ClusterProviderConfigSpec) {
		c.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{Endpoint: v1alpha1.HubEndpoint("http://" + h.address)}
	}
	whole := n.ownArtifact("whole", modelv1alpha1.PipelineStream)
	n.withConfig(whole, hub)
	n.create(whole)
	n.waitReady(whole, corev1.ConditionTrue, "Available")

	before := h.handler.Sent()
	a := n.ownArtifact("divided", modelv1alpha1.PipelineStream)
	a.Spec.ForProvider.Job = &v1alpha1.JobSettings{Parallelism: 3}
	a.Spec.ForProvider.Retry = &modelv1alpha1.RetryPolicy{Interval: &metav1.Duration{Duration: time.Second}}
	// In another registry, from which no layer can be mounted.
	r := n.startRegistry()
	n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) {
		hub(c)
		c.Registry.Host = v1alpha1.RegistryHost(r.address)
	})
	n.create(a)
	const total = killedFiles * killedFileSize
	n.eventually("a quarter is there", func() string { return atLeast(h.handler.Sent()-before, total/4) })
	n.killShare("1")

	var retried *modelv1alpha1.SharesObservation
	n.watch(a, func(a *modelv1alpha1.Artifact) bool {
		if s := a.Status.AtProvider; s.Phase == modelv1alpha1.PhaseFailed && retried == nil {
			retried = s.Shares
			t.Logf("after the Pod's end: %s", a.GetCondition("Ready").Message)
		}
		return a.GetCondition("Ready").Status == corev1.ConditionTrue
	})
	n.waitReady(a, corev1.ConditionTrue, "Available")
	if retried == nil || retried.Of != 3 || !slices.Equal(retried.Done, []int32{0, 2}) {
		t.Errorf("Only the share of the Pod that was ended should be left, got %+v", retried)
	}
	s := a.Status.AtProvider
	if want := whole.Status.AtProvider.Digest; s.Digest != want || s.Run != 2 || s.Files != killedFiles || s.Shares != nil {
		t.Errorf("status: got digest %s of %d files in run %d with shares %+v, want %s of all in the second", s.Digest, s.Files, s.Run, s.Shares, want)
	}
	n.checkFiles(a, auth.EmptyCredential, files)
	// A share has three of the files at most, and they may be sent again.
	sent, most := h.handler.Sent()-before, int64(total+3*killedFileSize+total/10)
	t.Logf("the Hub sent %d bytes of a model of %d", sent, total)
	if sent > most {
		t.Errorf("the Hub sent %d bytes, want no more than one share twice: %d", sent, most)
	}
	n.deleteArtifact(a)
	n.deleteArtifact(whole)
}

// killShare ends the Pod with this completion index without a warning.
func (n *tenant) killShare(index string) {
	n.t.Helper()
	if err := local.Client.DeleteAllOf(n.t.Context(), &corev1.Pod{}, client.InNamespace(n.namespace),
		client.MatchingLabels{batchv1.JobCompletionIndexAnnotation: index}, client.GracePeriodSeconds(0)); err != nil {
		n.t.Fatal(err)
	}
}
