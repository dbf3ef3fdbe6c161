package artifact

import (
	"fmt"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// expecting changes the digest that an Artifact's spec expects.
func expecting(d string) func(*modelv1alpha1.Artifact) {
	return func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.ExpectedDigest = d }
}

// noRun reports whether no run has a higher number than the last that is expected.
func (w *world) noRun(a *modelv1alpha1.Artifact, last int64) {
	w.t.Helper()
	if err := w.get(a); err != nil || artifact.RunOf(a).Number != last {
		w.t.Errorf("run: got %d, %v, want %d", artifact.RunOf(a).Number, err, last)
	}
}

func TestUnexpectedDigestGetsNoTag(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("unexpected")
	other := digest.FromString("other").String()
	expecting(other)(a)
	w.create(a)
	staged := w.succeed(a, 1, "one")

	w.waitReady(a, corev1.ConditionFalse, "Mismatch")
	message := a.GetCondition("Ready").Message
	for _, want := range []string{staged, other, "expectedDigest"} {
		if !strings.Contains(message, want) {
			t.Errorf("message: got %q, want it to name %s", message, want)
		}
	}
	if _, err := w.registry.Resolve(t.Context(), "models/unexpected", "v1"); err == nil {
		t.Error("what was not expected has the tag")
	}
	if a.Status.AtProvider.Staged != nil || a.Status.AtProvider.Failure.NextTryTime != nil {
		t.Errorf("status: got staged %+v, failure %+v, want neither staged content nor a retry", a.Status.AtProvider.Staged, a.Status.AtProvider.Failure)
	}
	w.stays(a, "A mismatch is not retried.")
	w.noRun(a, 1)

	w.update(a, expecting(staged))
	w.waitNoJob()
	w.deletePods()
	w.succeed(a, 2, "one")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if got := a.Status.AtProvider.Digest; got != staged {
		t.Errorf("digest: got %s, want %s", got, staged)
	}
}

func TestExpectedDigestIsReadyWhateverTheHubSays(t *testing.T) {
	w := startControllers(t)
	h := w.startHub()
	a, d := w.following("expected", h)
	w.update(a, expecting(d))
	w.waitReady(a, corev1.ConditionTrue, "Available")
	h.move()
	w.stays(a, "No other commit gives the digest that is expected.")
	w.noRun(a, 1)
}

func TestExpectedDigestIsFoundAfterALostStatus(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("found")
	w.create(a)
	d := w.succeedAt(a, 1, "one", testCommit)
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.update(a, expecting(d))
	w.waitReady(a, corev1.ConditionTrue, "Available")
	if err := w.registry.Untag(t.Context(), "models/found", "v1"); err != nil {
		t.Fatal(err)
	}
	if err := w.client.DeleteAllOf(t.Context(), &batchv1.Job{}, client.InNamespace(w.namespace), client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		t.Fatal(err)
	}
	w.waitNoJob()
	w.deletePods()
	w.eventually("a lost status", func() string {
		if err := w.get(a); err != nil {
			return err.Error()
		}
		a.Status = modelv1alpha1.ArtifactStatus{}
		if err := w.client.Status().Update(t.Context(), a); err != nil {
			return err.Error()
		}
		return ""
	})

	w.waitReady(a, corev1.ConditionTrue, "Available")
	if got := a.Status.AtProvider; got.Digest != d || got.Source == nil || got.Source.Revision != testCommit {
		t.Errorf("status: got digest %s, source %+v, want %s at %s", got.Digest, got.Source, d, testCommit)
	}
	w.tagsOn("models/found", map[string]string{"v1": d})
	w.noRun(a, 1)
}

