package e2e

import (
	"fmt"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// polls is how often an Artifact is reconciled without a watch event before it is said to
// stay as it is.
const polls = 2

// polledOften has the Artifact looked at as often as can be.
func polledOften(a *modelv1alpha1.Artifact) *modelv1alpha1.Artifact {
	a.SetAnnotations(map[string]string{"crossplane.io/poll-interval": "10s"})
	return a
}

// checkStayAsTheyAre checks that however often the Artifacts are reconciled, on
// their own and on a person's request, not even their Ready condition is written again.
func (n *tenant) checkStayAsTheyAre(all ...*modelv1alpha1.Artifact) {
	n.t.Helper()
	was, looks := map[string]xpv2.Condition{}, map[string]int{}
	for _, a := range all {
		n.get(a)
		was[a.GetName()] = a.GetCondition(xpv2.TypeReady)
		n.ask(a)
		looks[a.GetName()] = n.looksAt(a) + polls
	}
	for _, a := range all {
		n.eventually("polls", func() string {
			if is := n.looksAt(a); is < looks[a.GetName()] {
				return fmt.Sprintf("%s was looked at %d times, and will be %d times", a.GetName(), is, looks[a.GetName()])
			}
			return ""
		})
		n.get(a)
		was, is := was[a.GetName()], a.GetCondition(xpv2.TypeReady)
		if !was.Equal(is) || !was.LastTransitionTime.Equal(&is.LastTransitionTime) {
			n.t.Errorf("%s: Ready was %+v, and is %+v", a.GetName(), was, is)
		}
	}
}

// waitConflict waits until the Artifact says whose its tag is.
func (n *tenant) waitConflict(a *modelv1alpha1.Artifact, digest string) {
	n.t.Helper()
	n.waitReady(a, corev1.ConditionFalse, string(outcome.TagConflict))
	if !strings.Contains(a.GetCondition(xpv2.TypeReady).Message, digest) || a.GetCondition(xpv2.TypeSynced).Status != corev1.ConditionTrue {
		n.t.Errorf("%s is not named: %+v", digest, a.Status.Conditions)
	}
	n.say("in conflict", a)
}

// TestForeignTagIsLeftAlone pushes over the tags of Artifacts as a foreign account, and to
// that of one before its first run.
func TestForeignTagIsLeftAlone(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	files := n.publishOwn("main")
	kit, stream := polledOften(n.ownArtifact("kit", modelv1alpha1.PipelineKit)), polledOften(n.ownArtifact("stream", modelv1alpha1.PipelineStream))
	made := []*modelv1alpha1.Artifact{kit, stream}
	for _, a := range made {
		n.create(a)
	}
	for _, a := range made {
		n.waitReady(a, corev1.ConditionTrue, "Available")
	}
	n.clearRuns()
	late := polledOften(n.ownArtifact("late", modelv1alpha1.PipelineStream))
	all, foreign := []*modelv1alpha1.Artifact{kit, stream, late}, map[string]string{}
	for _, a := range all {
		foreign[a.GetName()] = n.pushForeign(n.repository(a), "v1")
	}
	n.create(late)
	for _, a := range all {
		n.waitConflict(a, foreign[a.GetName()])
	}
	n.checkStayAsTheyAre(all...)
	n.checkNoRun()
	for _, a := range all {
		if d := n.tagged(n.repository(a), "v1"); d != foreign[a.GetName()] {
			t.Errorf("%s: the tag points to %s, want %s", a.GetName(), d, foreign[a.GetName()])
		}
	}
	for _, a := range made {
		n.checkOverwritten(a, files)
	}
	n.checkNoRun()
	n.untag(n.repository(late), "v1")
	n.waitReady(late, corev1.ConditionTrue, "Available")
	n.say("after the conflict", late)
	n.checkDeletedInConflict(stream)
}

// checkOverwritten lets an Artifact overwrite the tag.
func (n *tenant) checkOverwritten(a *modelv1alpha1.Artifact, files map[string]string) {
	n.t.Helper()
	digest := a.Status.AtProvider.Digest
	n.change(a, func() { a.Spec.ForProvider.Target.ConflictPolicy = modelv1alpha1.ConflictOverwrite })
	n.waitReady(a, corev1.ConditionTrue, "Available")
	n.waitEvent(a, "TagPutBack")
	if a.Status.AtProvider.Digest != digest {
		n.t.Errorf("digest: got %s, want %s", a.Status.AtProvider.Digest, digest)
	}
	n.checkFiles(a, auth.EmptyCredential, files)
	n.say("where it may overwrite", a)
}

// checkDeletedInConflict deletes an Artifact while its tag is foreign.
func (n *tenant) checkDeletedInConflict(a *modelv1alpha1.Artifact) {
	n.t.Helper()
	n.change(a, func() { a.Spec.ForProvider.Target.ConflictPolicy = modelv1alpha1.ConflictFail })
	foreign := n.pushForeign(n.repository(a), "v1")
	n.ask(a)
	n.waitConflict(a, foreign)
	n.deleteArtifact(a)
	if d := n.tagged(n.repository(a), "v1"); d != foreign {
		n.t.Errorf("deleted in conflict: the tag points to %q, want %s", d, foreign)
	}
	n.sayEvents(a)
}

// TestTwoClaims has two Artifacts of two ProviderConfigs claim one reference,
// which the provider cannot tell from their specs.
func TestTwoClaims(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	n.publishOwn("main")
	first := polledOften(n.ownArtifact("first", modelv1alpha1.PipelineStream))
	n.create(first)
	n.waitReady(first, corev1.ConditionTrue, "Available")
	n.clearRuns()

	n.create(&v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: n.namespace + "-other"}, Spec: local.Config})
	second := polledOften(n.ownArtifact("second", modelv1alpha1.PipelineStream))
	second.Spec.ForProvider.Target = first.Spec.ForProvider.Target.DeepCopy()
	second.Spec.ProviderConfigReference.Name = n.namespace + "-other"
	n.create(second)
	n.waitConflict(second, first.Status.AtProvider.Digest)
	n.checkStayAsTheyAre(first, second)
	n.checkNoRun()

	// With the first the conflict is gone.
	n.deleteArtifact(first)
	n.waitReady(second, corev1.ConditionTrue, "Available")
	if jobs := n.names(&batchv1.JobList{}); len(jobs) != 1 {
		t.Errorf("Jobs: got %v, want one", jobs)
	}
	n.say("alone", second)
	n.deleteAndCheck(second)
}
