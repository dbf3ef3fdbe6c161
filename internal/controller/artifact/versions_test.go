package artifact

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
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
