package artifact

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
)

func TestByInstance(t *testing.T) {
	secrets := &metav1.PartialObjectMetadataList{}
	secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	namespaces := &metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	ofOne := []client.ListOption{client.InNamespace("team-a"), client.MatchingLabels(artifact.SelectorLabelsForArtifact("model"))}
	cases := map[string]struct {
		reason  string
		list    client.ObjectList
		options []client.ListOption
		want    string
	}{
		"Jobs":    {reason: "The Jobs of an Artifact should be found by the index.", list: &batchv1.JobList{}, options: ofOne, want: "instance=model"},
		"Pods":    {reason: "Its Pods, too.", list: &corev1.PodList{}, options: ofOne, want: "instance=model"},
		"Secrets": {reason: "The metadata of its Secrets, too.", list: secrets, options: ofOne, want: "instance=model"},
		"Other":   {reason: "What is not indexed should be listed as it was.", list: namespaces, options: ofOne},
		"Claims":  {reason: "A type that is not indexed should be listed as it was.", list: &modelv1alpha1.ArtifactList{}, options: ofOne},
		"All":     {reason: "A list of all Artifacts' Jobs names no Artifact.", list: &batchv1.JobList{}, options: []client.ListOption{client.MatchingLabels(artifact.CommonLabels())}},
		"Field":   {reason: "The cache finds objects by one field only.", list: &batchv1.JobList{}, options: append(ofOne[:2:2], client.MatchingFields{"other": "x"}), want: "other=x"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := &client.ListOptions{}
			o.ApplyOptions(byInstance(tc.list, tc.options))
			got := ""
			if o.FieldSelector != nil {
				got = o.FieldSelector.String()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nbyInstance(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
