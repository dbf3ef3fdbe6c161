package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"oras.land/oras-go/v2/registry/remote/auth"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/test/pull"
)

// TestAdopted takes an Artifact's status away, and then the Artifact itself, as
// a restore from a backup and a new cluster do.
func TestAdopted(t *testing.T) {
	forPipelines(t, func(n *tenant, p modelv1alpha1.PipelineType) {
		a := n.ownArtifact("adopted", p)
		n.withConfig(a, func(*v1alpha1.ClusterProviderConfigSpec) {})
		n.believeRecords(a)
		a.Spec.ManagementPolicies = xpv2.ManagementPolicies{
			xpv2.ManagementActionObserve, xpv2.ManagementActionCreate, xpv2.ManagementActionUpdate, xpv2.ManagementActionLateInitialize,
		}
		spec := *a.Spec.DeepCopy()
		n.makeOwn(a)
		n.clearRuns()
		was := a.DeepCopy().Status.AtProvider

		a.Status = modelv1alpha1.ArtifactStatus{}
		if err := local.Client.Status().Update(n.t.Context(), a); err != nil {
			n.t.Fatal(err)
		}
		n.waitReady(a, corev1.ConditionTrue, "Available")
		n.waitEvent(a, "Adopted")
		n.checkAdopted(a, was)
		n.say("without its status", a)

		uid := a.GetUID()
		n.deleteArtifact(a)
		if d := n.tagged(n.repository(a), "v1"); d != was.Digest {
			n.t.Fatalf("an artifact that is not to be deleted is %q, and was %s", d, was.Digest)
		}
		again := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Name: a.GetName(), Namespace: a.GetNamespace()}, Spec: spec}
		again.Spec.ManagementPolicies = nil
		n.create(again)
		n.waitReady(again, corev1.ConditionTrue, "Available")
		if again.GetUID() == uid {
			n.t.Fatal("it is the same Artifact")
		}
		n.checkAdopted(again, was)
		n.say("applied anew", again)

		n.deleteAndCheck(again)
		// The record of the Artifact that had this name before goes, too.
		if left := n.tags(n.repository(again)); len(left) > 0 {
			n.t.Errorf("left in the registry: %v", left)
		}
	})
}

// believeRecords annotates an Artifact's ClusterProviderConfig so that records in
// the registry are believed.
func (n *tenant) believeRecords(a *modelv1alpha1.Artifact) {
	n.t.Helper()
	pc := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: a.Spec.ProviderConfigReference.Name}}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"`+artifact.AnnotationAdopt+`":"true"}}}`))
	if err := local.Client.Patch(n.t.Context(), pc, patch); err != nil {
		n.t.Fatal(err)
	}
}

// checkAdopted checks that the Artifact knows what it knew before, without a run.
func (n *tenant) checkAdopted(a *modelv1alpha1.Artifact, was modelv1alpha1.ArtifactObservation) {
	n.t.Helper()
	n.checkNoRun()
	s := a.Status.AtProvider
	// What was adopted does not say when the commit was made.
	s.Source.CommitTime = was.Source.CommitTime
	if s.Digest != was.Digest || s.Run != was.Run || s.RunHash != was.RunHash || s.Files != was.Files || s.Size != was.Size || *s.Source != *was.Source {
		n.t.Errorf("status: got %+v, source %+v; want %+v, source %+v", s, s.Source, was, was.Source)
	}
	if meta.GetExternalName(a) != local.RegistryHost+"/"+a.Spec.ForProvider.Target.Repository {
		n.t.Errorf("annotations: got %v", a.GetAnnotations())
	}
}

// TestHealed takes away from the registry what it can lose: the tag, the
// manifest, a blob.
func TestHealed(t *testing.T) {
	forPipelines(t, func(n *tenant, p modelv1alpha1.PipelineType) {
		a := n.ownArtifact("healed", p)
		files := n.makeOwn(a)
		repository, first := n.repository(a), a.DeepCopy().Status.AtProvider
		n.clearRuns()

		n.untag(repository, "v1")
		n.ask(a)
		n.waitReady(a, corev1.ConditionTrue, "Available")
		n.waitEvent(a, "TagPutBack")
		n.checkNoRun()
		if d := n.tagged(repository, "v1"); d != first.Digest || a.Status.AtProvider.Digest != first.Digest {
			n.t.Errorf("the tag was put to %s and status has %s, want %s", d, a.Status.AtProvider.Digest, first.Digest)
		}
		n.say("after its tag was gone", a)

		n.loseManifest(repository)
		n.ask(a)
		n.checkHealed(a, first, 2, files)
		n.say("after its manifest was gone", a)

		n.loseBlob(a)
		n.ask(a)
		n.checkHealed(a, first, 3, files)
		n.say("after a blob was gone", a)
		n.deleteAndCheck(a)
		if left := n.tags(repository); len(left) > 0 {
			n.t.Errorf("left in the registry: %v", left)
		}
	})
}

// checkHealed waits for a run's end, which made the artifact again.
func (n *tenant) checkHealed(a *modelv1alpha1.Artifact, was modelv1alpha1.ArtifactObservation, run int64, files map[string]string) {
	n.t.Helper()
	say, runs := n.sayReady(), false
	n.watch(a, func(v *modelv1alpha1.Artifact) bool {
		say(v)
		v.DeepCopyInto(a)
		phase, c := v.Status.AtProvider.Phase, v.GetCondition(xpv2.TypeReady)
		if runs && phase == modelv1alpha1.PhasePending {
			n.t.Errorf("a run that is at work is said to wait: %q", c.Message)
		}
		runs = phase == modelv1alpha1.PhaseRunning
		return v.Status.AtProvider.Run == run && phase == modelv1alpha1.PhaseSucceeded && c.Status == corev1.ConditionTrue
	})
	if s := a.Status.AtProvider; *s.Source != *was.Source || s.RunHash != was.RunHash || s.Digest != was.Digest || len(s.History) > 0 {
		n.t.Errorf("status: got %+v, source %+v; want %+v, source %+v", s, s.Source, was, was.Source)
	}
	n.checkFiles(a, auth.EmptyCredential, files)
}

// loseBlob takes the file of the artifact's largest layer from the registry's
// disk, and the Artifact's runs, so that another shows.
func (n *tenant) loseBlob(a *modelv1alpha1.Artifact) {
	n.t.Helper()
	got, err := pull.Pull(n.t.Context(), n.repository(a), "v1")
	if err != nil {
		n.t.Fatal(err)
	}
	largest := got.Manifest.Layers[0]
	for _, l := range got.Manifest.Layers {
		if l.Size > largest.Size {
			largest = l
		}
	}
	if err := os.Remove(local.BlobFile(largest.Digest)); err != nil {
		n.t.Fatal(err)
	}
	if _, err := pull.Pull(n.t.Context(), n.repository(a), "v1"); err == nil || !strings.Contains(err.Error(), largest.Digest.String()) {
		n.t.Fatalf("the registry does not miss the blob: %v", err)
	}
}
