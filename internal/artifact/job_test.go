package artifact

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// podCase is an Artifact whose Job is checked.
type podCase struct {
	reason string
	args   *modelv1alpha1.Artifact
}

// podCases are Artifacts of each shape that a Job has.
func podCases() map[string]podCase {
	return map[string]podCase{
		"Kit":              {reason: "Pipeline Kit with no other settings than the Artifact's.", args: newArtifact()},
		"KitEverything":    {reason: "Pipeline Kit with all settings.", args: newArtifact(withEverything())},
		"Stream":           {reason: "Pipeline Stream with no other settings than the Artifact's.", args: newArtifact(withStream())},
		"StreamEverything": {reason: "Pipeline Stream with all settings.", args: newArtifact(withStream(), withEverything())},
		"Image":            {reason: "Files of a dataset as an Image.", args: newArtifact(withStream(), withFormat(modelv1alpha1.PackFormatImage), withDataset("openai/gsm8k"), withFiles([]string{"$(HF_TOKEN)"}, nil))},
		"OCI":              {reason: "A copy of an artifact of another registry.", args: newArtifact(withStream(), withEverything(), withOCI(testReference), withOwnSource())},
		"Bare":             {reason: "An empty spec.", args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { *p = modelv1alpha1.ArtifactParameters{} }))},
	}
}

