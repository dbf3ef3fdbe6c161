package artifact

import (
	"slices"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

func TestBuildJobParallel(t *testing.T) {
	size := func(s string) *resource.Quantity { return ptr.To(resource.MustParse(s)) }
	config := v1alpha1.JobSettings{ParallelLayers: ptr.To[int32](4), BufferSize: size("64Mi")}
	cases := map[string]struct {
		reason      string
		pipeline    modelv1alpha1.PipelineType
		config, own v1alpha1.JobSettings
		want        []string
	}{
		"Unset":  {reason: "The run should choose what is not set.", pipeline: modelv1alpha1.PipelineStream},
		"Config": {reason: "The config's should be the default.", pipeline: modelv1alpha1.PipelineStream, config: config, want: []string{"--parallel-layers=4", "--buffer-size=67108864"}},
		"Own": {
			reason:   "Each of the Artifact's own fields should take precedence by itself.",
			pipeline: modelv1alpha1.PipelineStream, config: config, own: v1alpha1.JobSettings{BufferSize: size("1Gi")},
			want: []string{"--parallel-layers=4", "--buffer-size=1073741824"},
		},
		"Kit": {reason: "What a config sets for runs of Stream should have no effect on those of Kit.", pipeline: modelv1alpha1.PipelineKit, config: config},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := newArtifact(withPipeline(tc.pipeline), withEffective(modelv1alpha1.Effective{Job: &tc.config}),
				withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Job = &tc.own }))
			args := slices.DeleteFunc(slices.Clone(BuildJob(a, testKitImage, nil).Spec.Template.Spec.Containers[0].Args), func(arg string) bool {
				return !strings.HasPrefix(arg, "--parallel-layers") && !strings.HasPrefix(arg, "--buffer-size")
			})
			if diff := cmp.Diff(tc.want, args, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("\n%s\narguments: -want, +got:\n%s", tc.reason, diff)
			}
			plain := newArtifact(withPipeline(tc.pipeline))
			if diff := cmp.Diff(RunHash(plain), RunHash(a)); diff != "" {
				t.Errorf("\n%s\nNothing of it should need another run: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestBuildJobImages(t *testing.T) {
	type want struct{ init, main []string }
	image := withEffective(modelv1alpha1.Effective{WorkerImage: "example.com/worker:v1"})
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   want
	}{
		"Kit": {
			reason: "Pipeline Kit should run in KitOps' image, with the worker copied by an init container.",
			args:   newArtifact(image),
			want:   want{init: []string{"example.com/worker:v1"}, main: []string{testKitImage}},
		},
		"Stream": {
			reason: "Pipeline Stream should run in the worker's image only.",
			args:   newArtifact(image, withStream()),
			want:   want{main: []string{"example.com/worker:v1"}},
		},
		"Default": {
			reason: "The worker's image should default to that of the provider's version.",
			args:   newArtifact(withStream()),
			want:   want{main: []string{version.Image()}},
		},
		"UnsetPipeline": {
			reason: "The pipeline should default to Kit.",
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
		"Kit":    {reason: "Pipeline Kit should mount the Artifact's workspace.", args: newArtifact(), want: want{claim: "qwen3-workspace", mount: WorkspaceMountPath, flag: true}},
		"Long":   {reason: "The workspace that is mounted should be the one that is created.", args: newArtifact(withName(longest)), want: want{claim: PVCName(longest), mount: WorkspaceMountPath, flag: true}},
		"Stream": {reason: "Pipeline Stream should mount no workspace.", args: newArtifact(withStream())},
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
			reason: "The worker should get the values of the spec.",
			args:   newArtifact(withStream()),
			want: []string{
				"--contract=5", "--pipeline=Stream", "--format=ModelPack", "--hub-endpoint=https://huggingface.co",
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
				"--contract=5", "--pipeline=Stream", "--format=ModelPack", "--hub-endpoint=https://huggingface.co",
				"--model=Qwen/Qwen3-0.6B", "--revision=main",
				"--registry=registry.example.com", "--repository=models/qwen3",
				"--staging-tag=kitops-staging-eebe2dac6a579cf7", "--checkpoint-tag=kitops-checkpoint-eebe2dac6a579cf7",
			},
		},
		"Defaults": {
			reason: "The worker should get the defaults of unset fields.",
			args: newArtifact(withModel("openai/gpt2", ""), withEffective(modelv1alpha1.Effective{Registry: "localhost:5000", PlainHTTP: true}),
				withParameters(func(p *modelv1alpha1.ArtifactParameters) {
					p.Pipeline, p.Format, p.Target = "", "", &modelv1alpha1.Target{Repository: "gpt2"}
				})),
			want: []string{
				"--contract=5", "--pipeline=Kit", "--format=ModelPack", "--hub-endpoint=https://huggingface.co",
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

// planted is a value that must never be in a Job.
const planted = "hf_PlantedSecretValue"

// mounted is what a container gets of Secrets by files.
type mounted struct {
	// Files maps a path in the container to the Secret and key it holds.
	Files map[string]string

	// Flags are the arguments that name files.
	Flags []string
}

func TestBuildJobCredentials(t *testing.T) {
	own := withParameters(func(p *modelv1alpha1.ArtifactParameters) {
		p.Source.HuggingFace.TokenSecretRef = &modelv1alpha1.SecretKeySelector{Name: "hf", Key: "t"}
		p.Target.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "push"}
	})
	config := withEffective(modelv1alpha1.Effective{
		Registry:            "registry.example.com",
		RegistryCredentials: SecretKey("config", "auth.json"),
		RegistryCA:          SecretKey("ca", "ca.crt"),
		HubToken:            SecretKey("config-hf", "token"),
		HubCA:               SecretKey("hub", "ca.crt"),
	})
	all := mounted{
		Files: map[string]string{
			"/credentials/docker/config.json": "config/auth.json",
			"/credentials/registry-ca.crt":    "ca/ca.crt",
			"/credentials/hub-ca.crt":         "hub/ca.crt",
			"/credentials/hub-token":          "config-hf/token",
		},
		Flags: []string{
			"--docker-config=/credentials/docker",
			"--registry-ca-file=/credentials/registry-ca.crt",
			"--hub-ca-file=/credentials/hub-ca.crt",
			"--hub-token-file=/credentials/hub-token",
		},
	}
	both := mounted{Flags: all.Flags, Files: merged(all.Files, map[string]string{
		"/credentials/docker/config.json": "push/.dockerconfigjson",
		"/credentials/hub-token":          "hf/t",
	})}
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   mounted
	}{
		"None": {
			reason: "Nothing should be mounted without credentials.",
			args:   newArtifact(),
		},
		"Config": {
			reason: "The ProviderConfig's credentials should be used if the Artifact has none.",
			args:   newArtifact(config),
			want:   all,
		},
		"Stream": {
			reason: "Both pipelines should get the credentials.",
			args:   newArtifact(config, withStream()),
			want:   all,
		},
		"Own": {
			reason: "The Artifact's own credentials should be used.",
			args:   newArtifact(own),
			want: mounted{
				Files: map[string]string{"/credentials/docker/config.json": "push/.dockerconfigjson", "/credentials/hub-token": "hf/t"},
				Flags: []string{"--docker-config=/credentials/docker", "--hub-token-file=/credentials/hub-token"},
			},
		},
		"OwnWins": {
			reason: "The Artifact's own credentials should take precedence over the ProviderConfig's.",
			args:   newArtifact(own, config),
			want:   both,
		},
		"ClientCertificate": {
			reason: "A client certificate should be mounted with its private key.",
			args: newArtifact(withEffective(modelv1alpha1.Effective{
				RegistryCertificate: SecretKey("ca", "tls.crt"),
				RegistryKey:         SecretKey("ca", "tls.key"),
			})),
			want: mounted{
				Files: map[string]string{"/credentials/registry-tls.crt": "ca/tls.crt", "/credentials/registry-tls.key": "ca/tls.key"},
				Flags: []string{"--registry-cert-file=/credentials/registry-tls.crt", "--registry-key-file=/credentials/registry-tls.key"},
			},
		},
		"Copied": {
			reason: "Copied credentials should replace those that they were copied from.",
			args: newArtifact(own, withEffective(modelv1alpha1.Effective{
				RegistryCredentials: SecretKey("config", "auth.json"),
				CopiedCredentials:   SecretKey("copy", "auth.json"),
			})),
			want: mounted{
				Files: map[string]string{"/credentials/docker/config.json": "copy/auth.json", "/credentials/hub-token": "hf/t"},
				Flags: []string{"--docker-config=/credentials/docker", "--hub-token-file=/credentials/hub-token"},
			},
		},
		"DefaultKey": {
			reason: "The key of a token should default to token.",
			args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) {
				p.Source.HuggingFace.TokenSecretRef = &modelv1alpha1.SecretKeySelector{Name: "hf"}
			})),
			want: mounted{
				Files: map[string]string{"/credentials/hub-token": "hf/token"},
				Flags: []string{"--hub-token-file=/credentials/hub-token"},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := BuildJob(tc.args, testKitImage, nil).Spec.Template.Spec
			if diff := cmp.Diff(tc.want, mountedIn(t, pod)); diff != "" {
				t.Errorf("\n%s\ncredentials: -want, +got:\n%s", tc.reason, diff)
			}
			for _, c := range pod.InitContainers {
				if len(c.Env) > 0 || slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == credentialsVolumeName }) {
					t.Errorf("\n%s\nWho only copies a program gets no credentials: %q", tc.reason, c.Name)
				}
			}
		})
	}
}

