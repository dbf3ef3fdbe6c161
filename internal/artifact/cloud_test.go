package artifact

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// TestBuildJobCloudIdentity checks that a run that uses an identity of a cloud gets no
// credentials and is told the cloud alone, and which Pods have the label by which Azure
// gives them one.
func TestBuildJobCloudIdentity(t *testing.T) {
	const label = "azure.workload.identity/use"
	cases := map[string]struct {
		reason string
		cloud  string
		labels map[string]string // That the Artifact sets.
		want   []string
		label  string
	}{
		"None":   {reason: "A run without an identity has no label."},
		"AWS":    {reason: "AWS looks at the service account alone.", cloud: "aws", want: []string{"--registry-identity=aws"}},
		"Google": {reason: "So does Google.", cloud: "google", want: []string{"--registry-identity=google"}},
		"Azure":  {reason: "Azure wants a label.", cloud: "azure", want: []string{"--registry-identity=azure"}, label: "true"},
		"Tenant": {
			reason: "An Artifact cannot take the identity away.", cloud: "azure", labels: map[string]string{label: "false"},
			want: []string{"--registry-identity=azure"}, label: "true",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := newArtifact(withPipeline(modelv1alpha1.PipelineStream), withEffective(modelv1alpha1.Effective{
				RegistryIdentity: tc.cloud, RunNamespace: "kitops-runs", ServiceAccountName: "models",
			}))
			a.Spec.ForProvider.Job = &v1alpha1.JobSettings{Labels: tc.labels}
			job := BuildJob(a, DefaultKitImage, LabelsForArtifact(a.GetName(), ""))
			pod := job.Spec.Template
			got := slices.DeleteFunc(slices.Clone(pod.Spec.Containers[0].Args), func(arg string) bool {
				return len(arg) < 19 || arg[:19] != "--registry-identity"
			})
			if diff := cmp.Diff(tc.want, got, cmp.Transformer("none", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Errorf("\n%s\nBuildJob(...): -want, +got arguments:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.label, pod.Labels[label]); diff != "" {
				t.Errorf("\n%s\nBuildJob(...): -want, +got label:\n%s", tc.reason, diff)
			}
			if len(pod.Spec.Volumes) > 0 {
				t.Errorf("\n%s\nBuildJob(...): want no credentials, got volumes %+v", tc.reason, pod.Spec.Volumes)
			}
		})
	}
}
