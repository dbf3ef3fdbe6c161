package artifact

import (
	"slices"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// Golden hashes; see goldenDefault.
const (
	goldenImage        = "a9f246dfa5889b1c"
	goldenDataset      = "08318c38d1638daa"
	goldenInclude      = "a001543985185364"
	goldenExclude      = "50ad91597c2282b5"
	goldenBoth         = "7b1cdea209ac58cf"
	goldenDatasetFiles = "5556cbff555770a6"
	goldenOCI          = "ddb344a6cf52e531"
	goldenOCIDigest    = "7858f15432f19c6a"
	goldenOCIVerify    = "95aaf173af041b13"
)

const (
	testReference = "source.example.com:5000/models/qwen3:v1"
	testDigest    = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
	testCommit    = "0123456789012345678901234567890123456789"
)

func withFormat(f modelv1alpha1.PackFormat) artifactModifier {
	return withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Format = f })
}

func withDataset(dataset string) artifactModifier {
	return withParameters(func(p *modelv1alpha1.ArtifactParameters) {
		p.Source.HuggingFace.Model, p.Source.HuggingFace.Dataset = "", dataset
	})
}

func withFiles(include, exclude []string) artifactModifier {
	return withParameters(func(p *modelv1alpha1.ArtifactParameters) {
		p.Source.Files = &modelv1alpha1.FileFilter{Include: include, Exclude: exclude}
	})
}

func withOCI(reference string, change ...func(*modelv1alpha1.OCISource)) artifactModifier {
	return withParameters(func(p *modelv1alpha1.ArtifactParameters) {
		p.Source = &modelv1alpha1.Source{OCI: &modelv1alpha1.OCISource{Reference: reference}}
		for _, fn := range change {
			fn(p.Source.OCI)
		}
	})
}

// withMade records that the artifact was built from this revision of the spec's
// source.
func withMade(revision string) artifactModifier {
	return func(a *modelv1alpha1.Artifact) {
		a.Status.AtProvider.RunHash = RunHash(a)
		a.Status.AtProvider.Source = &modelv1alpha1.SourceObservation{Revision: revision}
	}
}

// withOwnSource has source.oci bring all that it can.
func withOwnSource() artifactModifier {
	return withParameters(func(p *modelv1alpha1.ArtifactParameters) {
		p.Source.OCI.PlainHTTP = true
		p.Source.OCI.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "pull"}
		p.Source.OCI.CertSecretRef = &xpv2.LocalSecretReference{Name: "source-ca"}
	})
}

// withOwnVerify has a source signed with a key in a ConfigMap.
func withOwnVerify(s *modelv1alpha1.OCISource) {
	s.Verify = &modelv1alpha1.Verification{ConfigMapRef: &modelv1alpha1.PublicKeySelector{Name: "upstream"}}
}

// withDefaultVerify has it signed as withOwnVerify, with what the API server adds.
func withDefaultVerify(s *modelv1alpha1.OCISource) {
	s.Verify = &modelv1alpha1.Verification{
		Provider:     modelv1alpha1.VerificationCosign,
		ConfigMapRef: &modelv1alpha1.PublicKeySelector{Name: "upstream", Key: DefaultPublicKey},
	}
}

