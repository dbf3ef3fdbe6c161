package artifact

import (
	"slices"
	"testing"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

func TestBuildJobReadsTheRecordedCommit(t *testing.T) {
	const commit = "0123456789012345678901234567890123456789"
	withRevision := func(revision string) *modelv1alpha1.Artifact {
		return &modelv1alpha1.Artifact{Spec: modelv1alpha1.ArtifactSpec{ForProvider: modelv1alpha1.ArtifactParameters{
			Source: &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "org/model", Revision: revision}},
			Target: &modelv1alpha1.Target{Repository: "models/model"},
		}}}
	}
	made := func(a *modelv1alpha1.Artifact, from string) *modelv1alpha1.Artifact {
		a.Status.AtProvider.RunHash = RunHash(withRevision(from))
		a.Status.AtProvider.Source = &modelv1alpha1.SourceObservation{Revision: commit}
		return a
	}

	following := func(a *modelv1alpha1.Artifact, policy modelv1alpha1.RevisionPolicy) *modelv1alpha1.Artifact {
		a.Spec.ForProvider.Source.HuggingFace.RevisionPolicy = policy
		return a
	}

	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   string
	}{
		"First": {
			reason: "Nothing is recorded before the first run.",
			args:   withRevision("v1"),
			want:   "--revision=v1",
		},
		"Default": {
			reason: "A revision that is not set is main.",
			args:   withRevision(""),
			want:   "--revision=main",
		},
		"Again": {
			reason: "An artifact that is made again is made from the same commit, also if the branch has moved.",
			args:   made(withRevision("main"), "main"),
			want:   "--revision=" + commit,
		},
		"Pinned": {
			reason: "So it is where the spec says so.",
			args:   following(made(withRevision("main"), "main"), modelv1alpha1.RevisionPinned),
			want:   "--revision=" + commit,
		},
		"Follow": {
			reason: "An artifact that follows its branch is made from where that is now.",
			args:   following(made(withRevision("main"), "main"), modelv1alpha1.RevisionFollow),
			want:   "--revision=main",
		},
		"Changed": {
			reason: "The commit of another source is no answer to this one.",
			args:   made(withRevision("v2"), "v1"),
			want:   "--revision=v2",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			args := BuildJob(tc.args, "kit", nil).Spec.Template.Spec.Containers[0].Args
			if !slices.Contains(args, tc.want) {
				t.Errorf("\n%s\nBuildJob(...): want %q in %q", tc.reason, tc.want, args)
			}
		})
	}
}
