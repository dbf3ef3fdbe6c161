package artifact

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

func TestBuildJobImages(t *testing.T) {
	type want struct{ init, main []string }
	image := withEffective(modelv1alpha1.Effective{WorkerImage: "example.com/worker:v1"})
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   want
	}{
		"Kit": {
			reason: "Kit runs in KitOps' image, where the worker is put first.",
			args:   newArtifact(image),
			want:   want{init: []string{"example.com/worker:v1"}, main: []string{testKitImage}},
		},
		"Stream": {
			reason: "Stream runs in the worker's image alone.",
			args:   newArtifact(image, withStream()),
			want:   want{main: []string{"example.com/worker:v1"}},
		},
		"Default": {
			reason: "The worker of this version is the default.",
			args:   newArtifact(withStream()),
			want:   want{main: []string{version.Image()}},
		},
		"UnsetPipeline": {
			reason: "Kit is the default pipeline.",
			args:   newArtifact(image, withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Pipeline = "" })),
			want:   want{init: []string{"example.com/worker:v1"}, main: []string{testKitImage}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := BuildJob(tc.args, testKitImage, nil).Spec.Template.Spec
			got := want{}
			for _, c := range pod.InitContainers {
				got.init = append(got.init, c.Image)
			}
			for _, c := range pod.Containers {
				got.main = append(got.main, c.Image)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nimages: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestBuildJobWorkspace(t *testing.T) {
	type want struct {
		claim string
		mount string
		flag  bool
	}
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   want
	}{
		"Kit":    {reason: "Kit works on the Artifact's claim.", args: newArtifact(), want: want{claim: "qwen3-workspace", mount: WorkspaceMountPath, flag: true}},
		"Long":   {reason: "The claim is the one that is made.", args: newArtifact(withName(longest)), want: want{claim: PVCName(longest), mount: WorkspaceMountPath, flag: true}},
		"Stream": {reason: "Stream needs no disk.", args: newArtifact(withStream())},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := BuildJob(tc.args, testKitImage, nil).Spec.Template.Spec
			got := want{flag: slices.Contains(pod.Containers[0].Args, "--workspace="+WorkspaceMountPath)}
			for _, v := range pod.Volumes {
				if v.PersistentVolumeClaim != nil && v.Name == WorkspaceVolumeName {
					got.claim = v.PersistentVolumeClaim.ClaimName
				}
			}
			for _, m := range pod.Containers[0].VolumeMounts {
				if m.Name == WorkspaceVolumeName && !m.ReadOnly {
					got.mount = m.MountPath
				}
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nworkspace: -want, +got:\n%s", tc.reason, diff)
			}
			if needs := NeedsWorkspace(tc.args); needs != (tc.want.claim != "") {
				t.Errorf("\n%s\nNeedsWorkspace(): %t", tc.reason, needs)
			}
		})
	}
}

func TestBuildJobArguments(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   []string
	}{
		"Explicit": {
			reason: "The worker is told what the spec says.",
			args:   newArtifact(withStream()),
			want: []string{
				"--contract=2", "--pipeline=Stream", "--format=ModelPack", "--hub-endpoint=https://huggingface.co",
				"--model=Qwen/Qwen3-0.6B", "--revision=main",
				"--registry=registry.example.com", "--repository=models/qwen3",
				"--staging-tag=kitops-staging-eebe2dac6a579cf7", "--checkpoint-tag=kitops-checkpoint-eebe2dac6a579cf7",
			},
		},
		"Foreign": {
			reason: "Neither another's identity in an annotation nor what status says should change the run's tags.",
			args: newArtifact(withStream(), func(a *modelv1alpha1.Artifact) {
				a.SetAnnotations(map[string]string{AnnotationRun: "7", AnnotationRunHash: "old", AnnotationOwner: string(otherUID)})
				a.Status.AtProvider.Digest, a.Status.AtProvider.RunHash = "sha256:abc", "old"
			}),
			want: []string{
				"--contract=2", "--pipeline=Stream", "--format=ModelPack", "--hub-endpoint=https://huggingface.co",
				"--model=Qwen/Qwen3-0.6B", "--revision=main",
				"--registry=registry.example.com", "--repository=models/qwen3",
				"--staging-tag=kitops-staging-eebe2dac6a579cf7", "--checkpoint-tag=kitops-checkpoint-eebe2dac6a579cf7",
			},
		},
		"Defaults": {
			reason: "The worker is told the defaults where the spec says nothing.",
			args: newArtifact(withModel("openai/gpt2", ""), withEffective(modelv1alpha1.Effective{Registry: "localhost:5000", PlainHTTP: true}),
				withParameters(func(p *modelv1alpha1.ArtifactParameters) {
					p.Pipeline, p.Format, p.Target = "", "", &modelv1alpha1.Target{Repository: "gpt2"}
				})),
			want: []string{
				"--contract=2", "--pipeline=Kit", "--format=ModelPack", "--hub-endpoint=https://huggingface.co",
				"--model=openai/gpt2", "--revision=main",
				"--registry=localhost:5000", "--repository=gpt2", "--plain-http",
				"--staging-tag=kitops-staging-ea13e04c8077d652",
				"--workspace=/workspace",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := BuildJob(tc.args, testKitImage, nil).Spec.Template.Spec.Containers[0]
			if diff := cmp.Diff(tc.want, c.Args); diff != "" {
				t.Errorf("\n%s\narguments: -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff("run", c.Command[len(c.Command)-1]); diff != "" {
				t.Errorf("\n%s\nsubcommand: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
