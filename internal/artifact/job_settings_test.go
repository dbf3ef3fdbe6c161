package artifact

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

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
		"None":        {reason: "A run asks for little by default.", want: placement{Resources: defaults}},
		"Config":      {reason: "The ProviderConfig holds where the Artifact says nothing.", args: args{config: config}, want: placed(config)},
		"Artifact":    {reason: "The Artifact needs no ProviderConfig.", args: args{artifact: own}, want: placed(own)},
		"Both":        {reason: "The Artifact's field holds, whole.", args: args{config: config, artifact: own}, want: placed(own)},
		"EmptyFields": {reason: "A field that is not set replaces nothing.", args: args{config: config, artifact: &v1alpha1.JobSettings{}}, want: placed(config)},
		"OneField": {
			reason: "Each field is taken by itself.",
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
		Labels: map[string]string{"team": "config", "cost": "1", labelInstance: "forged", labelVersion: "forged"},
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
		"None": {reason: "Nothing is set that nobody chose."},
		"All": {
			reason: "What the administrator chose holds.",
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
