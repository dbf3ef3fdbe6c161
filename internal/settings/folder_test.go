package settings

import (
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// folderArtifact returns an Artifact of a source that names the Secrets cloud and ca.
func folderArtifact(s modelv1alpha1.Source) *modelv1alpha1.Artifact {
	a := credentialsArtifact(false)
	a.Spec.ForProvider.Source = s.DeepCopy()
	return a
}

// isolatedConfig returns a ClusterProviderConfig whose runs execute in another namespace.
func isolatedConfig() *v1alpha1.ClusterProviderConfig {
	pc := clusterConfig()
	pc.Spec.Registry.Credentials = v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceNone}
	pc.Spec.Registry.CertSecretRef, pc.Spec.HuggingFace = nil, nil
	pc.Spec.Job = &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{Namespace: "kitops-runs"}}
	return pc
}

func TestFolderSecrets(t *testing.T) {
	cloud, ca := &xpv2.LocalSecretReference{Name: "cloud"}, &xpv2.LocalSecretReference{Name: "cloud-ca"}
	s3 := modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{Bucket: "models", CredentialsSecretRef: cloud, CertSecretRef: ca}}
	azure := modelv1alpha1.Source{AzureBlob: &modelv1alpha1.AzureBlobSource{Account: "a", Container: "models", CredentialsSecretRef: cloud}}
	public := modelv1alpha1.Source{GCS: &modelv1alpha1.GCSSource{Bucket: "models"}}
	gcs := func(endpoint string) modelv1alpha1.Source {
		return modelv1alpha1.Source{GCS: &modelv1alpha1.GCSSource{Bucket: "models", Endpoint: modelv1alpha1.SourceEndpoint(endpoint), CredentialsSecretRef: cloud}}
	}
	own := modelv1alpha1.Source{AzureBlob: &modelv1alpha1.AzureBlobSource{Account: "acct", Container: "models", Endpoint: "https://azurite.example:10000", CredentialsSecretRef: cloud}}
	http := modelv1alpha1.Source{HTTP: &modelv1alpha1.HTTPSource{
		Items: []modelv1alpha1.HTTPItem{{URL: "https://models.example.com/x", Path: "x"}}, CredentialsSecretRef: cloud,
	}}
	keys := map[string]string{"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "other": "x"}
	type want struct {
		Copied map[string]string
		Err    string
		Reason outcome.Reason
	}
	cases := map[string]struct {
		reason   string
		source   modelv1alpha1.Source
		secret   map[string]string
		kind     corev1.SecretType
		isolated bool
		want     want
	}{
		"Own":         {reason: "A run in the Artifact's namespace should mount its Secrets, and need no copy.", source: s3, secret: keys},
		"Isolated":    {reason: "A run elsewhere should get copies of the keys that it uses, and no other.", source: s3, secret: keys, isolated: true, want: want{Copied: map[string]string{"source.AWS_ACCESS_KEY_ID": "id", "source.AWS_SECRET_ACCESS_KEY": "key", "source-ca.crt": "pem"}}},
		"Public":      {reason: "A public bucket should need no Secret.", source: public, isolated: true},
		"Missing":     {reason: "A Secret that does not exist should be named, with its keys.", source: s3, want: want{Reason: outcome.ConfigMissing, Err: `create it with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY`}},
		"Incomplete":  {reason: "Half an account should be refused.", source: s3, secret: map[string]string{"AWS_ACCESS_KEY_ID": "id"}, want: want{Reason: outcome.ConfigMissing, Err: "add the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"}},
		"Alternative": {reason: "Any complete set of keys should do.", source: azure, secret: map[string]string{"AZURE_STORAGE_SAS_TOKEN": "sig"}, isolated: true, want: want{Copied: map[string]string{"source.AZURE_STORAGE_SAS_TOKEN": "sig"}}},
		"NoneOfThem": {
			reason: "All sets of keys should be named.", source: azure, secret: map[string]string{"AZURE_CLIENT_ID": "x"},
			want: want{Reason: outcome.ConfigMissing, Err: "add the keys AZURE_STORAGE_ACCESS_KEY, or AZURE_STORAGE_SAS_TOKEN, or AZURE_TENANT_ID and AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"},
		},
		"HTTP":       {reason: "A Secret that lists the server should be sent there.", source: http, secret: map[string]string{"token": "t", "host": "a.example\nmodels.example.com\n"}, isolated: true, want: want{Copied: map[string]string{"source.token": "t", "source.host": "a.example\nmodels.example.com\n"}}},
		"HTTPOther":  {reason: "A Secret for another server should not be sent to one of a tenant's choice.", source: http, secret: map[string]string{"token": "t", "host": "db.example.com"}, want: want{Reason: outcome.NotAllowed, Err: `Secret "cloud" in namespace "team-a" is not for models.example.com: if its credentials may be sent there, add the line models.example.com to its key host`}},
		"HTTPNoHost": {reason: "Nor one that lists none.", source: http, secret: map[string]string{"username": "u", "password": "p"}, kind: corev1.SecretTypeBasicAuth, want: want{Reason: outcome.NotAllowed, Err: "add the line models.example.com to its key host"}},
		"BasicAuth":  {reason: "A Secret with a user and a password may be for any server.", source: http, secret: map[string]string{"username": "u", "password": "p", "host": "models.example.com"}, kind: corev1.SecretTypeBasicAuth},
		"Token":      {reason: "A service account's token is for the API server alone.", source: http, secret: map[string]string{"token": "t", "host": "models.example.com"}, kind: corev1.SecretTypeServiceAccountToken, want: want{Reason: outcome.NotAllowed, Err: "is of type kubernetes.io/service-account-token, whose values are not sent to a source"}},
		"Bootstrap":  {reason: "So is a token that nodes join with.", source: http, secret: map[string]string{"token": "t", "host": "models.example.com"}, kind: "bootstrap.kubernetes.io/token", want: want{Reason: outcome.NotAllowed, Err: "is of type bootstrap.kubernetes.io/token"}},
		"Registry":   {reason: "A bucket's keys are not in a registry's Secret.", source: s3, secret: keys, kind: corev1.SecretTypeDockerConfigJson, want: want{Reason: outcome.NotAllowed, Err: "is of type kubernetes.io/dockerconfigjson"}},
		"Custom":     {reason: "A type of somebody's own is any.", source: s3, secret: keys, kind: "example.com/keys"},
		"Google":     {reason: "An account of Google's is for Google's hosts.", source: gcs("https://storage.europe-west3.rep.googleapis.com"), secret: map[string]string{"gcloud-application-credentials.json": "{}"}},
		"NotGoogle":  {reason: "Its tokens should not be sent elsewhere.", source: gcs("https://storage.example.com"), secret: map[string]string{"gcloud-application-credentials.json": "{}"}, want: want{Reason: outcome.NotAllowed, Err: "is not for storage.example.com"}},
		"NotAzure":   {reason: "Nor should a signature.", source: own, secret: map[string]string{"AZURE_STORAGE_SAS_TOKEN": "sig"}, want: want{Reason: outcome.NotAllowed, Err: "is not for azurite.example:10000"}},
		"Emulator":   {reason: "A Secret may be for another server than Azure's.", source: own, secret: map[string]string{"AZURE_STORAGE_SAS_TOKEN": "sig", "host": "azurite.example:10000"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := folderArtifact(tc.source)
			objects := []client.Object{credentialsSecret(a.GetNamespace(), "cloud-ca", map[string]string{"ca.crt": "pem"})}
			if tc.secret != nil {
				secret := credentialsSecret(a.GetNamespace(), "cloud", tc.secret)
				secret.Type = tc.kind
				objects = append(objects, secret)
			}
			config := isolatedConfig()
			if !tc.isolated {
				config.Spec.Job = nil
			}
			s, err := resolve(t, newKube(t, objects...), config, a)
			if err != nil {
				t.Fatal(err)
			}
			got := want{}
			if _, err := s.ConfigHash(t.Context()); err != nil {
				got.Reason = outcome.ReasonOf(err)
				if got.Err = err.Error(); strings.Contains(got.Err, tc.want.Err) {
					got.Err = tc.want.Err
				}
			} else {
				data, err := s.SecretData(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for key, value := range data {
					if got.Copied == nil {
						got.Copied = map[string]string{}
					}
					got.Copied[key] = string(value)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nConfigHash(), SecretData(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFolderSecretsAreIndexed(t *testing.T) {
	a := folderArtifact(modelv1alpha1.Source{HTTP: &modelv1alpha1.HTTPSource{
		CredentialsSecretRef: &xpv2.LocalSecretReference{Name: "http"}, CertSecretRef: &xpv2.LocalSecretReference{Name: "http-ca"},
	}})
	want := []string{a.GetNamespace() + "/http", a.GetNamespace() + "/http-ca"}
	if diff := cmp.Diff(want, SecretsOf(a)); diff != "" {
		t.Errorf("A change of them should wake the Artifact.\nSecretsOf(...): -want, +got:\n%s", diff)
	}
}

func TestSourceIdentity(t *testing.T) {
	secret := &xpv2.LocalSecretReference{Name: "cloud"}
	s3 := func(bucket, prefix, endpoint string) modelv1alpha1.Source {
		return modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{Bucket: bucket, Prefix: modelv1alpha1.SourcePrefix(prefix), Endpoint: modelv1alpha1.SourceEndpoint(endpoint)}}
	}
	cases := map[string]struct {
		reason string
		source modelv1alpha1.Source
		config func(*v1alpha1.ClusterProviderConfigSpec)
		want   bool
	}{
		"Allowed":       {reason: "A bucket that the config names should be read as the service account.", source: s3("models-a", "x/y", ""), want: true},
		"WholeBucket":   {reason: "All of a bucket is what is below it.", source: s3("models-a", "", ""), want: true},
		"Other":         {reason: "Another bucket should be read anonymously.", source: s3("secrets", "models-a/x", ""), want: false},
		"Folder":        {reason: "A folder that the config names should be read.", source: s3("shared", "public/x", ""), want: true},
		"FolderItself":  {reason: "A folder that the config names should be read.", source: s3("shared", "public", ""), want: true},
		"OtherFolder":   {reason: "What is beside the folder should not.", source: s3("shared", "private", ""), want: false},
		"LikeFolder":    {reason: "A name that begins like the folder's is another.", source: s3("shared", "public-not", ""), want: false},
		"Above":         {reason: "What is above the folder should not.", source: s3("shared", "", ""), want: false},
		"Exact":         {reason: "A name without a pattern is that folder only.", source: s3("exact", "", ""), want: true},
		"BelowExact":    {reason: "A name without a pattern is that folder only.", source: s3("exact", "x", ""), want: false},
		"OwnServer":     {reason: "A server of a tenant's choice should get no credential.", source: s3("models-a", "x", "https://evil.example.com"), want: false},
		"NamedServer":   {reason: "A server that the config names should get it.", source: s3("models", "x", "https://s3.example.com"), want: true},
		"PlainServer":   {reason: "No credential should be sent without TLS.", source: s3("models", "x", "http://s3.example.com"), want: false},
		"Google":        {reason: "A bucket of another cloud is another.", source: modelv1alpha1.Source{GCS: &modelv1alpha1.GCSSource{Bucket: "models-a"}}, want: false},
		"Azure":         {reason: "A container of an account may be named.", source: modelv1alpha1.Source{AzureBlob: &modelv1alpha1.AzureBlobSource{Account: "acct", Container: "models", Prefix: "x"}}, want: true},
		"HTTP":          {reason: "An HTTP server is no cloud.", source: modelv1alpha1.Source{HTTP: &modelv1alpha1.HTTPSource{Items: []modelv1alpha1.HTTPItem{{URL: "https://s3.example.com/models/x", Path: "x"}}}}, want: false},
		"OwnSecret":     {reason: "The Artifact's own Secret should be used instead.", source: modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{Bucket: "models-a", CredentialsSecretRef: secret}}, want: false},
		"OwnCA":         {reason: "Authorities of a tenant's choice should not see the credential.", source: modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{Bucket: "models-a", CertSecretRef: secret}}, want: false},
		"ReaderPays":    {reason: "The administrator should not be billed for what a tenant reads.", source: modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{Bucket: "models-a", RequesterPays: true}}, want: false},
		"OwnNamespace":  {reason: "A run in a tenant's namespace should have no identity.", source: s3("models-a", "x", ""), config: func(s *v1alpha1.ClusterProviderConfigSpec) { s.Job.Namespace = "" }},
		"NotConfigured": {reason: "Without a list none is allowed.", source: s3("models-a", "x", ""), config: func(s *v1alpha1.ClusterProviderConfigSpec) { s.SourceIdentity = nil }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			config := isolatedConfig()
			config.Spec.SourceIdentity = &v1alpha1.SourceIdentity{Allow: []v1alpha1.BucketPattern{
				"s3://models-*/*", "s3://shared/public/*", "s3://exact", "https://s3.example.com/models/*", "http://s3.example.com/models/*", "https://acct.blob.core.windows.net/models/*",
			}}
			if tc.config != nil {
				tc.config(&config.Spec)
			}
			a := folderArtifact(tc.source)
			s, err := resolve(t, newKube(t), config, a)
			if err != nil {
				t.Fatal(err)
			}
			a.Effective = s.Effective
			job := artifact.BuildJob(a, "kit", nil)
			flagged := strings.Contains(strings.Join(job.Spec.Template.Spec.Containers[0].Args, " "), "--source-identity")
			labelled := job.Spec.Template.Labels["azure.workload.identity/use"] == "true"
			if s.Effective.SourceIdentity != tc.want || flagged != tc.want || labelled != (tc.want && tc.source.AzureBlob != nil) {
				t.Errorf("\n%s\nwant identity %t, got %t, flag %t, label %t", tc.reason, tc.want, s.Effective.SourceIdentity, flagged, labelled)
			}
		})
	}
}

// TestBucket has the provider itself look up a bucket that is followed.
func TestBucket(t *testing.T) {
	cloud, ca := &xpv2.LocalSecretReference{Name: "cloud"}, &xpv2.LocalSecretReference{Name: "cloud-ca"}
	s3 := modelv1alpha1.Source{
		S3:    &modelv1alpha1.S3Source{Bucket: "models", Prefix: "team/a", Region: "eu-central-1", CredentialsSecretRef: cloud, CertSecretRef: ca},
		Files: &modelv1alpha1.FileFilter{Include: []string{"*.json"}},
	}
	azure := modelv1alpha1.Source{AzureBlob: &modelv1alpha1.AzureBlobSource{Account: "example", Container: "models"}}
	gcs := modelv1alpha1.Source{GCS: &modelv1alpha1.GCSSource{Bucket: "models", UserProject: "payer"}}
	keys := map[string]string{"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "other": "x"}
	given := &pipeline.Source{
		S3:    &pipeline.S3Source{Bucket: "models", Prefix: "team/a", Region: "eu-central-1"},
		Files: file.Filter{Include: []string{"*.json"}}, CA: []byte("pem"),
		Credentials: map[string][]byte{"AWS_ACCESS_KEY_ID": []byte("id"), "AWS_SECRET_ACCESS_KEY": []byte("key")},
	}
	minio := modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{Bucket: "models", Endpoint: "https://minio.example.com", CredentialsSecretRef: cloud}}
	own := func(private bool) *pipeline.Source {
		return &pipeline.Source{S3: &pipeline.S3Source{Bucket: "models", Endpoint: "https://minio.example.com"}, Credentials: given.Credentials, Private: private}
	}
	cases := map[string]struct {
		reason   string
		source   modelv1alpha1.Source
		secret   map[string]string
		isolated bool
		allow    v1alpha1.BucketPattern
		identity bool
		want     *pipeline.Source
		fails    outcome.Reason
	}{
		"Own":      {reason: "The provider should look with what a run reads with, and no other key.", source: s3, secret: keys, want: given},
		"Isolated": {reason: "Wherever runs execute, the Secrets of the Artifact's namespace should be read.", source: s3, secret: keys, isolated: true, want: given},
		"Azure":    {reason: "A public container should need no Secret.", source: azure, want: &pipeline.Source{AzureBlob: &pipeline.AzureBlobSource{Account: "example", Container: "models"}}},
		"GCS":      {reason: "A bucket should be asked for as a run asks for it.", source: gcs, want: &pipeline.Source{GCS: &pipeline.GCSSource{Bucket: "models", UserProject: "payer"}}},
		"Listed":   {reason: "An administrator's list should permit a private network.", source: minio, secret: keys, isolated: true, allow: "https://minio.example.com/models/*", want: own(true)},
		"Plain": {
			reason: "An administrator's list should permit a server of the cluster that has no TLS.",
			source: modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{Bucket: "models", Endpoint: "http://minio.storage:9000"}}, isolated: true, allow: "http://minio.storage:9000/models/*",
			want: &pipeline.Source{S3: &pipeline.S3Source{Bucket: "models", Endpoint: "http://minio.storage:9000"}, Private: true},
		},
		"PlainOnly": {
			reason: "A list that has the server with TLS should permit none without.",
			source: modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{Bucket: "models", Endpoint: "http://minio.storage:9000"}}, isolated: true, allow: "https://minio.storage:9000/models/*",
			want: &pipeline.Source{S3: &pipeline.S3Source{Bucket: "models", Endpoint: "http://minio.storage:9000"}},
		},
		"Unlisted": {reason: "A list that does not have the server should permit none.", source: minio, secret: keys, isolated: true, allow: "s3://models/*", want: own(false)},
		"Missing":  {reason: "Without its Secret, nothing should be asked.", source: s3, fails: outcome.ConfigMissing},
		"Identity": {reason: "The provider has not the identity of runs.", source: gcs, isolated: true, identity: true, fails: outcome.Unsupported},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := folderArtifact(tc.source)
			objects := []client.Object{credentialsSecret(a.GetNamespace(), "cloud-ca", map[string]string{"ca.crt": "pem"})}
			if tc.secret != nil {
				objects = append(objects, credentialsSecret(a.GetNamespace(), "cloud", tc.secret))
			}
			config := isolatedConfig()
			if !tc.isolated {
				config.Spec.Job = nil
			}
			if tc.allow != "" {
				config.Spec.SourceIdentity = &v1alpha1.SourceIdentity{Allow: []v1alpha1.BucketPattern{tc.allow}}
			}
			s, err := resolve(t, newKube(t, objects...), config, a)
			if err != nil {
				t.Fatal(err)
			}
			s.Effective.SourceIdentity = tc.identity
			got, err := s.Bucket(t.Context(), a)
			if tc.fails != "" {
				if outcome.ReasonOf(err) != tc.fails {
					t.Errorf("\n%s\nBucket(...): want %s, got %v", tc.reason, tc.fails, err)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
				t.Errorf("\n%s\nBucket(...): %v, -want, +got:\n%s", tc.reason, err, diff)
			}
		})
	}
}