func TestRollback(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("rollback")
	w.create(a)
	first := w.succeedAt(a, 1, "one", testCommit)
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.update(a, revision("v2"))
	w.waitNoJob()
	w.deletePods()
	second := w.succeedAt(a, 2, "two", strings.Repeat("1", 40))
	w.waitReady(a, corev1.ConditionTrue, "Available")

	// Each is in the registry, by the revision that it was built from or by its
	// commit, or by its digest.
	for _, tc := range []struct {
		change func(*modelv1alpha1.Artifact)
		want   string
	}{
		{revision("main"), first},
		{revision("v2"), second},
		{revision(testCommit), first},
		{func(a *modelv1alpha1.Artifact) { revision("v2")(a); expecting(second)(a) }, second},
	} {
		w.update(a, tc.change)
		w.eventually("rollback", func() string {
			if err := w.get(a); err != nil {
				return err.Error()
			}
			if got := a.Status.AtProvider; got.Digest != tc.want || got.RunHash != artifact.RunHash(a) {
				return got.Digest + ": " + a.GetCondition("Ready").Message
			}
			return ""
		})
		w.waitReady(a, corev1.ConditionTrue, "Available")
		if d, err := w.registry.Resolve(t.Context(), "models/rollback", "v1"); err != nil || d.Digest.String() != tc.want {
			t.Errorf("tag: got %s, %v, want %s", d.Digest, err, tc.want)
		}
		if s := a.Status.AtProvider; len(s.History) != 1 || s.Size == 0 {
			t.Errorf("status: got history %+v, size %d", s.History, s.Size)
		}
	}
	w.noRun(a, 2)
}

// tagsOn waits until tags of a repository point to these digests; "" is for no tag.
func (w *world) tagsOn(repository string, want map[string]string) {
	w.t.Helper()
	w.eventually("tags", func() string {
		for tag, d := range want {
			on, err := w.registry.Resolve(w.t.Context(), repository, tag)
			if registry.IsNotFound(err) {
				err = nil
			}
			if err != nil || on.Digest.String() != d {
				return fmt.Sprintf("tag %s: got %q, %v, want %q", tag, on.Digest, err, d)
			}
		}
		return ""
	})
}

func TestAdditionalTagsAndKeptVersions(t *testing.T) {
	w := startControllers(t)
	const repository = "models/further"
	a := w.artifact("further")
	a.Spec.ForProvider.Target.AdditionalTags = []string{"stable", "c-{commitShort}"}
	a.Spec.ForProvider.Target.KeepVersions = 2
	w.create(a)
	commits := []string{testCommit, strings.Repeat("1", 40), strings.Repeat("2", 40)}
	kept := func(i int) string { return "v1-" + commits[i][:shortCommit] }
	build := func(n int64, change string) string {
		d := w.succeedAt(a, n, change, commits[n-1])
		w.waitReady(a, corev1.ConditionTrue, "Available")
		return d
	}
	first := build(1, "one")
	w.tagsOn(repository, map[string]string{"v1": first, "stable": first, "c-" + commits[0][:shortCommit]: first, kept(0): first})

	w.update(a, revision("v2"))
	w.waitNoJob()
	w.deletePods()
	second := build(2, "two")
	w.tagsOn(repository, map[string]string{"v1": second, "stable": second, "c-" + commits[0][:shortCommit]: "", kept(0): first, kept(1): second})

	w.update(a, revision("v3"))
	w.waitNoJob()
	w.deletePods()
	third := build(3, "three")
	w.tagsOn(repository, map[string]string{"v1": third, "stable": third, kept(0): "", kept(1): second, kept(2): third})
	w.eventually("history", func() string {
		err := w.get(a)
		if h := a.Status.AtProvider.History; err != nil || len(h) != 2 || h[0].Tag != kept(1) || h[1].Tag != "" {
			return fmt.Sprintf("%+v, %v", h, err)
		}
		return ""
	})

	// A lost tag is set again, and a foreign one is a conflict.
	if err := w.registry.Untag(t.Context(), repository, "stable"); err != nil {
		t.Fatal(err)
	}
	w.poke(a, "lost")
	w.tagsOn(repository, map[string]string{"stable": third})
	foreign := w.push(repository, "stable", "of another")
	w.poke(a, "foreign")
	w.waitReady(a, corev1.ConditionFalse, "TagConflict")

	// What is removed from the spec goes, if it is still the Artifact's.
	w.update(a, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Target.AdditionalTags = []string{"other"} })
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.tagsOn(repository, map[string]string{"stable": foreign, "other": third, "c-" + commits[2][:shortCommit]: ""})

	w.remove(a)
	w.waitNoJob()
	w.deletePods()
	w.waitGone(a)
	w.tagsOn(repository, map[string]string{"v1": "", "stable": foreign, "other": "", kept(1): "", kept(2): ""})
}