// mountedIn returns what the container that does the work gets of Secrets.
func mountedIn(t *testing.T, pod corev1.PodSpec) mounted {
	t.Helper()
	out := mounted{}
	main := pod.Containers[0]
	for _, e := range main.Env {
		if e.ValueFrom != nil {
			t.Errorf("variable %s is never updated: want a mounted file", e.Name)
		}
	}
	for _, a := range main.Args {
		if strings.Contains(a, "="+credentialsMountPath) {
			out.Flags = append(out.Flags, a)
		}
	}
	for _, v := range pod.Volumes {
		if v.Projected == nil {
			continue
		}
		if mode := ptr.Deref(v.Projected.DefaultMode, 0o644); mode&0o007 != 0 {
			t.Errorf("credentials can be read by all: mode %o", mode)
		}
		at := ""
		for _, m := range main.VolumeMounts {
			if m.Name == v.Name {
				at = m.MountPath + "/"
				if !m.ReadOnly {
					t.Errorf("credentials can be written at %s", m.MountPath)
				}
			}
		}
		out.Files = map[string]string{}
		for _, s := range v.Projected.Sources {
			for _, i := range s.Secret.Items {
				out.Files[at+i.Path] = s.Secret.Name + "/" + i.Key
			}
		}
	}
	return out
}

