package e2e

import (
	"maps"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestVersions builds three revisions of a model, of which two are kept, and goes back to
// one of them without a run.
func TestVersions(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	a := n.ownArtifact("versions", modelv1alpha1.PipelineStream)
	a.Spec.ForProvider.Target.AdditionalTags = []string{"stable", "main-{commitShort}", "day-{date}"}
	a.Spec.ForProvider.Target.Annotations = map[string]string{"com.example.team": "search"}
	a.Spec.ForProvider.Target.KeepVersions = 2
	n.makeOwn(a)
	repository := n.repository(a)
	first := a.DeepCopy().Status.AtProvider
	if first.Source.CommitTime == "" {
		t.Fatal("status does not say when the commit was made")
	}
	n.checkTags(repository, tagsOf(first, first))

	var latest modelv1alpha1.ArtifactObservation
	before := first
	for _, revision := range []string{"v2", "v3"} {
		files := n.publishOwn(revision)
		n.revise(a, revision)
		latest = a.DeepCopy().Status.AtProvider
		n.checkFiles(a, auth.EmptyCredential, files)
		n.checkTags(repository, tagsOf(latest, latest, before))
		if revision == "v2" {
			before = latest
		}
	}

	n.clearRuns()
	n.revise(a, before.Source.Revision)
	if s := a.Status.AtProvider; s.Digest != before.Digest || s.Source.Revision != before.Source.Revision {
		t.Errorf("after the revision was set back: got %s of %s, want %s of %s", s.Digest, s.Source.Revision, before.Digest, before.Source.Revision)
	}
	if diff := cmp.Diff(before.Description, a.Status.AtProvider.Description); diff != "" || before.Description == nil {
		t.Errorf("what describes the artifact, after the revision was set back: -before, +now:\n%s", diff)
	} else if _, err := repository.Resolve(t.Context(), before.Description.BOM); err != nil {
		t.Errorf("the bill of materials after the revision was set back: %v", err)
	}
	n.checkNoRun()
	n.checkTags(repository, tagsOf(before, before, latest))
	n.checkStatement(a, repository, a.Status.AtProvider.Run)
	n.say("after its revision was set back", a)
	n.deleteAndCheck(a)
	if left := n.tags(repository); len(left) > 0 {
		t.Errorf("left in the registry: %v", left)
	}
}

// revise changes the Artifact's revision, and waits until its artifact is of it.
func (n *tenant) revise(a *modelv1alpha1.Artifact, revision string) {
	n.t.Helper()
	n.change(a, func() { a.Spec.ForProvider.Source.HuggingFace.Revision = revision })
	n.waitReady(a, corev1.ConditionTrue, "Available")
}

// tagsOf returns the tags of an Artifact with these versions kept, and what they point to.
func tagsOf(latest modelv1alpha1.ArtifactObservation, kept ...modelv1alpha1.ArtifactObservation) map[string]string {
	out := map[string]string{"v1": latest.Digest, "stable": latest.Digest, "main-" + latest.Source.Revision[:7]: latest.Digest}
	out["day-"+strings.ReplaceAll(latest.Source.CommitTime[:10], "-", "")] = latest.Digest
	for _, v := range kept {
		out["v1-"+v.Source.Revision[:7]] = v.Digest
	}
	return out
}

// checkTags waits until a repository has these tags, beside the fallback tags of
// referrers.
func (n *tenant) checkTags(repository *remote.Repository, want map[string]string) {
	n.t.Helper()
	n.eventually("tags", func() string {
		got := map[string]string{}
		for _, tag := range n.tags(repository) {
			got[tag] = n.tagged(repository, tag)
		}
		maps.DeleteFunc(got, func(tag, _ string) bool { return strings.HasPrefix(tag, "sha256-") })
		return cmp.Diff(want, got)
	})
}

// TestExpectedDigest commits nothing with another digest than the spec expects.
func TestExpectedDigest(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	n.publishOwn("main")
	a := n.ownArtifact("expected", modelv1alpha1.PipelineStream)
	wrong := "sha256:" + strings.Repeat("0", 64)
	a.Spec.ForProvider.ExpectedDigest = wrong
	n.create(a)
	n.waitReady(a, corev1.ConditionFalse, string(outcome.Mismatch))
	message := a.GetCondition(xpv2.TypeReady).Message
	_, staged, _ := strings.Cut(message, "staged ")
	staged, _, _ = strings.Cut(staged, ",")
	if !strings.Contains(message, wrong) || n.tagged(n.repository(a), "v1") != "" {
		t.Errorf("the message must name both digests, and there must be no tag: %s", message)
	}
	n.change(a, func() { a.Spec.ForProvider.ExpectedDigest = staged })
	n.waitReady(a, corev1.ConditionTrue, "Available")
	if a.Status.AtProvider.Digest != staged {
		t.Errorf("got %s, want %s as expected", a.Status.AtProvider.Digest, staged)
	}
	n.deleteAndCheck(a)
}
