package artifact

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// podCase is an Artifact whose Job is looked at.
type podCase struct {
	reason string
	args   *modelv1alpha1.Artifact
}

// podCases are Artifacts of each shape that a Job has.
func podCases() map[string]podCase {
	return map[string]podCase{
		"Kit":              {reason: "Kit with an Artifact's YAML alone.", args: newArtifact()},
		"KitEverything":    {reason: "Kit with all that can be said.", args: newArtifact(withEverything())},
		"Stream":           {reason: "Stream with an Artifact's YAML alone.", args: newArtifact(withStream())},
		"StreamEverything": {reason: "Stream with all that can be said.", args: newArtifact(withStream(), withEverything())},
		"Image":            {reason: "An image of a dataset's files.", args: newArtifact(withStream(), withFormat(modelv1alpha1.PackFormatImage), withDataset("openai/gsm8k"), withFiles([]string{"$(HF_TOKEN)"}, nil))},
		"OCI":              {reason: "An artifact of another registry.", args: newArtifact(withStream(), withEverything(), withOCI(testReference), withOwnSource())},
		"Bare":             {reason: "No part of the spec is set.", args: newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { *p = modelv1alpha1.ArtifactParameters{} }))},
	}
}

// TestBuildJobRunsOnce checks what holds of each Job.
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

// TestBuildJobContainers checks that each container says what it runs, and
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
			reason: "An Artifact that has not run yet runs for the first time.",
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
			reason: "The number is the Artifact's; the hash is that of what is built.",
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
			reason: "An annotation holds the name that a label cannot.",
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
