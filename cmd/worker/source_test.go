package main

import (
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/attest/keyless"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/verify"
)

func TestSourceFlags(t *testing.T) {
	const endpoint = "https://hub.example.com"
	type want struct {
		source pipeline.Source
		err    string // What it says.
	}
	sayOne := "exactly one source is needed: write --model, --dataset, --source-artifact, --source-s3-bucket"
	cases := map[string]struct {
		reason string
		args   []string
		want   want
	}{
		"Model": {
			reason: "A model should be read from the Hub.",
			args:   []string{"--hub-endpoint=" + endpoint, "--model=Qwen/Qwen3-0.6B", "--revision=v1", "--hub-ca-file=/ca.crt", "--hub-token-file=/hub-token"},
			want:   want{source: pipeline.Source{Endpoint: endpoint, Model: "Qwen/Qwen3-0.6B", Kind: hub.Model, Revision: "v1", CAFile: "/ca.crt", TokenFile: "/hub-token"}},
		},
		"Dataset": {
			reason: "A dataset should be read from the Hub.",
			args:   []string{"--dataset=openai/gsm8k"},
			want:   want{source: pipeline.Source{Model: "openai/gsm8k", Kind: hub.Dataset, Revision: "main"}},
		},
		"Identity": {
			reason: "An identity should be accepted with what it is for.",
			args:   []string{"--model=a/b", "--hub-identity-file=/hub-identity", "--hub-identity-resource=models-bot"},
			want:   want{source: pipeline.Source{Model: "a/b", Kind: hub.Model, Revision: "main", Identity: &pipeline.Identity{File: "/hub-identity", Resource: "models-bot"}}},
		},
		"HalfIdentity": {
			reason: "An identity without what it is for should be refused.",
			args:   []string{"--model=a/b", "--hub-identity-file=/hub-identity"},
			want:   want{err: "write --hub-identity-file and --hub-identity-resource"},
		},
		"Files": {
			reason: "Any pattern should be accepted.",
			args:   []string{"--model=gpt2", "--include=*.json", "--include=-x y", "--exclude=@z", "--exclude=$(HF_TOKEN)"},
			want: want{source: pipeline.Source{
				Model: "gpt2", Kind: hub.Model, Revision: "main",
				Files: file.Filter{Include: []string{"*.json", "-x y"}, Exclude: []string{"@z", "$(HF_TOKEN)"}},
			}},
		},
		"Artifact": {
			reason: "A source in a registry should not get the Hub's token.",
			args:   []string{"--source-artifact=registry.example.com/a:v1"},
			want:   want{source: pipeline.Source{Artifact: &pipeline.ArtifactSource{Reference: "registry.example.com/a:v1"}}},
		},
		"ArtifactAll": {
			reason: "All credentials of a source's registry should be accepted.",
			args: []string{
				"--source-artifact=localhost:5000/a:v1", "--source-plain-http", "--source-docker-config=/d",
				"--source-ca-file=/ca", "--source-cert-file=/cert", "--source-key-file=/key", "--source-copy-referrers",
			},
			want: want{source: pipeline.Source{Artifact: &pipeline.ArtifactSource{
				Reference: "localhost:5000/a:v1", PlainHTTP: true, DockerConfig: "/d", CAFile: "/ca", CertificateFile: "/cert", KeyFile: "/key", CopyReferrers: true,
			}}},
		},
		"ArtifactVerify": {
			reason: "Who must have signed the artifact should be accepted.",
			args: []string{
				"--source-artifact=localhost:5000/a:v1", "--source-verify-key=-----BEGIN\nx", "--source-verify-key-file=/a.pub",
				"--source-verify-key-file=/b.pub", "--source-verify-predicate-type=https://slsa.dev/provenance/v1",
			},
			want: want{source: pipeline.Source{Artifact: &pipeline.ArtifactSource{Reference: "localhost:5000/a:v1", Verify: &verify.Options{
				Keys: "-----BEGIN\nx", KeyFiles: []string{"/a.pub", "/b.pub"}, PredicateType: "https://slsa.dev/provenance/v1", Field: "spec.forProvider.source.oci.verify",
			}}}},
		},
		"ArtifactIdentity": {
			reason: "Identities that must have signed the artifact should be accepted.",
			args: []string{
				"--source-artifact=localhost:5000/a:v1", "--source-verify-issuer=i1", "--source-verify-identity=^s1$",
				"--source-verify-issuer=i2", "--source-verify-identity=s2", "--source-trusted-root=/root.json",
			},
			want: want{source: pipeline.Source{Artifact: &pipeline.ArtifactSource{Reference: "localhost:5000/a:v1", Verify: &verify.Options{
				Identities: []keyless.Identity{{Issuer: "i1", Subject: "^s1$"}, {Issuer: "i2", Subject: "s2"}}, TrustedRootFile: "/root.json",
				Field: "spec.forProvider.source.oci.verify",
			}}}},
		},
		"S3": {
			reason: "A bucket should be read with all that it needs.",
			args: []string{
				"--source-name=s3://models/qwen3", "--source-s3-bucket=models", "--source-prefix=qwen3", "--source-region=eu-central-1", "--source-endpoint=https://s3.example.com",
				"--source-url-style=virtual-host", "--source-requester-pays", "--source-license=MIT", "--source-credentials-folder=/credentials/source",
				"--source-ca-file=/ca", "--revision=sha256:0", "--include=*.json", "--source-identity",
			},
			want: want{source: pipeline.Source{
				Name: "s3://models/qwen3", License: "MIT", CredentialsFolder: "/credentials/source", CAFile: "/ca", Revision: "sha256:0", Files: file.Filter{Include: []string{"*.json"}},
				S3: &pipeline.S3Source{Bucket: "models", Prefix: "qwen3", Region: "eu-central-1", Endpoint: "https://s3.example.com", PathStyle: new(bool), RequesterPays: true, Identity: true},
			}},
		},
		"GCS": {
			reason: "A bucket of Google should be read.",
			args:   []string{"--source-name=gs://models", "--source-gcs-bucket=models", "--source-user-project=p"},
			want:   want{source: pipeline.Source{Name: "gs://models", GCS: &pipeline.GCSSource{Bucket: "models", UserProject: "p"}}},
		},
		"Azure": {
			reason: "A container should be read.",
			args:   []string{"--source-azure-account=a", "--source-azure-container=models", "--source-prefix=x"},
			want:   want{source: pipeline.Source{AzureBlob: &pipeline.AzureBlobSource{Account: "a", Container: "models", Prefix: "x"}}},
		},
		"Volume": {
			reason: "A folder of a volume should be read.",
			args:   []string{"--source-name=pvc://ns/claim/x", "--source-volume=/source/x"},
			want:   want{source: pipeline.Source{Name: "pvc://ns/claim/x", Volume: &pipeline.VolumeSource{Name: "pvc://ns/claim/x", Folder: "/source/x"}}},
		},
		"HTTP": {
			reason: "Files of an HTTP server should be read.",
			args:   []string{`--source-http-item={"url":"https://a/b","path":"b","sha256":"0","size":0}`, `--source-http-item={"url":"https://a/c","path":"c","sha256":"1"}`},
			want: want{source: pipeline.Source{HTTP: &pipeline.HTTPSource{Items: []pipeline.HTTPItem{
				{URL: "https://a/b", Path: "b", SHA256: "0", Size: new(int64)}, {URL: "https://a/c", Path: "c", SHA256: "1"},
			}}}},
		},
		"HTTPItem":       {reason: "What is not known of an item should be refused.", args: []string{`--source-http-item={"link":"https://a/b"}`}, want: want{err: "cannot decode --source-http-item"}},
		"TwoFolders":     {reason: "Several sources should be refused.", args: []string{"--source-s3-bucket=a", "--source-volume=/b"}, want: want{err: sayOne}},
		"NoIssuer":       {reason: "An identity without an issuer should be refused.", args: []string{"--source-artifact=localhost:5000/a:v1", "--source-verify-identity=s"}, want: want{err: "each identity has one issuer"}},
		"None":           {reason: "A run without a source should be refused.", want: want{err: sayOne}},
		"Empty":          {reason: "A run without a source should be refused.", args: []string{"--model="}, want: want{err: sayOne}},
		"Both":           {reason: "Several sources should be refused.", args: []string{"--model=a/b", "--dataset=a/b"}, want: want{err: sayOne}},
		"HubAndRegistry": {reason: "Several sources should be refused.", args: []string{"--dataset=a/b", "--source-artifact=localhost:5000/a:v1"}, want: want{err: sayOne}},
		"ArtifactFiles":  {reason: "Patterns that do not apply should be refused.", args: []string{"--source-artifact=localhost:5000/a:v1", "--include=x"}, want: want{err: "leave --include and --exclude out"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			app := kingpin.New("worker", "")
			f := sourceFlagsOf(app.Command("run", ""))
			_, err := app.Parse(append([]string{"run"}, tc.args...))
			if (err != nil) != (tc.want.err != "") || (err != nil && !strings.Contains(err.Error(), tc.want.err)) {
				t.Fatalf("\n%s\nParse(...): want %q, got %v", tc.reason, tc.want.err, err)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(tc.want.source, f.value()); diff != "" {
				t.Errorf("\n%s\nsource: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
