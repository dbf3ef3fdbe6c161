package e2e

import (
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// moveMain has the branch main of the tenant's own model stand for another
// revision, and returns its files.
func (n *tenant) moveMain(to string) map[string]string {
	n.t.Helper()
	files := n.publishOwn(to)
	if err := hub.Move(local.Cluster.HubDir(), n.ownModel(), "main", to); err != nil {
		n.t.Fatal(err)
	}
	return files
}

// TestFollowed moves the branch that an Artifact follows. One is looked at since
// a person asks, the other when its time comes.
func TestFollowed(t *testing.T) {
	forPipelines(t, func(n *tenant, p modelv1alpha1.PipelineType) {
		a := n.ownArtifact("follows", p)
		source := a.Spec.ForProvider.Source
		source.RevisionPolicy, source.FollowInterval = modelv1alpha1.RevisionFollow, &metav1.Duration{Duration: time.Minute}
		n.makeOwn(a)
		repository, first := n.repository(a), a.DeepCopy().Status.AtProvider
		files := n.moveMain("next")
		began := time.Now()
		if p == modelv1alpha1.PipelineStream {
			n.ask(a)
		}
		n.watchFollow(a, first)
		n.t.Logf("it followed in %s", time.Since(began))

		n.waitReady(a, corev1.ConditionTrue, "Available")
		s := a.Status.AtProvider
		if s.Run != 2 || s.Digest == first.Digest || s.Source.Revision == first.Source.Revision || s.Reference != first.Reference {
			n.t.Errorf("status: got %+v, source %+v; was %+v, source %+v", s, s.Source, first, first.Source)
		}
		if h := s.History; len(h) != 1 || h[0].Digest != first.Digest || h[0].Revision != first.Source.Revision || h[0].RunHash != first.RunHash {
			n.t.Errorf("history: got %+v, want %+v, source %+v", h, first, first.Source)
		}
		if n.tagged(repository, first.Digest) == "" {
			n.t.Error("what was deployed by digest is gone")
		}
		n.checkFiles(a, auth.EmptyCredential, files)
		n.say("after its branch moved", a)
		n.deleteAndCheck(a)
		if left := n.tags(repository); len(left) > 0 {
			n.t.Errorf("left in the registry: %v", left)
		}
	})
}

// watchFollow looks at each version of the Artifact until it has a new digest:
// until then it is as ready as it was.
func (n *tenant) watchFollow(a *modelv1alpha1.Artifact, first modelv1alpha1.ArtifactObservation) {
	n.t.Helper()
	say := n.sayReady()
	n.watch(a, func(v *modelv1alpha1.Artifact) bool {
		ready, s := v.GetCondition(xpv2.TypeReady), v.Status.AtProvider
		say(v)
		if ready.Status != corev1.ConditionTrue || v.GetCondition(xpv2.TypeSynced).Status != corev1.ConditionTrue {
			n.t.Errorf("run %d, %s: %+v", s.Run, s.Phase, v.Status.Conditions)
		}
		if s.Digest != first.Digest {
			return true
		}
		if s.Reference != first.Reference || s.Source == nil || *s.Source != *first.Source {
			n.t.Errorf("status: got %+v, source %+v", s, s.Source)
		}
		return false
	})
}

// TestPinned moves the branch that an Artifact was made from, and then has it
// made again.
func TestPinned(t *testing.T) {
	forPipelines(t, func(n *tenant, p modelv1alpha1.PipelineType) {
		a := n.ownArtifact("pinned", p)
		files := n.makeOwn(a)
		n.clearRuns()
		first := a.DeepCopy().Status.AtProvider
		n.moveMain("next")
		for range 3 {
			n.ask(a)
		}
		n.checkNoRun()
		if s := a.Status.AtProvider; s.Digest != first.Digest || s.Run != 1 {
			n.t.Errorf("status: got %+v", s)
		}

		repository := n.repository(a)
		n.loseManifest(repository)
		n.ask(a)
		n.checkHealed(a, first, 2, files)
		n.say("healed", a)
		n.deleteAndCheck(a)
	})
}