// TestSecretsReachJobsByReference plants a value in every Secret that a run
// uses, makes all that a run needs, and looks for the value.
func TestSecretsReachJobsByReference(t *testing.T) {
	for name, tc := range podCases() {
		t.Run(name, func(t *testing.T) {
			data := map[string][]byte{corev1.DockerConfigJsonKey: []byte(planted), "t": []byte(planted), "token": []byte(planted)}
			c := newClient(t, interceptor.Funcs{})
			for _, secret := range []string{"hf", "push", "config", "config-hf", "registry-ca", "hub-ca"} {
				s := newSecret(data)
				s.SetName(secret)
				if err := c.Create(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			labels := LabelsForArtifact(testName, "v1")
			if _, err := EnsureSecret(t.Context(), c, newScheme(t), tc.args, labels, data, "hash"); err != nil {
				t.Fatal(err)
			}
			if err := EnsurePVC(t.Context(), c, newScheme(t), tc.args, labels); err != nil {
				t.Fatal(err)
			}
			job, _, err := EnsureJob(t.Context(), c, newScheme(t), tc.args, testKitImage, SelectorLabelsForArtifact(testName), labels)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range []any{job, BuildJob(tc.args, testKitImage, labels), BuildPVC(tc.args, labels)} {
				if strings.Contains(encoded(t, o), planted) {
					t.Errorf("\n%s\nA secret's value is in %T:\n%s", tc.reason, o, encoded(t, o))
				}
			}
		})
	}
}

func TestBuildJobEnv(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   modelv1alpha1.Effective
		want   []corev1.EnvVar
	}{
		"None": {
			reason: "Only the address for progress should be set by default.",
		},
		"Token": {
			reason: "A token should be in no variable, which would never be updated.",
			args:   modelv1alpha1.Effective{HubToken: SecretKey("hf", "token")},
		},
		"Config": {
			reason: "An administrator's variables should reach the worker in order.",
			args:   modelv1alpha1.Effective{Env: []corev1.EnvVar{{Name: "B", Value: "1"}, {Name: "A", Value: "$(B)"}}},
			want:   []corev1.EnvVar{{Name: "B", Value: "1"}, {Name: "A", Value: "$(B)"}},
		},
		"OwnWins": {
			reason: "The provider's value of a variable should come last, which takes precedence.",
			args: modelv1alpha1.Effective{
				Env: []corev1.EnvVar{{Name: outcome.EnvProgressAddress, Value: ":1"}, {Name: "NO_PROXY", Value: "x"}},
			},
			want: []corev1.EnvVar{{Name: outcome.EnvProgressAddress, Value: ":1"}, {Name: "NO_PROXY", Value: "x"}},
		},
	}
	for name, tc := range cases {
		for pipeline, modify := range map[string]artifactModifier{"Kit": func(*modelv1alpha1.Artifact) {}, "Stream": withStream()} {
			t.Run(name+pipeline, func(t *testing.T) {
				j := BuildJob(newArtifact(modify, withEffective(tc.args)), testKitImage, nil)
				got := j.Spec.Template.Spec.Containers[0].Env
				want := append(slices.Clone(tc.want), corev1.EnvVar{Name: outcome.EnvProgressAddress, Value: ":9797"})
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("\n%s\nenvironment: -want, +got:\n%s", tc.reason, diff)
				}
			})
		}
	}
}