func TestForeignAdditionalTagStopsARun(t *testing.T) {
	w := startControllers(t)
	a := w.artifact("foreigntag")
	a.Spec.ForProvider.Target.AdditionalTags = []string{"c-{commitShort}", "stable"}
	w.push("models/foreigntag", "stable", "of another")
	w.create(a)
	w.waitReady(a, corev1.ConditionFalse, "TagConflict")
	if message := a.GetCondition("Ready").Message; !strings.Contains(message, `"stable"`) || !strings.Contains(message, "target.additionalTags") {
		t.Errorf("message: got %q, want it to name the tag and its field", message)
	}
	w.noRun(a, 0)

	// What is known by the run's end only is found then.
	short := w.push("models/foreigntag", "c-"+testCommit[:shortCommit], "of another")
	if err := w.registry.Untag(t.Context(), "models/foreigntag", "stable"); err != nil {
		t.Fatal(err)
	}
	w.poke(a, "free")
	w.succeedAt(a, 1, "one", testCommit)
	w.waitReady(a, corev1.ConditionFalse, "TagConflict")
	w.tagsOn("models/foreigntag", map[string]string{"v1": "", "stable": "", "c-" + testCommit[:shortCommit]: short})

	// Of another spec, too, it is found before its run.
	if err := w.registry.Untag(t.Context(), "models/foreigntag", "c-"+testCommit[:shortCommit]); err != nil {
		t.Fatal(err)
	}
	w.poke(a, "allfree")
	w.waitReady(a, corev1.ConditionTrue, "Available")
	foreign := w.push("models/foreigntag", "next", "of another")
	w.update(a, func(a *modelv1alpha1.Artifact) {
		revision("v2")(a)
		a.Spec.ForProvider.Target.AdditionalTags = []string{"next"}
	})
	w.waitReady(a, corev1.ConditionFalse, "TagConflict")
	w.noRun(a, 1)
	w.tagsOn("models/foreigntag", map[string]string{"next": foreign})
}

func TestExpandTag(t *testing.T) {
	hub := modelv1alpha1.StagedArtifact{Revision: testCommit, CommitTime: "2025-07-26T23:30:00-02:00"}
	cases := map[string]struct {
		reason   string
		template string
		from     modelv1alpha1.StagedArtifact
		want     string
	}{
		"Fixed":       {reason: "A fixed tag needs nothing of the source.", template: "stable", want: "stable"},
		"Commit":      {reason: "A tag may have the whole commit.", template: "c-{commit}", from: hub, want: "c-" + testCommit},
		"CommitShort": {reason: "A tag may have the beginning of the commit.", template: "{commitShort}-rc", from: hub, want: testCommit[:7] + "-rc"},
		"Digest":      {reason: "The digest of an artifact stands for its commit, without the algorithm.", template: "{commitShort}", from: modelv1alpha1.StagedArtifact{Revision: "sha256:" + strings.Repeat("a", 64)}, want: "aaaaaaa"},
		"Date":        {reason: "The day of the commit is that in UTC.", template: "nightly-{date}", from: hub, want: "nightly-20250727"},
		"NoCommit":    {reason: "A tag with an unknown commit is left out.", template: "c-{commit}"},
		"NoDate":      {reason: "A tag with an unknown day is left out.", template: "{date}", from: modelv1alpha1.StagedArtifact{Revision: testCommit}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := expandTag(tc.template, tc.from); got != tc.want {
				t.Errorf("\n%s\nexpandTag(%q): want %q, got %q", tc.reason, tc.template, tc.want, got)
			}
		})
	}
}

func TestReferencesOfFurtherTags(t *testing.T) {
	a := decided(pushed)
	a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ProviderConfig", Name: "default"}
	a.Status.AtProvider.Source = &modelv1alpha1.SourceObservation{Revision: testCommit}
	a.Spec.ForProvider.Target.AdditionalTags = []string{"stable", "{commit}", "v1"}
	a.Spec.ForProvider.Target.KeepVersions = 1
	var got []string
	for _, r := range referenceOf(a) {
		got = append(got, tagOf(r))
	}
	want := []string{"v1", "stable", testCommit, "v1-" + testCommit[:shortCommit]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Another Artifact must find each tag once: -want, +got:\n%s", diff)
	}
}