// TestBuildJobRunsOnce checks the fields that are the same in each Job.
func TestBuildJobRunsOnce(t *testing.T) {
	type want struct {
		GenerateName  string
		Name          string
		Namespace     string
		Owners        int
		BackoffLimit  *int32
		TTL           *int32
		Replacement   *batchv1.PodReplacementPolicy
		RestartPolicy corev1.RestartPolicy
		Completions   int32
		Parallelism   int32
	}
	for name, tc := range podCases() {
		t.Run(name, func(t *testing.T) {
			j := BuildJob(tc.args, testKitImage, nil)
			got := want{
				GenerateName:  j.GetGenerateName(),
				Name:          j.GetName(),
				Namespace:     j.GetNamespace(),
				Owners:        len(j.GetOwnerReferences()),
				BackoffLimit:  j.Spec.BackoffLimit,
				TTL:           j.Spec.TTLSecondsAfterFinished,
				Replacement:   j.Spec.PodReplacementPolicy,
				RestartPolicy: j.Spec.Template.Spec.RestartPolicy,
				Completions:   ptr.Deref(j.Spec.Completions, 1),
				Parallelism:   ptr.Deref(j.Spec.Parallelism, 1),
			}
			w := want{
				GenerateName:  testName + "-",
				Namespace:     testNamespace,
				BackoffLimit:  ptr.To[int32](0),
				TTL:           ptr.To(DefaultJobTTLSeconds),
				Replacement:   ptr.To(batchv1.Failed),
				RestartPolicy: corev1.RestartPolicyNever,
				Completions:   1,
				Parallelism:   1,
			}
			if diff := cmp.Diff(w, got); diff != "" {
				t.Errorf("\n%s\nA Job runs once, is kept for an hour and never collides.\nBuildJob(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestBuildJobContainers checks that each container has a command, and
// leaves its result where the controller reads it.
func TestBuildJobContainers(t *testing.T) {
	for name, tc := range podCases() {
		t.Run(name, func(t *testing.T) {
			pod := BuildJob(tc.args, testKitImage, nil).Spec.Template.Spec
			for _, c := range containers(pod) {
				if c.Image == "" || c.Name == "" || len(c.Command) == 0 {
					t.Errorf("\n%s\ncontainer %q, image %q, command %q: none may be empty", tc.reason, c.Name, c.Image, c.Command)
				}
				if c.TerminationMessagePolicy != corev1.TerminationMessageReadFile {
					t.Errorf("\n%s\ncontainer %q: termination message policy: want %q, got %q", tc.reason, c.Name, corev1.TerminationMessageReadFile, c.TerminationMessagePolicy)
				}
				for _, shell := range []string{"sh", "/bin/sh", "bash", "/bin/bash"} {
					if slices.Contains(c.Command, shell) {
						t.Errorf("\n%s\ncontainer %q: arguments stay arguments only without a shell", tc.reason, c.Name)
					}
				}
				for _, m := range c.VolumeMounts {
					if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
						t.Errorf("\n%s\ncontainer %q mounts %q, which is no volume", tc.reason, c.Name, m.Name)
					}
				}
			}
		})
	}
}

func containers(pod corev1.PodSpec) []corev1.Container {
	return slices.Concat(pod.InitContainers, pod.Containers)
}

// TestBuildJobKeepsItsInput checks that a Job that is changed afterwards
// changes no Artifact, and that building one is repeatable.
func TestBuildJobKeepsItsInput(t *testing.T) {
	for name, tc := range podCases() {
		t.Run(name, func(t *testing.T) {
			before := tc.args.DeepCopy()
			labels := map[string]string{"a": "b"}
			first := BuildJob(tc.args, testKitImage, labels)
			if diff := cmp.Diff(first, BuildJob(tc.args, testKitImage, labels)); diff != "" {
				t.Errorf("\n%s\nBuildJob() twice: -first, +second:\n%s", tc.reason, diff)
			}
			scribble(first)
			if diff := cmp.Diff(before, tc.args); diff != "" {
				t.Errorf("\n%s\nThe Artifact: -before, +after:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(map[string]string{"a": "b"}, labels); diff != "" {
				t.Errorf("\n%s\nThe labels: -before, +after:\n%s", tc.reason, diff)
			}
		})
	}
}

// scribble writes to all that a Job might share with what it was built from.
func scribble(j *batchv1.Job) {
	const ink = "scribble"
	pod := &j.Spec.Template.Spec
	for _, m := range []map[string]string{j.Labels, j.Annotations, j.Spec.Template.Labels, j.Spec.Template.Annotations, pod.NodeSelector} {
		if m != nil {
			m[ink] = ink
		}
	}
	for i := range pod.ImagePullSecrets {
		pod.ImagePullSecrets[i].Name = ink
	}
	for i := range pod.HostAliases {
		pod.HostAliases[i].Hostnames[0] = ink
	}
	for _, c := range containers(*pod) {
		for i := range c.Env {
			c.Env[i].Value = ink
			if c.Env[i].ValueFrom != nil {
				c.Env[i].ValueFrom.SecretKeyRef.Key = ink
			}
		}
	}
}

func TestBuildJobMetadata(t *testing.T) {
	labels := LabelsForArtifact(testName, "v1")
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   map[string]string
	}{
		"FirstRun": {
			reason: "The first run should have number 1.",
			args:   newArtifact(),
			want: map[string]string{
				AnnotationArtifact:   testName,
				AnnotationReference:  "registry.example.com/models/qwen3:v1",
				AnnotationGeneration: "0",
				AnnotationRunHash:    goldenDefault,
				AnnotationRun:        "1",
			},
		},
		"LaterRun": {
			reason: "The number should be the Artifact's, and the hash that of the spec.",
			args:   newArtifact(withRun(Run{Hash: "old", Number: 3})),
			want: map[string]string{
				AnnotationArtifact:   testName,
				AnnotationReference:  "registry.example.com/models/qwen3:v1",
				AnnotationGeneration: "0",
				AnnotationRunHash:    goldenDefault,
				AnnotationRun:        "3",
			},
		},
		"LongName": {
			reason: "A name that is too long for a label should be in an annotation.",
			args:   newArtifact(withName(longest)),
			want: map[string]string{
				AnnotationArtifact:   longest,
				AnnotationReference:  "registry.example.com/models/qwen3:v1",
				AnnotationGeneration: "0",
				AnnotationRunHash:    goldenDefault,
				AnnotationRun:        "1",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			j := BuildJob(tc.args, testKitImage, labels)
			for object, m := range map[string]metav1.ObjectMeta{"Job": j.ObjectMeta, "Pod": j.Spec.Template.ObjectMeta} {
				if diff := cmp.Diff(labels, m.Labels); diff != "" {
					t.Errorf("\n%s\n%s's labels: -want, +got:\n%s", tc.reason, object, diff)
				}
				if diff := cmp.Diff(tc.want, m.Annotations, ignoreBuildHashes()); diff != "" {
					t.Errorf("\n%s\n%s's annotations: -want, +got:\n%s", tc.reason, object, diff)
				}
			}
			if diff := cmp.Diff(tc.want[AnnotationRunHash], RunOf(j).Hash); diff != "" {
				t.Errorf("\n%s\nRunOf(job): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestBuildJobWithoutTarget checks that a Job that can reach nothing is built
// all the same: BuildJob has no error to return.
func TestBuildJobWithoutTarget(t *testing.T) {
	a := newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Target = nil }))
	args := BuildJob(a, testKitImage, nil).Spec.Template.Spec.Containers[0].Args
	if !slices.ContainsFunc(args, func(s string) bool { return strings.HasPrefix(s, "--staging-tag=kitops-staging-") }) {
		t.Errorf("arguments: %q", args)
	}
}

// TestMountsAreNotExpanded has a value name a variable, which the kubelet would
// put the value of in its place.
func TestMountsAreNotExpanded(t *testing.T) {
	a := newArtifact(withStream(), withEffective(modelv1alpha1.Effective{MountFrom: []string{"models/$(HF_TOKEN)@sha256:00"}}))
	for _, e := range BuildJob(a, "kit:1", nil).Spec.Template.Spec.Containers[0].Env {
		if e.Name != outcome.EnvMountFrom {
			continue
		}
		if want := "models/$$(HF_TOKEN)@sha256:00"; e.Value != want {
			t.Errorf("want %q, got %q", want, e.Value)
		}
		return
	}
	t.Errorf("want the variable %s", outcome.EnvMountFrom)
}

// TestBuildJobVerifiedFiles checks which list of files a run knows as verified.
func TestBuildJobVerifiedFiles(t *testing.T) {
	const list = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	known := func(change func(s *modelv1alpha1.ArtifactObservation)) modelv1alpha1.ArtifactObservation {
		s := modelv1alpha1.ArtifactObservation{
			FileList: list, PinnedReference: "registry.example.com/models/qwen3@" + testDigest,
			Source: &modelv1alpha1.SourceObservation{URL: "https://huggingface.co/Qwen/Qwen3-0.6B", Revision: "old"},
		}
		change(&s)
		return s
	}
	const stream = modelv1alpha1.PipelineStream
	cases := map[string]struct {
		reason   string
		pipeline v1alpha1.PipelineType
		status   modelv1alpha1.ArtifactObservation
		want     string
	}{
		"First":  {reason: "A first run should know none.", pipeline: stream},
		"Second": {reason: "A run should know the files of the last one.", pipeline: stream, status: known(func(*modelv1alpha1.ArtifactObservation) {}), want: list},
		"Kit":    {reason: "Kit moves all, and should know none.", pipeline: modelv1alpha1.PipelineKit, status: known(func(*modelv1alpha1.ArtifactObservation) {})},
		"Repository": {reason: "A list in another repository should not be asked for.", pipeline: stream, status: known(func(s *modelv1alpha1.ArtifactObservation) {
			s.PinnedReference = "registry.example.com/models/qwen3/other@" + testDigest
		})},
		"Model":     {reason: "What another model served should not be believed of this one.", pipeline: stream, status: known(func(s *modelv1alpha1.ArtifactObservation) { s.Source.URL = "https://huggingface.co/Qwen/Other" })},
		"Hub":       {reason: "What another Hub served should not be believed of this one.", pipeline: stream, status: known(func(s *modelv1alpha1.ArtifactObservation) { s.Source.URL = "https://hub.example.com/Qwen/Qwen3-0.6B" })},
		"Unknown":   {reason: "Where it is not known which Hub was read, nothing should be believed.", pipeline: stream, status: known(func(s *modelv1alpha1.ArtifactObservation) { s.Source = nil })},
		"Forged":    {reason: "What is no digest should not be passed on.", pipeline: stream, status: known(func(s *modelv1alpha1.ArtifactObservation) { s.FileList = "$(HF_TOKEN)" })},
		"Algorithm": {reason: "A digest that no list has should not be passed on.", pipeline: stream, status: known(func(s *modelv1alpha1.ArtifactObservation) { s.FileList = "sha512:" + strings.Repeat("1", 128) })},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := newArtifact(withPipeline(tc.pipeline))
			first := BuildJob(a, testKitImage, nil)
			a.Status.AtProvider = tc.status
			job, got := BuildJob(a, testKitImage, nil), ""
			for _, arg := range job.Spec.Template.Spec.Containers[0].Args {
				if v, ok := strings.CutPrefix(arg, "--verified-files="); ok {
					got = v
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nBuildJob(...): -want, +got:\n%s", tc.reason, diff)
			}
			if !sameBuild(first, job, AnnotationBuildHash) {
				t.Errorf("\n%s\nA list should replace no Job that waits.", tc.reason)
			}
		})
	}
}

func TestBuildJobProgress(t *testing.T) {
	for name, tc := range podCases() {
		t.Run(name, func(t *testing.T) {
			pod := BuildJob(tc.args, testKitImage, nil).Spec.Template.Spec
			want := []corev1.ContainerPort{{Name: "progress", ContainerPort: 9797, Protocol: corev1.ProtocolTCP}}
			if diff := cmp.Diff(want, pod.Containers[0].Ports); diff != "" {
				t.Errorf("\n%s\nBy its port a Pod is known that can be asked how far it is.\nports: -want, +got:\n%s", tc.reason, diff)
			}
			if len(pod.InitContainers) > 0 && len(pod.InitContainers[0].Ports) > 0 {
				t.Errorf("\n%s\nWhat initializes a Pod cannot be asked.\nports: got %v", tc.reason, pod.InitContainers[0].Ports)
			}
			if pod.HostNetwork || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
				t.Errorf("\n%s\nThe port is on the Pod's own network, and the Pod has no token.\ngot %+v", tc.reason, pod)
			}
		})
	}
}

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
		a.Spec.ForProvider.Source.RevisionPolicy = policy
		return a
	}

	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   string
	}{
		"First": {
			reason: "The spec's revision should be read before the first run.",
			args:   withRevision("v1"),
			want:   "--revision=v1",
		},
		"Default": {
			reason: "An unset revision should default to main.",
			args:   withRevision(""),
			want:   "--revision=main",
		},
		"Again": {
			reason: "A rebuild should read the recorded commit, even if the branch has moved.",
			args:   made(withRevision("main"), "main"),
			want:   "--revision=" + commit,
		},
		"Pinned": {
			reason: "A rebuild should read the recorded commit with revisionPolicy Pinned.",
			args:   following(made(withRevision("main"), "main"), modelv1alpha1.RevisionPinned),
			want:   "--revision=" + commit,
		},
		"Follow": {
			reason: "A rebuild should read the branch with revisionPolicy Follow.",
			args:   following(made(withRevision("main"), "main"), modelv1alpha1.RevisionFollow),
			want:   "--revision=main",
		},
		"Changed": {
			reason: "The recorded commit of another source should be ignored.",
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

// TestBuildJobIsAdmitted checks each Job's Pod by the code that a cluster
// admits Pods by.
func TestBuildJobIsAdmitted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for name, tc := range podCases() {
		t.Run(name, func(t *testing.T) {
			template := BuildJob(tc.args, testKitImage, LabelsForArtifact(testName, "v1")).Spec.Template
			result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec))
			if !result.Allowed {
				t.Errorf("\n%s\nThe restricted Pod security standard refuses the Pod: %s", tc.reason, result.ForbiddenDetail())
			}
		})
	}
}

// TestBuildJobIsConfined checks what we ask beyond the restricted standard.
func TestBuildJobIsConfined(t *testing.T) {
	for name, tc := range podCases() {
		t.Run(name, func(t *testing.T) {
			pod := BuildJob(tc.args, testKitImage, nil).Spec.Template.Spec
			if ptr.Deref(pod.AutomountServiceAccountToken, true) {
				t.Errorf("\n%s\nThe Pod gets a service account's token", tc.reason)
			}
			s := pod.SecurityContext
			for what, id := range map[string]*int64{"user": s.RunAsUser, "group": s.RunAsGroup, "volumes' group": s.FSGroup} {
				if ptr.Deref(id, 0) == 0 {
					t.Errorf("\n%s\nThe %s has no number, or root's", tc.reason, what)
				}
			}
			if pod.HostNetwork || pod.HostPID || pod.HostIPC {
				t.Errorf("\n%s\nThe Pod uses its node's namespaces", tc.reason)
			}
			for _, c := range containers(pod) {
				if !ptr.Deref(c.SecurityContext.ReadOnlyRootFilesystem, false) {
					t.Errorf("\n%s\nContainer %q can write its root", tc.reason, c.Name)
				}
				if len(c.Resources.Requests) == 0 {
					t.Errorf("\n%s\nContainer %q asks for nothing", tc.reason, c.Name)
				}
			}
		})
	}
}

// memory returns resources that request this much.
func memory(quantity string) *corev1.ResourceRequirements {
	return &corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(quantity)}}
}

// placement is what job settings say of a Pod.
type placement struct {
	Resources             corev1.ResourceRequirements
	NodeSelector          map[string]string
	Tolerations           []corev1.Toleration
	Affinity              *corev1.Affinity
	PriorityClassName     string
	ActiveDeadlineSeconds *int64
}

func TestBuildJobSettings(t *testing.T) {
	type args struct{ config, artifact *v1alpha1.JobSettings }
	defaults := corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("100m"),
		corev1.ResourceMemory: resource.MustParse("256Mi"),
	}}
	config := &v1alpha1.JobSettings{
		Resources:             memory("1Gi"),
		NodeSelector:          map[string]string{"disk": "slow", "zone": "a"},
		Tolerations:           []corev1.Toleration{{Key: "config"}},
		Affinity:              &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}},
		PriorityClassName:     "low",
		ActiveDeadlineSeconds: ptr.To[int64](60),
	}
	own := &v1alpha1.JobSettings{
		Resources:             memory("2Gi"),
		NodeSelector:          map[string]string{"disk": "fast"},
		Tolerations:           []corev1.Toleration{{Key: "own"}},
		Affinity:              &corev1.Affinity{PodAffinity: &corev1.PodAffinity{}},
		PriorityClassName:     "high",
		ActiveDeadlineSeconds: ptr.To[int64](120),
	}
	placed := func(s *v1alpha1.JobSettings) placement {
		return placement{
			Resources:             *s.Resources,
			NodeSelector:          s.NodeSelector,
			Tolerations:           s.Tolerations,
			Affinity:              s.Affinity,
			PriorityClassName:     s.PriorityClassName,
			ActiveDeadlineSeconds: s.ActiveDeadlineSeconds,
		}
	}
	cases := map[string]struct {
		reason string
		args   args
		want   placement
	}{
		"None":        {reason: "A run should have small requests by default.", want: placement{Resources: defaults}},
		"Config":      {reason: "The ProviderConfig's settings should be used if the Artifact has none.", args: args{config: config}, want: placed(config)},
		"Artifact":    {reason: "The Artifact's settings should be used if the ProviderConfig has none.", args: args{artifact: own}, want: placed(own)},
		"Both":        {reason: "The Artifact's field should replace the ProviderConfig's as a whole.", args: args{config: config, artifact: own}, want: placed(own)},
		"EmptyFields": {reason: "An unset field should replace nothing.", args: args{config: config, artifact: &v1alpha1.JobSettings{}}, want: placed(config)},
		"OneField": {
			reason: "Each field should be resolved by itself.",
			args:   args{config: &v1alpha1.JobSettings{PriorityClassName: "low"}, artifact: &v1alpha1.JobSettings{ActiveDeadlineSeconds: ptr.To[int64](120)}},
			want:   placement{Resources: defaults, PriorityClassName: "low", ActiveDeadlineSeconds: ptr.To[int64](120)},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := newArtifact(withEffective(modelv1alpha1.Effective{Job: tc.args.config}),
				withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Job = tc.args.artifact }))
			j := BuildJob(a, testKitImage, nil)
			pod := j.Spec.Template.Spec
			got := placement{
				Resources:             pod.Containers[0].Resources,
				NodeSelector:          pod.NodeSelector,
				Tolerations:           pod.Tolerations,
				Affinity:              pod.Affinity,
				PriorityClassName:     pod.PriorityClassName,
				ActiveDeadlineSeconds: j.Spec.ActiveDeadlineSeconds,
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nplacement: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestBuildJobSettingsMetadata(t *testing.T) {
	settings := &v1alpha1.JobSettings{
		Labels: map[string]string{"team": "config", "cost": "1", LabelInstance: "forged", labelVersion: "forged"},
		Annotations: map[string]string{
			"note": "config", "sidecar.istio.io/inject": "false",
			AnnotationRun: "99", AnnotationRunHash: "forged", AnnotationArtifact: "forged", AnnotationReference: "forged",
		},
	}
	own := &v1alpha1.JobSettings{
		Labels:      map[string]string{"team": "own", labelComponent: "forged"},
		Annotations: map[string]string{"note": "own", AnnotationRun: "98"},
	}
	labels := LabelsForArtifact(testName, "v1")
	wantLabels := merged(map[string]string{"team": "own", "cost": "1"}, labels)
	wantAnnotations := map[string]string{
		"note": "own", "sidecar.istio.io/inject": "false",
		AnnotationRun: "1", AnnotationRunHash: goldenDefault, AnnotationArtifact: testName,
		AnnotationReference:  "registry.example.com/models/qwen3:v1",
		AnnotationGeneration: "0",
	}

	a := newArtifact(withEffective(modelv1alpha1.Effective{Job: settings}),
		withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Job = own }))
	j := BuildJob(a, testKitImage, labels)
	for object, got := range map[string][2]map[string]string{
		"Job": {j.Labels, j.Annotations},
		"Pod": {j.Spec.Template.Labels, j.Spec.Template.Annotations},
	} {
		if diff := cmp.Diff(wantLabels, got[0]); diff != "" {
			t.Errorf("Labels are merged, and nobody replaces what objects are found by.\n%s: -want, +got:\n%s", object, diff)
		}
		if diff := cmp.Diff(wantAnnotations, got[1], ignoreBuildHashes()); diff != "" {
			t.Errorf("Annotations are merged, and nobody replaces what tells the run.\n%s: -want, +got:\n%s", object, diff)
		}
	}
}

func TestBuildJobAdministration(t *testing.T) {
	type want struct {
		ServiceAccountName string
		ImagePullSecrets   []corev1.LocalObjectReference
		HostAliases        []corev1.HostAlias
	}
	full := want{
		ServiceAccountName: "models",
		ImagePullSecrets:   []corev1.LocalObjectReference{{Name: "pull"}},
		HostAliases:        []corev1.HostAlias{{IP: "10.0.0.1", Hostnames: []string{"huggingface.co"}}},
	}
	cases := map[string]struct {
		reason string
		args   modelv1alpha1.Effective
		want   want
	}{
		"None": {reason: "Nothing should be set without an administrator's settings."},
		"All": {
			reason: "The administrator's settings should be applied.",
			args: modelv1alpha1.Effective{
				ServiceAccountName: full.ServiceAccountName,
				ImagePullSecrets:   full.ImagePullSecrets,
				HostAliases:        full.HostAliases,
			},
			want: full,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := BuildJob(newArtifact(withEffective(tc.args)), testKitImage, nil).Spec.Template.Spec
			got := want{ServiceAccountName: pod.ServiceAccountName, ImagePullSecrets: pod.ImagePullSecrets, HostAliases: pod.HostAliases}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\npod: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
