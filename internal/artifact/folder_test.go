package artifact

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

func TestFolderOf(t *testing.T) {
	type want struct {
		Name   string
		Others []string
	}
	http := func(urls ...string) modelv1alpha1.Source {
		s := &modelv1alpha1.HTTPSource{}
		for _, u := range urls {
			s.Items = append(s.Items, modelv1alpha1.HTTPItem{URL: u, Path: u})
		}
		return modelv1alpha1.Source{HTTP: s}
	}
	cases := map[string]struct {
		reason string
		args   modelv1alpha1.Source
		want   want
	}{
		"S3":         {reason: "A bucket of Amazon's should be named by its scheme.", args: modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{Bucket: "models", Prefix: "qwen3/v1"}}, want: want{Name: "s3://models/qwen3/v1"}},
		"S3Whole":    {reason: "A whole bucket should have no slash at its end.", args: modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{Bucket: "models"}}, want: want{Name: "s3://models"}},
		"S3Endpoint": {reason: "A bucket of another server should be named by that server.", args: modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{Bucket: "models", Prefix: "a", Endpoint: "https://s3.hf.co/ns/"}}, want: want{Name: "https://s3.hf.co/ns/models/a", Others: []string{"s3://models/a"}}},
		"Partition":  {reason: "A bucket of another partition should be named by that, since another one may have its name.", args: modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{Bucket: "models", Prefix: "a", Region: "cn-north-1"}}, want: want{Name: "https://s3.cn-north-1.amazonaws.com.cn/models/a"}},
		"GCS":        {reason: "A bucket of Google's should be named by its scheme.", args: modelv1alpha1.Source{GCS: &modelv1alpha1.GCSSource{Bucket: "models"}}, want: want{Name: "gs://models"}},
		"Azure":      {reason: "A container should be named by its URL.", args: modelv1alpha1.Source{AzureBlob: &modelv1alpha1.AzureBlobSource{Account: "a", Container: "models", Prefix: "x"}}, want: want{Name: "https://a.blob.core.windows.net/models/x"}},
		"Volume":     {reason: "A volume should be named with its namespace.", args: volumeSource(), want: want{Name: "pvc://team-a/training-output/checkpoints/last"}},
		"OneFile":    {reason: "One file should be named by its URL.", args: http("https://h/a/b"), want: want{Name: "https://h/a/b", Others: []string{"https://h/a/b"}}},
		"Siblings":   {reason: "Files of one folder should be named by that.", args: http("https://h/a/b", "https://h/a/bc"), want: want{Name: "https://h/a/", Others: []string{"https://h/a/b", "https://h/a/bc"}}},
		"Cousins":    {reason: "Files of two folders should be named by what they share.", args: http("https://h/a/b/c", "https://h/a/d"), want: want{Name: "https://h/a/", Others: []string{"https://h/a/b/c", "https://h/a/d"}}},
		"Strangers":  {reason: "Files of one server should be named by that at least.", args: http("https://h/a", "https://h/b/c"), want: want{Name: "https://h/", Others: []string{"https://h/a", "https://h/b/c"}}},
		"Hosts":      {reason: "Files of several servers share nothing that a policy could allow.", args: http("https://h/a", "https://i/a"), want: want{Name: "https://", Others: []string{"https://h/a", "https://i/a"}}},
		"Hub":        {reason: "A Hub's model is no folder.", args: modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "a/b"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := want{}
			if f := FolderOf(newArtifact(withSource(tc.args))); f != nil {
				got = want{Name: f.Name, Others: f.Others}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nFolderOf(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
