package controller

import (
	"encoding/json"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// artifactJSON is an Artifact as an API server sends it.
const artifactJSON = `{
	"apiVersion": "model.kitops.m.crossplane.io/v1alpha1", "kind": "Artifact",
	"metadata": {"name": "qwen3", "namespace": "team-a", "labels": {"team": "a"}, "finalizers": ["finalizer.managedresource.crossplane.io"],
		"managedFields": [{"manager": "kubectl"}]},
	"spec": {"forProvider": {"source": {"huggingFace": {"model": "Qwen/Qwen3-0.6B"}}, "target": {"repository": "models/qwen3"}, "job": {"resources": {"limits": {"cpu": "2"}}}}},
	"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "TagConflict", "lastTransitionTime": "2026-11-02T10:30:00Z"}],
		"atProvider": {"startTime": "2026-11-02T10:30:00Z"}}}`

func artifactOf(t *testing.T) *modelv1alpha1.Artifact {
	t.Helper()
	a := &modelv1alpha1.Artifact{}
	if err := json.Unmarshal([]byte(artifactJSON), a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestCompact(t *testing.T) {
	c := &compactor{}
	compacted := make([]*modelv1alpha1.Artifact, 2)
	for i := range compacted {
		got, err := c.compact(artifactOf(t))
		if err != nil {
			t.Fatal(err)
		}
		a, ok := got.(*modelv1alpha1.Artifact)
		if !ok {
			t.Fatalf("An Artifact should stay one, and is %T.", got)
		}
		compacted[i] = a
		want := artifactOf(t)
		want.ManagedFields = nil
		if diff := cmp.Diff(want, compacted[i]); diff != "" {
			t.Errorf("A compacted object should be as it was but for its managed fields: -want, +got:\n%s", diff)
		}
	}
	a, b := compacted[0], compacted[1]
	if unsafe.StringData(string(a.Status.Conditions[0].Reason)) != unsafe.StringData(string(b.Status.Conditions[0].Reason)) ||
		unsafe.StringData(a.Namespace) != unsafe.StringData(b.Namespace) ||
		unsafe.StringData(a.Labels["team"]) != unsafe.StringData(b.Labels["team"]) ||
		unsafe.StringData(a.Spec.ForProvider.Target.Repository) != unsafe.StringData(b.Spec.ForProvider.Target.Repository) {
		t.Error("Two objects should share their words.")
	}
	if got := cap(a.Status.Conditions); got != 1 {
		t.Errorf("A list of one should have no spare capacity, and has %d.", got-1)
	}
}

func TestCompactWords(t *testing.T) {
	c := &compactor{}
	for i := range 3 * maxWords {
		c.word(string(rune('a'+i%26)) + string(rune(i)))
	}
	if len(c.words) > maxWords {
		t.Errorf("At most %d words should be kept, not %d.", maxWords, len(c.words))
	}
}

func TestCompactOther(t *testing.T) {
	// A tombstone has no metadata.
	in := toolscache.DeletedFinalStateUnknown{Key: "team-a/qwen3", Obj: &metav1.PartialObjectMetadata{}}
	if got, err := (&compactor{}).compact(in); err != nil || cmp.Diff(any(in), got) != "" {
		t.Errorf("What has no metadata should be as it was: %v, %v", got, err)
	}
}
