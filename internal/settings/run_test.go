package settings

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

func TestMountable(t *testing.T) {
	const d = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	cases := map[string]struct {
		reason string
		pinned string
		want   string
	}{
		"Allowed":      {reason: "A repository within the prefix should be mounted from.", pinned: "registry.example.com/models/team-a/other@" + d, want: "models/team-a/other@" + d},
		"Own":          {reason: "The Artifact's own repository should be omitted, since the run looks there anyway.", pinned: "registry.example.com/models/team-a/own@" + d},
		"Outside":      {reason: "A repository outside of the prefix must not be mounted from.", pinned: "registry.example.com/models/team-b/theirs@" + d},
		"OtherHost":    {reason: "A repository of another registry must not be mounted from.", pinned: "other.example.com/models/team-a/other@" + d},
		"Tag":          {reason: "A tag should be omitted, since it can move.", pinned: "registry.example.com/models/team-a/other:v1"},
		"NoDigest":     {reason: "An invalid digest should be omitted.", pinned: "registry.example.com/models/team-a/other@sha256:00"},
		"Variable":     {reason: "An invalid repository should be omitted.", pinned: "registry.example.com/models/team-a/$(HF_TOKEN)@" + d},
		"SecondLine":   {reason: "A value with a second line should be omitted.", pinned: "registry.example.com/models/team-a/other\nmodels/team-b/theirs@" + d},
		"NothingThere": {reason: "An Artifact that has pushed nothing should be omitted.", pinned: ""},
	}
	s := Settings{config: &providerConfig{}}
	s.config.Registry.RepositoryPrefix = "models/{namespace}/"
	a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a"}}
	a.Spec.ForProvider.Target = &modelv1alpha1.Target{Registry: "registry.example.com", Repository: "models/team-a/own"}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			other := &modelv1alpha1.Artifact{}
			other.Status.AtProvider.PinnedReference = tc.pinned
			got, ok := s.mountable(a, other)
			if got != tc.want || ok != (tc.want != "") {
				t.Errorf("\n%s\nmountable(%q): want %q, got %q, %t", tc.reason, tc.pinned, tc.want, got, ok)
			}
		})
	}
}