func TestRunHashOfSource(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   string
	}{
		"Image":   {reason: "Format Image should change the hash.", args: newArtifact(withStream(), withFormat(modelv1alpha1.PackFormatImage)), want: goldenImage},
		"Dataset": {reason: "A dataset should not have the hash of the model with its name.", args: newArtifact(withStream(), withDataset("Qwen/Qwen3-0.6B")), want: goldenDataset},
		"Include": {reason: "Included files should change the hash.", args: newArtifact(withStream(), withFiles([]string{"*.json", "*.txt"}, nil)), want: goldenInclude},
		"Exclude": {reason: "Excluded files should have another hash than included ones.", args: newArtifact(withStream(), withFiles(nil, []string{"*.json", "*.txt"})), want: goldenExclude},
		"Both":    {reason: "Both kinds of patterns should count.", args: newArtifact(withStream(), withFiles([]string{"*.json"}, []string{"*.txt"})), want: goldenBoth},
		"Order": {
			reason: "Order and repetition of patterns should not change the hash.",
			args:   newArtifact(withStream(), withFiles([]string{"*.txt", "*.json", "*.txt"}, nil)),
			want:   goldenInclude,
		},
		"NoFiles":      {reason: "A filter without patterns should not change the hash.", args: newArtifact(withStream(), withFiles([]string{}, nil)), want: goldenStream},
		"DatasetFiles": {reason: "Selected files of a dataset should have a hash.", args: newArtifact(withStream(), withDataset("openai/gsm8k"), withFiles([]string{"main/"}, nil)), want: goldenDatasetFiles},
		"OCI":          {reason: "An artifact's reference should decide the hash.", args: newArtifact(withStream(), withOCI(testReference)), want: goldenOCI},
		"OCIDigest":    {reason: "Another reference should change the hash.", args: newArtifact(withStream(), withOCI("source.example.com:5000/models/qwen3@"+testDigest)), want: goldenOCIDigest},
		"OCIAccess":    {reason: "The credentials for a source should not change the hash.", args: newArtifact(withStream(), withOCI(testReference), withOwnSource()), want: goldenOCI},
		"OCIEffective": {
			reason: "A ProviderConfig's settings for a source should not change the hash.",
			args: newArtifact(withStream(), withOCI(testReference), withEffective(modelv1alpha1.Effective{
				Source: &modelv1alpha1.SourceAccess{PlainHTTP: true, Credentials: SecretKey("a", "b")},
			})),
			want: goldenOCI,
		},
		"OCIVerify":        {reason: "Who must have signed the source should change the hash.", args: newArtifact(withStream(), withOCI(testReference, withOwnVerify)), want: goldenOCIVerify},
		"OCIVerifyDefault": {reason: "Defaults that are written should not change the hash.", args: newArtifact(withStream(), withOCI(testReference, withDefaultVerify)), want: goldenOCIVerify},
		"OCIMade":          {reason: "The recorded digest of a tag should not change the hash.", args: newArtifact(withStream(), withOCI(testReference), withMade(testDigest)), want: goldenOCI},
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

func TestBuildJobSource(t *testing.T) {
	const hub = "--hub-endpoint=https://huggingface.co"
	pinned := "source.example.com:5000/models/qwen3@" + testDigest
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   []string
	}{
		"Model": {
			reason: "A model should be read at its revision.",
			args:   newArtifact(),
			want:   []string{hub, "--model=Qwen/Qwen3-0.6B", "--revision=main"},
		},
		"Dataset": {
			reason: "A dataset should be read in place of a model.",
			args:   newArtifact(withDataset("openai/gsm8k")),
			want:   []string{hub, "--dataset=openai/gsm8k", "--revision=main"},
		},
		"DatasetAgain": {
			reason: "A rebuild should read the recorded commit of a dataset.",
			args:   newArtifact(withDataset("openai/gsm8k"), withMade(testCommit)),
			want:   []string{hub, "--dataset=openai/gsm8k", "--revision=" + testCommit},
		},
		"Files": {
			reason: "Each pattern should be one flag, sorted and without duplicates.",
			args:   newArtifact(withFiles([]string{"b c/", "*.json", "b c/"}, []string{"-x", "@y", "é*"})),
			want:   []string{hub, "--model=Qwen/Qwen3-0.6B", "--revision=main", "--include=*.json", "--include=b c/", "--exclude=-x", "--exclude=@y", "--exclude=é*"},
		},
		"Dollars": {
			reason: "References to variables should be escaped, since the kubelet would expand them.",
			args:   newArtifact(withFiles([]string{"$(HF_TOKEN)", "$$(HF_TOKEN)", "a$", "${HF_TOKEN}"}, []string{"$"})),
			want: []string{
				hub, "--model=Qwen/Qwen3-0.6B", "--revision=main",
				"--include=$$$$(HF_TOKEN)", "--include=$$(HF_TOKEN)", "--include=$${HF_TOKEN}", "--include=a$$", "--exclude=$$",
			},
		},
		"DollarsAnywhere": {
			reason: "References to variables should be escaped in fields that the API server validates too.",
			args:   newArtifact(withModel("$(HF_TOKEN)", "$(HF_TOKEN)")),
			want:   []string{hub, "--model=$$(HF_TOKEN)", "--revision=$$(HF_TOKEN)"},
		},
		"Artifact": {
			reason: "A source in a registry should need no Hub.",
			args:   newArtifact(withOCI(testReference), withEffective(modelv1alpha1.Effective{HubEndpoint: "https://hub.example.com"})),
			want:   []string{"--source-artifact=" + testReference},
		},
		"ArtifactPlain": {
			reason: "The Artifact's plainHTTP should be used for another registry.",
			args:   newArtifact(withOCI(testReference), withOwnSource()),
			want:   []string{"--source-artifact=" + testReference, "--source-plain-http"},
		},
		"ArtifactPlainConfig": {
			reason: "The ProviderConfig's plainHTTP should be used for its own registry.",
			args:   newArtifact(withOCI(testReference), withEffective(modelv1alpha1.Effective{Source: &modelv1alpha1.SourceAccess{PlainHTTP: true}})),
			want:   []string{"--source-artifact=" + testReference, "--source-plain-http"},
		},
		"ArtifactConfigTLS": {
			reason: "The Artifact's plainHTTP should be ignored for the ProviderConfig's registry.",
			args:   newArtifact(withOCI(testReference), withOwnSource(), withEffective(modelv1alpha1.Effective{Source: &modelv1alpha1.SourceAccess{}})),
			want:   []string{"--source-artifact=" + testReference},
		},
		"ArtifactAgain": {
			reason: "A rebuild should read the recorded digest of a tag.",
			args:   newArtifact(withOCI(testReference), withMade(testDigest)),
			want:   []string{"--source-artifact=" + pinned},
		},
		"ArtifactBareAgain": {
			reason: "A port should not be taken for a tag.",
			args:   newArtifact(withOCI("localhost:5000/qwen3:v1"), withMade(testDigest)),
			want:   []string{"--source-artifact=localhost:5000/qwen3@" + testDigest},
		},
		"ArtifactChanged": {
			reason: "The recorded digest of another source should be ignored.",
			args:   newArtifact(withOCI(testReference), withMade(testDigest), withOCI("source.example.com:5000/models/qwen3:v2")),
			want:   []string{"--source-artifact=source.example.com:5000/models/qwen3:v2"},
		},
		"ArtifactDigest": {
			reason: "A reference by digest should not change.",
			args:   newArtifact(withOCI("source.example.com:5000/models/qwen3:v1@"+testDigest), withMade(testDigest)),
			want:   []string{"--source-artifact=source.example.com:5000/models/qwen3:v1@" + testDigest},
		},
		"ArtifactCommit": {
			reason: "A recorded revision that is not a digest should be ignored.",
			args:   newArtifact(withOCI(testReference), withMade(testCommit)),
			want:   []string{"--source-artifact=" + testReference},
		},
		"NoSource": {
			reason: "An Artifact without a source should have a valid Job.",
			args:   newArtifact(withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Source = nil })),
			want:   []string{hub},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			withStream()(tc.args)
			if tc.args.Status.AtProvider.RunHash != "" && name != "ArtifactChanged" {
				tc.args.Status.AtProvider.RunHash = RunHash(tc.args)
			}
			args := BuildJob(tc.args, testKitImage, nil).Spec.Template.Spec.Containers[0].Args
			got := slices.DeleteFunc(slices.Clone(args), func(a string) bool {
				return !slices.ContainsFunc([]string{"--hub-", "--model", "--dataset", "--revision", "--include", "--exclude", "--source-artifact", "--source-plain"}, func(p string) bool { return strings.HasPrefix(a, p) })
			})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nsource: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestBuildJobFormat(t *testing.T) {
	for _, format := range []modelv1alpha1.PackFormat{modelv1alpha1.PackFormatModelPack, modelv1alpha1.PackFormatModelKit, modelv1alpha1.PackFormatImage} {
		a := newArtifact(withStream(), withFormat(format))
		pod := BuildJob(a, testKitImage, nil).Spec.Template.Spec
		if !slices.Contains(pod.Containers[0].Args, "--format="+string(format)) || NeedsWorkspace(a) {
			t.Errorf("want Stream to make a %s without a workspace, got %q", format, pod.Containers[0].Args)
		}
	}
}

func TestHubOf(t *testing.T) {
	endpoint := func(e string) artifactModifier { return withEffective(modelv1alpha1.Effective{HubEndpoint: e}) }
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   string
	}{
		"Default":  {reason: "The public Hub should be read unless a config names another.", args: newArtifact(), want: "https://huggingface.co"},
		"Config":   {reason: "The Hub of the config should be read.", args: newArtifact(endpoint("https://hub.example.com/mirror/")), want: "https://hub.example.com/mirror"},
		"Escaped":  {reason: "Dollars should be as the config has them.", args: newArtifact(endpoint("https://hub.example.com/$(A)$$")), want: "https://hub.example.com/$(A)$$"},
		"Registry": {reason: "A run that reads from a registry should have no Hub.", args: newArtifact(withOCI(testReference), endpoint("https://hub.example.com"))},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := HubOf(BuildJob(tc.args, "", nil)); got != tc.want {
				t.Errorf("\n%s\nHubOf(...): got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestBuildJobSourceCredentials(t *testing.T) {
	config := &modelv1alpha1.SourceAccess{
		Credentials: SecretKey("copy", "source-config.json"),
		CA:          SecretKey("copy", "source-ca.crt"),
		Certificate: SecretKey("copy", "source-tls.crt"),
		Key:         SecretKey("copy", "source-tls.key"),
	}
	hub := modelv1alpha1.Effective{HubToken: SecretKey("config-hf", "token"), HubCA: SecretKey("hub", "ca.crt")}
	cases := map[string]struct {
		reason string
		args   *modelv1alpha1.Artifact
		want   mounted
	}{
		"None": {
			reason: "A public artifact should need no credentials, and get no Hub's token.",
			args:   newArtifact(withOCI(testReference), withEffective(hub)),
		},
		"Own": {
			reason: "The Artifact's own credentials for the source should be in a separate folder.",
			args:   newArtifact(withOCI(testReference), withOwnSource()),
			want: mounted{
				Files: map[string]string{"/credentials/source-docker/config.json": "pull/.dockerconfigjson", "/credentials/source-ca.crt": "source-ca/ca.crt"},
				Flags: []string{"--source-docker-config=/credentials/source-docker", "--source-ca-file=/credentials/source-ca.crt"},
			},
		},
		"Config": {
			reason: "The ProviderConfig's credentials should be used if the Artifact has none.",
			args:   newArtifact(withOCI(testReference), withEffective(modelv1alpha1.Effective{Source: config})),
			want: mounted{
				Files: map[string]string{
					"/credentials/source-docker/config.json": "copy/source-config.json", "/credentials/source-ca.crt": "copy/source-ca.crt",
					"/credentials/source-tls.crt": "copy/source-tls.crt", "/credentials/source-tls.key": "copy/source-tls.key",
				},
				Flags: []string{
					"--source-docker-config=/credentials/source-docker", "--source-ca-file=/credentials/source-ca.crt",
					"--source-cert-file=/credentials/source-tls.crt", "--source-key-file=/credentials/source-tls.key",
				},
			},
		},
		"OwnWins": {
			reason: "The Artifact's own credentials should take precedence over the ProviderConfig's.",
			args:   newArtifact(withOCI(testReference), withOwnSource(), withEffective(modelv1alpha1.Effective{Source: &modelv1alpha1.SourceAccess{Credentials: config.Credentials, CA: config.CA}})),
			want: mounted{
				Files: map[string]string{"/credentials/source-docker/config.json": "pull/.dockerconfigjson", "/credentials/source-ca.crt": "source-ca/ca.crt"},
				Flags: []string{"--source-docker-config=/credentials/source-docker", "--source-ca-file=/credentials/source-ca.crt"},
			},
		},
		"Target": {
			reason: "The target's credentials should not be used for the source.",
			args: newArtifact(withOCI(testReference), withOwnSource(), withEffective(modelv1alpha1.Effective{
				RegistryCredentials: SecretKey("config", "auth.json"), RegistryCA: SecretKey("ca", "ca.crt"),
			})),
			want: mounted{
				Files: map[string]string{
					"/credentials/docker/config.json": "config/auth.json", "/credentials/registry-ca.crt": "ca/ca.crt",
					"/credentials/source-docker/config.json": "pull/.dockerconfigjson", "/credentials/source-ca.crt": "source-ca/ca.crt",
				},
				Flags: []string{
					"--docker-config=/credentials/docker", "--registry-ca-file=/credentials/registry-ca.crt",
					"--source-docker-config=/credentials/source-docker", "--source-ca-file=/credentials/source-ca.crt",
				},
			},
		},
		"Hub": {
			reason: "A source on a Hub should get no credentials of another registry.",
			args:   newArtifact(withEffective(modelv1alpha1.Effective{Source: config, HubToken: hub.HubToken})),
			want: mounted{
				Files: map[string]string{"/credentials/hub-token": "config-hf/token"},
				Flags: []string{"--hub-token-file=/credentials/hub-token"},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			withStream()(tc.args)
			pod := BuildJob(tc.args, testKitImage, nil).Spec.Template.Spec
			if diff := cmp.Diff(tc.want, mountedIn(t, pod)); diff != "" {
				t.Errorf("\n%s\ncredentials: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
