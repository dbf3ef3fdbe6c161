package artifact

import (
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// Run hashes that were given out. A value that changes here makes every
// Artifact in the world run again: never change one, only add.
const (
	goldenDefault  = "20f1edbd2397685f"
	goldenRevision = "9ba479cac89145b9"
	goldenModel    = "840d9fda72cd3b37"
	goldenModelKit = "8306b3f758bd1647"
	goldenStream   = "03545e28e7930cc5"
	goldenGPT2     = "289d43a87bd9c297"
	goldenNoSource = "2cd43d02ea651f37"
)

func TestRunHash(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   string
	}{
		"Default": {
			reason: "The common case.",
			args:   newArtifact(),
			want:   goldenDefault,
		},
		"Revision": {
			reason: "Another revision is another artifact.",
			args:   newArtifact(withModel("Qwen/Qwen3-0.6B", "v2")),
			want:   goldenRevision,
		},
		"Model": {
			reason: "Another model is another artifact.",
			args:   newArtifact(withModel("Qwen/Qwen3-1.7B", "main")),
			want:   goldenModel,
		},
		"BareModel": {
			reason: "A model may have no organisation.",
			args:   newArtifact(withModel("gpt2", "")),
			want:   goldenGPT2,
		},
		"Format": {
			reason: "Another format is another artifact.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Format = modelv1alpha1.PackFormatModelKit })),
			want:   goldenModelKit,
		},
		"Pipeline": {
			reason: "Another pipeline is another artifact.",
			args:   newArtifact(withStream()),
			want:   goldenStream,
		},
		"NoSource": {
			reason: "An Artifact that is only looked at has a hash, too.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Source = nil })),
			want:   goldenNoSource,
		},
		"EmptySource": {
			reason: "A source of no kind is no source.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Source = &modelv1alpha1.Source{} })),
			want:   goldenNoSource,
		},
		"UnsetIsDefault": {
			reason: "A default that is written changes nothing.",
			args: newArtifact(withModel("Qwen/Qwen3-0.6B", ""), withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Format, p.Pipeline = "", ""
			})),
			want: goldenDefault,
		},
		"Target": {
			reason: "A changed name in a registry moves no bytes.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Target = &modelv1alpha1.Target{Registry: "other.example.com", Repository: "other", Tag: "v2"}
			})),
			want: goldenDefault,
		},
		"Overwrite": {
			reason: "What a tag may be taken from makes no other artifact.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Target.Overwrite = true })),
			want:   goldenDefault,
		},
		"Pinned": {
			reason: "The default, written down, changes nothing.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.HuggingFace.RevisionPolicy = modelv1alpha1.RevisionPinned
			})),
			want: goldenDefault,
		},
		"Follow": {
			reason: "Whether a branch is followed, and how closely, makes no other artifact of where it is now.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.HuggingFace.RevisionPolicy = modelv1alpha1.RevisionFollow
				p.Source.HuggingFace.FollowInterval = &metav1.Duration{Duration: time.Minute}
			})),
			want: goldenDefault,
		},
		"Tag": {
			reason: "A changed tag moves no bytes.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Target.Tag = "v2" })),
			want:   goldenDefault,
		},
		"Storage": {
			reason: "Where the workspace lies makes no other artifact.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Storage = &v1alpha1.StorageSettings{StorageClassName: ptr.To("fast")}
			})),
			want: goldenDefault,
		},
		"Job": {
			reason: "Where the Pod runs makes no other artifact.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Job = &v1alpha1.JobSettings{ActiveDeadlineSeconds: ptr.To[int64](1), Labels: map[string]string{"a": "b"}}
			})),
			want: goldenDefault,
		},
		"Secrets": {
			reason: "Who asks makes no other artifact.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.HuggingFace.TokenSecretRef = &modelv1alpha1.SecretKeySelector{Name: "hf", Key: "k"}
				p.Target.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "push"}
			})),
			want: goldenDefault,
		},
		"Metadata": {
			reason: "Who the Artifact is makes no other artifact.",
			args: newArtifact(withName("other"), withUID(otherUID), func(a *modelv1alpha1.Artifact) {
				a.SetLabels(map[string]string{"a": "b"})
				a.SetAnnotations(map[string]string{AnnotationRun: "7", AnnotationRunHash: "old"})
				a.SetGeneration(7)
			}),
			want: goldenDefault,
		},
		"Effective": {
			reason: "A ProviderConfig or an upgrade makes no other artifact.",
			args:   newArtifact(withEverything()),
			want:   goldenDefault,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := tc.args.DeepCopy()
			if diff := cmp.Diff(tc.want, RunHash(tc.args)); diff != "" {
				t.Errorf("\n%s\nRunHash(): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(before, tc.args); diff != "" {
				t.Errorf("\nRunHash changes nothing: -before, +after:\n%s", diff)
			}
		})
	}
}

func TestRunOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   map[string]string
		want   Run
	}{
		"Nothing":   {reason: "An object may say nothing.", want: Run{}},
		"RoundTrip": {reason: "What is written is read.", args: Run{Hash: "abc", Number: 7}.Annotations(), want: Run{Hash: "abc", Number: 7}},
		"NoNumber":  {reason: "What is no number counts as none.", args: map[string]string{AnnotationRunHash: "abc", AnnotationRun: "x"}, want: Run{Hash: "abc"}},
		"TooLarge":  {reason: "What is no such number counts as none.", args: map[string]string{AnnotationRun: "99999999999999999999"}, want: Run{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := RunOf(&metav1.ObjectMeta{Annotations: tc.args})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRunOf(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestReferences(t *testing.T) {
	type want struct{ external, reference string }
	target := func(t modelv1alpha1.Target) artifactModifier {
		return withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Target = &t })
	}
	effective := withEffective(modelv1alpha1.Effective{Registry: "config.example.com:5000"})
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   want
	}{
		"Target": {
			reason: "A target may say it all.",
			args:   newArtifact(),
			want:   want{external: "registry.example.com/models/qwen3", reference: "registry.example.com/models/qwen3:v1"},
		},
		"DefaultTag": {
			reason: "The tag is latest unless the target says.",
			args:   newArtifact(target(modelv1alpha1.Target{Registry: "registry.example.com", Repository: "models/qwen3"})),
			want:   want{external: "registry.example.com/models/qwen3", reference: "registry.example.com/models/qwen3:latest"},
		},
		"DefaultRegistry": {
			reason: "The registry is the ProviderConfig's unless the target says.",
			args:   newArtifact(target(modelv1alpha1.Target{Repository: "models/qwen3", Tag: "v1"}), effective),
			want:   want{external: "config.example.com:5000/models/qwen3", reference: "config.example.com:5000/models/qwen3:v1"},
		},
		"TargetWins": {
			reason: "The target's registry holds over the ProviderConfig's.",
			args:   newArtifact(effective),
			want:   want{external: "registry.example.com/models/qwen3", reference: "registry.example.com/models/qwen3:v1"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := want{external: ExternalName(tc.args), reference: OCIReference(tc.args)}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nExternalName(), OCIReference(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
