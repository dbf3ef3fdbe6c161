package artifact

import (
	"fmt"
	"strings"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// poke has the Artifact reconciled and waits a little for what follows.
func (w *world) poke(a *modelv1alpha1.Artifact, value string) {
	w.t.Helper()
	w.update(a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "poke", value) })
	time.Sleep(300 * time.Millisecond) // That nothing happens can only be waited for.
	if err := w.get(a); err != nil {
		w.t.Fatal(err)
	}
}

func TestMovedTagIsTheOneThatIsDeleted(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("retagged")
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Target.Tag = "v2" })
	w.waitReady(a, corev1.ConditionTrue, "Available")
	for i := range 3 {
		w.poke(a, fmt.Sprint(i))
		if got := a.Status.AtProvider.Reference; got != w.host+"/models/retagged:v2" {
			t.Fatalf("reference: got %q", got)
		}
	}

	job := w.job(a, 1)
	w.remove(a)
	w.waitGone(job)
	w.deletePods()
	w.waitGone(a)
	if _, err := w.registry.Resolve(t.Context(), "models/retagged", "v2"); !registry.IsNotFound(err) {
		t.Errorf("the Artifact's tag is still there: %v", err)
	}
	if _, err := w.registry.Resolve(t.Context(), "models/retagged", "v1"); err != nil {
		t.Errorf("the old tag, which others may pull by, is gone: %v", err)
	}
}

func TestConflictStaysWhileTheRegistryIsDown(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("conflict")
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.push("models/conflict", "v1", "somebody else's")
	w.poke(a, "1")
	w.waitReady(a, corev1.ConditionFalse, "TagConflict")
	since := a.GetCondition(xpv2.TypeReady).LastTransitionTime
	w.poke(a, "2")
	if got := a.GetCondition(xpv2.TypeReady).LastTransitionTime; !got.Equal(&since) {
		t.Errorf("the condition changed although nothing did: %s, then %s", since, got)
	}

	w.stopRegistry()
	w.update(a, func(a *modelv1alpha1.Artifact) { metav1.SetMetaDataLabel(&a.ObjectMeta, "poke", "3") })
	w.waitSynced(a, "the connection was refused")
	if c := a.GetCondition(xpv2.TypeReady); c.Status != corev1.ConditionFalse || c.Reason != "TagConflict" {
		t.Errorf("Ready: got %s %s, want what it was", c.Status, c.Reason)
	}
}

func TestCleanerKnowsThatACacheLagsBehind(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("stale")
	a.Spec.ManagementPolicies = xpv2.ManagementPolicies{} // Nobody else touches it.
	w.create(a)
	secret := w.copyFor(a)
	w.create(secret)
	stale := a.DeepCopy()
	stale.SetAnnotations(artifact.Run{Hash: artifact.RunHash(a), Number: 1}.Annotations())
	stale.Status.AtProvider.Run = 1
	stale.Status.AtProvider.Phase = modelv1alpha1.PhaseSucceeded
	if err := (&cleaner{cache: w.client, direct: w.client}).Initialize(t.Context(), stale); err != nil {
		t.Fatal(err)
	}
	if err := w.get(secret); err != nil {
		t.Errorf("the Secret of a run that has begun is gone: %v", err)
	}
}

func TestMistypedRegistryIsCorrected(t *testing.T) {
	w := startControllers(t)
	w.updateConfig(func(s *v1alpha1.ProviderConfigSpec) { s.Registry.Host = "mistyped.example.com" })
	a := w.artifact("mistyped")
	w.create(a)
	w.waitReady(a, corev1.ConditionFalse, string(outcome.Unavailable))
	w.stays(a, "What the registry has is not known.")

	w.updateConfig(func(s *v1alpha1.ProviderConfigSpec) { s.Registry.Host = v1alpha1.RegistryHost(w.host) })
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if got := a.GetAnnotations()["crossplane.io/external-name"]; got != w.host+"/models/mistyped" {
		t.Errorf("external-name: got %q", got)
	}
}

func TestKitRunsAgainOnANewWorkspace(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("kitagain")
	a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit
	w.create(a)
	w.succeed(a, 1, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Source.HuggingFace.Revision = "v2" })
	w.waitNoJob()
	w.deletePods()
	w.eventually("waiting for the workspace", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		if got := a.GetCondition(xpv2.TypeReady).Message; !strings.Contains(got, `"kitagain-workspace" of an earlier run is still there`) {
			return got
		}
		return ""
	})
	jobs := &batchv1.JobList{}
	if err := w.client.List(t.Context(), jobs, client.InNamespace(w.namespace)); err != nil || len(jobs.Items) != 0 {
		t.Errorf("Jobs while the old workspace is there: %d, %v", len(jobs.Items), err)
	}
	w.releaseClaims()
	w.succeed(a, 2, "two")
	w.waitReady(a, corev1.ConditionTrue, "Available")
}

func TestDeletionWithUnreadableCredentials(t *testing.T) {
	w := startControllers(t)
	a, secret := w.withOwnCredentials("unreadable")
	job := w.job(a, 1)
	if err := w.get(secret); err != nil {
		t.Fatal(err)
	}
	secret.Data = map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{"` + w.host + `":{"auth":"!!!"}}}`)}
	if err := w.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.remove(a)
	w.waitGone(job)
	w.deletePods()
	w.waitSynced(a, "take Delete from spec.managementPolicies")
}
